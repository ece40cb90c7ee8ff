"""Waiting for what another process brings about."""

import asyncio
from collections.abc import Awaitable, Callable

from sallyport.drivers.command import DriverError

READY_TIMEOUT = 60.0
POLL = 0.05
"""Seconds."""


async def until(condition: Callable[[], Awaitable[bool]], failure: str) -> None:
    """Return once `condition` holds. DriverError that begins with `failure` after READY_TIMEOUT."""
    try:
        async with asyncio.timeout(READY_TIMEOUT):
            while not await condition():  # noqa: ASYNC110  (another process is asked, which sets no event)
                await asyncio.sleep(POLL)
    except TimeoutError:
        raise DriverError(f"{failure} within {READY_TIMEOUT:g} s") from None
