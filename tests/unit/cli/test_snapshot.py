"""Snapshots out of files and out of a cluster, and the plans that the processes make of them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.unit.cli.running import CLUSTER, POLICIES
from tests.unit.kube.server import answer, refusal, serving

from sallyport.apis.facts import FACTS_ANNOTATION, encode
from sallyport.cli.replay import Replay, replay
from sallyport.cli.snapshot import InputError, Snapshot, from_cluster, from_files, whole
from sallyport.kube.errors import Forbidden
from sallyport.model.kernel import InterfaceAddress
from sallyport.model.plan import Assignment, Liveness, NodeFacts
from sallyport.model.settings import Settings

NOON = "2030-01-01T12:00:00.000000Z"
NEVER = "2030-01-01T11:00:00.000000Z"


def written(tmp_path: Path, *objects: dict[str, Any]) -> Path:
    path = tmp_path / "more.yaml"
    path.write_text(json.dumps(list(objects)))
    return path


def lease(node: str, renewed: str = NOON, annotation: str | None = None, **meta: str) -> dict[str, Any]:
    annotations = {FACTS_ANNOTATION: annotation} if annotation is not None else {}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": f"sallyport-agent-{node}",
            "namespace": "sallyport-system",
            "annotations": annotations,
            **meta,
        },
        "spec": {"renewTime": renewed, "leaseDurationSeconds": 40},
    }


def egress(**status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "crd.antrea.io/v1beta1",
        "kind": "Egress",
        "metadata": {"name": "web", "creationTimestamp": "2030-01-01T00:00:00Z"},
        "spec": {
            "appliedTo": {"podSelector": {"matchLabels": {"role": "web"}}},
            "egressIP": "10.10.0.15",
            "externalIPPool": "pool",
        },
        "status": status,
    }


def replayed(*paths: Path | str) -> Replay:
    return replay(from_files([Path(path) for path in paths], ()), Settings())


def test_pods_without_a_namespace_are_in_default_and_namespaces_have_their_names_as_labels(tmp_path: Path) -> None:
    pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", **meta}} for meta in ({}, {"namespace": "b"})]
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "labels": {"x": "y"}}}]
    objects = from_files([written(tmp_path, *pods, *spaces)], ()).objects
    assert [item.metadata.namespace for item in objects.pods] == ["default", "b"]
    assert {item.metadata.name: dict(item.metadata.labels) for item in objects.namespaces} == {
        "a": {"x": "y", "kubernetes.io/metadata.name": "a"},
        "b": {"kubernetes.io/metadata.name": "b"},
        "default": {"kubernetes.io/metadata.name": "default"},
    }


def test_an_exit_without_a_record_is_decided_as_the_controller_would() -> None:
    made = replayed(CLUSTER, POLICIES)
    web_exit = made.assignments["web"]
    assert (str(web_exit.address), web_exit.nodes, web_exit.holder) == ("10.10.0.11", ("node-3", "node-2"), "node-3")
    assert web_exit.id > 0


def test_what_the_controller_has_recorded_is_kept(tmp_path: Path) -> None:
    recorded = egress(id=7, nodes=["node-2", "node-3"], egressNode="node-2", egressIP="10.10.0.15")
    made = replayed(CLUSTER, POLICIES, written(tmp_path, recorded))
    assignment = made.assignments["web"]
    assert (assignment.id, assignment.nodes, assignment.holder) == (7, ("node-2", "node-3"), "node-2")
    assert InterfaceAddress("eth0", "10.10.0.15") in made.plan("node-2").objects


def test_a_status_that_another_controller_wrote_is_no_record(tmp_path: Path) -> None:
    made = replayed(CLUSTER, POLICIES, written(tmp_path, egress(egressNode="node-1", egressIP="10.10.0.15")))
    assert made.assignments["web"].id > 0
    assert made.assignments["web"].holder in ("node-2", "node-3")


def test_a_living_cluster_is_taken_at_its_word_also_where_nothing_is_decided() -> None:
    files = from_files([Path(CLUSTER), Path(POLICIES)], ())
    living = Snapshot(files.objects, moment=datetime(2030, 1, 1, tzinfo=UTC), recorded=True)
    assert replay(living, Settings()).assignments["web"] == Assignment(0, None)


def test_a_node_whose_lease_ran_out_before_the_last_renewal_of_any_is_lost(tmp_path: Path) -> None:
    leases = written(tmp_path, lease("node-1"), lease("node-2"), lease("node-3", NEVER))
    made = replayed(CLUSTER, POLICIES, leases)
    assert {name: node.alive for name, node in made.state.nodes.items()} == {
        "node-1": True,
        "node-2": True,
        "node-3": False,
    }
    assert made.assignments["web"].holder == "node-2"
    assert made.facts["node-1"].peers == {"node-3": Liveness.DOWN}


def test_old_leases_are_no_sign_of_death_where_all_are_equally_old(tmp_path: Path) -> None:
    made = replayed(CLUSTER, written(tmp_path, *(lease(f"node-{number}", NEVER) for number in (1, 2, 3))))
    assert all(node.alive for node in made.state.nodes.values())


def test_leases_of_others_say_nothing_about_agents(tmp_path: Path) -> None:
    other = lease("node-1", NEVER, namespace="kube-node-lease")
    made = replayed(CLUSTER, written(tmp_path, lease("node-2"), other))
    assert made.state.nodes["node-1"].alive


def test_published_facts_are_used_and_the_others_assumed(tmp_path: Path) -> None:
    facts = NodeFacts("node-2")
    made = replayed(CLUSTER, written(tmp_path, lease("node-2", annotation=encode(facts))))
    assert made.facts["node-2"] == facts
    assert made.remarks[0].startswith("no facts of node-1, node-3: assumed are uplink eth0")


def test_assumed_facts_have_the_internal_addresses_and_no_others() -> None:
    facts = replayed(CLUSTER).facts["node-1"]
    assert [str(item) for item in facts.addresses] == ["10.10.0.101", "2001:db8:10::101"]
    assert [str(item) for item in facts.uplinks[4].subnets] == ["10.10.0.0/24"]
    assert [str(item) for item in facts.uplinks[6].subnets] == ["2001:db8:10::/64"]


def test_facts_that_cannot_be_read_are_told_and_assumed(tmp_path: Path) -> None:
    made = replayed(CLUSTER, written(tmp_path, lease("node-2", annotation="{")))
    assert made.remarks[0] == (
        "Lease/sallyport-agent-node-2: annotation sallyport.io/facts: "
        "these are no facts of a node: Input data was truncated"
    )
    assert "node-2" in made.remarks[1]


@pytest.mark.parametrize(
    ("renewed", "reason"),
    [
        ("yesterday", "Invalid isoformat string: 'yesterday'"),
        ("2030-01-01T12:00:00", "spec.renewTime '2030-01-01T12:00:00' has no time zone"),
    ],
)
def test_a_lease_without_a_time_is_refused(tmp_path: Path, renewed: str, reason: str) -> None:
    path = written(tmp_path, lease("node-1", renewed))
    with pytest.raises(InputError) as caught:
        from_files([path], ())
    assert str(caught.value) == f"{path}:1: Lease/sallyport-agent-node-1: {reason}"


CALICO_KINDS = (
    "bgpconfigurations",
    "bgpfilters",
    "bgppeers",
    "egressgatewaypolicies",
    "externalnetworks",
    "felixconfigurations",
    "ippools",
)
GATEWAY = {"metadata": {"name": "gw-1", "namespace": "red"}, "spec": {"nodeName": "node-2"}}
PEER = {
    "metadata": {"name": "router"},
    "spec": {"peerIP": "10.10.0.1", "password": {"secretKeyRef": {"name": "bgp", "key": "red"}}},
}


class Api:
    """The objects of the files as an API server would list them, two to a page."""

    def __init__(self) -> None:
        objects = from_files([Path(CLUSTER), Path(POLICIES)], ()).objects
        self.lists: dict[str, list[Any]] = {
            "/apis/crd.antrea.io/v1beta1/egresses": list(objects.egresses),
            "/apis/crd.antrea.io/v1beta1/externalippools": list(objects.pools),
            "/api/v1/nodes": list(objects.nodes),
            "/api/v1/namespaces": list(objects.namespaces),
            "/api/v1/pods": list(objects.pods),
            "/api/v1/namespaces/kube-system/configmaps": [],
            "/apis/coordination.k8s.io/v1/namespaces/sallyport-system/leases": [lease("node-1"), {"metadata": 1}],
            "sallyport.io/gateway": [GATEWAY],
            **{f"/apis/projectcalico.org/v3/{kind}": [] for kind in CALICO_KINDS},
        }
        self.selectors: list[str] = []
        self.absent = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        start = "/api/v1/namespaces/prod/pods/"
        if request.path.startswith(start):
            name = request.path.removeprefix(start)
            found = next((item for item in self.lists["/api/v1/pods"] if item.metadata.name == name), None)
            return answer(msgspec.to_builtins(found)) if found else refusal(404, "NotFound")
        if request.path == self.absent:
            return refusal(404, "NotFound")
        if request.path not in self.lists:
            return refusal(403, "Forbidden", f"no rights for {request.path}")
        self.selectors += [request.query["fieldSelector"]] if "fieldSelector" in request.query else []
        asked = request.query.get("labelSelector", request.path)
        items, first = self.lists[asked], int(request.query.get("continue") or 0)
        more = str(first + 2) if first + 2 < len(items) else ""
        return answer(
            {"metadata": {"continue": more}, "items": [msgspec.to_builtins(item) for item in items[first : first + 2]]}
        )


MOMENT = datetime(2030, 1, 1, 12, 0, 30, tzinfo=UTC)


async def test_a_cluster_is_read_page_by_page_with_the_pods_of_one_node_only() -> None:
    api = Api()
    async with serving(api.serve) as client:
        snapshot = await from_cluster(client, ("prod", "web"), ("10.96.0.0/12",), MOMENT)
    assert [item.metadata.name for item in snapshot.objects.nodes] == ["node-1", "node-2", "node-3"]
    assert set(api.selectors) == {"spec.nodeName=node-1"}
    assert snapshot.recorded
    assert snapshot.moment is not None
    assert abs(snapshot.moment - MOMENT) < timedelta(seconds=2), "the server's clock is ours here"
    assert snapshot.remarks == ("Lease without a name: Expected `object`, got `int` - at `$.metadata` is left out",)
    assert replay(snapshot, Settings()).state.nodes["node-1"].alive


async def test_of_a_cluster_all_gateways_are_read_and_no_secrets() -> None:
    """A session with a password counts as if the password were there: no packet's way depends on it."""
    api = Api()
    api.lists["/apis/projectcalico.org/v3/bgppeers"] = [PEER]
    async with serving(api.serve) as client:
        calico = (await from_cluster(client, ("prod", "web"), (), MOMENT)).objects.calico
    assert [(item.metadata.name, item.spec.node_name) for item in calico.pods] == [("gw-1", "node-2")]
    assert [item.metadata.name for item in calico.peers] == ["router"]
    assert list(calico.secrets) == [("bgp", "red")]


