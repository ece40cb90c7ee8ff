"""The fields of an Egress: who refuses what, and what the accepted ones mean."""

from typing import Any

import msgspec
import pytest
from tests.unit.antrea.cluster import DROPPED, FREE, Cluster, labelled, ready

from sallyport.apis.antrea.types import Egress
from sallyport.apis.antrea.validate import SCHEMAS, admission_faults
from sallyport.apis.schema import check, unknown

SCHEMA = SCHEMAS["crd.antrea.io/v1beta1", "Egress"]
POOL = {"metadata": {"name": "p"}, "spec": {"ipRanges": [{"cidr": "10.0.0.0/28"}], "nodeSelector": {}}}
OTHER_POOL = {"metadata": {"name": "q"}, "spec": {"ipRanges": [{"cidr": "10.0.1.0/28"}], "nodeSelector": {}}}


def written(**spec: Any) -> dict[str, Any]:
    """An Egress as a user writes it, for all pods."""
    return {"metadata": {"name": "e"}, "spec": {"appliedTo": {"podSelector": {}}, **spec}}


def refusals(new: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    """Why the API does not store an Egress: its schema's reasons, then those of admission."""
    found = [f"{fault.field}: {fault.reason}" for fault in check(SCHEMA, new)]
    return found or [fault.reason for fault in admission_faults("Egress", new, old, [POOL, OTHER_POOL])]


def test_applied_to_is_required_and_has_only_two_selectors() -> None:
    assert refusals({"spec": {"egressIP": "10.0.0.9"}}) == ["spec.appliedTo: Required value"]
    group = written(egressIP="10.0.0.9", appliedTo={"group": "a", "podSelector": {}})
    assert unknown(SCHEMA, group) == ["spec.appliedTo.group"]


@pytest.mark.parametrize(
    ("applied", "pods"),
    [
        ({}, []),
        ({"podSelector": {}}, ["db", "web", "web-test"]),
        ({"namespaceSelector": {}}, ["db", "web", "web-test"]),
        ({"podSelector": labelled(app="web")}, ["web"]),
        ({"namespaceSelector": labelled(env="test")}, ["db", "web-test"]),
        ({"podSelector": labelled(app="db"), "namespaceSelector": labelled(env="test")}, ["db"]),
        ({"podSelector": labelled(app="web"), "namespaceSelector": labelled(env="test")}, []),
    ],
)
def test_no_selector_selects_nothing_an_empty_one_everything_and_two_their_intersection(
    applied: object, pods: list[str]
) -> None:
    cluster = ready()
    cluster.pod("web-test", "node-2", "10.244.2.3", namespace="test")
    cluster.egress("e", egressIP="10.0.0.102", applied=applied)
    cluster.settle()
    assert [pod for pod in sorted(cluster.pods) if cluster.way(pod) != FREE] == pods


def test_selectors_are_live() -> None:
    """The way changes with the selector, to and fro, on the node that holds the address and on the other one."""
    cluster = ready()
    for applied, ways in (
        ({"podSelector": labelled(app="web")}, ["10.0.0.102", FREE]),
        ({"podSelector": labelled(app="db")}, [FREE, "10.0.0.102"]),
        ({"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}, ["10.0.0.102"] * 2),
        (
            {"podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}},
            ["10.0.0.102", FREE],
        ),
    ):
        cluster.egress("e", egressIP="10.0.0.102", applied=applied)
        cluster.settle()
        assert [cluster.way(pod) for pod in ("web", "db")] == ways
    del cluster.egresses["e"]
    cluster.settle()
    assert [cluster.way(pod) for pod in ("web", "db")] == [FREE, FREE]


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {"app": "-web"}},
        {"matchExpressions": [{"key": "app", "operator": "Is", "values": ["web"]}]},
        {"matchExpressions": [{"key": "app", "operator": "In"}]},
        {"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["web"]}]},
        {"matchLabels": {"a b": "web"}},
    ],
)
def test_a_selector_that_kubernetes_would_refuse_is_refused_here_too(selector: object) -> None:
    assert len(refusals(written(egressIP="10.0.0.9", appliedTo={"podSelector": selector}))) == 1


@pytest.mark.parametrize("text", ["", "10.0.0.256", "10.0.0.0/24", "gate.example"])
def test_an_egress_ip_must_be_an_address(text: str) -> None:
    (reason,) = refusals(written(egressIP=text))
    assert reason.startswith("spec.egressIP: ")


@pytest.mark.parametrize(
    ("spec", "reasons"),
    [
        ({"egressIP": "10.0.0.9", "externalIPPool": "p"}, []),
        ({"egressIP": "10.9.9.9", "externalIPPool": "p"}, ["IP 10.9.9.9 is not within the IP range"]),
        ({"egressIP": "10.0.0.9", "externalIPPool": "absent"}, ["ExternalIPPool absent does not exist"]),
        ({"externalIPPool": "absent"}, []),
        ({"egressIP": "192.0.2.1"}, []),
    ],
)
def test_an_address_must_lie_in_its_pool(spec: dict[str, Any], reasons: list[str]) -> None:
    assert refusals(written(**spec)) == reasons


def test_pool_and_address_change_together_or_are_refused() -> None:
    old = written(egressIP="10.0.0.9", externalIPPool="p")
    assert refusals(written(egressIP="10.0.1.9", externalIPPool="q"), old) == []
    assert refusals(written(egressIP="10.0.0.9", externalIPPool="q"), old) == ["IP 10.0.0.9 is not within the IP range"]
    assert refusals(written(egressIP="10.0.1.9", externalIPPool="p"), old) == ["IP 10.0.1.9 is not within the IP range"]


def test_a_chosen_address_is_written_into_the_spec() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.0/28")
    cluster.egress("e", externalIPPool="p")
    cluster.settle()
    assert cluster.egresses["e"].spec.egress_ip == cluster.way("web") == "10.0.0.1"


def test_an_egress_may_come_before_its_pool_and_drops_until_the_pool_is_there() -> None:
    cluster = ready()
    cluster.egress("e", externalIPPool="p")
    cluster.settle()
    assert cluster.way("web") == DROPPED
    assert cluster.message("e", "IPAllocated").endswith("ExternalIPPool p does not exist")
    cluster.pool("p", "10.0.0.0/28")
    assert cluster.settle().way("web") == "10.0.0.1"


def test_neither_address_nor_pool_is_refused() -> None:
    assert refusals(written())[0].startswith("spec: ")


def test_several_addresses_or_pools_are_refused_and_where_stored_all_the_same_mean_drop() -> None:
    specs: list[dict[str, Any]] = [{"egressIPs": ["10.0.0.9"]}, {"externalIPPools": ["p"]}]
    for spec in specs:
        (field,) = spec
        assert check(SCHEMA, written(**spec)) == []
        assert refusals(written(**spec)) == [f"spec.{field} is not supported yet"]
        cluster = ready()
        cluster.egress("e", **spec)
        assert cluster.settle().way("web") == DROPPED
        assert cluster.message("e", "IPAssigned").endswith("egressIPs and externalIPPools are not supported yet")


def test_bandwidth_needs_two_quantities() -> None:
    for value in ({"rate": "1M"}, {"burst": "1M"}, {"rate": "fast", "burst": "1M"}, {"rate": "-1M", "burst": "1M"}):
        assert len(refusals(written(egressIP="10.0.0.9", bandwidth=value))) == 1
    assert refusals(written(egressIP="10.0.0.9", bandwidth={"rate": "1.5Gi", "burst": "500k"})) == []


def limits(cluster: Cluster, node: str) -> list[str]:
    """Rates and bursts in bits that a node enforces."""
    return sorted(cluster.elements(node, "limits").values())


def test_bandwidth_is_limited_where_the_traffic_leaves_without_rounding_and_changes_at_once() -> None:
    cluster = ready()
    cluster.egress("e", egressIP="10.0.0.102", bandwidth={"rate": "800", "burst": "1Ki"})
    cluster.settle()
    assert (limits(cluster, "node-1"), limits(cluster, "node-2")) == ([], ["800/1024"])
    cluster.egress("e", egressIP="10.0.0.102", bandwidth={"rate": "10G", "burst": "100M"})
    assert limits(cluster.settle(), "node-2") == ["10000000000/100000000"]
    cluster.egress("e", egressIP="10.0.0.102")
    assert limits(cluster.settle(), "node-2") == []


def test_both_versions_of_the_api_decode_into_the_same_egress() -> None:
    old = {"apiVersion": "crd.antrea.io/v1alpha2", **written(egressIP="10.0.0.9", externalIPPool="p")}
    new = {"apiVersion": "crd.antrea.io/v1beta1", **written(egressIP="10.0.0.9", externalIPPool="p")}
    assert msgspec.convert(old, Egress).spec == msgspec.convert(new, Egress).spec
    assert check(SCHEMAS["crd.antrea.io/v1alpha2", "Egress"], old) == []
