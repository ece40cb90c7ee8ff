"""Which gateways a client's new connections and those that it has go by, on its own node."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.plan.build import SETTINGS, a_client, an_exit, facts_of
from tests.unit.plan.gateways import a_cluster, a_gateway, a_policy, both_families, by, chains, members

from sallyport.model.kernel import Chain, Kind, NextHop, Route, Rule
from sallyport.model.plan import Decision, Liveness, NodeFacts, NodePlan
from sallyport.model.state import ClusterState, Exit, Hops
from sallyport.plan.cluster import recorded
from sallyport.plan.node import plan_node

FOUR, SIX = "10.244.1.2", "fd00:244:1::2"
NEAR, FAR, OTHER = a_gateway("near", 1, number=1), a_gateway("far", 2, number=2), a_gateway("other", 3, number=3)
ALL = (NEAR, FAR, OTHER)
NOWHERE = SETTINGS.nowhere_id


def cluster(hops: Hops, gateways: Iterable[Exit] = ALL, **fields: Any) -> ClusterState:
    """Client c on node-1, all of whose traffic goes by these hops."""
    return a_cluster(gateways, [a_policy("p", {"0.0.0.0/0": hops}, "c")], [a_client("c", FOUR)], **fields)


def planned(state: ClusterState, facts: NodeFacts | None = None) -> NodePlan:
    """Node-1's plan. No two of its objects have one key."""
    plan = plan_node(state, recorded(state), facts or facts_of(1), SETTINGS)
    assert len({(item.kind, item.key) for item in plan.objects}) == len(plan.objects)
    return plan


def shared(plan: NodePlan, address: str = FOUR) -> Chain:
    """The spread that a client's element leads to."""
    return chains(plan.objects)[members(plan.objects, f"clients{6 if ':' in address else 4}")[address]]


def decision(plan: NodePlan) -> Decision:
    (found,) = plan.decisions
    return found


def test_new_connections_are_shared_out_to_all_gateways_and_each_keeps_those_that_it_has() -> None:
    plan = planned(cluster(by("near", "far", "other")))
    assert (shared(plan).fresh, shared(plan).kept) == ((1, 2, 3), (1, 2, 3))
    assert decision(plan) == Decision(
        ("prod", "c"), 4, "", "shared", "", ("0.0.0.0/0: gw/near/v4, gw/far/v4, gw/other/v4",)
    )
    assert members(plan.objects, "governed4") == {FOUR: ""}


def test_each_gateway_has_a_way_of_its_own() -> None:
    plan = planned(cluster(by("near", "far")))
    tables = {number: SETTINGS.table(number) for number in (1, 2)}
    assert {
        Route(4, tables[1], "0.0.0.0/0", 100, "throw"),
        Route(4, tables[2], "0.0.0.0/0", 100, "unicast", SETTINGS.next_hop_base + 2),
        *(Route(4, table, "0.0.0.0/0", 4294967295, "unreachable") for table in tables.values()),
        *(Rule(4, 20002, table, mark=number, mask=0x3FFF) for number, table in tables.items()),
    } <= set(plan.objects)
    assert [item.id for item in plan.objects if isinstance(item, NextHop)] == [SETTINGS.next_hop_base + 2]


def test_a_gateway_that_is_not_ready_gets_nothing() -> None:
    plan = planned(cluster(by("near", "far"), [NEAR, replace(FAR, ready=False)]))
    assert (shared(plan).fresh, shared(plan).kept) == ((1,), (1,))


def test_a_gateway_that_does_not_answer_this_nodes_polls_gets_nothing() -> None:
    plan = planned(cluster(by("near", "far")), replace(facts_of(1), failed=frozenset({FAR.key})))
    assert (shared(plan).fresh, shared(plan).kept) == ((1,), (1,))


@pytest.mark.parametrize(("seen", "used"), [(Liveness.DOWN, (1,)), (Liveness.UNKNOWN, (1, 2)), (Liveness.UP, (1, 2))])
def test_gateways_of_a_node_that_is_down_get_nothing(seen: Liveness, used: tuple[int, ...]) -> None:
    plan = planned(cluster(by("near", "far")), facts_of(1, peers={"node-2": seen}))
    assert (shared(plan).fresh, shared(plan).kept) == (used, used)


def test_a_node_that_is_down_is_left_for_another_gateway_and_never_for_none() -> None:
    """A BIRD that is started anew takes its sessions down for a moment; the exit's node goes on judging packets."""
    plan = planned(cluster(by("far")), facts_of(1, peers={"node-2": Liveness.DOWN}))
    assert (shared(plan).fresh, shared(plan).kept) == ((2,), (2,))
    assert decision(plan).state == "remote"
    assert decision(plan).reason == "node node-2 of gateway gw/far is down, and there is no other"


