"""Egresses, pools, pods and nodes together: the rules between objects, one test for each row of docs/antrea.md."""

import pytest
from tests.unit.antrea.cluster import DELIVERED, DROPPED, FREE, UNDECIDED, Cluster, labelled, ready

# Several Egresses.


def test_of_two_egresses_on_one_pod_the_oldest_governs_it_and_both_say_so() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.0/28")
    cluster.egress("old", externalIPPool="p", egressIP="10.0.0.9")
    cluster.egress("young", externalIPPool="p", egressIP="10.0.0.8")
    cluster.settle()
    assert [cluster.way(pod) for pod in ("web", "db")] == ["10.0.0.9", "10.0.0.9"]
    assert cluster.conditions("old")["Overlapping"] == ("True", "WinsPods")
    assert cluster.conditions("young")["Overlapping"] == ("True", "YieldsPods")
    yielded = "of what it selects, 2 pods (prod/web, test/db) go by Egress old, being older"
    won = "2 pods (prod/web, test/db) go by this Egress, being older, and not by Egress young"
    assert cluster.message("young", "Overlapping") == yielded
    assert cluster.message("old", "Overlapping") == won


def test_of_two_egresses_of_one_age_the_first_by_name_governs_the_pod() -> None:
    cluster = ready()
    for name, ip in (("b", "10.0.0.9"), ("a", "10.0.0.8")):
        cluster.put(ip, "node-1")
        cluster.egress(name, egressIP=ip, created="2026-01-01T00:00:00Z")
    assert cluster.settle().way("web") == "10.0.0.8"


def test_when_the_winner_goes_the_next_oldest_governs_and_the_condition_goes_too() -> None:
    cluster = ready()
    for name, ip in (("a", "10.0.0.9"), ("c", "10.0.0.8"), ("b", "10.0.0.7")):
        cluster.put(ip, "node-2")
        cluster.egress(name, egressIP=ip)
    assert cluster.settle().way("web") == "10.0.0.9"
    cluster.egress("a", egressIP="10.0.0.9", applied={})
    assert cluster.settle().way("web") == "10.0.0.8"
    del cluster.egresses["c"]
    assert cluster.settle().way("web") == "10.0.0.7"
    assert "Overlapping" not in cluster.conditions("a") | cluster.conditions("b")


def test_an_older_egress_that_waits_for_its_address_keeps_its_pods_and_drops_their_traffic() -> None:
    cluster = ready()
    cluster.put("10.0.0.9", "node-1")
    cluster.egress("old", externalIPPool="absent")
    cluster.egress("young", egressIP="10.0.0.9")
    assert cluster.settle().way("web") == DROPPED


def test_two_egresses_may_share_a_static_address() -> None:
    cluster = ready()
    cluster.put("10.0.0.9", "node-2")
    cluster.egress("a", egressIP="10.0.0.9", applied={"podSelector": labelled(app="web")})
    cluster.egress("b", egressIP="10.0.0.9", applied={"podSelector": labelled(app="db")})
    cluster.settle()
    assert cluster.holder("a") == cluster.holder("b") == ("node-2", "10.0.0.9")
    assert [cluster.way(pod) for pod in ("web", "db")] == ["10.0.0.9", "10.0.0.9"]
    del cluster.egresses["a"]
    cluster.settle()
    assert [cluster.way(pod) for pod in ("web", "db")] == [FREE, "10.0.0.9"]


def test_an_address_of_a_pool_has_one_egress_and_the_second_waits_and_leaks_nothing() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.0/28")
    cluster.egress("first", externalIPPool="p", egressIP="10.0.0.9", applied={"podSelector": labelled(app="db")})
    cluster.egress("second", externalIPPool="p", egressIP="10.0.0.9", applied={"podSelector": labelled(app="web")})
    cluster.settle()
    assert cluster.way("web") == DROPPED
    assert cluster.conditions("second") == {
        "IPAllocated": ("False", "AllocationError"),
        "IPAssigned": ("False", "AssignmentError"),
    }
    assert "IP 10.0.0.9 is already used by Egress first" in cluster.message("second", "IPAllocated")
    del cluster.egresses["first"]
    assert cluster.settle().way("web") == "10.0.0.9"
    assert cluster.conditions("second")["IPAllocated"] == ("True", "Allocated")


