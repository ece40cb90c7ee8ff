"""Processes that are to run as long as the lab does: started again when they end, as a DaemonSet's pods are."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from sallyport.lab.namespaces import environment

log = structlog.get_logger(__name__)

RESTART_DELAY = 0.5
"""Seconds after which an ended process is started again; doubled each time, to at most the next one."""
RESTART_CAP = 10.0
STABLE = 10.0
"""A process that ran this many seconds is started again as quickly as the first time."""


async def spawn(
    argv: Sequence[str], output: Path, env: Mapping[str, str], *, pass_fds: Sequence[int] = ()
) -> asyncio.subprocess.Process:
    """Start a process in a session of its own, its output added to a file."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("ab") as file:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment(env),
            start_new_session=True,
            pass_fds=tuple(pass_fds),
        )


class Kept:
    """One process that is kept running until `stop`."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        output: Path,
        env: Mapping[str, str],
        note: Callable[[str, int], object],
        *,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name, self._argv, self._output, self._env, self._note = name, argv, output, env, note
        self._pass_fds = pass_fds
        self._task: asyncio.Task[None] | None = None
        self._child: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and from now on again whenever it ends."""
        await self._spawn()
        self._task = asyncio.create_task(self._keep())

    async def _spawn(self) -> None:
        self._child = await spawn(self._argv, self._output, self._env, pass_fds=self._pass_fds)
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
            await self._spawn()

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
            child.kill()
            await child.wait()
