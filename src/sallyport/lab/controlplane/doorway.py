"""`python -m sallyport.lab.controlplane.doorway --fd N ADDRESS PORT`: this machine's way to a server inside of a lab.

It runs in the lab and takes over a listening socket that was opened outside: a socket stays in the network namespace of
its birth. So users reach the API server on their loopback, and no link leads out of the lab.
"""

import argparse
import asyncio
import contextlib
import socket

CHUNK = 65536


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes until there are no more, and say so on the other side."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()  # one side is gone, so the other has nobody to talk to


async def carry(address: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection from outside, to its end in both directions."""
    try:
        inner_reader, inner_writer = await asyncio.open_connection(address, port)
    except OSError:
        writer.close()  # refused inside, so it ends outside; the client tries again
        return
    try:
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
    finally:
        for end in (writer, inner_writer):
            end.close()
            with contextlib.suppress(OSError):
                await end.wait_closed()


async def serve(listening: socket.socket, address: str, port: int) -> None:
    """Carry every connection to `address`, until cancelled."""

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await carry(address, port, reader, writer)

    server = await asyncio.start_server(accepted, sock=listening)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="sallyport.lab.controlplane.doorway", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="listening socket to take over")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    asyncio.run(serve(socket.socket(fileno=arguments.fd), arguments.address, arguments.port))


if __name__ == "__main__":
    main()
