"""Hearing of changes on the node, whoever makes them: links, addresses, neighbours, next hops, routes and rules
(rtnetlink(7)), and our nftables tables."""

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator

from sallyport.drivers.members import PASSING
from sallyport.drivers.nfnetlink import NETFILTER
from sallyport.drivers.wire import attributes, messages, string

_HEARD = {
    "LINK": 1,
    "NEIGH": 3,
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
_PROTOCOL = 5
"""Place of `rtm_protocol` in what is said of a route."""
_NEIGHBORS = frozenset({28, 29})
"""RTM_NEWNEIGH and RTM_DELNEIGH; forwarding entries are neighbours, too."""
_RULES = frozenset({32, 33})
_RULE_HEADER, _RULE_PROTOCOL = 12, 21
_NEXT_HOPS = frozenset({104, 105})
_HOP_PROTOCOL = 2
"""Rules and next hops name the protocol, too: in an attribute, and in a place of `struct nhmsg`."""
_GROUPS = sum(1 << (number - 1) for number in _HEARD.values())


class Listener:
    """A socket on which the kernel tells of changes. `wake` is called for every batch of messages with news in it; what
    they say does not matter, the kernel is read back anyway. `foreign` is set when there may have been news of what is
    not ours; who takes note of that unsets it."""

    def __init__(self, wake: Callable[[], None], matters: Callable[[bytes], bool], protocol: int, groups: int) -> None:
        self.foreign = False
        self._wake, self._matters = wake, matters
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        self._socket.bind((0, groups))

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen on that loop from now on."""
        loop.add_reader(self._socket.fileno(), self.hear)

    def hear(self) -> None:
        """Take in what the kernel has said until now."""
        news = False
        try:
            while batch := self._socket.recv(65536):
                news = self._matters(batch) or news
        except BlockingIOError:
            pass
        except OSError:
            news = self.foreign = True  # messages were lost
        if news:
            self._wake()


class Monitor(Listener):
    """Hears of links, addresses, next hops, routes and rules, and of what is on `devices` (the indexes of our own), but
    not of BIRD's routes. Ours are next hops, routes and rules of the protocol `own`."""

    def __init__(self, wake: Callable[[], None], own: int) -> None:
        super().__init__(wake, self._is_news, socket.NETLINK_ROUTE, _GROUPS)
        self.devices: frozenset[int] = frozenset()
        self._own = own

    def _is_news(self, batch: bytes) -> bool:
        told = [(kind, body) for kind, _, body in messages(batch) if self._concerns(kind, body)]
        self.foreign = self.foreign or any(not self._is_ours(kind, body) for kind, body in told)
        return bool(told)

    def _concerns(self, kind: int, body: bytes) -> bool:
        if kind in _ROUTES:
            return _protocol(kind, body) != _BIRD
        if kind in _NEIGHBORS:
            return int.from_bytes(body[4:8], sys.byteorder) in self.devices
        return True

    def _is_ours(self, kind: int, body: bytes) -> bool:
        return kind in _NEIGHBORS or _protocol(kind, body) == self._own


def _protocol(kind: int, body: bytes) -> int | None:
    """Of a route, a rule or a next hop."""
    if kind in _RULES:
        found = dict(attributes(body, _RULE_HEADER)).get(_RULE_PROTOCOL)
        return found[0] if found else None
    place = _PROTOCOL if kind in _ROUTES else _HOP_PROTOCOL if kind in _NEXT_HOPS else len(body)
    return body[place] if place < len(body) else None


_NEW_TABLES = 1 << (7 - 1)
"""NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h)."""
_SUBSYSTEM = 10
_NEW_GENERATION = (10 << 8) | 15


class TableMonitor(Listener):
    """Hears of our nftables tables. Members that come and go by themselves, the dead-man element among them, which is
    renewed each second, are passed over."""

    def __init__(self, wake: Callable[[], None], table: str) -> None:
        super().__init__(wake, self._is_news, NETFILTER, _NEW_TABLES)
        self._table = table

    def _is_news(self, batch: bytes) -> bool:
        return any(self._concerns(kind, names) for kind, names in about_tables(batch))

    def _concerns(self, kind: int, names: list[str]) -> bool:
        return kind != _NEW_GENERATION and names[:1] == [self._table] and not any(map(PASSING.match, names[1:2]))


def about_tables(batch: bytes) -> Iterator[tuple[int, list[str]]]:
    """Type and leading names of each nftables message: its table's, and that of a set, chain or rule's chain.

    Both are the attributes 1 and 2 of all of these messages (nf_tables.h: NFTA_*_TABLE, then the object's own name).
    """
    for kind, _, body in messages(batch):
        if kind >> 8 == _SUBSYSTEM:
            names: list[str] = []
            for number, value in attributes(body, 4):
                if number not in (1, 2):
                    break
                names.append(string(value))
            yield kind, names
