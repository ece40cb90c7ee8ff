"""Statuses, events and leases against a server that keeps one object."""

import asyncio
from contextlib import suppress
from random import Random
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.unit.kube.server import FakeClock, answer, refusal, serving, until

from sallyport.apis.core import NODES
from sallyport.kube.apply import apply, merge_difference, patch_status
from sallyport.kube.client import Client
from sallyport.kube.credentials import Connection, Credential
from sallyport.kube.errors import Forbidden, Unavailable
from sallyport.kube.events import Recorder
from sallyport.kube.lease import Elector
from sallyport.model.state import ObjectRef


class Store:
    """One object with a resourceVersion; a merge patch with another one is a conflict."""

    def __init__(self, obj: dict[str, Any] | None = None) -> None:
        self.obj = obj
        self.revision = 1
        self.writes: list[tuple[str, str, dict[str, Any]]] = []
        self.conflicts = 0
        self.down = False

    async def handle(self, request: web.Request) -> web.Response:
        if self.down:
            return refusal(503, "ServiceUnavailable")
        if request.method != "GET":
            body = msgspec.json.decode(await request.read())
            self.writes.append((request.method, request.path_qs, body))
            if request.method == "POST":
                self.obj = body
            elif self.obj is not None:
                wanted = body.get("metadata", {}).get("resourceVersion")
                if self.conflicts or (wanted and wanted != str(self.revision)):
                    self.conflicts = max(0, self.conflicts - 1)
                    self.revision += 1
                    return refusal(409, "Conflict")
                for part in ("spec", "status", "count"):
                    if isinstance(body.get(part), dict):
                        self.obj[part] = self.obj.get(part, {}) | body[part]
            self.revision += 1
        if self.obj is None:
            return refusal(404, "NotFound")
        self.obj["metadata"]["resourceVersion"] = str(self.revision)
        return answer(self.obj)


async def test_a_status_patch_is_made_again_on_the_newer_object_after_a_conflict() -> None:
    store = Store({"metadata": {"name": "n"}, "status": {"old": 1}})
    store.conflicts = 1
    async with serving(store.handle) as client:
        await patch_status(client, NODES, "n", lambda obj: {"phase": obj.metadata.resource_version})
        await patch_status(client, NODES, "n", lambda obj: {"phase": "2", "old": None})
    assert [write[2]["status"] for write in store.writes[:2]] == [
        {"old": None, "phase": "1"},
        {"old": None, "phase": "2"},
    ]
    assert store.writes[0][1] == "/api/v1/nodes/n/status"
    assert len(store.writes) == 2, "a status that is so already is not written"


async def test_apply_names_the_field_manager() -> None:
    store = Store({"metadata": {"name": "n"}})
    async with serving(store.handle) as client:
        await apply(client, NODES, {"spec": {}}, name="n", field_manager="sallyport")
    assert store.writes[0][1] == "/api/v1/nodes/n?fieldManager=sallyport&force=true"
    assert store.writes[0][2] == {"apiVersion": "v1", "kind": "Node", "spec": {}, "metadata": {"name": "n"}}


def test_a_merge_difference_removes_what_is_gone_and_keeps_what_is_equal() -> None:
    old = {"a": 1, "b": {"c": 2, "d": 3}, "e": 4}
    assert merge_difference(old, {"a": 1, "b": {"c": 2}}) == {"b": {"d": None}, "e": None}
    assert merge_difference(old, old) == {}


async def test_the_same_event_again_is_counted_on_the_first() -> None:
    store = Store()
    egress = ObjectRef("Egress", "e", uid="u")
    async with serving(store.handle) as client:
        recorder = Recorder(client, "agent", "n1", capacity=2)
        recorder.record(egress, "Warning", "NoExit", "no node", at=1000.0)
        recorder.record(egress, "Warning", "NoExit", "no node", at=1001.0)
        await recorder.flush()
        recorder.record(egress, "Warning", "NoExit", "no node", at=1002.0)
        await recorder.flush()
        for number in range(3):
            recorder.record(egress, "Normal", "Moved", f"to {number}", at=1003.0)
        assert recorder.dropped == 1
        store.down = True
        assert not await recorder.flush()
        store.down = False
        recorder.record(egress, "Normal", "Moved", "to 0", at=1004.0)
        assert await recorder.flush()
        assert recorder.dropped == 1, "what waited for the server was sent"
    assert [(write[2]["message"], write[2]["count"]) for write in store.writes[2:]] == [("to 0", 2), ("to 1", 1)]
    first, second = store.writes[:2]
    assert (first[0], first[1]) == ("POST", "/api/v1/namespaces/default/events")
    assert first[2]["involvedObject"] == {"kind": "Egress", "name": "e", "uid": "u"}
    assert (first[2]["count"], second[0], second[2]["count"]) == (2, "PATCH", 3)


