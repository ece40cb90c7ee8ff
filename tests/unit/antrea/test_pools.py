"""ExternalIPPools: which addresses they have, who may hold them, and in which order they are handed out."""

from typing import Any

import pytest
from tests.unit.antrea.cluster import DROPPED, Cluster, labelled, parts, ready

from sallyport.apis.antrea.validate import SCHEMAS, admission_faults
from sallyport.apis.schema import check

SCHEMA = SCHEMAS["crd.antrea.io/v1beta1", "ExternalIPPool"]


def written(*ranges: str, name: str = "p", **spec: Any) -> dict[str, Any]:
    """A pool as a user writes it."""
    return {"metadata": {"name": name}, "spec": {"ipRanges": parts(*ranges), "nodeSelector": {}, **spec}}


def refusals(new: dict[str, Any], old: dict[str, Any] | None = None, *others: dict[str, Any]) -> list[str]:
    """Why the API does not store a pool: its schema's reasons, then those of admission."""
    found = [f"{fault.field}: {fault.reason}" for fault in check(SCHEMA, new)]
    return found or [fault.reason for fault in admission_faults("ExternalIPPool", new, old, others)]


def test_ranges_are_required_but_may_be_none() -> None:
    assert refusals({"spec": {"nodeSelector": {}}}) == ["spec.ipRanges: Required value"]
    assert refusals(written()) == []
    cluster = ready()
    cluster.pool("p")
    cluster.egress("e", externalIPPool="p")
    assert cluster.settle().way("web") == DROPPED


@pytest.mark.parametrize(
    "item",
    [
        {"cidr": "10.0.0.0/28", "start": "10.0.0.1", "end": "10.0.0.2"},
        {"start": "10.0.0.1"},
        {"cidr": "10.0.0.0"},
        {"cidr": "10.0.0.0/33"},
        {"start": "10.0.0.9", "end": "10.0.0.1"},
        {"start": "10.0.0.1", "end": "fd00::1"},
        {},
    ],
)
def test_a_range_is_either_a_network_or_a_start_and_an_end_in_order(item: dict[str, str]) -> None:
    assert len(refusals({"metadata": {"name": "p"}, "spec": {"ipRanges": [item], "nodeSelector": {}}})) == 1


def test_ranges_overlap_neither_each_other_nor_another_pools() -> None:
    inside = "range [10.0.0.9-10.0.0.20] overlaps with range [10.0.0.0/28]"
    assert refusals(written("10.0.0.0/28", "10.0.0.9-10.0.0.20")) == [inside]
    other = written("10.0.0.0/28", name="q")
    assert refusals(written("10.0.0.9-10.0.0.20"), None, other) == [f"{inside} of ExternalIPPool q"]


def test_where_overlapping_ranges_are_stored_all_the_same_nobody_gets_an_address_twice() -> None:
    cluster = ready()
    cluster.pool("a", "10.0.0.1-10.0.0.1")
    cluster.pool("b", "10.0.0.1-10.0.0.1")
    for name in ("a", "b"):
        cluster.egress(name, externalIPPool=name, applied={"podSelector": labelled(app="web" if name == "a" else "db")})
    cluster.settle()
    assert [cluster.way(pod) for pod in ("web", "db")] == ["10.0.0.1", DROPPED]


def test_ranges_are_added_but_neither_changed_nor_removed() -> None:
    old = written("10.0.0.0/28")
    assert refusals(written("10.0.1.0/28", "10.0.0.0/28"), old, old) == []
    for new in (written(), written("10.0.0.0/29"), written("10.0.0.0-10.0.0.15")):
        assert refusals(new, old, old) == ["existing IPRanges [10.0.0.0/28] cannot be updated or deleted"]


@pytest.mark.parametrize(
    ("text", "total", "first"),
    [
        ("10.0.0.0/30", 2, "10.0.0.1"),
        ("10.0.0.0/28", 14, "10.0.0.1"),
        ("10.0.0.9/28", 14, "10.0.0.1"),
        ("fd00::/124", 15, "fd00::1"),
        ("10.0.0.0/31", 0, ""),
        ("10.0.0.1/32", 0, ""),
        ("10.0.0.7-10.0.0.7", 1, "10.0.0.7"),
        ("10.0.0.0-10.0.0.3", 4, "10.0.0.0"),
        ("fd00:9::/64", 65536, "fd00:9::1"),
        ("172.16.0.0-172.31.255.255", 65536, "172.16.0.0"),
    ],
)
def test_a_range_has_so_many_addresses_and_gives_the_lowest_first(text: str, total: int, first: str) -> None:
    cluster = ready()
    cluster.pool("p", text)
    cluster.egress("e", externalIPPool="p")
    cluster.settle()
    assert (cluster.plan.usage["ExternalIPPool/p"].total, cluster.holder("e")[1]) == (total, first)