def test_egresses_that_share_an_address_keep_their_own_bandwidth() -> None:
    cluster = ready()
    cluster.put("10.0.0.9", "node-2")
    for name, rate in (("a", "8M"), ("b", "16M")):
        cluster.egress(name, egressIP="10.0.0.9", bandwidth={"rate": rate, "burst": "8M"})
    cluster.settle()
    assert sorted(cluster.elements("node-2", "limits").values()) == ["16000000/8000000", "8000000/8000000"]


# Changes of an Egress.


def test_an_address_changed_within_its_pool_moves_and_frees_the_old_one() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.0/28", selector=labelled(role="gate"))
    cluster.node("node-2", role="gate")
    cluster.egress("e", externalIPPool="p", egressIP="10.0.0.9")
    assert cluster.settle().addresses_on("node-2") == ["10.0.0.9"]
    cluster.egress("e", externalIPPool="p", egressIP="10.0.0.10")
    cluster.settle()
    assert cluster.addresses_on("node-2") == ["10.0.0.10"]
    assert cluster.holder("e") == ("node-2", "10.0.0.10")
    assert cluster.way("web") == "10.0.0.10"
    cluster.egress("f", externalIPPool="p", egressIP="10.0.0.9")
    assert cluster.settle().conditions("f")["IPAllocated"] == ("True", "Allocated")


def test_pool_and_address_may_change_together() -> None:
    cluster = ready()
    cluster.node("node-2", role="gate")
    cluster.pool("p", "10.0.0.0/28", selector=labelled(role="gate"))
    cluster.pool("q", "10.0.0.32/28")
    cluster.egress("e", externalIPPool="p", egressIP="10.0.0.9")
    cluster.settle()
    cluster.egress("e", externalIPPool="q", egressIP="10.0.0.40")
    cluster.settle()
    assert cluster.way("web") == "10.0.0.40"
    assert (cluster.plan.usage["ExternalIPPool/p"].used, cluster.plan.usage["ExternalIPPool/q"].used) == (0, 1)


def test_a_cleared_address_is_chosen_anew_from_the_lowest() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.0/28")
    cluster.egress("e", externalIPPool="p", egressIP="10.0.0.9")
    cluster.settle()
    cluster.egress("e", externalIPPool="p")
    cluster.settle()
    assert cluster.egresses["e"].spec.egress_ip == "10.0.0.1"
    assert cluster.way("web") == "10.0.0.1"


def test_an_egress_that_leaves_its_pool_is_static_and_drops_until_a_node_has_its_address() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.0/28")
    cluster.egress("e", externalIPPool="p", egressIP="10.0.0.9")
    cluster.settle()
    cluster.egress("e", egressIP="10.0.0.9")
    cluster.settle()
    assert cluster.plan.usage["ExternalIPPool/p"].used == 0
    assert cluster.conditions("e") == {"IPAssigned": ("False", "IPNotFound")}
    assert (cluster.holder("e"), cluster.way("web")) == (("", ""), DROPPED)
    cluster.put("10.0.0.9", "node-2")
    assert cluster.settle().way("web") == "10.0.0.9"


# Pools that go, come back, or are full.


@pytest.mark.parametrize("given", ["", "10.0.0.9"], ids=["chosen", "given"])
def test_a_deleted_pool_means_drop_and_its_addresses_come_back_with_it(given: str) -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.0/28")
    cluster.egress("e", externalIPPool="p", **({"egressIP": given} if given else {}))
    address = cluster.settle().way("web")
    pool = cluster.pools.pop("p")
    cluster.settle()
    assert cluster.way("web") == DROPPED
    assert cluster.addresses_on("node-1") + cluster.addresses_on("node-2") == []
    assert cluster.holder("e") == ("", "")
    assert cluster.conditions("e")["IPAllocated"] == ("False", "AllocationError")
    assert cluster.egresses["e"].spec.egress_ip == address
    cluster.pools["p"] = pool
    assert cluster.settle().way("web") == address == (given or "10.0.0.1")


def test_a_pool_that_comes_back_with_other_ranges_gives_another_address_where_it_chose_the_first() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.0/28")
    cluster.egress("chosen", externalIPPool="p", applied={"podSelector": labelled(app="web")})
    cluster.egress("given", externalIPPool="p", egressIP="10.0.0.9", applied={"podSelector": labelled(app="db")})
    cluster.settle()
    cluster.pool("p", "10.0.0.32/28")
    cluster.settle()
    assert [cluster.way(pod) for pod in ("web", "db")] == ["10.0.0.33", DROPPED]
    assert cluster.egresses["given"].spec.egress_ip == "10.0.0.9"
    assert "IP 10.0.0.9 is not within the IP range" in cluster.message("given", "IPAllocated")