def test_a_client_that_may_use_only_the_gateway_of_a_node_that_is_down_stays_with_it() -> None:
    """Connections that it has with others, from before it was limited, go on by these."""
    state = cluster(by("near", "far", limit=1), chosen={("prod", "c"): {"0.0.0.0/0": (FAR.key,)}})
    plan = planned(state, facts_of(1, peers={"node-2": Liveness.DOWN}))
    assert (shared(plan).fresh, shared(plan).kept) == ((2,), (1, 2))


def test_a_gateway_that_leaves_a_node_that_is_down_gets_no_new_connections() -> None:
    plan = planned(cluster(by("far"), [replace(FAR, leaving=True)]), facts_of(1, peers={"node-2": Liveness.DOWN}))
    assert (shared(plan).fresh, shared(plan).kept) == ((), (2,))


def test_a_gateway_that_is_leaving_keeps_its_connections_and_gets_no_new_ones() -> None:
    plan = planned(cluster(by("near", "far"), [NEAR, replace(FAR, leaving=True)]))
    assert (shared(plan).fresh, shared(plan).kept) == ((1,), (1, 2))
    assert Rule(4, 20002, SETTINGS.table(2), mark=2, mask=0x3FFF) in plan.objects


def test_where_all_are_leaving_new_connections_are_led_nowhere() -> None:
    plan = planned(cluster(by("far"), [replace(FAR, leaving=True)]))
    assert (shared(plan).fresh, shared(plan).kept) == ((), (2,))
    assert Rule(4, 20002, SETTINGS.table(NOWHERE), mark=NOWHERE, mask=0x3FFF) in plan.objects
    assert decision(plan).state == "blocked"
    assert decision(plan).reason == "all gateways that it may use are leaving or are not chosen yet"


@pytest.mark.parametrize(
    ("gateways", "facts", "reason"),
    [
        ([], facts_of(1), "there is no gateway for it"),
        ([replace(FAR, ready=False)], facts_of(1), "gateway gw/far is not ready"),
        ([FAR], replace(facts_of(1), failed=frozenset({FAR.key})), "gateway gw/far does not answer"),
        ([a_gateway("far", 2)], facts_of(1), "it has no egress IP"),
        ([replace(FAR, node="node-9", holder="node-9")], facts_of(1), "node node-9, which holds its egress IP, cannot"),
        ([a_gateway("far", 2, family=6, number=2)], facts_of(1), "it has no IPv4 gateway"),
    ],
)
def test_a_client_without_a_usable_gateway_is_kept_in_and_told_why(
    gateways: list[Exit], facts: NodeFacts, reason: str
) -> None:
    hops = Hops(tuple(item.key for item in gateways))
    plan = planned(cluster(hops, gateways), facts)
    assert members(plan.objects, "clients4") == {FOUR: str(NOWHERE)}
    assert Route(4, SETTINGS.table(NOWHERE), "0.0.0.0/0", 4294967295, "unreachable") in plan.objects
    assert members(plan.objects, "governed4") == {FOUR: ""}
    assert decision(plan).state == "blocked"
    assert decision(plan).reason.startswith(reason)


@pytest.mark.parametrize(
    ("near", "fresh"),
    [
        (NEAR, (1,)),
        (replace(NEAR, leaving=True), (2, 3)),
        (replace(NEAR, ready=False), (2, 3)),
        (replace(NEAR, node="node-2", holder="node-2", nodes=("node-2",)), (1, 2, 3)),
    ],
)
def test_gateways_on_the_clients_node_are_preferred_while_there_are_any(near: Exit, fresh: tuple[int, ...]) -> None:
    """Connections stay with the gateway that they have, wherever it is."""
    plan = planned(cluster(by("near", "far", "other", prefer_local=True), [near, FAR, OTHER]))
    assert shared(plan).fresh == fresh
    assert shared(plan).kept == ((2, 3) if not near.ready else (1, 2, 3))


def test_a_limit_lets_new_connections_go_by_those_alone_that_were_chosen() -> None:
    chosen = {("prod", "c"): {"0.0.0.0/0": (FAR.key,)}}
    plan = planned(cluster(by("near", "far", limit=1), chosen=chosen))
    assert (shared(plan).fresh, shared(plan).kept) == ((2,), (1, 2))


def test_until_the_choice_is_made_a_client_with_a_limit_is_kept_in() -> None:
    plan = planned(cluster(by("near", "far", limit=1)))
    assert shared(plan).fresh == ()
    assert decision(plan).state == "blocked"