async def test_the_whole_of_a_cluster_is_all_pods_and_what_gateways_are_made_of() -> None:
    api = Api()
    api.lists["/apis/operator.tigera.io/v1/egressgateways"] = [{"metadata": {"name": "egw", "namespace": "red"}}]
    async with serving(api.serve) as client:
        snapshot = await whole(client, MOMENT)
    assert len(snapshot.objects.pods) == len(api.lists["/api/v1/pods"])
    assert api.selectors == []
    assert [item.metadata.name for item in snapshot.objects.calico.gateways] == ["egw"]
    assert [item.metadata.name for item in snapshot.objects.calico.pods] == ["gw-1"]


async def test_a_kind_that_is_not_served_is_remarked_and_the_rest_is_read() -> None:
    api = Api()
    api.absent = "/apis/operator.tigera.io/v1/egressgateways"
    async with serving(api.serve) as client:
        snapshot = await whole(client, MOMENT)
    assert len(snapshot.objects.nodes) == 3
    assert snapshot.objects.calico.gateways == ()
    assert "EgressGateway of operator.tigera.io/v1 is not served; are its CRDs installed?" in snapshot.remarks


async def test_a_pod_that_is_not_there_is_told_with_the_server_that_was_asked() -> None:
    async with serving(Api().serve) as client:
        with pytest.raises(InputError, match=r"there is no pod prod/absent at http://127\.0\.0\.1:\d+"):
            await from_cluster(client, ("prod", "absent"), (), MOMENT)


async def test_a_pod_without_a_node_is_not_searched_for_on_any() -> None:
    api = Api()
    async with serving(api.serve) as client:
        snapshot = await from_cluster(client, ("prod", "waiting"), (), MOMENT)
    assert [item.metadata.name for item in snapshot.objects.pods] == ["waiting"]
    assert api.selectors == []


async def test_a_missing_right_is_the_servers_own_words() -> None:
    api = Api()
    del api.lists["/apis/crd.antrea.io/v1beta1/egresses"]
    async with serving(api.serve) as client:
        with pytest.raises(Forbidden, match=r"no rights for /apis/crd\.antrea\.io/v1beta1/egresses"):
            await from_cluster(client, ("prod", "web"), (), MOMENT)
