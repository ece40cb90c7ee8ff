"""Hearing of changes that others make on the node: links, addresses, next hops, routes and rules (rtnetlink(7)), and
removals from our nftables table."""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator

_HEARD = {
    "LINK": 1,
    "IPV4_IFADDR": 5,
    "IPV4_ROUTE": 7,
    "IPV4_RULE": 8,
    "IPV6_IFADDR": 9,
    "IPV6_ROUTE": 11,
    "IPV6_RULE": 19,
    "NEXTHOP": 32,
}
"""Multicast groups of rtnetlink by their names without RTNLGRP_ (linux/rtnetlink.h)."""
_ROUTES = frozenset({24, 25})
"""RTM_NEWROUTE and RTM_DELROUTE (linux/rtnetlink.h)."""
_BIRD = 12
"""RTPROT_BIRD. A peer may send it 100,000 routes at once, and no plan depends on what they are."""
_HEADER = struct.Struct("=IHHII")
_PROTOCOL = _HEADER.size + 5
"""Place of `rtm_protocol` in a message about a route."""
_GROUPS = sum(1 << (number - 1) for number in _HEARD.values())


class Monitor:
    """Calls `wake` for every batch of messages but those about BIRD's routes alone; what they say does not matter, the
    kernel is read back anyway."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self._socket.bind((0, _GROUPS))

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen on that loop from now on."""
        loop.add_reader(self._socket.fileno(), self._heard)

    def _heard(self) -> None:
        news = False
        try:
            while message := self._socket.recv(65536):
                news = news or is_news(message)
        except BlockingIOError:
            pass
        except OSError:
            news = True  # messages were lost
        if news:
            self._wake()


def is_news(batch: bytes) -> bool:
    """Whether any message of a batch is about something else than BIRD's routes."""
    offset = 0
    while offset + _HEADER.size <= len(batch):
        length, kind, _, _, _ = _HEADER.unpack_from(batch, offset)
        if kind not in _ROUTES or length <= _PROTOCOL or batch[offset + _PROTOCOL] != _BIRD:
            return True
        offset += (length + 3) & ~3
    return False


_NETLINK_NETFILTER = 12
_NFTABLES_GROUP = 1 << (7 - 1)
"""NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h)."""
_REMOVALS = frozenset((10 << 8) | message for message in (2, 5, 8, 11, 14))
"""NFT_MSG_DELTABLE, DELCHAIN, DELRULE, DELSET and DELSETELEM of subsystem 10 (linux/netfilter/nf_tables.h)."""
_ATTRIBUTE = struct.Struct("=HH")


class TableMonitor:
    """Calls `wake` when something of our nftables table is removed: until it is back, nothing keeps packets in.

    The dead-man element is removed and added each second by ourselves, and is passed over.
    """

    def __init__(self, wake: Callable[[], None], table: str) -> None:
        self._wake, self._table = wake, table
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER)
        self._socket.bind((0, _NFTABLES_GROUP))

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen on that loop from now on."""
        loop.add_reader(self._socket.fileno(), self._heard)

    def _heard(self) -> None:
        news = False
        try:
            while batch := self._socket.recv(65536):
                news = news or any(self._concerns(kind, names) for kind, names in messages(batch))
        except BlockingIOError:
            pass
        except OSError:
            news = True  # messages were lost
        if news:
            self._wake()

    def _concerns(self, kind: int, names: list[str]) -> bool:
        return kind in _REMOVALS and names[:1] == [self._table] and names[1:2] != ["alive"]


def messages(batch: bytes) -> Iterator[tuple[int, list[str]]]:
    """Type and leading names of each nftables message: its table's, and that of a set, chain or rule's chain.

    Both are the attributes 1 and 2 of all of these messages (nf_tables.h: NFTA_*_TABLE, then the object's own name).
    """
    place = 0
    while place + _HEADER.size <= len(batch):
        length, kind, *_ = _HEADER.unpack_from(batch, place)
        if length < _HEADER.size:
            return
        yield kind, _names(batch[place + _HEADER.size + 4 : place + length])
        place += (length + 3) & ~3


def _names(attributes: bytes) -> list[str]:
    names: list[str] = []
    place = 0
    while place + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, place)
        if length < _ATTRIBUTE.size or kind not in (1, 2):
            break
        names.append(attributes[place + _ATTRIBUTE.size : place + length].rstrip(b"\x00").decode(errors="replace"))
        place += (length + 3) & ~3
    return names
