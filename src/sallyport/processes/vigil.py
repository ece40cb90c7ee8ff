"""What an agent says of its node before it knows any object, as long as the API server does not answer.

Its kernel is as the agent before has left it, and leads packets on. That agent would have gone on renewing the dead-man
element through the whole outage; if this one did not, others would take over addresses with which nothing is wrong.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from sallyport.drivers.command import DriverError

log = structlog.get_logger(__name__)

PACE = 1.0
"""Seconds between two renewals, and before the first: an API server that is there has said something by then."""
UP = "Up"
"""BIRD's word for a BFD session in which both ends hear each other."""


class Witness(Protocol):
    """What is seen and done of a node without any object. All of it blocks."""

    def peers(self) -> Mapping[str, str]:
        """State of BFD by address, of all nodes that BIRD was told to watch; "" for one that it does not tell of."""

    def prolong(self) -> bool:
        """Renew the dead-man element if it still lives; whether it did."""


async def keep_vigil(unanswered: Callable[[], bool], node: Witness) -> None:
    """Until cancelled: renew the element while the API server is `unanswered`, all peers are up, and it still lives.

    As long as every peer hears us and we hear every peer, an agent that knows all objects would do nothing but renew.
    When one is lost, it might have to take an address over, or to give one up. This one cannot know, so its node falls
    silent, and the next in rank decides for it. An element that has run out is not made anew either: by then others
    have what was held here.
    """
    told: str | None = None
    while True:
        await asyncio.sleep(PACE)
        if not unanswered():
            continue
        try:
            reason = await asyncio.to_thread(_kept, node)
        except DriverError as error:
            reason = str(error)
        if reason != told:
            log.warning("agent.vigil", silent=reason) if reason else log.info("agent.vigil")
        told = reason


def _kept(node: Witness) -> str:
    """Renewed, or why not."""
    lost = sorted(address for address, state in node.peers().items() if state != UP)
    if lost:
        return f"BFD is not up with {', '.join(lost)}"
    return "" if node.prolong() else "the dead-man element has run out"
