"""What the scheduler's hands do when the caches that they look at trail behind."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest

from sallyport.kube.client import Client
from sallyport.kube.errors import Conflict, Unavailable
from sallyport.lab.affinity import LabNode
from sallyport.lab.binding import Binder
from sallyport.lab.pods import Key, LabPod

APART = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}},
]}}  # fmt: skip
NODES = {
    ("", name): msgspec.convert(
        {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": {}}, LabNode
    )
    for name in ("n1", "n2")
}
ON = {"n1", "n2"}


def pod(name: str, node: str = "") -> LabPod:
    """A pod that shares its node with no other."""
    meta = {"name": name, "namespace": "apps", "uid": f"uid-{name}"}
    return msgspec.convert({"metadata": meta, "spec": {"nodeName": node, "affinity": APART}}, LabPod)


@dataclass
class Api:
    """Takes what a Client would send, or refuses it with `error`."""

    bound: list[tuple[str, str]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    error: Exception | None = None

    async def request(self, method: str, path: str, *, body: Any) -> bytes:
        """A binding."""
        if self.error is not None:
            raise self.error
        self.bound.append((path.split("/")[-2], body["target"]["name"]))
        return b""

    async def patch(self, resource: object, name: str, body: Any, namespace: str, *, subresource: str) -> None:
        """A status."""
        if self.error is not None:
            raise self.error
        self.told.append(body["status"]["conditions"][-1]["message"].partition(" no new claims")[0])


def binder(api: Api, pods: dict[Key, LabPod]) -> Binder:
    """Hands that look at these pods."""
    return Binder(cast("Client", api), pods, NODES, lambda: datetime(2026, 1, 1, tzinfo=UTC))


async def test_a_pod_that_was_just_bound_counts_before_the_cache_shows_it() -> None:
    api, pods = Api(), {("apps", name): pod(name) for name in ("a", "b")}
    hands = binder(api, pods)
    await hands.schedule(ON)
    assert api.bound == [("a", "n1"), ("b", "n2")]
    pods["apps", "c"] = pod("c")
    await hands.schedule(ON)
    assert api.bound == [("a", "n1"), ("b", "n2")]
    assert api.told == ["0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."]


async def test_why_a_pod_fits_nowhere_is_told_once_for_each_reason() -> None:
    api, pods = Api(), {("apps", name): pod(name, on) for name, on in (("a", "n1"), ("b", "n2"), ("c", ""))}
    hands = binder(api, pods)
    for powered in (ON, ON, {"n1"}, {"n1"}):
        await hands.schedule(powered)
    assert api.told == [
        "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.",
        "0/2 nodes are available: 1 node(s) didn't match pod anti-affinity rules, 1 node(s) had untolerated taint(s).",
    ]
    del pods["apps", "b"]
    await hands.schedule(ON)
    assert api.bound == [("c", "n2")]


async def test_what_was_not_bound_or_told_is_tried_again() -> None:
    api, pods = Api(error=Conflict(409, "Conflict", "bound by another")), {("apps", "a"): pod("a")}
    hands = binder(api, pods)
    await hands.schedule(ON)
    api.error = Unavailable(0, "Unavailable", "no answer")
    with pytest.raises(Unavailable):
        await hands.schedule(ON)
    with pytest.raises(Unavailable):
        await hands.schedule(set())
    api.error = None
    await hands.schedule(set())
    await hands.schedule(ON)
    assert (len(api.told), api.bound) == (1, [("a", "n1")])