async def test_a_right_that_our_account_lacks_is_told_with_the_manifest_that_grants_it() -> None:
    lacks = 'nodes "n" is forbidden: User "{}" cannot get resource "nodes" in API group "" at the cluster scope'

    async def forbid(request: web.Request) -> web.Response:
        return refusal(403, "Forbidden", lacks.format(request.path.rpartition("/")[2]))

    async with serving(forbid) as client:
        with pytest.raises(Forbidden) as ours:
            await client.get(NODES, "system:serviceaccount:sallyport-system:sallyport-agent")
        with pytest.raises(Forbidden) as theirs:
            await client.get(NODES, "system:serviceaccount:default:other")
    assert "cannot get resource" in str(ours.value)
    assert "deploy/rbac/agent.yaml" in str(ours.value)
    assert "deploy/rbac" not in str(theirs.value)


async def test_errors_say_what_was_asked_and_why_not() -> None:
    async def forbid(request: web.Request) -> web.Response:
        return refusal(403, "Forbidden", "no")

    async with serving(forbid) as client:
        with pytest.raises(Forbidden, match="get /api/v1/nodes/n: no"):
            await client.get(NODES, "n")
    async with Client(Connection("http://127.0.0.1:9")) as client:
        with pytest.raises(Unavailable, match="get /api/v1/nodes/n: "):
            await client.get(NODES, "n")


class Candidate:
    def __init__(self, client: Client, name: str, clock: FakeClock) -> None:
        self.elector = Elector(client, "ns", "lead", name, clock=clock, random=Random(1))
        self.leads = False
        self.task = asyncio.create_task(self.elector.run(self._lead, self._stop))

    async def _lead(self) -> None:
        self.leads = True
        await asyncio.Event().wait()

    def _stop(self) -> None:
        self.leads = False

    async def end(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


async def test_a_leader_that_stops_cleanly_is_followed_at_once() -> None:
    store, clock = Store(), FakeClock()
    async with serving(store.handle) as client:
        one = Candidate(client, "one", clock)
        await until(lambda: one.leads)
        two = Candidate(client, "two", clock)
        await until(lambda: two.elector.leader == "one")
        await one.end()
        assert store.obj is not None
        assert store.obj["spec"]["holderIdentity"] == ""
        started = clock.seconds
        await until(lambda: two.leads, lambda: clock.advance(0.5))
        assert clock.seconds - started < 15
        await two.end()


async def test_a_dead_leader_is_followed_when_its_lease_has_run_out_on_our_clock() -> None:
    old = {"holderIdentity": "dead", "leaseDurationSeconds": 15, "renewTime": "2001-01-01T00:00:00.000000Z"}
    store, clock = Store({"metadata": {"name": "lead", "namespace": "ns"}, "spec": old}), FakeClock()
    async with serving(store.handle) as client:
        two = Candidate(client, "two", clock)
        await until(lambda: two.elector.leader == "dead")
        started = clock.seconds
        await until(lambda: two.leads, lambda: clock.advance(0.1))
        assert clock.seconds - started >= 15
        assert store.obj is not None
        assert store.obj["spec"]["leaseTransitions"] == 1
        await two.end()


async def test_a_leader_that_cannot_renew_steps_down_before_its_lease_ends() -> None:
    store, clock = Store(), FakeClock()
    async with serving(store.handle) as client:
        one = Candidate(client, "one", clock)
        await until(lambda: one.leads)
        store.down = True
        started = clock.seconds
        client.reach.failed("a reflector of this term", Unavailable(503, "ServiceUnavailable", "no"))
        await until(lambda: not one.leads, lambda: clock.advance(0.1))
        assert clock.seconds - started < 15
        store.down = False
        await until(lambda: one.leads, lambda: clock.advance(0.1))
        assert client.reach.since is None, "whoever failed in the term before asks no more"
        await one.end()


async def test_a_refused_credential_is_read_again_once() -> None:
    told: list[bool] = []

    class Rotating:
        token = "old"

        async def current(self) -> Credential:
            return Credential(token=self.token)

        def forget(self, refused: Credential) -> None:
            self.token = "new"

    async def handle(request: web.Request) -> web.Response:
        told.append(request.headers["Authorization"] == "Bearer new")
        return answer({"metadata": {"name": "n"}}) if told[-1] else refusal(401, "Unauthorized")

    async with serving(handle) as plain, Client(Connection(plain.connection.server, Rotating())) as client:
        await client.get(NODES, "n")
    assert told == [False, True]