def test_an_exhausted_pool_drops_and_serves_the_oldest_who_waits_as_soon_as_an_address_is_free() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.1-10.0.0.1")
    for name in ("first", "third", "second"):
        cluster.egress(
            name, externalIPPool="p", applied={"podSelector": labelled(app="web")} if name != "first" else {}
        )
    cluster.settle()
    assert cluster.conditions("third")["IPAllocated"] == ("False", "AllocationError")
    assert cluster.message("third", "IPAllocated").endswith("cannot allocate IP in any range of ExternalIPPool p")
    assert cluster.way("web") == DROPPED
    del cluster.egresses["first"]
    cluster.settle()
    assert (cluster.way("web"), cluster.holder("third")[1]) == ("10.0.0.1", "10.0.0.1")
    assert cluster.conditions("second")["IPAllocated"] == ("False", "AllocationError")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("selector", "the nodeSelector of ExternalIPPool p selects no Node"),
        ("limit", "all 2 Nodes selected by ExternalIPPool p are at their limit of egress IPs"),
        ("death", "no Node selected by ExternalIPPool p has a living agent"),
    ],
)
def test_without_a_node_for_its_address_an_egress_drops_and_says_why(cause: str, words: str) -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.0/28")
    cluster.egress("e", externalIPPool="p")
    cluster.settle()
    if cause == "selector":
        cluster.pool("p", "10.0.0.0/28", selector=labelled(role="gate"))
    elif cause == "limit":
        for node in ("node-1", "node-2"):
            cluster.node(node, limit="0")
    else:
        cluster.away = {"node-1", "node-2"}
    cluster.settle()
    assert cluster.holder("e") == ("", "")
    assert cluster.conditions("e") == {
        "IPAllocated": ("True", "Allocated"),
        "IPAssigned": ("False", "AssignmentError"),
    }
    assert cluster.message("e", "IPAssigned").endswith(words)
    assert cluster.way("web") == DROPPED


# Static addresses.


def test_a_static_address_on_no_node_drops_and_the_condition_says_so() -> None:
    cluster = ready()
    cluster.egress("e", egressIP="10.0.0.9")
    cluster.settle()
    assert cluster.way("web") == DROPPED
    assert cluster.conditions("e") == {"IPAssigned": ("False", "IPNotFound")}


@pytest.mark.parametrize("death", [False, True])
def test_a_static_address_that_vanishes_from_its_node_is_cleared_from_the_status(death: bool) -> None:
    cluster = ready()
    cluster.put("10.0.0.9", "node-2")
    cluster.egress("e", egressIP="10.0.0.9")
    assert cluster.settle().holder("e") == ("node-2", "10.0.0.9")
    if death:
        cluster.dead = cluster.away = {"node-2"}
    else:
        cluster.added.clear()
    cluster.settle()
    assert cluster.holder("e") == ("", "")
    assert cluster.conditions("e") == {"IPAssigned": ("False", "IPNotFound")}
    assert cluster.way("web") == DROPPED


def test_a_static_address_that_a_person_moves_is_followed() -> None:
    cluster = ready()
    cluster.put("10.0.0.9", "node-2")
    cluster.egress("e", egressIP="10.0.0.9")
    cluster.settle()
    cluster.added.clear()
    cluster.put("10.0.0.9", "node-1")
    cluster.settle()
    assert cluster.holder("e") == ("node-1", "10.0.0.9")
    assert [cluster.way(pod) for pod in ("web", "db")] == ["10.0.0.9", "10.0.0.9"]


def test_a_static_address_on_two_nodes_stays_with_the_one_that_claimed_it_first() -> None:
    cluster = ready()
    cluster.put("10.0.0.9", "node-2")
    cluster.egress("e", egressIP="10.0.0.9")
    cluster.settle()
    cluster.put("10.0.0.9", "node-1")
    assert cluster.settle().holder("e") == ("node-2", "10.0.0.9")
    del cluster.added["node-2"]
    assert cluster.settle().holder("e") == ("node-1", "10.0.0.9")


def test_an_egress_ip_may_be_a_nodes_own_address_and_nobody_is_shut_out_from_it() -> None:
    cluster = ready()
    cluster.egress("e", egressIP="10.0.0.102")
    cluster.settle()
    assert [cluster.way(pod) for pod in ("web", "db")] == ["10.0.0.102", "10.0.0.102"]
    assert cluster.elements("node-2", "held4") == {}
    assert cluster.addresses_on("node-2") == []


