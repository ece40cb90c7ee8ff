"""An agent's sign of life, also where the API server hardly takes it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from random import Random

import msgspec
import pytest
from aiohttp import web
from tests.unit.kube.server import answer, refusal, serving, until

from sallyport.apis.facts import UNHEARD_ANNOTATION
from sallyport.kube import lease
from sallyport.processes import heartbeat
from sallyport.processes.heartbeat import DURATION, LONGEST, Heartbeat

NOW = datetime(2030, 1, 1, tzinfo=UTC)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def beating(handle: Handler, met: Callable[[], bool], unheard: list[str] | None = None) -> None:
    """An agent's renewals until a condition is met."""
    async with serving(handle) as client:
        beat = Heartbeat(client, "node-1", lambda: NOW, lambda: unheard or [], Random(1))
        task = asyncio.create_task(beat.run())
        await until(met)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_what_an_agent_does_not_hear_goes_with_its_sign_of_life() -> None:
    bodies: list[dict[str, dict[str, dict[str, str]]]] = []

    async def handle(request: web.Request) -> web.Response:
        bodies.append(msgspec.json.decode(await request.read()))
        return answer({"metadata": {"name": "l"}})

    await beating(handle, lambda: len(bodies) == 1, ["pods since then: 503", "nodes since now: 503"])
    assert bodies[0]["metadata"]["annotations"][UNHEARD_ANNOTATION] == "pods since then: 503\nnodes since now: 503"


async def test_a_server_that_says_nothing_does_not_use_up_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal without an answer is tried again, so that one lost request costs no node its addresses."""
    monkeypatch.setattr(lease, "PATIENCE", 0.05)
    monkeypatch.setattr(heartbeat, "PAUSE", 0.01)
    asked = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            await asyncio.Event().wait()
        return answer({"metadata": {"name": "l"}})

    await beating(handle, lambda: asked == 2)
    assert DURATION.total_seconds() > 2 * (lease.PATIENCE + LONGEST)


async def test_renewals_that_fail_come_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "PAUSE", 0.01)
    times: list[float] = []

    async def handle(request: web.Request) -> web.Response:
        times.append(asyncio.get_running_loop().time())
        return refusal(503, "ServiceUnavailable")

    await beating(handle, lambda: len(times) == 7)
    assert times[6] - times[5] >= 0.01 * 2**5 / 2, "at least half of the sixth wait"