def test_a_pool_of_both_families_gives_from_its_first_range_with_room() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.7-10.0.0.7", "fd00::10-fd00::20")
    for name in ("a", "b"):
        cluster.egress(name, externalIPPool="p")
    cluster.settle()
    assert [cluster.holder(name)[1] for name in ("a", "b")] == ["10.0.0.7", "fd00::10"]


def test_a_freed_address_is_given_again_at_once() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.0/28")
    for name in ("a", "b"):
        cluster.egress(name, externalIPPool="p")
    cluster.settle()
    del cluster.egresses["a"]
    cluster.egress("c", externalIPPool="p")
    assert [cluster.settle().holder(name)[1] for name in ("b", "c")] == ["10.0.0.2", "10.0.0.1"]


def test_who_has_an_address_keeps_it_when_an_older_egress_comes_to_want_one() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.1-10.0.0.1")
    cluster.egress("old", externalIPPool="absent")
    cluster.egress("young", externalIPPool="p")
    cluster.settle()
    cluster.egress("old", externalIPPool="p")
    cluster.settle()
    assert cluster.holder("young")[1] == "10.0.0.1"
    assert cluster.conditions("old")["IPAllocated"] == ("False", "AllocationError")


def test_who_has_an_address_keeps_it_when_an_older_egress_asks_for_it_by_name() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.1-10.0.0.9")
    cluster.egress("old", externalIPPool="p")
    cluster.egress("young", externalIPPool="p")
    cluster.settle()
    assert cluster.holder("young")[1] == "10.0.0.2"
    cluster.egress("old", externalIPPool="p", egressIP="10.0.0.2")
    cluster.settle()
    assert cluster.holder("young")[1] == "10.0.0.2"
    assert cluster.conditions("old")["IPAllocated"] == ("False", "AllocationError")


def test_usage_counts_what_is_handed_out_and_is_never_negative() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.0/28")
    cluster.pool("single", "10.0.1.1/32")
    cluster.egress("e", externalIPPool="p")
    cluster.settle()
    assert (cluster.plan.usage["ExternalIPPool/p"].used, cluster.plan.usage["ExternalIPPool/single"].total) == (1, 0)
    del cluster.egresses["e"]
    cluster.settle()
    assert cluster.plan.usage["ExternalIPPool/p"].used == 0


def test_a_node_selector_is_required_and_an_empty_one_is_every_node() -> None:
    assert refusals({"spec": {"ipRanges": []}}) == ["spec.nodeSelector: Required value"]
    assert len(refusals(written(nodeSelector={"matchLabels": {"a": "not valid"}}))) == 1
    cluster = ready()
    cluster.pool("p", "10.0.0.0/24")
    for number in range(20):
        cluster.egress(f"e{number:02}", externalIPPool="p")
    cluster.settle()
    assert {cluster.holder(name)[0] for name in cluster.egresses} == {"node-1", "node-2"}


def subnet(vlan: int = 0, **more: Any) -> dict[str, Any]:
    """A subnetInfo around 10.0.9.0/24."""
    return {"gateway": "10.0.9.1", "prefixLength": 24, "vlan": vlan, **more}


def test_a_subnet_must_be_valid_and_hold_the_ranges() -> None:
    assert refusals(written("10.0.9.2-10.0.9.9", subnetInfo=subnet())) == []
    for wrong in ({"gateway": "router"}, {"prefixLength": 0}, {"prefixLength": 32}, {"vlan": 4095}):
        assert len(refusals(written("10.0.9.2-10.0.9.9", subnetInfo=subnet(**wrong)))) == 1
    (reason,) = refusals(written("10.0.8.2-10.0.8.9", subnetInfo=subnet()))
    assert reason == "range [10.0.8.2-10.0.8.9] must be a strict subset of the subnet 10.0.9.0/24"


def served(cluster: Cluster, **more: Any) -> str:
    """The way of a pod whose Egress asks a pool with a subnet for an address."""
    cluster.pool("p", "10.0.9.1-10.0.9.9", subnetInfo=subnet(**more))
    cluster.egress("e", externalIPPool="p")
    return cluster.settle().way("web")


def test_the_gateway_of_a_subnet_is_never_handed_out() -> None:
    assert served(ready()) == "10.0.9.2"


def test_a_tagged_subnet_drops_and_says_that_it_is_not_supported_yet() -> None:
    cluster = ready()
    assert served(cluster, vlan=5) == DROPPED
    assert ("p", "NotSupported") in [(problem.ref.name, problem.reason) for problem in cluster.plan.problems]
