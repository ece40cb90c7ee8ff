"""`python -m sallyport.lab.outside --log FILE`: what runs on a host beyond the cluster, and tells whom it sees.

HTTP on ports 80 and 8080, on any path: one JSON line with the source that the request came from.
    GET /bytes/N sends N zero bytes; POST and PUT count the body, and tell `bytes` and the `seconds` it took.
TCP on port 7: the line `source ADDRESS PORT`, and then everything back (RFC 862).
UDP on port 7: one JSON line for each datagram, from the address that it was sent to.

Every request (over TCP: every connection) is also one JSON line in FILE, written at once. ICMP is the kernel's matter.
Each socket serves both families; a source in IPv4-mapped form (RFC 4291, section 2.5.5.2) is told as IPv4.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import IO

from aiohttp import web

HTTP_PORTS = (80, 8080)
ECHO_PORT = 7
_CHUNK = 65536
_BYTES = re.compile(r"/bytes/(\d{1,15})")
# struct in6_pktinfo: an address and an interface's index (RFC 3542, section 6.1).
_PKTINFO_LENGTH = 20


@dataclass(frozen=True, slots=True)
class Ports:
    """What is listened on. A 0 takes any free port, and is replaced by it once it is known."""

    http: tuple[int, ...] = HTTP_PORTS
    tcp: int = ECHO_PORT
    udp: int = ECHO_PORT


@dataclass(frozen=True, slots=True)
class Witness:
    """Writes down who was seen. `host` is the name that it signs with."""

    host: str
    log: IO[bytes]
    now: Callable[[], datetime]

    def sight(self, peer: tuple[str, int], protocol: str, **more: object) -> bytes:
        """The JSON line about a request from a peer, which is now in the log as well."""
        seen = {"source": plain(peer[0]), "port": peer[1], "protocol": protocol, "host": self.host}
        line = json.dumps({**seen, "time": self.now().isoformat(), **more}).encode() + b"\n"
        self.log.write(line)
        self.log.flush()
        return line


def plain(address: str) -> str:
    """An address without zone, and in IPv4 form where it is an IPv4-mapped one."""
    parsed = ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


def listen(kind: socket.SocketKind, port: int) -> socket.socket:
    """A socket on all addresses of both families. Raises OSError where the port is taken."""
    listening = socket.socket(socket.AF_INET6, kind | socket.SOCK_NONBLOCK)
    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if kind == socket.SOCK_STREAM:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("::", port))
    return listening


async def serve(witness: Witness, ports: Ports, ready: Callable[[Ports], None]) -> None:
    """Serve until cancelled; `ready` is called once all ports are open. Raises OSError where one is taken."""
    async with contextlib.AsyncExitStack() as stack:
        http = [stack.enter_context(listen(socket.SOCK_STREAM, port)) for port in ports.http]
        tcp = stack.enter_context(listen(socket.SOCK_STREAM, ports.tcp))
        udp = stack.enter_context(listen(socket.SOCK_DGRAM, ports.udp))
        runner = web.ServerRunner(web.Server(lambda request: answer(witness, request)), shutdown_timeout=0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        for item in http:
            await web.SockSite(runner, item).start()
        server = await asyncio.start_server(lambda reader, writer: echo(witness, reader, writer), sock=tcp)
        stack.callback(server.close)
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        asyncio.get_running_loop().add_reader(udp, reply, witness, udp)
        stack.callback(asyncio.get_running_loop().remove_reader, udp)
        ready(Ports(tuple(item.getsockname()[1] for item in http), tcp.getsockname()[1], udp.getsockname()[1]))
        await asyncio.Event().wait()


async def answer(witness: Witness, request: web.BaseRequest) -> web.StreamResponse:
    """One HTTP request."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    if peer is None:
        raise ConnectionResetError("the client has gone")
    if request.method in ("POST", "PUT"):
        clock = asyncio.get_running_loop().time
        began, count = clock(), 0
        async for part in request.content.iter_any():
            count += len(part)
        seconds = round(clock() - began, 6)
        line = witness.sight(peer, "http", path=request.path, bytes=count, seconds=seconds)
    else:
        line = witness.sight(peer, "http", path=request.path)
        if request.method == "GET" and (wanted := _BYTES.fullmatch(request.path)):
            return await _send_zeros(request, int(wanted[1]))
    return web.Response(body=line, content_type="application/json")


async def _send_zeros(request: web.BaseRequest, count: int) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_type = "application/octet-stream"
    response.content_length = count
    await response.prepare(request)
    zeros = bytes(_CHUNK)
    for start in range(0, count, _CHUNK):
        await response.write(zeros[: count - start])
    await response.write_eof()
    return response


async def echo(witness: Witness, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One TCP connection, until the client ends it or is gone."""
    peer = writer.get_extra_info("peername")
    with contextlib.closing(writer), contextlib.suppress(OSError):
        if peer is None:
            return
        witness.sight(peer, "tcp")
        writer.write(f"source {plain(peer[0])} {peer[1]}\n".encode())
        while part := await reader.read(_CHUNK):
            writer.write(part)
            await writer.drain()


def reply(witness: Witness, udp: socket.socket) -> None:
    """Answer one datagram from the address that it was sent to, which is not always the one that a route prefers."""
    # An error here is news about an earlier answer (its client is gone) or that the answer cannot be sent.
    with contextlib.suppress(OSError):
        _, ancillary, _, peer = udp.recvmsg(_CHUNK, socket.CMSG_SPACE(_PKTINFO_LENGTH))
        line = witness.sight(peer, "udp")
        # Interface 0 lets the route choose it: a reply may leave by another one.
        own = [(level, kind, value[:16] + bytes(4)) for level, kind, value in ancillary]
        udp.sendmsg([line], own, 0, peer)


async def _run(witness: Witness, ports: Ports) -> None:
    task = asyncio.ensure_future(serve(witness, ports, _tell))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _tell(ports: Ports) -> None:
    sys.stdout.write(json.dumps({"http": ports.http, "tcp": ports.tcp, "udp": ports.udp}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serve until SIGTERM; one line with the ports on standard output tells that it does."""
    parser = argparse.ArgumentParser(prog="sallyport.lab.outside", description="The program of a lab's outside hosts.")
    parser.add_argument("--log", type=Path, required=True, help="file that gets a JSON line for each request")
    name = os.environ.get("SALLYPORT_HOST") or socket.gethostname()
    parser.add_argument("--name", default=name, help="the host's name in answers; SALLYPORT_HOST if not given")
    parser.add_argument("--http", type=int, nargs="+", default=HTTP_PORTS, metavar="PORT", help="ports of HTTP")
    parser.add_argument("--echo", type=int, default=ECHO_PORT, metavar="PORT", help="port of TCP echo and of UDP")
    arguments = parser.parse_args()
    with arguments.log.open("ab") as log:
        witness = Witness(arguments.name, log, lambda: datetime.now(UTC))
        asyncio.run(_run(witness, Ports(tuple(arguments.http), arguments.echo, arguments.echo)))


if __name__ == "__main__":
    main()
