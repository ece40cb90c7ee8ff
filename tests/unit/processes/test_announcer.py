"""Announcements of addresses that were just taken."""

import asyncio
from ipaddress import ip_address

from sallyport.model.state import IPAddress
from sallyport.processes.announcer import Announcer

ITEM = ("eth0", ip_address("10.0.0.5"))


async def sent_until(sent: list[tuple[str, IPAddress]], count: int) -> None:
    async with asyncio.timeout(5):
        while len(sent) < count:  # noqa: ASYNC110  (the announcer sends from a thread, which sets no event)
            await asyncio.sleep(0.001)


async def test_an_address_is_announced_again_and_again_since_one_frame_may_be_lost() -> None:
    sent: list[tuple[str, IPAddress]] = []
    announcer = Announcer(lambda *item: sent.append(item), moments=(0.0, 0.01, 0.02))
    announcer.start(ITEM)
    announcer.start(ITEM)
    await sent_until(sent, 3)
    await asyncio.sleep(0)
    assert sent == [ITEM] * 3


async def test_an_address_that_was_given_up_is_announced_no_more() -> None:
    sent: list[tuple[str, IPAddress]] = []
    announcer = Announcer(lambda *item: sent.append(item), moments=(0.0, 60.0))
    announcer.start(ITEM)
    await sent_until(sent, 1)
    announcer.stop_all_but(frozenset())
    await asyncio.sleep(0)
    announcer.start(ITEM)
    await sent_until(sent, 2)


async def test_what_is_begun_anew_is_announced_from_the_first_moment_on() -> None:
    """An agent that was frozen in the middle of its announcements has another node's to follow."""
    sent: list[tuple[str, IPAddress]] = []
    announcer = Announcer(lambda *item: sent.append(item), moments=(0.0, 0.01, 60.0))
    announcer.start(ITEM)
    await sent_until(sent, 2)
    announcer.start(ITEM)
    await asyncio.sleep(0)
    announcer.start(ITEM, anew=True)
    await sent_until(sent, 4)
    assert sent == [ITEM] * 4
