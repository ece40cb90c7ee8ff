"""When the kernel of a namespace said something: times of the netlink messages that matter."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

from sallyport.drivers.monitor import about_tables
from sallyport.lab import namespaces

_HEADER = struct.Struct("=IHHII")
_BUFFER = 256 << 20
"""Bytes of messages that wait while this process has no core: more than 100,000 routes take."""
_FORCED = 33
"""SO_RCVBUFFORCE (asm-generic/socket.h), which socket lacks."""
_PATIENCE = 100_000
"""Microseconds after which a reader looks whether it is to end."""
_NEW_ROUTE, _DELETED_ROUTE, _DELETED_LINK = 24, 25, 17
_LINKS, _ROUTES = 1 << 0, 1 << 6
"""Multicast groups of links and of IPv4 routes (linux/rtnetlink.h)."""
_NETFILTER, _NFTABLES = 12, 1 << 6
_NEW_ELEMENT, _DELETED_ELEMENT = (10 << 8) | 12, (10 << 8) | 14
"""NFT_MSG_NEWSETELEM and NFT_MSG_DELSETELEM of NFNL_SUBSYS_NFTABLES (linux/netfilter/nf_tables.h)."""
_BIRD = 12
_PROTOCOL = _HEADER.size + 5
_TABLE, _DESTINATION = 15, 1
"""Attributes of routes (linux/rtnetlink.h)."""

Wanted = Callable[[int, bytes], bool]
"""Whether a message matters, by its type and its bytes with the header."""


class Heard:
    """`times` are the moments, in seconds since the epoch, at which a message came that matters."""

    def __init__(self, link: socket.socket, wanted: Wanted) -> None:
        self.times: list[float] = []
        self._link, self._wanted = link, wanted
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                batch = self._link.recv(1 << 20)
            except BlockingIOError:
                continue  # nothing came within _PATIENCE
            now = time.time()
            self.times += [now for kind, message in _split(batch) if self._wanted(kind, message)]

    def since(self, moment: float) -> list[float]:
        """The times from a moment on."""
        return [item for item in self.times if item >= moment]

    def end(self) -> None:
        """Listen no more."""
        self._ended.set()
        self._reader.join()
        self._link.close()


def _split(batch: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + _HEADER.size <= len(batch):
        length, kind, *_ = _HEADER.unpack_from(batch, place)
        yield kind, batch[place : place + length]
        place += (length + 3) & ~3


@contextlib.contextmanager
def hearing(namespace: str, protocol: int, groups: int, wanted: Wanted) -> Iterator[Heard]:
    """Listen to groups of a netlink protocol in a namespace while the block runs."""

    def opened() -> socket.socket:
        link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        link.setsockopt(socket.SOL_SOCKET, _FORCED, _BUFFER)
        # The kernel's own timeout spares a call of poll for each of 100,000 messages.
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("=qq", 0, _PATIENCE))
        link.bind((0, groups))
        return link

    heard = Heard(namespaces.inside(namespace, opened), wanted)
    try:
        yield heard
    finally:
        heard.end()


def routes(
    namespace: str, table: int, begins: bytes, *, deleted: bool = False
) -> contextlib.AbstractContextManager[Heard]:
    """BIRD's IPv4 routes of a table whose destination begins with these bytes: when each was made, or `deleted`."""
    kind = _DELETED_ROUTE if deleted else _NEW_ROUTE
    return hearing(namespace, socket.NETLINK_ROUTE, _ROUTES, partial(_is_route, kind, table, begins))


def _is_route(wanted: int, table: int, begins: bytes, kind: int, message: bytes) -> bool:
    return (
        kind == wanted
        and message[_PROTOCOL] == _BIRD
        and struct.pack("=HHI", 8, _TABLE, table) in message
        and struct.pack("=HH", 8, _DESTINATION) + begins in message
    )


def lost_links(namespace: str) -> contextlib.AbstractContextManager[Heard]:
    """When links were removed."""
    return hearing(namespace, socket.NETLINK_ROUTE, _LINKS, lambda kind, message: kind == _DELETED_LINK)


def elements(
    namespace: str, table: str, name: str, *, deleted: bool = False
) -> contextlib.AbstractContextManager[Heard]:
    """When elements were put into a set or map of an nftables table, or, with `deleted`, put in or taken out."""
    kinds = {_NEW_ELEMENT, _DELETED_ELEMENT} if deleted else {_NEW_ELEMENT}
    return hearing(namespace, _NETFILTER, _NFTABLES, partial(_is_element, kinds, [table, name]))


def _is_element(kinds: set[int], wanted: list[str], kind: int, message: bytes) -> bool:
    return kind in kinds and any(found == wanted for _, found in about_tables(message))
