"""Which node a pod runs on, and in which words it is told that it fits nowhere."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from sallyport.lab.affinity import LabNode
from sallyport.lab.pods import LabPod
from sallyport.lab.scheduler import place

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
HOST = "kubernetes.io/hostname"
GATEWAYS = {"app": "gw"}


def node(name: str, labels: Mapping[str, str] = {}, **spec: object) -> LabNode:
    """A node with its hostname as a label, and more."""
    whole = {"metadata": {"name": name, "labels": {HOST: name, **labels}}, "spec": spec}
    return msgspec.convert(whole, LabNode)


def pod(
    name: str = "new", labels: Mapping[str, str] = GATEWAYS, *, on: str = "", gone: bool = False, **spec: Any
) -> LabPod:
    """A pod, on a node if it is given; `gone` pods are being deleted."""
    meta: dict[str, Any] = {"name": name, "namespace": "apps", "labels": dict(labels)}
    if gone:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    whole = {"metadata": meta, "spec": {"nodeName": on, **spec}}
    return msgspec.convert(whole, LabPod)


def meaning(labels: Mapping[str, str] = GATEWAYS, key: str = HOST) -> dict[str, Any]:
    """A term of pods with the labels."""
    return {"topologyKey": key, "labelSelector": {"matchLabels": dict(labels)}}


def apart(labels: Mapping[str, str] = GATEWAYS, key: str = HOST) -> dict[str, Any]:
    """A required anti-affinity to pods with the labels."""
    return {"podAntiAffinity": {REQUIRED: [meaning(labels, key)]}}


def together(labels: Mapping[str, str], key: str = HOST) -> dict[str, Any]:
    """A required affinity to pods with the labels."""
    return {"podAffinity": {REQUIRED: [meaning(labels, key)]}}


def requirement(key: str, operator: str, *values: str) -> dict[str, Any]:
    """A node affinity term of one expression."""
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def spread(skew: int = 1, when: str = "DoNotSchedule", key: str = HOST, **more: object) -> dict[str, Any]:
    """Topology spread constraints of one entry, of the gateways."""
    entry = {"maxSkew": skew, "whenUnsatisfiable": when, **meaning(key=key), **more}
    return {"topologySpreadConstraints": [entry]}


THREE = [node("n1"), node("n2"), node("n3")]


def chosen(new: LabPod, nodes: Sequence[LabNode], *pods: LabPod) -> str:
    """The node, or why there is none, without what is said of preemption."""
    found = place(new, nodes, pods)
    return found.node or found.why.partition(" no new claims")[0]


def test_without_a_wish_the_node_with_the_fewest_pods_is_taken() -> None:
    here = (pod("a", on="n1"), pod("b", on="n2"), pod("c", on="n2"))
    assert chosen(pod(), THREE, *here) == "n3"
    assert chosen(pod(), THREE, *here, pod("d", on="n3"), pod("e", on="n3")) == "n1"


def test_a_pod_that_has_ended_takes_no_place() -> None:
    ended = msgspec.structs.replace(pod("a", on="n1"), status=msgspec.convert({"phase": "Failed"}, type(pod().status)))
    assert chosen(pod(), THREE[:2], ended, pod("b", on="n2")) == "n1"


@pytest.mark.parametrize(
    ("term", "fits"),
    [
        (requirement("zone", "In", "a", "b"), {"n1", "n2"}),
        (requirement("zone", "NotIn", "a"), {"n2", "n3"}),
        (requirement("zone", "Exists"), {"n1", "n2"}),
        (requirement("zone", "DoesNotExist"), {"n3"}),
        ({}, set()),
    ],
    ids=["In", "NotIn", "Exists", "DoesNotExist", "an empty term is no node"],
)
def test_a_required_node_affinity_leaves_the_nodes_that_it_means(term: dict[str, Any], fits: set[str]) -> None:
    nodes = [node("n1", {"zone": "a"}), node("n2", {"zone": "b"}), node("n3")]
    new = pod(affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [term]}}})
    assert {item.metadata.name for item in nodes if place(new, [item], ()).node} == fits


def test_one_of_several_node_terms_is_enough_and_the_selector_holds_as_well() -> None:
    nodes = [node("n1", {"zone": "a"}), node("n2", {"zone": "b", "role": "gw"})]
    terms = [requirement("zone", "In", "a"), requirement("zone", "In", "b")]
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}
    assert chosen(pod(affinity=affinity, nodeSelector={"role": "gw"}), nodes) == "n2"


def test_the_heaviest_node_preference_wins_over_the_load() -> None:
    nodes = [node("n1"), node("n2", {"ssd": "yes"}), node("n3", {"zone": "a"})]
    likes = [(5, requirement("ssd", "Exists")), (9, requirement("zone", "In", "a"))]
    wish = {"nodeAffinity": {PREFERRED: [{"weight": weight, "preference": term} for weight, term in likes]}}
    assert chosen(pod(affinity=wish), nodes, pod("a", on="n3"), pod("b", on="n3")) == "n3"


def test_required_anti_affinity_keeps_pods_on_different_nodes() -> None:
    one, two = pod("a", on="n1", affinity=apart()), pod("b", on="n2", affinity=apart())
    assert chosen(pod(affinity=apart()), THREE, one) == "n2"
    assert chosen(pod(affinity=apart()), THREE, one, two) == "n3"
    assert chosen(pod(affinity=apart()), THREE, one, two, pod("c", on="n3", gone=True)) == (
        "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
    )


def test_anti_affinity_means_pods_of_the_same_namespace_only() -> None:
    elsewhere = msgspec.structs.replace(
        pod("a", on="n1"), metadata=msgspec.structs.replace(pod().metadata, namespace="x")
    )
    assert chosen(pod(affinity=apart()), THREE[:1], elsewhere) == "n1"


def test_a_pod_that_is_there_keeps_others_off_by_its_own_anti_affinity() -> None:
    jealous = pod("a", {"app": "db"}, on="n1", affinity=apart({"app": "web"}))
    assert chosen(pod(labels={"app": "web"}), THREE[:1], jealous) == (
        "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."
    )


def test_anti_affinity_by_zone_counts_all_nodes_of_the_zone() -> None:
    nodes = [node("n1", {"zone": "a"}), node("n2", {"zone": "a"}), node("n3", {"zone": "b"})]
    assert chosen(pod(affinity=apart(key="zone")), nodes, pod("a", on="n1"), pod("b", {}, on="n3")) == "n3"


def test_required_affinity_goes_where_such_a_pod_is() -> None:
    nodes = [node("n1", {"zone": "a"}), node("n2", {"zone": "b"}), node("n3", {"zone": "b"})]
    here = (pod("a", {"app": "db"}, on="n3"), pod("b", {}, on="n3"))
    assert chosen(pod(affinity=together({"app": "db"})), nodes, *here) == "n3"
    assert chosen(pod(affinity=together({"app": "db"}, "zone")), nodes, *here) == "n2"
    assert chosen(pod(affinity=together({"app": "no"})), nodes, *here) == (
        "0/3 nodes are available: 3 node(s) didn't match pod affinity rules."
    )


def test_the_first_pod_of_a_group_need_not_find_its_like() -> None:
    assert chosen(pod(affinity=together(GATEWAYS)), THREE) == "n1"
    assert chosen(pod(affinity=together(GATEWAYS)), THREE, pod("a", on="n2")) == "n2"


def test_preferred_pod_affinity_attracts_and_preferred_anti_affinity_repels() -> None:
    weighted = [{"weight": 10, "podAffinityTerm": meaning()}]
    here = (pod("a", on="n2"), pod("b", {}, on="n1"), pod("c", {}, on="n1"))
    assert chosen(pod(affinity={"podAffinity": {PREFERRED: weighted}}), THREE, *here) == "n2"
    assert chosen(pod(affinity={"podAntiAffinity": {PREFERRED: weighted}}), THREE[:2], *here) == "n1"


def test_match_label_keys_mean_pods_of_the_same_template_only() -> None:
    term = {**meaning(), "matchLabelKeys": ["pod-template-hash"]}
    wish = {"podAntiAffinity": {REQUIRED: [term]}}
    new = pod(labels={**GATEWAYS, "pod-template-hash": "x"}, affinity=wish)
    assert chosen(new, THREE[:1], pod("a", {**GATEWAYS, "pod-template-hash": "old"}, on="n1")) == "n1"
    assert chosen(new, THREE[:1], pod("a", {**GATEWAYS, "pod-template-hash": "x"}, on="n1")) != "n1"


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ({"key": "egress", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}, True),
        ({"key": "egress", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "egress", "value": "no"}, False),
        ({"key": "egress", "operator": "Exists", "effect": "NoExecute"}, False),
    ],
)
def test_a_taint_keeps_pods_off_that_do_not_tolerate_it(toleration: dict[str, str], fits: bool) -> None:
    tainted = node("n1", taints=[{"key": "egress", "value": "yes", "effect": "NoSchedule"}])
    assert chosen(pod(), [tainted]) == "0/1 nodes are available: 1 node(s) had untolerated taint(s)."
    assert (place(pod(tolerations=[toleration]), [tainted], ()).node == "n1") is fits


def test_a_node_that_would_rather_have_no_pods_is_the_last_choice() -> None:
    nodes = [node("n1", taints=[{"key": "old", "effect": "PreferNoSchedule"}]), node("n2")]
    assert chosen(pod(), nodes, pod("a", on="n2"), pod("b", on="n2")) == "n2"
    assert chosen(pod(), nodes[:1]) == "n1"


def test_hard_spreading_keeps_the_skew() -> None:
    here = [pod("a", on="n1"), pod("b", {}, on="n2"), pod("c", {}, on="n3"), pod("d", {}, on="n3")]
    assert chosen(pod(**spread()), THREE, *here) == "n2"
    assert chosen(pod(**spread(2)), THREE, *here) == "n1"
    assert chosen(pod(**spread(), nodeSelector={HOST: "n1"}), THREE, *here) == "n1"  # the only place that it may have


def test_hard_spreading_needs_the_label_and_counts_no_pod_that_goes() -> None:
    zones = [node("n1", {"zone": "a"}), node("n2", {"zone": "b"}), node("n3")]
    here = [pod("a", on="n1"), pod("b", {}, on="n2"), pod("c", {}, on="n2")]
    assert chosen(pod(**spread(key="zone")), zones, *here) == "n2"
    assert chosen(pod(**spread(key="zone")), [zones[2]]) == (
        "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label)."
    )
    assert chosen(pod(**spread(key="zone")), zones, pod("a", on="n1", gone=True)) == "n2"
    assert chosen(
        pod(**spread()), THREE[:2], pod("a", on="n1", gone=True), pod("b", {}, on="n2"), pod("c", {}, on="n2")
    ) == ("n1")


def test_too_few_places_count_as_an_empty_one() -> None:
    assert chosen(pod(**spread(minDomains=2)), THREE[:1], pod("a", on="n1")) == (
        "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints."
    )
    assert chosen(pod(**spread()), THREE[:1], pod("a", on="n1")) == "n1"


def test_soft_spreading_prefers_the_emptiest_place_over_the_load() -> None:
    here = [pod("a", on="n1"), pod("b", {}, on="n2"), pod("c", {}, on="n2")]
    assert chosen(pod(), THREE[:2], *here) == "n1"
    assert chosen(pod(**spread(when="ScheduleAnyway")), THREE[:2], *here) == "n2"


def test_each_reason_is_told_with_the_number_of_its_nodes() -> None:
    nodes = [
        node("n1", unschedulable=True),
        node("n2", {"role": "gw"}),
        node("n3"),
        node("n4", taints=[{"key": "k", "effect": "NoExecute"}]),
        node("n5"),
    ]
    new = pod(nodeSelector={"role": "gw"}, affinity=apart())
    assert chosen(new, nodes, pod("a", on="n2")) == (
        "0/5 nodes are available: 1 node(s) didn't match pod anti-affinity rules, "
        "1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, "
        "2 node(s) didn't match Pod's node affinity/selector."
    )
    assert place(new, nodes, [pod("a", on="n2")]).why.partition(". ")[2] == (
        "no new claims to deallocate, preemption: 0/5 nodes are available: "
        "1 No preemption victims found for incoming pod, 4 Preemption is not helpful for scheduling."
    )
    assert chosen(new, []) == "no nodes available to schedule pods"
