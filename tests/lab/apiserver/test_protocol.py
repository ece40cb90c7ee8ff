"""The protocol of the API below kubectl: revisions, watches, pages and patches."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sallyport.lab.apiserver import Server
from sallyport.lab.apiserver.store import Store

from .conftest import GATES

pytestmark = pytest.mark.embedded

MERGE = {"Content-Type": "application/merge-patch+json"}
NAMESPACED = "/api/v1/namespaces/default/configmaps"


class Api:
    """A client of one server."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def __call__(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """The status code and the decoded body."""
        sent = {"Content-Type": "application/json"} | (headers or {})
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, self._url + path, data=data, headers=sent) as response:
            return response.status, await response.json(content_type=None)

    async def watch(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """The events of a watch."""
        async with self._session.get(self._url + path) as response:
            assert response.status == 200, await response.text()
            async for line in response.content:
                yield json.loads(line)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """A client of a fresh server that remembers only 20 changes and sends bookmarks often."""
    listening = socket.create_server(("127.0.0.1", 0))
    stop = asyncio.Event()
    serving = asyncio.create_task(Server([GATES], history=20, bookmark_every=0.05).serve([listening], stop))
    async with aiohttp.ClientSession() as session:
        yield Api(session, f"http://127.0.0.1:{listening.getsockname()[1]}")
    stop.set()
    await serving


def config(name: str, **labels: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {"metadata": {"name": name, "labels": labels}, "data": {"k": "v"}}


async def test_a_write_on_an_old_revision_conflicts(api: Api) -> None:
    _, made = await api("POST", NAMESPACED, config("a"))
    code, changed = await api("PUT", f"{NAMESPACED}/a", {**made, "data": {"k": "2"}})
    assert code == 200
    assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    code, status = await api("PUT", f"{NAMESPACED}/a", {**made, "data": {"k": "3"}})
    assert (code, status["reason"]) == (409, "Conflict")


async def test_a_write_that_changes_nothing_keeps_the_revision(api: Api) -> None:
    _, made = await api("POST", NAMESPACED, config("a"))
    _, same = await api("PATCH", f"{NAMESPACED}/a", {"data": {"k": "v"}}, MERGE)
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_watch_resumes_after_a_revision_and_sends_each_kind_of_event(api: Api) -> None:
    _, first = await api("POST", NAMESPACED, config("a"))
    await api("POST", NAMESPACED, config("b"))
    await api("PATCH", f"{NAMESPACED}/b", {"data": {"k": "2"}}, MERGE)
    await api("DELETE", f"{NAMESPACED}/b")
    revision = first["metadata"]["resourceVersion"]
    seen = []
    async for event in api.watch(f"{NAMESPACED}?watch=1&resourceVersion={revision}"):
        seen.append((event["type"], event["object"]["metadata"]["name"]))
        if len(seen) == 3:
            break
    assert seen == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]


async def test_an_object_that_begins_or_ceases_to_match_is_added_or_deleted(api: Api) -> None:
    _, made = await api("POST", NAMESPACED, config("a", side="left"))
    await api("PATCH", f"{NAMESPACED}/a", {"metadata": {"labels": {"side": "right"}}}, MERGE)
    await api("PATCH", f"{NAMESPACED}/a", {"metadata": {"labels": {"side": None}}}, MERGE)
    revision, seen = made["metadata"]["resourceVersion"], []
    async for event in api.watch(f"{NAMESPACED}?watch=1&resourceVersion={revision}&labelSelector=side%3Dright"):
        seen.append(event["type"])
        if len(seen) == 2:
            break
    assert seen == ["ADDED", "DELETED"]


async def test_a_watch_from_a_forgotten_revision_is_told_410(api: Api) -> None:
    _, made = await api("POST", NAMESPACED, config("a"))
    for count in range(30):
        await api("PATCH", f"{NAMESPACED}/a", {"data": {"k": str(count)}}, MERGE)
    events = [e async for e in api.watch(f"{NAMESPACED}?watch=1&resourceVersion={made['metadata']['resourceVersion']}")]
    assert [(e["type"], e["object"]["code"], e["object"]["reason"]) for e in events] == [("ERROR", 410, "Expired")]


async def test_initial_events_end_with_a_bookmark_that_says_so(api: Api) -> None:
    await api("POST", NAMESPACED, config("a"))
    path = f"{NAMESPACED}?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    events = []
    async for event in api.watch(path):
        events.append(event)
        if event["type"] == "BOOKMARK":
            break
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    assert events[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_bookmarks_carry_the_newest_revision(api: Api) -> None:
    _, listed = await api("GET", NAMESPACED)
    _, other = await api("POST", "/api/v1/namespaces", {"metadata": {"name": "elsewhere"}})
    wanted, start = other["metadata"]["resourceVersion"], listed["metadata"]["resourceVersion"]
    async for event in api.watch(f"{NAMESPACED}?watch=1&allowWatchBookmarks=true&resourceVersion={start}"):
        assert (event["type"], event["object"]["metadata"]["resourceVersion"]) == ("BOOKMARK", wanted)
        break


async def test_bookmarks_carry_the_revision_of_what_the_watch_does_not_select(api: Api) -> None:
    _, made = await api("POST", NAMESPACED, config("a", tier="x"))
    start = made["metadata"]["resourceVersion"]
    path = f"{NAMESPACED}?watch=1&allowWatchBookmarks=true&resourceVersion={start}&labelSelector=tier%3Dx"
    wanted = ""
    async for event in api.watch(path):
        assert event["type"] == "BOOKMARK"
        if event["object"]["metadata"]["resourceVersion"] == wanted:
            break
        _, other = await api("POST", NAMESPACED, config("b", tier="y"))
        wanted = other.get("metadata", {}).get("resourceVersion", wanted)  # the second time, the name is taken


def test_a_watch_is_not_woken_by_what_it_does_not_select() -> None:
    store = Store()
    feed = store.follow("pods", 1, lambda change: change.last["metadata"]["name"] == "mine")
    store.put("pods", ("default", "other"), {"metadata": {"name": "other"}})
    assert not feed.ready.is_set()
    store.put("pods", ("default", "mine"), {"metadata": {"name": "mine"}})
    assert feed.ready.is_set()
    assert [change.last["metadata"]["name"] for change in feed.changes] == ["mine"]


async def test_a_watch_ends_at_its_timeout(api: Api) -> None:
    assert [event async for event in api.watch(f"{NAMESPACED}?watch=1&resourceVersion=1&timeoutSeconds=1")] == []


async def test_a_long_list_comes_in_pages_of_one_revision(api: Api) -> None:
    for name in "abcde":
        await api("POST", NAMESPACED, config(name))
    names, revisions, token = [], set(), ""
    while True:
        _, page = await api("GET", f"{NAMESPACED}?limit=2&continue={token}")
        names += [item["metadata"]["name"] for item in page["items"]]
        revisions.add(page["metadata"]["resourceVersion"])
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert names == list("abcde")
    assert len(revisions) == 1


async def test_a_finalizer_holds_an_object_until_it_is_removed(api: Api) -> None:
    body = config("a")
    body["metadata"]["finalizers"] = ["test.example/hold"]
    await api("POST", NAMESPACED, body)
    _, held = await api("DELETE", f"{NAMESPACED}/a")
    assert held["metadata"]["deletionTimestamp"]
    assert (await api("GET", f"{NAMESPACED}/a"))[0] == 200
    await api("PATCH", f"{NAMESPACED}/a", {"metadata": {"finalizers": None}}, MERGE)
    assert (await api("GET", f"{NAMESPACED}/a"))[0] == 404


async def test_the_status_subresource_and_the_rest_do_not_mix(api: Api) -> None:
    gates = "/apis/test.example/v1/gates"
    body = {"metadata": {"name": "g"}, "spec": {"address": "10.0.0.1"}, "status": {"holder": "x"}}
    _, made = await api("POST", gates, body)
    assert "status" not in made
    _, changed = await api(
        "PUT", f"{gates}/g/status", {**made, "spec": {"address": "1.1.1.1"}, "status": {"holder": "n"}}
    )
    assert (changed["spec"]["address"], changed["status"]["holder"]) == ("10.0.0.1", "n")
    _, kept = await api("PUT", f"{gates}/g", {**changed, "status": {"holder": "other"}})
    assert kept["status"] == {"holder": "n"}


async def test_a_body_of_the_wrong_shape_is_refused_and_never_stored(api: Api) -> None:
    pods = "/api/v1/namespaces/default/pods"
    bad: list[Any] = [
        [],
        None,
        {"metadata": {"name": "x", "labels": []}},
        {"metadata": {"name": "x"}, "spec": "text"},
        {"metadata": {"name": "x"}, "spec": {"containers": "text"}},
        {"metadata": {"name": "x"}, "kind": "Node"},
    ]
    assert [(await api("POST", pods, body))[0] for body in bad] == [400] * len(bad)
    code, status = await api("POST", pods, {"metadata": {"name": "X_"}, "spec": {"containers": []}})
    assert code == 422
    assert [cause["field"] for cause in status["details"]["causes"]] == ["metadata.name", "spec.containers"]
    assert (await api("GET", pods))[1]["items"] == []


async def test_an_unknown_field_of_metadata_is_dropped_or_refused(api: Api) -> None:
    body = config("a")
    body["metadata"]["nmae"] = "a"
    code, status = await api("POST", f"{NAMESPACED}?fieldValidation=Strict", body)
    assert code == 400
    assert 'unknown field "metadata.nmae"' in status["message"]
    _, made = await api("POST", NAMESPACED, body)
    assert "nmae" not in made["metadata"]


async def test_int_or_string_takes_both_and_nothing_else(api: Api) -> None:
    gates = "/apis/test.example/v1/gates"
    for port, want in ((80, 201), ("http", 201), (True, 422)):
        body = {"metadata": {"name": f"g{want}{port}".lower()}, "spec": {"address": "10.0.0.1", "port": port}}
        assert (await api("POST", gates, body))[0] == want


async def test_a_binding_puts_a_pod_on_a_node_once(api: Api) -> None:
    pods = "/api/v1/namespaces/default/pods"
    await api("POST", pods, {"metadata": {"generateName": "p-"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    _, listed = await api("GET", pods)
    name = listed["items"][0]["metadata"]["name"]
    binding = {"target": {"kind": "Node", "name": "n1"}}
    assert (await api("POST", f"{pods}/{name}/binding", binding))[0] == 201
    assert (await api("POST", f"{pods}/{name}/binding", binding))[0] == 409
    assert (await api("GET", f"{pods}?fieldSelector=spec.nodeName%3Dn1"))[1]["items"]


async def test_an_event_is_served_in_both_of_its_groups(api: Api) -> None:
    event = {
        "metadata": {"name": "e"}, "note": "it happened", "reason": "Why", "type": "Normal", "eventTime": None,
        "regarding": {"kind": "Pod", "name": "web"}, "reportingController": "test",
    }  # fmt: skip
    code, _ = await api("POST", "/apis/events.k8s.io/v1/namespaces/default/events", event)
    assert code == 201
    _, listed = await api("GET", "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dweb")
    assert listed["items"][0]["message"] == "it happened"


async def test_a_rule_with_an_unknown_function_is_refused_with_its_crd(api: Api) -> None:
    crd = json.loads(json.dumps(GATES).replace("gates", "doors"))
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] = [{"rule": "conjure(self)"}]
    code, status = await api("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    assert code == 422
    assert "the function conjure is not supported by the embedded control plane" in status["message"]


async def test_a_resource_that_is_not_served_says_where_it_would_be(api: Api) -> None:
    code, status = await api("GET", "/apis/apps/v1/statefulsets")
    assert code == 404
    assert status["message"].endswith("is not supported by the embedded control plane, use --control-plane kubernetes")


async def test_one_server_answers_on_several_sockets_and_forgets_watchers_that_left() -> None:
    server, stop = Server(), asyncio.Event()
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    serving = asyncio.create_task(server.serve(sockets, stop))
    one, two = (f"http://127.0.0.1:{listening.getsockname()[1]}" for listening in sockets)
    async with aiohttp.ClientSession() as session:
        await Api(session, one)("POST", NAMESPACED, config("a"))
        events = Api(session, two).watch(f"{NAMESPACED}?watch=1")
        assert (await anext(events))["object"]["metadata"]["name"] == "a"
        assert server.store.watchers("configmaps") == 1
        await events.aclose()  # type: ignore[attr-defined]
        while server.store.watchers("configmaps"):
            assert (await Api(session, one)("GET", NAMESPACED))[0] == 200
    stop.set()
    await serving