def test_the_choice_is_that_of_the_destination_as_its_policy_writes_it() -> None:
    """An ordinary hole cuts a destination into many parts, all of which go by what was chosen for it."""
    rules = {"0.0.0.0/0": by("near", "far", limit=1), "10.0.0.0/8": None}
    chosen = {("prod", "c"): {"0.0.0.0/0": (FAR.key,)}}
    plan = planned(a_cluster(ALL, [a_policy("p", rules, "c")], [a_client("c", FOUR)], chosen=chosen))
    way = chains(plan.objects)[members(plan.objects, "clients4")[FOUR]]
    targets = {target for network, target in way.destinations if network != "10.0.0.0/8"}
    assert [chains(plan.objects)[name].fresh for name in targets] == [(2,)]


def test_ordinary_destinations_are_known_to_the_guard_for_that_client_alone() -> None:
    rules = {"0.0.0.0/0": by("far"), "10.0.0.0/8": None, "203.0.113.9/32": None}
    plan = planned(a_cluster(ALL, [a_policy("p", rules, "c")], [a_client("c", FOUR), a_client("d", "10.244.1.3")]))
    assert set(members(plan.objects, "ordinary4")) == {f"{FOUR} . 10.0.0.0/8", f"{FOUR} . 203.0.113.9"}
    way = chains(plan.objects)[members(plan.objects, "clients4")[FOUR]]
    assert dict(way.destinations)["10.0.0.0/8"] == ""
    assert members(plan.objects, "free4") == {"10.244.1.3": ""}


def test_a_client_whose_policies_leave_everything_ordinary_is_free() -> None:
    plan = planned(a_cluster(ALL, [a_policy("p", {"10.0.0.0/8": None}, "c")], [a_client("c", FOUR)]))
    assert members(plan.objects, "free4") == {FOUR: ""}
    assert plan.decisions == (Decision(("prod", "c"), 4, "", "free"),)


def test_what_a_policy_does_not_have_goes_by_the_exit_that_asks_for_the_whole_pod() -> None:
    web = an_exit("web", "10.0.0.50", "c", id=9, nodes=("node-1",), holder="node-1")
    policy = a_policy("p", {"11.0.0.0/8": by("far")}, "c")
    plan = planned(a_cluster([*ALL, web], [policy], [a_client("c", FOUR)]))
    way = chains(plan.objects)[members(plan.objects, "clients4")[FOUR]]
    targets = dict(way.destinations)
    assert targets["12.0.0.0/6"] == "9"
    assert chains(plan.objects)[targets["11.0.0.0/8"]].fresh == (2,)


def test_what_a_policy_does_not_have_is_kept_in_where_the_exit_of_the_pod_has_another_family() -> None:
    """It is as blocked as without the policy."""
    web = an_exit("web", "fd00::50", "c", id=9, nodes=("node-1",), holder="node-1")
    policy = a_policy("p", {"11.0.0.0/8": by("far")}, "c")
    plan = planned(a_cluster([*ALL, web], [policy], [a_client("c", FOUR)]))
    way = chains(plan.objects)[members(plan.objects, "clients4")[FOUR]]
    assert dict(way.destinations)["12.0.0.0/6"] == str(NOWHERE)


def test_each_family_goes_by_the_exits_of_its_own() -> None:
    gateways = both_families("far", 2, number=4)
    hops = Hops(tuple(item.key for item in gateways))
    policy = a_policy("p", {"0.0.0.0/0": hops, "::/0": hops}, "c")
    plan = planned(a_cluster(gateways, [policy], [a_client("c", FOUR, SIX)]))
    assert (shared(plan).fresh, shared(plan).family) == ((4,), 4)
    assert (shared(plan, SIX).fresh, shared(plan, SIX).family) == ((5,), 6)


def test_all_clients_of_a_policy_share_its_chains() -> None:
    clients = [a_client(f"c{number}", f"10.244.1.{number}") for number in range(2, 12)]
    rules = {"0.0.0.0/0": by("near", "far"), "10.0.0.0/8": None}
    plan = planned(a_cluster(ALL, [a_policy("p", rules, *(item.name for item in clients))], clients))
    assert len(plan.by_kind(Kind.CHAIN)) == 2
    assert len(members(plan.objects, "clients4")) == 10


def test_a_blocked_policy_keeps_its_clients_in() -> None:
    policy = a_policy("p", {}, "c", blocked="EgressGatewayPolicy p does not exist")
    plan = planned(a_cluster(ALL, [policy], [a_client("c", FOUR)]))
    assert members(plan.objects, "clients4") == {FOUR: str(NOWHERE)}
    assert decision(plan).state == "blocked"


def test_a_gateways_own_packets_go_by_its_own_address_before_it_is_ready() -> None:
    """Its probes have to, or it never gets ready."""
    near = replace(NEAR, ready=False)
    plan = planned(cluster(by("near", keep=False, own=True), [near]))
    assert members(plan.objects, "clients4") == {FOUR: "1"}
    assert decision(plan).state == "local"
