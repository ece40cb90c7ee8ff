"""What objects mean in the model, and that a bad one costs only itself."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from sallyport.apis.antrea.objects import Objects
from sallyport.apis.antrea.translate import ALLOCATED_ANNOTATION, translate
from sallyport.apis.antrea.types import LIMIT_ANNOTATION, Egress, ExternalIPPool
from sallyport.apis.core import ConfigMap, Namespace, Node, Pod
from sallyport.model.state import Bandwidth, ClusterState

NAMESPACES = tuple(
    msgspec.convert({"metadata": {"name": name, "labels": {"env": name}}}, Namespace) for name in ("prod", "test")
)


def pod(name: str, *ips: str, namespace: str = "prod", phase: str = "Running", **spec: object) -> Pod:
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": {"nodeName": "node-1", **spec},
            "status": {"phase": phase, "podIPs": [{"ip": ip} for ip in ips]},
        },
        Pod,
    )


def egress(name: str, applied: object, annotations: Mapping[str, str] | None = None, **spec: object) -> Egress:
    meta = {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": dict(annotations or {})}
    return msgspec.convert({"metadata": meta, "spec": {"appliedTo": applied, **spec}}, Egress)


def pool(name: str, *ranges: Mapping[str, str], created: str = "", **spec: object) -> ExternalIPPool:
    meta = {"name": name, "creationTimestamp": created}
    return msgspec.convert(
        {"metadata": meta, "spec": {"ipRanges": [dict(item) for item in ranges], "nodeSelector": {}, **spec}},
        ExternalIPPool,
    )


def node(name: str, *ips: str, labels: Mapping[str, str] | None = None, **meta: object) -> Node:
    value: dict[str, Any] = {
        "metadata": {"name": name, "labels": dict(labels or {}), **meta},
        "spec": {"podCIDRs": ["10.244.1.0/24", "fd00:1::/64"]},
        "status": {"addresses": [{"type": "InternalIP", "address": ip} for ip in ips]},
    }
    value["status"]["addresses"].insert(0, {"type": "Hostname", "address": name})
    return msgspec.convert(value, Node)


def state_of(**objects: Any) -> ClusterState:
    return translate(Objects(namespaces=NAMESPACES, **objects))


def selected(applied: object, *pods: Pod) -> list[str]:
    exit_ = state_of(egresses=(egress("e", applied, egressIP="10.0.0.1"),), pods=pods).exits["e"]
    return [f"{namespace}/{name}" for namespace, name in exit_.clients]


def test_pods_are_selected_by_their_labels_and_their_namespaces() -> None:
    pods = (pod("web", "10.244.1.2"), pod("db", "10.244.1.3"), pod("web", "10.244.1.4", namespace="test"))
    web, prod = {"matchLabels": {"app": "web"}}, {"matchLabels": {"env": "prod"}}
    assert selected({}, *pods) == []
    assert selected({"podSelector": web}, *pods) == ["prod/web", "test/web"]
    assert selected({"namespaceSelector": prod}, *pods) == ["prod/db", "prod/web"]
    assert selected({"podSelector": web, "namespaceSelector": prod}, *pods) == ["prod/web"]
    assert len(selected({"podSelector": {}}, *pods)) == len(selected({"namespaceSelector": {}}, *pods)) == 3


def test_pods_that_are_on_the_host_network_unscheduled_or_finished_are_no_clients() -> None:
    pods = (
        pod("host", "10.0.0.9", hostNetwork=True),
        pod("pending", nodeName=""),
        pod("done", "10.244.1.5", phase="Succeeded"),
        pod("failed", "10.244.1.6", phase="Failed"),
        pod("web", "10.244.1.2", "fd00:1::2"),
    )
    state = state_of(egresses=(egress("e", {"podSelector": {}}, egressIP="10.0.0.1"),), pods=pods)
    assert list(state.clients) == [("prod", "web")]
    assert state.clients["prod", "web"].addresses == (ip_address("10.244.1.2"), ip_address("fd00:1::2"))


def test_a_bad_egress_stays_an_exit_without_address_so_that_its_pods_do_not_leak() -> None:
    bad = egress("bad", {"podSelector": {}}, egressIP="banana")
    good = egress("good", {"podSelector": {}}, egressIP="10.0.0.1")
    state = state_of(egresses=(bad, good), pods=(pod("web", "10.244.1.2"),))
    assert state.exits["bad"].requested is None
    assert state.exits["bad"].clients == (("prod", "web"),)
    assert state.exits["good"].requested == ip_address("10.0.0.1")
    assert [(problem.ref.name, problem.field) for problem in state.problems] == [("bad", "spec.egressIP")]


def test_an_address_is_the_controllers_own_only_while_the_annotation_equals_it() -> None:
    note = {ALLOCATED_ANNOTATION: "10.0.0.1"}
    own = egress("own", {}, note, egressIP="10.0.0.1", externalIPPool="p")
    changed = egress("changed", {}, note, egressIP="10.0.0.2", externalIPPool="p")
    exits = state_of(egresses=(own, changed)).exits
    assert (exits["own"].allocated, exits["changed"].allocated) == (True, False)


def test_bandwidth_is_read_as_quantities_and_a_bad_one_is_reported() -> None:
    good = egress("good", {}, egressIP="10.0.0.1", bandwidth={"rate": "100M", "burst": "1Ki"})
    bad = egress("bad", {}, egressIP="10.0.0.1", bandwidth={"rate": "-1", "burst": "1Ki"})
    state = state_of(egresses=(good, bad))
    assert state.exits["good"].bandwidth == Bandwidth(100_000_000, 1024)
    assert state.exits["bad"].bandwidth is None
    assert [problem.field for problem in state.problems] == ["spec.bandwidth.rate"]


def test_networks_reserve_their_first_and_in_ipv4_their_last_address_and_ranges_nothing() -> None:
    sizes = {
        item.ref.name: sum(map(len, item.ranges))
        for item in state_of(
            pools=(
                pool("a", {"cidr": "10.0.0.0/30"}),
                pool("b", {"cidr": "fd00::/124"}),
                pool("c", {"start": "10.0.1.1", "end": "10.0.1.2"}),
                pool("d", {"cidr": "10.0.2.1/32"}),
                pool("e", {"cidr": "10.0.3.0/31"}),
                pool("f", {"cidr": "fd01::/64"}),
            )
        ).pools.values()
    }
    assert sizes == {"a": 2, "b": 15, "c": 2, "d": 0, "e": 0, "f": 65536}


def test_what_overlaps_an_older_pool_is_never_handed_out() -> None:
    old = pool("old", {"cidr": "10.0.0.0/24"}, created="2026-01-01T00:00:00Z")
    young = pool(
        "a", {"start": "10.0.0.200", "end": "10.0.1.1"}, {"cidr": "10.0.2.0/24"}, created="2026-01-02T00:00:00Z"
    )
    state = state_of(pools=(young, old))
    assert [str(part.first) for part in state.pools["ExternalIPPool/a"].ranges] == ["10.0.2.1"]
    (problem,) = state.problems
    assert (problem.ref.name, problem.reason, problem.field) == ("a", "OverlappingRanges", "spec.ipRanges[0]")


def test_an_invalid_range_costs_only_itself_and_a_tagged_subnet_hands_out_nothing() -> None:
    broken = pool("broken", {"start": "10.0.0.9", "end": "10.0.0.1"}, {"cidr": "10.0.1.0/24"})
    tagged = pool("tagged", {"cidr": "10.9.0.0/24"}, subnetInfo={"gateway": "10.9.0.1", "prefixLength": 24, "vlan": 5})
    state = state_of(pools=(broken, tagged))
    assert len(state.pools["ExternalIPPool/broken"].ranges) == 1
    assert state.pools["ExternalIPPool/tagged"].ranges == ()
    assert {problem.ref.name for problem in state.problems} == {"broken", "tagged"}


def test_a_pool_that_holds_a_nodes_own_address_says_so() -> None:
    nodes = (node("node-1", "10.0.0.5", "fd00::5"), node("node-2", "10.0.9.5"))
    pools = (pool("a", {"cidr": "10.0.0.0/24"}), pool("b", {"cidr": "10.0.1.0/24"}), pool("c", {"cidr": "fd00::/120"}))
    found = [(problem.ref.name, problem.reason) for problem in state_of(nodes=nodes, pools=pools).problems]
    assert found == [("a", "NodeAddressInRange"), ("c", "NodeAddressInRange")]


def test_nodes_have_addresses_networks_and_limits_and_windows_ones_hold_nothing() -> None:
    nodes = (
        node("node-1", "10.0.0.1", "fd00::1", annotations={LIMIT_ANNOTATION: "0"}),
        node("node-2", "10.0.0.2", annotations={LIMIT_ANNOTATION: "-5"}),
        node("win", "10.0.0.3", labels={"kubernetes.io/os": "windows"}),
    )
    state = state_of(nodes=nodes, pools=(pool("p"),))
    assert state.nodes["node-1"].addresses == (ip_address("10.0.0.1"), ip_address("fd00::1"))
    assert (state.nodes["node-1"].limit, state.nodes["node-2"].limit) == (0, None)
    assert state.pools["ExternalIPPool/p"].nodes == {"node-1", "node-2"}
    assert state.networks.pods == (ip_network("10.244.1.0/24"), ip_network("fd00:1::/64"))
    assert [(problem.ref.name, problem.reason) for problem in state.problems] == [("node-2", "InvalidAnnotation")]


def config(agent: str, name: str = "antrea-config-x", created: str = "") -> ConfigMap:
    meta = {"name": name, "namespace": "kube-system", "creationTimestamp": created}
    return msgspec.convert({"metadata": meta, "data": {"antrea-agent.conf": agent}}, ConfigMap)


def test_the_configuration_is_antreas_newest_config_map() -> None:
    old = config("featureGates: {Egress: false}", created="2025-01-01T00:00:00Z")
    new = config(
        "egress: {exceptCIDRs: [10.9.0.0/16], maxEgressIPsPerNode: 500}\nserviceCIDR: 10.96.0.0/12",
        "antrea-config",
        "2026-01-01T00:00:00Z",
    )
    state = state_of(configmaps=(old, new, config("featureGates: {Egress: false}", "other")))
    assert (state.enabled, state.default_limit) == (True, 500)
    assert state.networks.excepted == (ip_network("10.9.0.0/16"),)
    assert state.networks.services == (ip_network("10.96.0.0/12"),)


def test_a_broken_configuration_is_reported_and_defaults_are_used() -> None:
    for text, field in (
        ("a: [", "data.antrea-agent.conf"),
        ("- a", "data.antrea-agent.conf"),
        ("featureGates: {Egress: often}", "data.antrea-agent.conf: featureGates.Egress"),
        ("egress: {exceptCIDRs: [banana]}", "data.antrea-agent.conf: egress.exceptCIDRs"),
        ("egress: {maxEgressIPsPerNode: -1}", "data.antrea-agent.conf: egress.maxEgressIPsPerNode"),
    ):
        state = state_of(configmaps=(config(text),))
        assert (state.enabled, state.default_limit) == (True, 255)
        assert [problem.field for problem in state.problems] == [field]
