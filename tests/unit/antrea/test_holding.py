"""Which node holds an address: election, failure, return, and limits."""

import pytest
from tests.unit.antrea.cluster import DROPPED, FREE, Cluster, labelled, ready


def crowd(egresses: int, nodes: int = 3) -> Cluster:
    """Nodes that may all hold addresses of one pool, and Egresses that ask for one each."""
    cluster = Cluster()
    for number in range(nodes):
        cluster.node(f"node-{number + 1}")
    cluster.namespace("prod")
    cluster.pod("web", "node-1", "10.244.1.2")
    cluster.pool("p", "10.0.0.1-10.0.0.99")
    for number in range(egresses):
        cluster.egress(f"e{number:02}", externalIPPool="p", applied={} if number else None)
    return cluster.settle()


def holders(cluster: Cluster) -> dict[str, str]:
    """The holder of each Egress's address."""
    return {name: cluster.holder(name)[0] for name in cluster.egresses}


def test_a_lost_nodes_addresses_are_taken_over_without_the_controller_and_no_other_moves() -> None:
    cluster = crowd(12)
    before = holders(cluster)
    cluster.dead = {"node-2"}
    after = holders(cluster.settle())
    assert {name for name in before if before[name] != after[name]} == {
        name for name, node in before.items() if node == "node-2"
    }
    assert "node-2" not in after.values()
    cluster.away = {"node-2"}
    assert holders(cluster.settle()) == after


def test_a_node_that_returns_takes_its_addresses_back() -> None:
    cluster = crowd(12)
    before = holders(cluster)
    cluster.dead = cluster.away = {"node-2"}
    cluster.settle()
    cluster.dead = cluster.away = set()
    assert holders(cluster.settle()) == before


def test_a_node_taken_out_of_the_selector_lets_its_addresses_go_and_takes_them_back() -> None:
    cluster = ready()
    for name in ("node-1", "node-2"):
        cluster.node(name, role="gate")
    cluster.pool("p", "10.0.0.0/28", selector=labelled(role="gate"))
    cluster.egress("e", externalIPPool="p")
    first, address = cluster.settle().holder("e")
    second = {"node-1": "node-2", "node-2": "node-1"}[first]
    cluster.node(first)
    cluster.settle()
    assert cluster.holder("e") == (second, address)
    assert cluster.addresses_on(first) == []
    cluster.node(first, role="gate")
    assert cluster.settle().holder("e") == (first, address)


def test_with_all_leases_run_out_nobody_is_named_and_traffic_drops() -> None:
    cluster = crowd(1)
    cluster.pod("db", "node-2", "10.244.2.2")
    cluster.dead = cluster.away = {"node-1", "node-3"}
    assert cluster.settle().way("db") == "10.0.0.1"
    cluster.away = {"node-1", "node-2", "node-3"}
    assert cluster.settle().way("db") == DROPPED


@pytest.mark.parametrize(("limit", "served"), [("0", 0), ("1", 3), ("2", 5)])
def test_a_limit_of_a_node_is_kept_and_the_youngest_are_left_out(limit: str, served: int) -> None:
    cluster = crowd(5)
    for number in range(3):
        cluster.node(f"node-{number + 1}", limit=limit)
    cluster.settle()
    assert [bool(node) for node in holders(cluster).values()] == [True] * served + [False] * (5 - served)


def test_room_that_comes_free_is_given_to_the_oldest_that_was_left_out() -> None:
    cluster = crowd(4)
    for number in range(3):
        cluster.node(f"node-{number + 1}", limit="1")
    assert cluster.settle().holder("e03") == ("", "")
    del cluster.egresses["e01"]
    assert cluster.settle().holder("e03")[1] == "10.0.0.4"


def test_an_annotation_that_is_no_number_is_reported_and_the_default_used() -> None:
    cluster = crowd(4)
    cluster.configuration = "egress: {maxEgressIPsPerNode: 1}"
    for number in range(3):
        cluster.node(f"node-{number + 1}", limit="many")
    cluster.settle()
    assert list(holders(cluster).values()).count("") == 1
    assert "InvalidAnnotation" in {problem.reason for problem in cluster.plan.problems}


def test_the_feature_gate_takes_everything_off_the_nodes() -> None:
    cluster = crowd(1)
    cluster.configuration = "featureGates: {Egress: false}"
    cluster.settle()
    assert all(plan.objects == () for plan in cluster.plans.values())


def test_an_excepted_network_that_is_none_is_reported_and_the_others_hold() -> None:
    cluster = crowd(1)
    cluster.configuration = "egress: {exceptCIDRs: [banana, 198.51.100.0/24]}"
    cluster.settle()
    assert "198.51.100.0/24" in cluster.elements("node-1", "excluded4")
    assert cluster.way("web") not in (FREE, DROPPED)
    assert "InvalidConfiguration" in {problem.reason for problem in cluster.plan.problems}
