"""Writes are carried out each by itself: one that fails costs that one only."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from structlog.testing import capture_logs
from tests.unit.kube.server import until

from sallyport.apis.core import PODS
from sallyport.kube.client import Client
from sallyport.kube.clock import SystemClock
from sallyport.kube.errors import ApiError, Conflict, NotFound, Throttled, Unavailable
from sallyport.kube.reach import Reach
from sallyport.processes import writes
from sallyport.processes.writes import WRITERS, Write, Writer


class Api:
    """Answers by name: what is stored, or why it is not."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.reach = Reach(SystemClock())
        self.written: list[tuple[str, object]] = []
        self.at_once = self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def patch(self, resource: Any, name: str, body: object, namespace: str | None, *, subresource: Any) -> object:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        self.written.append((name, body))
        answer = self.answers.get(name, name)
        if isinstance(answer, Exception):
            raise answer
        return answer


def writer(api: Api, again: Callable[[], None] = lambda: None) -> Writer:
    return Writer(cast("Client", api), again)


def failure(kind: type[ApiError], text: str) -> ApiError:
    return kind(409 if kind is Conflict else 404 if kind is NotFound else 422, "Invalid", text)


async def test_whoever_asked_for_a_write_is_told_what_was_stored() -> None:
    told: list[object] = []
    api = Api(a="stored")
    await writer(api).carry_out([Write(PODS, "a", {"x": 1}, "prod", done=told.append)])
    assert (told, api.written) == (["stored"], [("a", {"x": 1})])


async def test_a_write_that_fails_costs_that_one_only_and_is_planned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writes, "RETRY", 0.0)
    again, refused, done = asyncio.Event(), list[str](), list[object]()
    api = Api(bad=failure(ApiError, "no"))
    made = [Write(PODS, name, {}, "prod", done=done.append, refused=refused.append) for name in ("bad", "good")]
    await writer(api, again.set).carry_out(made)
    await until(again.is_set)
    assert (done, len(refused)) == (["good"], 1)
    assert "no" in refused[0]


@pytest.mark.parametrize("kind", [Conflict, NotFound])
async def test_what_has_changed_meanwhile_waits_for_the_watch(
    kind: type[ApiError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which brings the newer object, and with it a new plan."""
    monkeypatch.setattr(writes, "RETRY", 0.0)
    again, refused, done = asyncio.Event(), list[str](), list[object]()
    await writer(Api(a=failure(kind, "old")), again.set).carry_out(
        [Write(PODS, "a", {}, "prod", done=done.append, refused=refused.append)]
    )
    await asyncio.sleep(0)
    assert (done, refused, again.is_set()) == ([], [], False)


@pytest.mark.parametrize(
    "error", [Unavailable(503, "ServiceUnavailable", "no"), Throttled(429, "TooManyRequests", "no")]
)
async def test_while_the_api_server_is_in_trouble_the_rest_waits_for_the_next_plan(
    error: ApiError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "RETRY", 0.0)
    names = [f"n{number}" for number in range(500)]
    api, again, refused = Api(**dict.fromkeys(names, error)), asyncio.Event(), list[str]()
    writing = writer(api, again.set)
    await writing.carry_out([Write(PODS, name, {}, "prod", refused=refused.append) for name in names])
    assert len(api.written) <= WRITERS
    assert not refused, "nobody has refused anything"
    assert api.reach.since is not None
    await until(again.is_set)
    api.answers = {}
    await writing.carry_out([Write(PODS, name, {}, "prod") for name in names])
    assert [name for name, _ in api.written[-len(names) :]] == names
    assert api.reach.since is None


async def test_what_is_refused_each_time_is_told_once() -> None:
    api = Api(bad=failure(ApiError, "no"))
    writing = writer(api)
    with capture_logs() as told:
        for _ in range(3):
            await writing.carry_out([Write(PODS, "bad", {}, "prod")])
        api.answers = {}
        await writing.carry_out([Write(PODS, "bad", {}, "prod")])
    assert [item["event"] for item in told] == ["controller.write_failed"]


async def test_not_more_are_written_at_a_time_than_the_server_bears() -> None:
    api = Api()
    api.gate.clear()
    task = asyncio.create_task(writer(api).carry_out(Write(PODS, str(n), {}, "prod") for n in range(WRITERS * 2)))
    await until(lambda: api.at_once == WRITERS)
    api.gate.set()
    await task
    assert (api.most, len(api.written)) == (WRITERS, WRITERS * 2)


def test_writes_are_equal_by_what_they_write() -> None:
    one, other = (Write(PODS, "a", {"x": 1}, "prod", done=lambda _: None) for _ in range(2))
    assert one == other != Write(PODS, "a", {"x": 2}, "prod")
