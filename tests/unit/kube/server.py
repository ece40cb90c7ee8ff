"""A scripted API server: each path answers with what a test put there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from sallyport.kube.client import Client
from sallyport.kube.credentials import Connection

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeClock:
    """Time that passes only in `advance`."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.seconds + seconds, future))
        await future

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self.seconds]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[0] > self.seconds]
        for _, future in due:
            if not future.done():
                future.set_result(None)


async def until(met: Callable[[], bool], step: Callable[[], None] = lambda: None) -> None:
    """Let the loop work until the condition is met; a bound turns a hang into a failure."""
    async with asyncio.timeout(10):
        while not met():
            step()
            await asyncio.sleep(0.001)


def answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def refusal(status: int, reason: str, message: str = "refused") -> web.Response:
    return answer({"kind": "Status", "code": status, "reason": reason, "message": message}, status)


def node(name: str, revision: str, uid: str = "u1") -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": uid, "resourceVersion": revision}}


@asynccontextmanager
async def serving(handler: Handler, clock: FakeClock | None = None) -> AsyncIterator[Client]:
    """A client of a server that answers every request by `handler`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with Client(Connection(f"http://{host}:{port}"), clock=clock) as client:
            yield client
    finally:
        await runner.cleanup()
