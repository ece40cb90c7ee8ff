"""The supervisor's side of the fork server: asks for processes, and watches over those that it did not start itself."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from sallyport.lab import forkserver
from sallyport.lab.children import Running, spawn
from sallyport.lab.forkserver import Start, Started
from sallyport.lab.namespaces import environment

NAME = "forkserver"
"""What the record of a lab calls it."""


class Forked:
    """A process that is nobody's child here. How it ended is not told."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()
        try:
            self._handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self._end()  # already
        else:
            asyncio.get_running_loop().add_reader(self._handle, self._let_go)

    def _let_go(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        self._end()

    def _end(self) -> None:
        self.returncode = 0
        self._ended.set()

    async def wait(self) -> int | None:
        """Return when it has ended."""
        await self._ended.wait()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """To that very process, never to a later one of its pid."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)


class Forks:
    """Starts processes from copies of one that has imported already. Use `spawn` of one as that of `Kept`."""

    def __init__(self, output: Path, note: Callable[[str, int], object]) -> None:
        self._output, self._note = output, note
        self._server: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._asking = asyncio.Lock()

    async def start(self) -> None:
        """Start the server, which begins to import; it is not waited for."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._server = await spawn(forkserver.command(), self._output, {}, stdin=theirs.fileno())
        self._note(NAME, self._server.pid)
        self._reader, self._writer = await asyncio.open_connection(sock=ours)

    async def spawn(
        self, module: str, arguments: Sequence[str], namespace: str, output: Path, env: Mapping[str, str]
    ) -> Running:
        """A process that runs what `python -m MODULE ARGUMENTS` does. OSError when it cannot be started."""
        start = Start(module, arguments, namespace, str(output), environment(env))
        output.parent.mkdir(parents=True, exist_ok=True)
        async with self._asking:
            answer = await self._asked(start) or await self._asked(start)
        if answer is None or answer.error:
            raise OSError(answer.error if answer else "the fork server ends again and again")
        return Forked(answer.pid)

    async def _asked(self, start: Start) -> Started | None:
        """Its answer; None when it has ended meanwhile, as any process may."""
        if self._server is None or self._server.returncode is not None:
            await self.start()
        try:
            self._writer.write(msgspec.json.encode(start) + b"\n")
            await self._writer.drain()
            line = await self._reader.readline()
        except ConnectionError:
            line = b""
        if not line and self._server is not None:
            await self._server.wait()
        return msgspec.json.decode(line, type=Started) if line else None

    async def stop(self) -> None:
        """End the server; what it has started goes on."""
        if self._server is not None:
            self._writer.close()
            await self._server.wait()
