"""What a process knows of whether the API server answers it at all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from tests.unit.kube.server import Handler, answer, refusal, serving, until

from sallyport.apis.core import NODES
from sallyport.processes.watches import Watches


async def silence(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def one_list(request: web.Request) -> web.StreamResponse:
    if "watch" in request.query:
        return await silence(request)
    return answer({"metadata": {"resourceVersion": "1"}, "items": []})


async def refuses(request: web.Request) -> web.StreamResponse:
    return refusal(403, "Forbidden")


async def fails(request: web.Request) -> web.StreamResponse:
    return refusal(503, "Unavailable")


@asynccontextmanager
async def watching(handler: Handler) -> AsyncIterator[Watches]:
    """Nodes followed at a server, as soon as it has been asked."""
    asked = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.set()
        return await handler(request)

    async with serving(handle) as client:
        watches = Watches(client, asyncio.Event())
        watches.follow(NODES)
        task = asyncio.create_task(watches.run())
        await asked.wait()
        yield watches
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_server_that_takes_requests_and_says_nothing_does_not_answer() -> None:
    async with watching(silence) as watches:
        assert watches.unanswered()


async def test_a_server_that_fails_does_not_answer() -> None:
    async with watching(fails) as watches:
        await until(lambda: bool(watches.troubles()))
        assert watches.unanswered()


@pytest.mark.parametrize("handler", [one_list, refuses])
async def test_a_list_is_an_answer_and_a_refusal_is_too(handler: Handler) -> None:
    async with watching(handler) as watches:
        await until(lambda: not watches.unanswered())
