"""Hearing of changes that others make on the node: links, addresses, routes and rules (rtnetlink(7))."""

import asyncio
import socket
from collections.abc import Callable

_GROUPS = 0x1 | 0x10 | 0x100 | 0x40 | 0x400 | 0x80 | 0x8000
"""RTMGRP_LINK, IPV4_IFADDR, IPV6_IFADDR, IPV4_ROUTE, IPV6_ROUTE, IPV4_RULE and its IPv6 sister (linux/rtnetlink.h)."""


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
        except (BlockingIOError, OSError):
            pass  # nothing left, or messages were lost: either way there is news
        self._wake()
