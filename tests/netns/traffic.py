"""Senders and sinks, and a VXLAN frame made by hand."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from ipaddress import IPv4Address

from tests.netns.world import SERVER, Packet, inside

from sallyport.model.state import Family, IPAddress

TCP, UDP = 6, 17
SINK = 9000
_OF: dict[Family, socket.AddressFamily] = {4: socket.AF_INET, 6: socket.AF_INET6}


class Sink:
    """Counts the payload bytes that reach the server's port for bulk, by TCP or UDP."""

    def __init__(self, family: Family, kind: socket.SocketKind) -> None:
        with inside("outside"):
            self._socket = socket.socket(_OF[family], kind)
        self._socket.bind((str(SERVER[family]), SINK))
        if kind is socket.SOCK_STREAM:
            self._socket.listen()
        self.received = 0
        threading.Thread(target=self._datagrams if kind is socket.SOCK_DGRAM else self._stream, daemon=True).start()

    def _stream(self) -> None:
        with suppress(OSError):
            connection, _ = self._socket.accept()
            with connection:
                while taken := len(connection.recv(1 << 20)):
                    self.received += taken

    def _datagrams(self) -> None:
        with suppress(OSError):
            while taken := len(self._socket.recv(2048)):
                self.received += taken

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def rate_through(namespace: str, family: Family, *, sent: float, settle: float, window: float) -> float:
    """Payload bits per second that reach the server while that namespace sends UDP at `sent` bits per second: looked
    at for `window` seconds after `settle` seconds, in which a burst is used up."""
    size = 1200
    with inside(namespace):
        link = socket.socket(_OF[family], socket.SOCK_DGRAM)
    with link, closing(Sink(family, socket.SOCK_DGRAM)) as sink:
        link.connect((str(SERVER[family]), SINK))
        start = time.monotonic()
        began, first, count = 0.0, 0, 0
        while (now := time.monotonic() - start) < settle + window:
            if now >= settle and not began:
                began, first = now, sink.received
            while count * size * 8 < now * sent:
                link.send(bytes(size))
                count += 1
            time.sleep(0.001)
        return (sink.received - first) * 8 / (now - began)


@contextmanager
def line(namespace: str, family: Family) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection from that namespace to the server, both ends of it."""
    with inside("outside"):
        listener = socket.create_server((str(SERVER[family]), SINK), family=_OF[family])
    with listener:
        with inside(namespace):
            near = socket.create_connection((str(SERVER[family]), SINK), timeout=3)
        far, _ = listener.accept()
        far.settimeout(3)
        with near, far:
            yield near, far


def says(sender: socket.socket, receiver: socket.socket) -> bool:
    """Whether a byte gets through."""
    sender.sendall(b"!")
    return receiver.recv(1) == b"!"


def segment_size(packets: list[Packet], flags: int) -> int:
    """The MSS option (RFC 9293, 3.2) of the first TCP segment with exactly these flags of SYN, ACK, FIN and RST."""
    segment = next(item.payload for item in packets if item.protocol == TCP and item.payload[13] & 0x17 == flags)
    assert segment[20:22] == b"\x02\x04"
    return int.from_bytes(segment[22:24], "big")


def vxlan(*, mark: int, vni: int, source: IPAddress, destination: IPAddress) -> bytes:
    """What follows the outer UDP header: VXLAN with group policy (draft-smith-vxlan-group-policy), a frame, UDP."""
    udp = struct.pack("!HHHH", 4000, 4000, 12, 0) + b"ball"
    addresses = IPv4Address(str(source)).packed + IPv4Address(str(destination)).packed
    header = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, UDP, 0) + addresses)
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header[10:12] = struct.pack("!H", ~total & 0xFFFF)
    ethernet = b"\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00"
    return struct.pack("!BBHI", 0x88, 0, mark, vni << 8) + ethernet + bytes(header) + udp
