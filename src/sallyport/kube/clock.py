"""Time as an argument: what a test replaces, and waiting with a bound."""

import asyncio
import time
from collections.abc import Coroutine
from random import Random
from typing import Any, Protocol, TypeVar

R = TypeVar("R")


class Clock(Protocol):
    """Time as its users need it."""

    def now(self) -> float:
        """Seconds since the epoch: for what others read. It may jump."""

    def monotonic(self) -> float:
        """Seconds since some moment: for durations."""

    async def sleep(self, seconds: float) -> None:
        """Return after that long."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, R]) -> R:
    """The result of `work`, which is cancelled with a TimeoutError when it takes longer than `seconds`."""
    task = asyncio.ensure_future(work)
    bell = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((task, bell), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError(f"not done after {seconds:g} s")
        return task.result()
    finally:
        for each in (task, bell):
            if not each.done():
                each.cancel()
        await asyncio.gather(task, bell, return_exceptions=True)


class Backoff:
    """Waits that double from `first` to at most `cap` seconds, each shortened by up to half at random."""

    def __init__(self, random: Random, *, first: float = 0.2, cap: float = 30.0) -> None:
        self._random, self._first, self._cap = random, first, cap
        self._step = first

    def next(self) -> float:
        """The wait in seconds before the next try."""
        wait = self._step * (1 - self._random.random() / 2)
        self._step = min(self._cap, self._step * 2)
        return wait

    def reset(self) -> None:
        """It worked: the next wait is the shortest again."""
        self._step = self._first
