"""`python -m sallyport.lab.ask http ADDRESS`: asks an outside host which source it sees, once or again and again.

Prints one JSON line per request: when it began (`time`), how long it took (`seconds`), and either the `source` and
`port` that the host saw or the `error`. Few modules are imported, because a lab starts many of these.
"""

import argparse
import itertools
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import BufferedRWPair
from types import TracebackType

PORTS = {"http": 80, "tcp": 7, "udp": 7}
_LIMIT = 65536

Seen = tuple[str, int]
"""The address and port that the other side saw."""


def connect(kind: socket.SocketKind, address: str, port: int, timeout: float) -> socket.socket:
    """A connected socket, over UDP too, so that it hears of ICMP errors. Raises OSError."""
    link = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    try:
        link.settimeout(timeout)
        link.connect((address, port))
    except OSError:
        link.close()
        raise
    return link


def ask_http(address: str, port: int, timeout: float) -> Seen:
    """One HTTP request on a connection of its own. Raises OSError, and ValueError for an answer of another kind."""
    host = f"[{address}]" if ":" in address else address
    with connect(socket.SOCK_STREAM, address, port, timeout) as link:
        link.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: link.recv(_LIMIT), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ValueError(head.partition(b"\r\n")[0].decode(errors="replace") or "closed without an answer")
    return _seen(body)


def ask_udp(address: str, port: int, timeout: float) -> Seen:
    """One datagram and its answer. Raises OSError, and ValueError for an answer of another kind."""
    with connect(socket.SOCK_DGRAM, address, port, timeout) as link:
        link.send(b"ask\n")
        return _seen(link.recv(_LIMIT))


def ask_tcp(address: str, port: int, timeout: float) -> Seen:
    """One line there and back on a connection of its own. Raises OSError, and ValueError as `Echo.ask` does."""
    with Echo(address, port, timeout) as connection:
        return connection.ask()


class Echo:
    """A TCP connection to a host's echo port, made by the first request and held for the next ones."""

    def __init__(self, address: str, port: int, timeout: float) -> None:
        self._peer = (address, port, timeout)
        self._link: socket.socket | None = None
        self._lines: BufferedRWPair | None = None
        self._seen: Seen = ("", 0)
        self._count = 0

    def __enter__(self) -> "Echo":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._link is not None:
            self._link.close()

    def ask(self) -> Seen:
        """A line there and back; who was seen when the connection was made.

        Raises OSError, after which the connection is of no use, and ValueError for an answer of another kind.
        """
        lines = self._lines or self._connect()
        self._count += 1
        line = f"{self._count}\n".encode()
        lines.write(line)
        lines.flush()
        if (answer := lines.readline()) != line:
            raise ValueError("closed by the other side" if not answer else "the echo is not what was sent")
        return self._seen

    def _connect(self) -> BufferedRWPair:
        self._link = connect(socket.SOCK_STREAM, *self._peer)
        self._lines = self._link.makefile("rwb")
        match self._lines.readline().split():
            case [b"source", source, port] if port.isdigit():
                self._seen = (source.decode(), int(port))
            case []:
                raise ValueError("closed by the other side")
            case _:
                raise ValueError("not the echo of an outside host")
        return self._lines


def _seen(line: bytes) -> Seen:
    try:
        answer = json.loads(line)
        return str(answer["source"]), int(answer["port"])
    except (ValueError, KeyError, TypeError):
        raise ValueError("not the answer of an outside host") from None


def request(ask: Callable[[], Seen]) -> dict[str, object]:
    """One request as it is printed."""
    record: dict[str, object] = {"time": datetime.now(UTC).isoformat()}
    began = time.monotonic()
    try:
        source, port = ask()
        record |= {"source": source, "port": port}
    except OSError as error:
        record["error"] = error.strerror or str(error)
    except ValueError as error:
        record["error"] = str(error)
    return record | {"seconds": round(time.monotonic() - began, 6)}


def paced(count: int, interval: float, now: Callable[[], float], sleep: Callable[[float], None]) -> Iterator[int]:
    """Numbers from 1 to `count` (0: without end), a number of seconds apart; after a delay there is no catching up."""
    due = now()
    for number in itertools.count(1) if count == 0 else range(1, count + 1):
        sleep(max(0.0, due - now()))
        yield number
        due = max(due + interval, now())


def main(argv: list[str] | None = None) -> int:
    """Ask, and print a line per request. 0 if each had an answer, 1 if not, 130 if it was interrupted."""
    parser = argparse.ArgumentParser(prog="sallyport.lab.ask", description="Ask an outside host which source it sees.")
    parser.add_argument("protocol", choices=PORTS)
    parser.add_argument("address")
    parser.add_argument("--port", type=int, help="80 for http, 7 for tcp and udp if not given")
    parser.add_argument("--timeout", type=float, default=5.0, metavar="S", help="seconds to wait at each step")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="requests; 0 for no end")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="seconds from one to the next")
    parser.add_argument(
        "--hold", action="store_true", help="tcp: all requests on one connection; its failure is the end"
    )
    options = parser.parse_args(argv)
    if options.hold and options.protocol != "tcp":
        parser.error("--hold is for tcp")
    port = PORTS[options.protocol] if options.port is None else options.port
    peer = (options.address, port, options.timeout)
    single = {"http": ask_http, "tcp": ask_tcp, "udp": ask_udp}[options.protocol]
    failed = False
    with Echo(*peer) as connection:
        try:
            for _ in paced(options.count, options.interval, time.monotonic, time.sleep):
                record = request(connection.ask if options.hold else lambda: single(*peer))
                sys.stdout.write(json.dumps({"protocol": options.protocol, "to": options.address, **record}) + "\n")
                sys.stdout.flush()
                failed |= "error" in record
                if failed and options.hold:
                    break
        except KeyboardInterrupt:
            return 130
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
