"""What runs in the namespaces of a benchmark: `python -m bench.traffic serve|stream|connect|probe ...`.

serve PORT COUNT                    a server: `!` is answered with `!`, `s` begins a stream that is swallowed, `e` one
                                    that is sent back, `c` is answered with the seconds of CPU time that it has used
stream ADDRESS PORT STREAMS SECONDS bytes a second over that many connections at once, and seconds of CPU time per byte
                                    that both ends used
echo ADDRESS PORT SECONDS           requests one after the other over one connection: seconds of each
burst SOURCE ADDRESS ROUNDS         small datagrams: nanoseconds of CPU time of each, round by round
connect ADDRESS PORT SECONDS        connections one after the other, each with an answer: seconds of each
probe ADDRESS PORT INTERVAL         new connections until standard input ends: when, whether at once, from where
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time

BACKLOG = 1024
CHUNK = 1 << 18
PATIENCE = 0.9
"""Seconds within which an answer comes unless a packet was lost: that is sent again after one (RFC 6298)."""
DISCARD = 9
"""The port that datagrams go to (RFC 863)."""
SEGMENTS, SENDS, SIZE = 64, 8, 16
"""Datagrams that one system call sends, calls of a round, and bytes of each datagram."""
BURST = SEGMENTS * SENDS
"""Datagrams of a round."""
_UDP_SEGMENT = 103
"""Socket option of linux/udp.h: what is sent is cut into datagrams of that size."""
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
                if (first := link.recv(1)) in (b"s", b"e"):
                    link.settimeout(None)
                    threading.Thread(target=_swallow if first == b"s" else _echo, args=(link,), daemon=True).start()
                    continue
                link.send(b"%.9f" % time.process_time() if first == b"c" else first)
            link.close()


def _swallow(link: socket.socket) -> None:
    room = bytearray(CHUNK)
    with link, contextlib.suppress(OSError):
        while link.recv_into(room):
            pass


def _echo(link: socket.socket) -> None:
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with link, contextlib.suppress(OSError):
        while asked := link.recv(CHUNK):
            link.sendall(asked)


def echo(address: str, port: int, seconds: float) -> list[float]:
    """Seconds of each request of one byte until its answer, over a connection that is open already."""
    found: list[float] = []
    with socket.create_connection((address, port), timeout=5) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.send(b"e")
        end = time.monotonic() + seconds
        while (began := time.monotonic()) < end:
            link.send(b"!")
            link.recv(1)
            found.append(time.monotonic() - began)
    return found


def burst(source: str, address: str, rounds: int) -> list[float]:
    """CPU time of a datagram in nanoseconds, of each round. On one machine a datagram is carried through all of the
    namespaces by the system call that sends it, so the sender's time is the whole way's, and nothing else is in it. A
    round is short and comes before all else: the kernel would leave packets to a thread whose time is not the
    sender's."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    found: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((source, 0))
        link.connect((address, DISCARD))
        link.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, SIZE)
        for _ in range(rounds):
            began = time.thread_time_ns()
            for _ in range(SENDS):
                link.send(bytes(SEGMENTS * SIZE))
            found.append((time.thread_time_ns() - began) / BURST)
            time.sleep(0.004)  # others' turn
    return found


def _cpu(address: str, port: int) -> float:
    """Seconds of CPU time that the server has used."""
    with socket.create_connection((address, port), timeout=5) as link:
        link.send(b"c")
        return float(link.recv(64))


def stream(address: str, port: int, streams: int, seconds: float) -> list[float]:
    """Bytes a second of all streams together, as far as the kernel has taken them, and seconds of CPU time per byte."""
    counts = [0] * streams
    used = _cpu(address, port)
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
    own = time.process_time()
    for thread in threads:
        thread.join()
    used = time.process_time() - own + _cpu(address, port) - used
    return [sum(counts) / seconds, used / sum(counts)]


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
        case ["echo", address, port, seconds]:
            return echo(address, int(port), float(seconds))
        case ["burst", source, address, rounds]:
            return burst(source, address, int(rounds))
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
