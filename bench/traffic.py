"""What runs in the namespaces of a benchmark: `python -m bench.traffic serve|stream|connect|probe ...`.

serve PORT                          a server: `!` is answered with `!`, `s` begins a stream that is swallowed
stream ADDRESS PORT STREAMS SECONDS bytes a second over that many connections at once
connect ADDRESS PORT SECONDS        connections one after the other, each with an answer: seconds of each
probe ADDRESS PORT INTERVAL         new connections until standard input ends: when, whether at once, from where
"""

import asyncio
import contextlib
import json
import socket
import struct
import sys
import threading
import time

BACKLOG = 1024
CHUNK = 1 << 18
PATIENCE = 0.9
"""Seconds within which an answer comes unless a packet was lost: that is sent again after one (RFC 6298)."""
ABORT = struct.pack("=ii", 1, 0)
"""SO_LINGER that ends a connection by a reset, so that no port waits for a minute (socket(7))."""


def serve(first: int, count: int) -> None:
    """Serve for ever, on so many ports from `first` on."""
    threads = [threading.Thread(target=_listen, args=(port,)) for port in range(first, first + count)]
    for thread in threads:
        thread.start()


def _listen(port: int) -> None:
    with socket.create_server(("", port), backlog=BACKLOG) as listener:
        while True:
            link, _ = listener.accept()
            link.settimeout(PATIENCE)
            with contextlib.suppress(OSError):
                if (first := link.recv(1)) == b"s":
                    link.settimeout(None)
                    threading.Thread(target=_swallow, args=(link,), daemon=True).start()
                    continue
                link.send(first)
            link.close()


def _swallow(link: socket.socket) -> None:
    room = bytearray(CHUNK)
    with link, contextlib.suppress(OSError):
        while link.recv_into(room):
            pass


def stream(address: str, port: int, streams: int, seconds: float) -> list[float]:
    """Bytes a second of all streams together, as far as the kernel has taken them."""
    counts = [0] * streams
    ready = threading.Barrier(streams + 1)

    def send(place: int) -> None:
        with socket.create_connection((address, port), timeout=5) as link:
            link.send(b"s")
            ready.wait()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                counts[place] += link.send(bytes(CHUNK))
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)

    threads = [threading.Thread(target=send, args=(place,)) for place in range(streams)]
    for thread in threads:
        thread.start()
    ready.wait()
    for thread in threads:
        thread.join()
    return [sum(counts) / seconds]


def connect(address: str, port: int, seconds: float) -> list[float]:
    """Seconds of each connection from its first packet to the answer."""
    found: list[float] = []
    end = time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        with socket.create_connection((address, port), timeout=5) as link:
            link.send(b"!")
            link.recv(1)
            found.append(time.monotonic() - began)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    return found


async def probe(address: str, port: int, interval: float) -> list[tuple[float, str]]:
    """When each connection began (seconds since the epoch), and the source that an outside host of a lab saw; "" where
    it did not answer at once."""
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, sys.stdin.read)
    tasks: list[asyncio.Task[tuple[float, str]]] = []
    due = loop.time()
    while not ended.done():
        tasks.append(asyncio.create_task(_one(address, port)))
        due = max(due + interval, loop.time())
        await asyncio.sleep(due - loop.time())
    return list(await asyncio.gather(*tasks))


async def _one(address: str, port: int) -> tuple[float, str]:
    began = time.time()
    source = ""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(address, port)
            with contextlib.closing(writer):
                source = (await reader.readline()).split()[1].decode()
    return began, source


def answer(argv: list[str]) -> list[float] | list[tuple[float, str]]:
    """What the words of the command line ask for, as JSON can say it."""
    match argv:
        case ["stream", address, port, streams, seconds]:
            return stream(address, int(port), int(streams), float(seconds))
        case ["connect", address, port, seconds]:
            return connect(address, int(port), float(seconds))
        case ["probe", address, port, interval]:
            return asyncio.run(probe(address, int(port), float(interval)))
    raise SystemExit(__doc__)


def main(argv: list[str]) -> None:
    """Serve, or print figures as JSON."""
    if argv[:1] == ["serve"]:
        return serve(int(argv[1]), int(argv[2]))
    sys.stdout.write(json.dumps(answer(argv)))
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
