"""Announcing what was taken, several times: one lost frame must not cost a neighbour cache's lifetime."""

import asyncio
from collections.abc import Callable

from sallyport.model.state import IPAddress

MOMENTS = (0.0, 0.1, 0.5, 2.0, 5.0)
"""Seconds after taking an address at which it is announced. Upstream announced once; #5117 there tells of 15 s lost."""

Announcement = tuple[str, IPAddress]
"""A device and the address that is behind it."""


class Announcer:
    """Announcements under way. `send` blocks and is called in a thread."""

    def __init__(self, send: Callable[[str, IPAddress], None], moments: tuple[float, ...] = MOMENTS) -> None:
        self._send, self._moments = send, moments
        self._running: dict[Announcement, asyncio.Task[None]] = {}

    def start(self, item: Announcement, *, anew: bool = False) -> None:
        """Announce from now on; what is under way goes on, unless it is to be begun anew."""
        if anew and item in self._running:
            self._running.pop(item).cancel()
        if item not in self._running:
            self._running[item] = asyncio.create_task(self._announce(item))

    def stop_all_but(self, kept: frozenset[Announcement]) -> None:
        """Say no more of addresses that are not held any more: another node announces them now."""
        for item in self._running.keys() - kept:
            self._running.pop(item).cancel()

    async def _announce(self, item: Announcement) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        for moment in self._moments:
            await asyncio.sleep(max(0.0, started + moment - loop.time()))
            await asyncio.to_thread(self._send, *item)
        del self._running[item]
