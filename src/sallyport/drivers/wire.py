"""Netlink's messages and attributes (linux/netlink.h), and a socket to ask the kernel by.

Numbers are in the machine's own byte order, as the kernel has them; what is not says so.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sallyport.drivers.command import DriverError

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
CREATE, REPLACE, EXCLUDE = 0x400, 0x100, 0x200
"""Flags of a message."""
_SOL_NETLINK, _CAPPED, _EXTENDED, _STRICT = 270, 10, 11, 12
"""Socket options: NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK. The last one has the kernel dump what the
header asks for and no more."""
_ERROR, _DONE = 2, 3
_INTERRUPTED, _TLVS = 0x10, 0x200
"""NLM_F_DUMP_INTR: what was dumped changed meanwhile. NLM_F_ACK_TLVS: an explanation follows."""
_EXPLANATION = 1
_NESTED = 0x8000
_KIND = 0x3FFF
_HEADER = struct.Struct("=IHHII")
_ANSWER = struct.Struct("=iIHHII")
"""struct nlmsgerr: an error, and the header of the message that it is about."""
_ATTRIBUTE = struct.Struct("=HH")
_RECEIVED = 1 << 17
_AT_ONCE = 32
"""Requests that are under way together: their answers fit the socket's buffer."""
_PATIENCE = 10
"""Seconds after which a kernel that does not answer is given up."""
_TRIES = 5
"""How often a dump that was interrupted is begun anew."""

Attributes = Mapping[int, bytes]
Message = tuple[int, int, bytes]
"""Type, flags beside those of every request, and body."""


class RefusedError(OSError):
    """The kernel does not do what it was asked to; `errno` and `strerror` are its own."""


def message(kind: int, flags: int, body: bytes, sequence: int = 0) -> bytes:
    """A whole message."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body + bytes(-len(body) % 4)


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def nest(kind: int, *parts: bytes) -> bytes:
    """An attribute that is made of others."""
    return attribute(kind | _NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    """An attribute with a text that ends with a zero."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """An attribute with a number of 32 bits."""
    return attribute(kind, struct.pack("=I", value))


def attributes(data: bytes, place: int = 0) -> list[tuple[int, bytes]]:
    """Type and value of each attribute from a place on."""
    found: list[tuple[int, bytes]] = []
    size, unpack, last = _ATTRIBUTE.size, _ATTRIBUTE.unpack_from, len(data) - _ATTRIBUTE.size
    while place <= last:
        length, kind = unpack(data, place)
        if length < size:
            break
        found.append((kind & _KIND, data[place + size : place + length]))
        place += (length + 3) & ~3
    return found


def string(value: bytes) -> str:
    """The text of an attribute."""
    return value.rstrip(b"\0").decode(errors="replace")


def messages(batch: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and body of each message that came at once."""
    place = 0
    while place + _HEADER.size <= len(batch):
        length, kind, flags, *_ = _HEADER.unpack_from(batch, place)
        if length < _HEADER.size:
            return
        yield kind, flags, batch[place + _HEADER.size : place + length]
        place += (length + 3) & ~3


class Link:
    """A socket to the kernel of this network namespace. Closed by `with`."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.settimeout(_PATIENCE)
        for option in (_CAPPED, _EXTENDED, _STRICT):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ask no more."""
        self._socket.close()

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """The bodies of all that the kernel has of something; none where it knows of no such thing."""
        for _ in range(_TRIES):
            self._socket.send(message(kind, REQUEST | DUMP, body))
            found, whole = self._dumped()
            if whole:
                return found
        raise DriverError("what the kernel has does not stand still while it is read")

    def _dumped(self) -> tuple[list[bytes], bool]:
        """What came, and whether it is all of one moment."""
        found: list[bytes] = []
        whole = True
        while True:
            for kind, flags, body in messages(self._received()):
                whole = whole and not flags & _INTERRUPTED
                if kind not in (_ERROR, _DONE):
                    found.append(body)
                    continue
                code = struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
                if code not in (0, -errno.ENOENT):
                    raise DriverError(f"the kernel does not tell what it has: {_refusal(kind, flags, body).strerror}")
                return found, whole

    def get(self, kind: int, body: bytes) -> bytes:
        """The one thing that is asked for."""
        self._socket.send(message(kind, REQUEST, body))
        for found, flags, answer in messages(self._received()):
            if found == _ERROR:
                raise _refusal(found, flags, answer)
            return answer
        raise DriverError("the kernel's answer is empty")

    def ask(self, requests: Sequence[Message]) -> list[RefusedError | None]:
        """Carry out one request after the other; for each, why it was refused, None where it was not."""
        answers: list[RefusedError | None] = []
        for first in range(0, len(requests), _AT_ONCE):
            part = requests[first : first + _AT_ONCE]
            self._socket.send(b"".join(message(kind, REQUEST | ACK | flags, body) for kind, flags, body in part))
            answers += self._acknowledged(len(part))
        return answers

    def transact(self, parts: Sequence[bytes]) -> RefusedError | None:
        """Send messages that are carried out together or not at all, numbered from 1, of which the last but one asks
        for an answer. The first refusal, None where there was none."""
        self._socket.send(b"".join(parts))
        refused: RefusedError | None = None
        last = len(parts) - 1
        while True:
            for kind, flags, body in messages(self._received()):
                if kind != _ERROR:
                    continue
                code, _, _, _, number, _ = _ANSWER.unpack_from(body)
                if code and refused is None:
                    refused = _refusal(kind, flags, body)
                if number in (1, last):  # what is said of the first is said of all
                    self._drain()
                    return refused

    def _acknowledged(self, count: int) -> list[RefusedError | None]:
        answers: list[RefusedError | None] = []
        while len(answers) < count:
            for kind, flags, body in messages(self._received()):
                if kind == _ERROR:
                    (code,) = struct.unpack_from("=i", body)
                    answers.append(_refusal(kind, flags, body) if code else None)
        return answers

    def _received(self) -> bytes:
        try:
            return self._socket.recv(_RECEIVED)
        except OSError as error:
            raise DriverError(f"the kernel does not answer: {error}") from error

    def _drain(self) -> None:
        self._socket.setblocking(False)
        try:
            while self._socket.recv(_RECEIVED):
                pass
        except BlockingIOError:
            pass
        finally:
            self._socket.settimeout(_PATIENCE)


class Lasting:
    """A link that is kept from one use to the next. When a socket for nftables is closed, the kernel first ends what
    was taken out of anybody's tables, for which it waits ten milliseconds and more (nf_tables_rcv_nl_event)."""

    def __init__(self, protocol: int) -> None:
        self._protocol = protocol
        self._idle: list[Link] = []

    @contextmanager
    def link(self) -> Iterator[Link]:
        """A link for one use at a time. After an error that is no refusal, there may be more to come on it than anybody
        asks for, and it is not used again."""
        link = self._idle.pop() if self._idle else Link(self._protocol)
        done = False
        try:
            yield link
            done = True
        finally:
            if done:
                self._idle.append(link)
            else:
                link.close()


def _refusal(kind: int, flags: int, body: bytes) -> RefusedError:
    (code,) = struct.unpack_from("=i", body)
    found = {}
    if flags & _TLVS:
        found = dict(attributes(body, 4 + _HEADER.size if kind == _ERROR else 4))
    said = string(found.get(_EXPLANATION, b""))
    return RefusedError(-code, f"{os.strerror(-code)}{f': {said}' if said else ''}")
