"""What runs as long as a lab does is started again, whatever becomes of it."""

import asyncio
from collections.abc import Iterator

import pytest

from sallyport.lab import children
from sallyport.lab.children import Kept, Running


class Process:
    """One that has ended, or that runs until it is told to end."""

    pid = 1

    def __init__(self, returncode: int | None) -> None:
        self.returncode = returncode
        self._ended = asyncio.Event()

    async def wait(self) -> int | None:
        if self.returncode is None:
            await self._ended.wait()
        return self.returncode

    def send_signal(self, number: int) -> None:
        self.returncode = -number
        self._ended.set()


async def test_a_process_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "RESTART_DELAY", 0.001)
    runs = asyncio.Event()
    last = Process(None)

    def fates() -> Iterator[Process | OSError]:
        yield from (Process(1), OSError("no memory"), OSError("no memory"))
        runs.set()
        yield last

    left = fates()

    async def spawn() -> Running:
        fate = next(left)
        if isinstance(fate, OSError):
            raise fate
        return fate

    kept = Kept("one", spawn, lambda name, pid: None)
    await kept.start()
    await asyncio.wait_for(runs.wait(), 5)
    await kept.stop()
    assert last.returncode == -15
