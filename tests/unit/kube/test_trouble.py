"""A server in trouble is asked less and less, is told of once, and is believed again at once."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs
from tests.unit.kube.server import FakeClock, answer, node, refusal, serving, until
from tests.unit.kube.test_watch import BOOKMARK, event, page

from sallyport.apis.core import NODES
from sallyport.kube.client import Client
from sallyport.kube.credentials import Connection, Credential
from sallyport.kube.errors import ApiError, Conflict, Forbidden, Throttled, Unauthorized, Unavailable
from sallyport.kube.reach import SPREAD, Reach, trouble
from sallyport.kube.watch import Reflector

MINUTES = 5
EXPIRED = event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})


def busy(_: web.Request) -> web.StreamResponse:
    found = refusal(429, "TooManyRequests")
    found.headers["Retry-After"] = "1"
    return found


async def listed(request: web.Request, *chunks: bytes) -> web.StreamResponse:
    """Lists are answered; a watch says the chunks, and ends."""
    if "watch" not in request.query:
        return page(node("a", "1"))
    response = web.StreamResponse()
    await response.prepare(request)
    for chunk in chunks:
        await response.write(chunk)
    return response


Answer = Callable[[web.Request], Awaitable[web.StreamResponse] | web.StreamResponse]
STORMS: dict[str, tuple[Answer, int]] = {
    "503 to everything": (lambda _: refusal(503, "ServiceUnavailable"), 35),
    "500 to everything": (lambda _: refusal(500, "InternalError"), 35),
    "429 to everything": (busy, 70),
    "401 to everything": (lambda _: refusal(401, "Unauthorized"), 70),
    "410 to everything": (lambda _: refusal(410, "Expired"), 70),
    "410 to every watch": (lambda request: listed(request, EXPIRED), 70),
    "410 to every watch, after a bookmark": (lambda request: listed(request, BOOKMARK, EXPIRED), 70),
    "watches that end at once": (lambda request: listed(request), 35),
    "watches that end after a bookmark": (lambda request: listed(request, BOOKMARK), 35),
}
"""What the server says all the time, and how many requests for a kind it may get in these minutes."""


@pytest.mark.parametrize("storm", STORMS)
async def test_a_server_that_always_fails_is_not_asked_in_a_tight_loop(storm: str) -> None:
    say, most = STORMS[storm]
    count, clock = 0, FakeClock()

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        said = say(request)
        return said if isinstance(said, web.StreamResponse) else await said

    async with serving(handle, clock) as client:
        task = asyncio.create_task(Reflector(client, NODES, clock=clock, random=Random(1)).run())
        end = clock.seconds + 60 * MINUTES
        await until(lambda: clock.seconds >= end, lambda: clock.advance(2.0))
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert 2 <= count <= most


async def test_a_server_is_left_alone_for_as_long_as_it_asks() -> None:
    times: list[float] = []
    clock = FakeClock()

    async def handle(request: web.Request) -> web.Response:
        times.append(clock.seconds)
        found = refusal(429, "TooManyRequests")
        found.headers["Retry-After"] = "7"
        return found

    async with serving(handle, clock) as client:
        task = asyncio.create_task(Reflector(client, NODES, clock=clock, random=Random(1)).run())
        await until(lambda: len(times) > 8, lambda: clock.advance(0.25))
        task.cancel()
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(gaps) >= 7
    assert len({round(gap, 1) for gap in gaps}) > 1, "not all clients may come back in the same moment"


REFUSED = Unavailable(0, "Unavailable", "refused", asked="get /x")


def test_one_trouble_of_many_is_told_once_and_its_end_once() -> None:
    clock = FakeClock()
    reach = Reach(clock)
    with capture_logs() as told:
        for _ in range(100):
            for asker in ("pods", "nodes", "lease"):
                assert reach.failed(asker, REFUSED)
        clock.advance(93)
        reach.answered("pods")
        reach.answered("nodes")
        assert reach.since == clock.seconds - 93
        reach.failed("lease", Throttled(429, "TooManyRequests", "later", asked="patch /lease"))
        reach.failed("lease", REFUSED)
        reach.answered("lease")
        assert reach.since is None
        reach.answered("lease")
    assert [(item["event"], item.get("trouble") or item["seconds"]) for item in told] == [
        ("api.trouble", "the API server cannot be reached"),
        ("api.trouble", "the API server has too much to do"),
        ("api.well", 93.0),
    ]
    assert told[0]["error"] == "get /x: refused"
    assert "existing egress goes on" in told[0]["effect"]


async def test_who_waits_asks_again_soon_after_another_was_answered() -> None:
    clock = FakeClock()
    reach = Reach(clock, Random(1))
    reach.failed("lease", REFUSED)
    began, waiting = clock.seconds, asyncio.create_task(reach.wait(30))
    await asyncio.sleep(0)
    await until(lambda: clock.seconds >= began + 10, lambda: clock.advance(0.1))
    assert not waiting.done()
    reach.answered("lease")
    await until(waiting.done, lambda: clock.advance(0.1))
    assert clock.seconds - began < 10 + SPREAD + 1
    reach.answered("nobody who had failed")
    waiting = asyncio.create_task(reach.wait(30))
    began = clock.seconds
    await until(waiting.done, lambda: clock.advance(0.1))
    assert clock.seconds - began >= 30


def test_who_has_ended_in_a_trouble_does_not_make_it_last() -> None:
    reach = Reach(FakeClock())
    reach.failed("a reflector of a term that ends", REFUSED)
    reach.forget()
    assert reach.since is not None
    reach.answered("election")
    assert reach.since is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Unauthorized(401, "Unauthorized", ""), "the API server does not accept our credentials"),
        (ApiError(500, "InternalError", ""), "the API server fails"),
        (Unavailable(503, "ServiceUnavailable", ""), "the API server fails"),
        (Forbidden(403, "Forbidden", ""), ""),
        (Conflict(409, "Conflict", ""), ""),
    ],
)
def test_a_refusal_is_no_trouble_of_the_server(error: ApiError, said: str) -> None:
    assert trouble(error) == said


class Rotating:
    """Credentials that are made anew each time they are refused."""

    def __init__(self) -> None:
        self.made = 1

    async def current(self) -> Credential:
        return Credential(token=f"token-{self.made}")

    def forget(self, refused: Credential) -> None:
        if refused.token == f"token-{self.made}":
            self.made += 1


async def test_a_token_that_has_run_out_is_made_anew_once_for_all_who_were_refused() -> None:
    gate, waiting = asyncio.Event(), 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal waiting
        if request.headers["Authorization"] == "Bearer token-2":
            return answer({"metadata": {"name": "n"}})
        waiting += 1
        await gate.wait()
        return refusal(401, "Unauthorized")

    source = Rotating()
    async with serving(handle) as plain, Client(Connection(plain.connection.server, source)) as client:
        asking: list[asyncio.Task[Any]] = [asyncio.create_task(client.get(NODES, "n")) for _ in range(10)]
        await until(lambda: waiting == len(asking))
        gate.set()
        await asyncio.gather(*asking)
    assert source.made == 2


async def test_by_how_much_the_servers_clock_differs_is_known_from_its_answers() -> None:
    clock = FakeClock()
    clock.seconds = 1_000_000.0

    async def handle(request: web.Request) -> web.Response:
        found = answer({"metadata": {"name": "n"}})
        found.headers["Date"] = "Mon, 12 Jan 1970 13:56:40 GMT"
        return found

    async with serving(handle, clock) as client:
        await client.get(NODES, "n")
    assert client.ahead == 600