def test_a_nodes_own_address_is_never_taken_for_an_egress_ip_out_of_a_pool() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.101-10.0.0.103")
    cluster.egress("chosen", externalIPPool="p", applied={"podSelector": labelled(app="web")})
    cluster.egress("given", externalIPPool="p", egressIP="10.0.0.102", applied={"podSelector": labelled(app="db")})
    cluster.settle()
    assert [cluster.way(pod) for pod in ("web", "db")] == ["10.0.0.103", DROPPED]
    assert {problem.reason for problem in cluster.plan.problems} >= {"NodeAddressInRange", "AllocationError"}


def test_a_cloud_that_lists_an_egress_ip_among_its_holders_addresses_does_not_take_it_away() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.0/28")
    cluster.egress("e", externalIPPool="p")
    holder, address = cluster.settle().holder("e")
    number = holder.removeprefix("node-")
    cluster.node(holder, f"10.0.0.10{number}", f"fd00::10{number}", address)
    assert cluster.settle().holder("e") == (holder, address)
    assert [cluster.way(pod) for pod in ("web", "db")] == [address, address]


# Pods.


@pytest.mark.parametrize(("ip", "ways"), [("10.0.0.9", ["10.0.0.9", DROPPED]), ("fd00::9", [DROPPED, "fd00::9"])])
def test_traffic_of_the_other_family_is_dropped_and_not_let_out_by_the_node(ip: str, ways: list[str]) -> None:
    cluster = ready()
    cluster.put(ip, "node-2")
    cluster.egress("e", egressIP=ip)
    cluster.settle()
    assert [cluster.way("web", 4), cluster.way("web", 6)] == ways


def test_an_egress_for_each_family_serves_a_pod_of_both_and_they_do_not_overlap() -> None:
    cluster = ready()
    cluster.pool("v4", "10.0.0.0/28")
    cluster.pool("v6", "fd00::10-fd00::20")
    cluster.egress("four", externalIPPool="v4")
    cluster.egress("six", externalIPPool="v6")
    cluster.settle()
    assert [cluster.way("web", 4), cluster.way("web", 6)] == ["10.0.0.1", "fd00::10"]
    assert "Overlapping" not in cluster.conditions("six")


def test_pods_on_the_host_network_and_pods_that_have_ended_are_not_governed() -> None:
    cluster = ready()
    cluster.pod("host", "node-1", "10.0.0.101", hostNetwork=True)
    cluster.pod("done", "node-1", "10.244.1.9", phase="Succeeded")
    cluster.pod("failed", "node-1", "10.244.1.10", phase="Failed")
    cluster.pod("waiting", "")
    cluster.egress("e", egressIP="10.0.0.102")
    cluster.settle()
    assert cluster.status("e").clients == 2
    assert set(cluster.elements("node-1", "clients4")) == {"10.244.1.2"}


def test_a_new_pod_is_kept_in_the_cluster_until_decided_and_never_leaves_by_its_node() -> None:
    cluster = ready()
    cluster.egress("e", egressIP="10.0.0.102", applied={"namespaceSelector": labelled(env="late")})
    cluster.settle()
    assert "10.244.1.0/24" in cluster.elements("node-1", "local_pods4")
    cluster.pod("new", "node-1", "10.244.1.7", namespace="late")
    assert cluster.settle().way("new") == UNDECIDED
    cluster.namespace("late", env="late")
    assert cluster.settle().way("new") == "10.0.0.102"


def test_nodes_pods_services_and_excepted_networks_are_not_reached_through_an_exit() -> None:
    cluster = ready()
    cluster.configuration = "serviceCIDR: 10.96.0.0/12\negress: {exceptCIDRs: [198.51.100.0/24]}"
    cluster.egress("e", egressIP="10.0.0.102")
    cluster.settle()
    assert cluster.way("web") == "10.0.0.102"
    assert [cluster.way("web", to=to) for to in ("10.0.0.101", "10.244.2.2", "10.96.0.1")] == [DELIVERED] * 3
    assert cluster.way("web", to="198.51.100.7") == FREE
    assert set(cluster.elements("node-1", "nodes4")) == {"10.0.0.101", "10.0.0.102"}


def test_windows_nodes_hold_no_address() -> None:
    cluster = Cluster()
    cluster.node("node-1", **{"kubernetes.io/os": "windows"})
    cluster.pool("p", "10.0.0.0/28")
    cluster.egress("e", externalIPPool="p")
    assert cluster.settle().conditions("e")["IPAssigned"] == ("False", "AssignmentError")
