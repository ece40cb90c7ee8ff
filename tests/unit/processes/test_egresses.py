"""What is written for Egresses: each thing once, and again only when it was not taken."""

from dataclasses import replace
from typing import Any

import msgspec

from sallyport.apis.antrea.objects import Changes
from sallyport.apis.antrea.types import Egress, ExternalIPPool
from sallyport.apis.core import Node
from sallyport.apis.incremental import Translation
from sallyport.apis.objects import Objects
from sallyport.model.settings import Settings
from sallyport.plan.incremental import Planning
from sallyport.processes.egresses import Egresses
from sallyport.processes.writes import Write

NOW = "2026-02-01T00:00:00Z"


def an_egress(name: str, version: str, created: str = NOW, **more: Any) -> Egress:
    meta = {"name": name, "resourceVersion": version, "creationTimestamp": created, "uid": name}
    spec = {"appliedTo": {"podSelector": {}}, "externalIPPool": "pool", **more}
    return msgspec.convert({"metadata": meta, "spec": spec}, Egress)


class Scene:
    """A controller's rounds: what it hears, and what it asks to be written."""

    def __init__(self) -> None:
        node = {
            "metadata": {"name": "node-1"},
            "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
        }
        pool = {"metadata": {"name": "pool", "resourceVersion": "1"}, "spec": {"ipRanges": [{"cidr": "10.1.0.0/24"}]}}
        self.few = Objects(nodes=(msgspec.convert(node, Node),), pools=(msgspec.convert(pool, ExternalIPPool),))
        self.known: dict[tuple[str, str], Egress] = {}
        self.translation, self.planning = Translation(), Planning(Settings())
        self.egresses = Egresses(self.translation, self.planning)

    def round(self, *heard: Egress) -> list[Write]:
        """The writes for Egresses once these have been heard of."""
        self.known |= {("", item.metadata.name): item for item in heard}
        changes = self.egresses.amended(Changes({item.metadata.name: item for item in heard}), self.known)
        touched = self.translation.take(self.few, changes)
        told = self.planning.take(self.translation.state, touched, self.translation.selected)
        names = told | changes.egresses.keys()
        return self.egresses.writes(names, (), replace(self.translation.state), NOW)


def stored(egress: Egress, write: Write, version: str) -> Egress:
    """The object once a write was taken."""
    value = msgspec.to_builtins(egress)
    body: Any = write.body
    value["metadata"] |= body["metadata"] | {"resourceVersion": version}
    value["spec"] |= body.get("spec", {})
    value["status"] = {**value.get("status", {}), **body.get("status", {})}
    return msgspec.convert(value, Egress)


def test_an_egress_is_written_twice_and_no_more() -> None:
    scene, egress = Scene(), an_egress("a", "1")
    (first,) = scene.round(egress)
    assert (first.subresource, first.body["spec"]) == (None, {"egressIP": "10.1.0.1"})  # type: ignore[index]
    assert scene.round() == []
    egress = stored(egress, first, "2")
    (second,) = scene.round(egress)
    assert second.subresource == "status"
    assert scene.round() == []
    assert scene.round(stored(egress, second, "3")) == []


def test_nothing_is_asked_for_again_while_the_watch_has_yet_to_bring_it() -> None:
    scene, egress = Scene(), an_egress("a", "1")
    assert len(scene.round(egress)) == 1
    assert scene.round(egress) == []


def test_an_older_egress_that_comes_late_is_not_given_what_another_one_is_just_being_given() -> None:
    """All of the same second are as old as their names say, in whichever order they come."""
    scene = Scene()
    (first,) = scene.round(an_egress("b", "1"))
    (second,) = scene.round(an_egress("a", "2"))
    assert first.body["spec"] == {"egressIP": "10.1.0.1"}  # type: ignore[index]
    assert second.body["spec"] == {"egressIP": "10.1.0.2"}  # type: ignore[index]


def test_what_was_not_taken_is_asked_for_again() -> None:
    scene = Scene()
    writes = scene.round(an_egress("b", "1"))
    scene.egresses.failed(writes)
    assert scene.round() == writes


def test_an_address_that_was_not_taken_is_free_again() -> None:
    scene = Scene()
    scene.egresses.failed(scene.round(an_egress("b", "1")))
    given = {write.name: write.body["spec"]["egressIP"] for write in scene.round(an_egress("a", "2"))}  # type: ignore[index]
    assert given == {"a": "10.1.0.1", "b": "10.1.0.2"}
