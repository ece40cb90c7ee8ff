"""A reflector keeps its cache equal to the server, whatever the connection does."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from tests.unit.kube.server import FakeClock, answer, node, refusal, serving, until

from sallyport.apis.core import NODES, Node
from sallyport.kube.client import Client
from sallyport.kube.identity import Key
from sallyport.kube.watch import BOOKMARKED, Reflector


def page(*items: dict[str, Any], revision: str = "10", token: str = "") -> web.Response:
    return answer({"metadata": {"resourceVersion": revision, "continue": token}, "items": list(items)})


def event(kind: str, obj: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"


class Script:
    """What the server says: pages for lists, and for each watch its chunks; then it stays open, or ends."""

    def __init__(self, pages: list[web.Response], watches: list[list[bytes] | web.Response]) -> None:
        self.pages, self.watches = deque(pages), deque(watches)
        self.asked: list[dict[str, str]] = []
        self.changes: list[tuple[str, bool, bool]] = []
        self.clock = FakeClock()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        if "watch" not in request.query:
            return self.pages.popleft()
        script = self.watches.popleft() if self.watches else []
        if isinstance(script, web.Response):
            return script
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in script:
            if chunk == b"END":
                return response
            await response.write(chunk)
        await asyncio.Event().wait()
        return response

    def note(self, key: Key, old: Node | None, new: Node | None) -> None:
        self.changes.append((key[1], old is not None, new is not None))

    @asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[Reflector[Node]]:
        async with serving(self.handle) as client:
            reflector = Reflector(client, NODES, on_change=self.note, clock=self.clock, random=Random(1), **options)
            task = asyncio.create_task(reflector.run())
            try:
                yield reflector
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def names(self, reflector: Reflector[Node]) -> list[str]:
        return sorted(name for _, name in reflector.cache.objects)


async def test_it_lists_in_pages_and_follows_from_the_lists_revision() -> None:
    added, deleted = event("ADDED", node("c", "11")), event("DELETED", node("a", "12"))
    stream = added + deleted
    script = Script(
        [page(node("a", "1"), token="next"), page(node("b", "2"))],
        [[stream[:20], stream[20:90], stream[90:]]],  # cut anywhere
    )
    async with script.running(field_selector="metadata.name!=z") as reflector:
        await until(lambda: script.names(reflector) == ["b", "c"])
    assert script.asked[0]["limit"] == "500"
    assert script.asked[1]["continue"] == "next"
    assert script.asked[2]["resourceVersion"] == "10"
    assert script.asked[2]["allowWatchBookmarks"] == "true"
    assert {asked["fieldSelector"] for asked in script.asked} == {"metadata.name!=z"}
    assert ("a", True, False) in script.changes


async def test_a_watch_that_ends_is_resumed_from_the_last_bookmark() -> None:
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "77"}})
    script = Script([page(node("a", "1"))], [[bookmark, b"END"]])
    async with script.running():
        await until(lambda: len(script.asked) == 3, lambda: script.clock.advance(0.5))
    assert script.asked[2]["resourceVersion"] == "77"


async def test_after_410_the_new_list_shows_what_was_deleted_unseen() -> None:
    expired = event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})
    for gone in ([expired], refusal(410, "Expired")):
        script = Script([page(node("a", "1"), node("b", "2")), page(node("b", "2"), revision="20")], [gone])
        async with script.running() as reflector:
            await until(lambda: script.names(reflector) == ["b"], lambda: script.clock.advance(1))  # noqa: B023
        assert script.changes[-1] == ("a", True, False)


async def test_an_object_made_anew_under_its_name_is_seen_as_gone_and_new() -> None:
    script = Script([page(node("a", "1", "old"))], [[event("MODIFIED", node("a", "9", "new"))]])
    async with script.running():
        await until(lambda: len(script.changes) == 3)
    assert script.changes == [("a", False, True), ("a", True, False), ("a", False, True)]


BOOKMARK = event("BOOKMARK", {"metadata": {"resourceVersion": "77"}})


@pytest.mark.parametrize(
    ("chunks", "seconds", "revision"),
    [([BOOKMARK], (BOOKMARKED, BOOKMARKED + 20), "77"), ([], (240 + 10, 480 + 30), "10")],
    ids=["with bookmarks", "without"],
)
async def test_a_watch_that_goes_silent_is_told_and_resumed(
    chunks: list[bytes], seconds: tuple[float, float], revision: str
) -> None:
    """After a bookmark there must be others; of a server that sends none, nothing is known until the watch is over."""
    script = Script([page(node("a", "1"))], [chunks])
    with capture_logs() as told:
        async with script.running() as reflector:
            await until(lambda: len(script.asked) == 2 and reflector._bookmarked == bool(chunks))
            began = script.clock.seconds
            await until(lambda: bool(told), lambda: script.clock.advance(1))
            assert seconds[0] <= script.clock.seconds - began <= seconds[1]
            await until(lambda: len(script.asked) == 3 and not reflector.trouble, lambda: script.clock.advance(0.1))
    assert script.asked[2]["resourceVersion"] == revision
    assert [item["event"] for item in told] == ["api.trouble", "api.well"]
    assert "silent for" in told[0]["error"]


async def test_a_server_that_sends_no_bookmarks_any_more_is_not_taken_for_silent_again_and_again() -> None:
    script = Script([page(node("a", "1"))], [[BOOKMARK], [], []])
    async with script.running() as reflector:
        await until(lambda: reflector._bookmarked)
        await until(lambda: len(script.asked) == 3, lambda: script.clock.advance(1))
        began = script.clock.seconds
        await until(lambda: not reflector._bookmarked, lambda: script.clock.advance(1))
        assert script.clock.seconds - began >= BOOKMARKED - 20
        await until(lambda: len(script.asked) == 4, lambda: script.clock.advance(0.1))
        began = script.clock.seconds
        await until(lambda: len(script.asked) == 5, lambda: script.clock.advance(1))
        assert script.clock.seconds - began >= 200


async def test_a_server_that_takes_a_watch_and_never_answers_is_noticed() -> None:
    frozen = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return page(node("a", "1"))
        await frozen.wait()
        return web.Response()

    async with serving(handle) as plain, Client(plain.connection, timeout=0.05) as client:
        reflector = Reflector(client, NODES)
        task = asyncio.create_task(reflector.run())
        await until(lambda: reflector.trouble == "watch /api/v1/nodes: no answer in time")
        task.cancel()
        frozen.set()


async def test_an_object_that_does_not_fit_its_type_hides_no_other() -> None:
    bad = {"metadata": {"name": 5}}
    script = Script([page(bad, node("a", "1"))], [[event("ADDED", bad | {"x": 1}), event("ADDED", node("b", "3"))]])
    async with script.running() as reflector:
        await until(lambda: script.names(reflector) == ["a", "b"])


async def test_refusals_are_shown_and_tried_again() -> None:
    script = Script([refusal(403, "Forbidden", 'cannot list resource "nodes"'), page(node("a", "1"))], [])
    async with script.running() as reflector:
        await until(lambda: reflector.trouble != "")
        assert reflector.trouble == 'list /api/v1/nodes: cannot list resource "nodes"'
        await until(lambda: script.names(reflector) == ["a"], lambda: script.clock.advance(1))
        await until(lambda: reflector.trouble == "")
