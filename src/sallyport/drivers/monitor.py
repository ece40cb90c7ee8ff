"""Hearing of changes that others make on the node: links, addresses, next hops, routes and rules (rtnetlink(7))."""

import asyncio
import socket
from collections.abc import Callable

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
_GROUPS = sum(1 << (number - 1) for number in _HEARD.values())


class Monitor:
    """Calls `wake` for every batch of messages; what they say does not matter, the kernel is read back anyway."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self._socket.bind((0, _GROUPS))

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen on that loop from now on."""
        loop.add_reader(self._socket.fileno(), self._heard)

    def _heard(self) -> None:
        try:
            while self._socket.recv(65536):
                pass
        except OSError:
            pass  # nothing left, or messages were lost: either way there is news
        self._wake()
