"""Processes that are to run as long as the lab does: started again when they end, as a DaemonSet's pods are."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from sallyport.lab.namespaces import environment

log = structlog.get_logger(__name__)

RESTART_DELAY = 0.5
"""Seconds after which an ended process is started again; doubled each time, to at most the next one."""
RESTART_CAP = 10.0
STABLE = 10.0
"""A process that ran this many seconds is started again as quickly as the first time."""


class Running(Protocol):
    """A process that was started."""

    @property
    def pid(self) -> int:
        """Its id."""

    @property
    def returncode(self) -> int | None:
        """None while it runs."""

    async def wait(self) -> int | None:
        """Return when it has ended."""

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended."""


async def spawn(
    argv: Sequence[str],
    output: Path,
    env: Mapping[str, str],
    *,
    pass_fds: Sequence[int] = (),
    stdin: int = asyncio.subprocess.DEVNULL,
) -> asyncio.subprocess.Process:
    """Start a process in a session of its own, its output added to a file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("ab") as file:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=stdin,
            stdout=file,
            stderr=file,
            env=environment(env),
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )


class Kept:
    """One process that is kept running until `stop`. `spawn` starts it, `note` is told of each pid."""

    def __init__(self, name: str, spawn: Callable[[], Awaitable[Running]], note: Callable[[str, int], object]) -> None:
        self.name, self._start, self._note = name, spawn, note
        self._task: asyncio.Task[None] | None = None
        self._child: Running | None = None

    async def start(self) -> None:
        """Start it, and from now on again whenever it ends."""
        await self._spawn()
        self._task = asyncio.create_task(self._keep())

    async def _spawn(self) -> None:
        self._child = await self._start()
        self._note(self.name, self._child.pid)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        delay = RESTART_DELAY
        while self._child is not None:
            began = loop.time()
            status = await self._child.wait()
            delay = RESTART_DELAY if loop.time() - began > STABLE else min(delay * 2, RESTART_CAP)
            log.warning("lab.restart", name=self.name, status=status, seconds=delay)
            await asyncio.sleep(delay)
            try:
                await self._spawn()
            except OSError as error:  # the next turn tries again
                log.error("lab.not_started", name=self.name, error=str(error))

    async def stop(self, *, kill: bool = False) -> None:
        """End it for good: asked to, or, as by a power cut, not asked."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        child, self._child = self._child, None
        if child is None or child.returncode is not None:
            return
        child.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            await asyncio.wait_for(child.wait(), 3)
        except TimeoutError:
            child.send_signal(signal.SIGKILL)
            await child.wait()
