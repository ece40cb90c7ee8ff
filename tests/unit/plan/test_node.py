"""One node's plan: where its clients' traffic goes, and what others' it lets out."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from tests.unit.plan.build import SETTINGS, a_client, a_node, a_pool, a_state, an_exit, facts_of

from sallyport.model.kernel import (
    ClientElement,
    Element,
    Fdb,
    InterfaceAddress,
    KernelObject,
    Kind,
    NextHop,
    Peer,
    Route,
    Rule,
    Sysctl,
)
from sallyport.model.plan import Assignment, Decision, Liveness, NodeFacts, NodePlan
from sallyport.model.state import Bandwidth, ClusterState, Networks, Problem
from sallyport.plan.clients import SHARED
from sallyport.plan.node import plan_node

FOUR, SIX = "10.244.1.2", "fd00:244:1::2"
NOWHERE = str(SETTINGS.nowhere_id)
ID = 7
TABLE = SETTINGS.table(ID)
LAST = Route(4, TABLE, "0.0.0.0/0", 4294967295, "unreachable")
HOP = SETTINGS.next_hop_base + ID


def assigned(address: str = "10.0.0.50", holder: str = "node-1", *nodes: str, **fields: Any) -> dict[str, Assignment]:
    """Exit `web` with id 7, held by the first of `nodes`, which are the holder alone unless given."""
    return {"web": Assignment(ID, ip_address(address), nodes or (holder,), holder, **fields)}


def web_state(*addresses: str, **fields: Any) -> ClusterState:
    """Exit `web` selects pod `web` of node-1; pod `free` is nobody's."""
    clients = [a_client("web", *(addresses or (FOUR,))), a_client("free", "10.244.1.3")]
    return a_state([an_exit("web", "10.0.0.50", "web", **fields)], clients, [a_pool("pool", "10.0.0.50-10.0.0.59")])


def planned(
    state: ClusterState, assignments: Mapping[str, Assignment] | None = None, facts: NodeFacts | None = None
) -> NodePlan:
    """Node-1's plan. No two of its objects have one key."""
    plan = plan_node(state, assigned() if assignments is None else assignments, facts or facts_of(1), SETTINGS)
    keys = [(item.kind, item.key) for item in plan.objects]
    assert len(set(keys)) == len(keys)
    return plan


def members(plan: NodePlan, name: str) -> dict[str, str]:
    return {item.member: item.value for item in plan.objects if isinstance(item, Element) and item.set == name}


def decided(plan: NodePlan) -> dict[tuple[str, int], tuple[str, str]]:
    """Exit and state by pod and family."""
    return {(item.pod[1], item.family): (item.exit, item.state) for item in plan.decisions}


def ways(plan: NodePlan) -> set[KernelObject]:
    return {item for kind in (Kind.NEIGHBOR, Kind.FDB, Kind.NEXT_HOP, Kind.ROUTE) for item in plan.by_kind(kind)}


def test_a_client_whose_exit_is_held_here_is_marked_and_routed_as_any_other() -> None:
    plan = planned(web_state())
    assert decided(plan) == {("web", 4): ("web", "local"), ("free", 4): ("", "free")}
    assert members(plan, "clients4") == {FOUR: str(ID)}
    assert members(plan, "governed4") == {FOUR: ""}
    assert ways(plan) == {LAST, Route(4, TABLE, "0.0.0.0/0", 100, "throw")}
    assert Rule(4, 20002, TABLE, mark=ID, mask=0x3FFF) in plan.objects


def test_a_held_address_is_an_interfaces_and_the_source_of_what_bears_its_mark() -> None:
    plan = planned(web_state())
    assert plan.held == {"web": ip_address("10.0.0.50")}
    assert plan.announcements == (("eth0", ip_address("10.0.0.50")),)
    assert plan.by_kind(Kind.ADDRESS) == (InterfaceAddress("eth0", "10.0.0.50"),)
    assert members(plan, "exits4") == {str(ID): "10.0.0.50"}
    assert members(plan, "marks4") == {str(ID): ""}
    assert members(plan, "held4") == {"10.0.0.50": ""}


def test_a_client_whose_exit_is_held_elsewhere_goes_into_the_tunnel() -> None:
    plan = planned(web_state(), assigned(holder="node-2"))
    mac = next(item.lladdr for item in plan.objects if isinstance(item, Fdb))
    assert decided(plan)["web", 4] == ("web", "remote")
    assert plan.by_kind(Kind.NEXT_HOP) == (NextHop(HOP, "fe80::5350:a00:32", "sp-vx4"),)
    assert plan.by_kind(Kind.FDB) == (Fdb("sp-vx4", mac, "10.0.0.50"),)
    assert set(plan.by_kind(Kind.ROUTE)) == {LAST, Route(4, TABLE, "0.0.0.0/0", 100, "unicast", HOP)}
    assert not plan.held
    assert not members(plan, "exits4")


def test_an_egress_ip_that_is_not_on_link_is_reached_by_its_holders_address() -> None:
    plan = planned(web_state(), assigned("192.0.2.50", "node-2"))
    assert [item.destination for item in plan.objects if isinstance(item, Fdb)] == ["10.0.0.2"]


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        (Assignment(ID, None), "it has no egress IP"),
        (Assignment(ID, ip_address("10.0.0.50"), ("node-2",)), "no node holds its egress IP"),
        (Assignment(0, ip_address("10.0.0.50"), ("node-2",), "node-2"), "no node holds its egress IP"),
        (Assignment(ID, ip_address("fd00::50"), ("node-1",), "node-1"), "it has no IPv4 egress IP"),
        (
            Assignment(ID, ip_address("192.0.2.50"), ("node-9",), "node-9"),
            "node node-9, which holds its egress IP, cannot be reached from here",
        ),
    ],
)
def test_a_client_without_a_way_out_is_led_to_a_table_that_leads_nowhere(assignment: Assignment, reason: str) -> None:
    plan = planned(web_state(), {"web": assignment})
    table = SETTINGS.table(SETTINGS.nowhere_id)
    assert plan.decisions[0] == Decision(("prod", "web"), 4, "web", "blocked", reason)
    assert members(plan, "clients4") == {FOUR: NOWHERE}
    assert members(plan, "governed4") == {FOUR: ""}
    assert ways(plan) == {Route(4, table, "0.0.0.0/0", 4294967295, "unreachable")}
    assert Rule(4, 20002, table, mark=0x3FFF, mask=0x3FFF) in plan.objects


def test_every_governed_table_ends_in_unreachable() -> None:
    for assignments in (assigned(), assigned(holder="node-2"), {"web": Assignment(0, None)}):
        plan = planned(web_state(FOUR, SIX), assignments)
        tables = {(item.family, item.table) for item in plan.objects if isinstance(item, Rule) and item.mark}
        last = {item for item in plan.by_kind(Kind.ROUTE) if isinstance(item, Route) and item.type == "unreachable"}
        assert {(item.family, item.table) for item in last} == tables
        assert {item.metric for item in last} == {4294967295}


def test_a_free_pod_is_let_out_without_a_mark() -> None:
    plan = planned(web_state())
    assert members(plan, "free4") == {"10.244.1.3": ""}


def test_a_pod_of_both_families_is_governed_in_both() -> None:
    state = web_state(FOUR, SIX)
    state = replace(state, exits={**state.exits, "six": an_exit("six", "fd00::50", "web")})
    six = Assignment(8, ip_address("fd00::50"), ("node-2",), "node-2")
    plan = planned(state, {**assigned(), "six": six})
    assert decided(plan)["web", 4] == ("web", "local")
    assert decided(plan)["web", 6] == ("six", "remote")
    assert members(plan, "clients6") == {SIX: "8"}
    hop = SETTINGS.next_hop_base + 8
    assert [(item.id, item.device) for item in plan.objects if isinstance(item, NextHop)] == [(hop, "sp-vx6")]
    assert Route(6, SETTINGS.table(8), "::/0", 100, "unicast", hop) in plan.objects


def test_ipv6_clients_ride_on_ipv4_where_the_node_has_no_other() -> None:
    state = replace(web_state(SIX), exits={"web": an_exit("web", "fd00::50", "web")})
    plan = planned(state, assigned("fd00::50", "node-2"), facts_of(1, families=(4,)))
    hop = SETTINGS.next_hop_base + ID
    assert decided(plan)["web", 6] == ("web", "remote")
    assert NextHop(hop, "fe80::5350:a00:2", "sp-vx4") in plan.objects
    assert Route(6, TABLE, "::/0", 100, "unicast", hop) in plan.objects


def test_clients_of_other_nodes_are_not_steered_here() -> None:
    state = a_state([an_exit("web", "10.0.0.50", "web")], [a_client("web", "10.244.2.2", node=2)])
    plan = planned(state)
    assert plan.decisions == ()
    assert not members(plan, "clients4")
    assert members(plan, "exits4") == {str(ID): "10.0.0.50"}


def test_an_address_of_two_pods_is_decided_once_and_blocked() -> None:
    clients = [a_client("web", FOUR), a_client("new", FOUR)]
    plan = planned(a_state([an_exit("web", "10.0.0.50", "web")], clients))
    assert decided(plan) == {("web", 4): ("web", "blocked"), ("new", 4): ("", "blocked")}
    assert {item.reason for item in plan.decisions} == {SHARED}
    assert members(plan, "clients4") == {FOUR: NOWHERE}
    assert not members(plan, "free4")


def test_all_of_an_exits_clients_share_one_way() -> None:
    clients = [a_client(f"p{n}", f"10.244.1.{n}") for n in range(10, 20)]
    state = a_state([an_exit("web", "10.0.0.50", *(item.name for item in clients))], clients)
    plan = planned(state, assigned(holder="node-2"))
    assert len(members(plan, "clients4")) == 10
    assert len(plan.by_kind(Kind.ROUTE)) == 2
    assert len(plan.by_kind(Kind.NEXT_HOP)) == 1


def test_a_static_address_is_used_where_it_is_and_neither_added_nor_announced() -> None:
    state = web_state(pool=None)
    static = assigned("10.0.0.9", holder="", static=True)
    plan = planned(state, static, facts_of(1, "10.0.0.9"))
    assert decided(plan)["web", 4] == ("web", "local")
    assert plan.held == {"web": ip_address("10.0.0.9")}
    assert members(plan, "exits4") == {str(ID): "10.0.0.9"}
    assert plan.announcements == ()
    assert plan.by_kind(Kind.ADDRESS) == ()
    assert not members(plan, "held4")
    assert decided(planned(state, static))["web", 4] == ("web", "blocked")


def test_a_standby_takes_the_address_and_turns_its_clients_round_when_the_first_is_down() -> None:
    assignments = assigned("10.0.0.50", "node-2", "node-2", "node-1")
    for seen, state in ((Liveness.UP, "remote"), (Liveness.UNKNOWN, "remote"), (Liveness.DOWN, "local")):
        plan = planned(web_state(), assignments, facts_of(1, peers={"node-2": seen}))
        assert decided(plan)["web", 4] == ("web", state)
        assert bool(plan.held) == (state == "local")


def test_destinations_that_no_exit_governs_are_joined_and_kept_apart_by_family() -> None:
    networks = Networks(
        pods=(ip_network("10.244.0.0/17"), ip_network("10.244.128.0/17"), ip_network("fd00:244::/48")),
        services=(ip_network("10.96.0.0/12"),),
        excepted=(ip_network("203.0.113.7/32"), ip_network("10.100.0.0/16")),
    )
    plan = planned(replace(web_state(), networks=networks))
    assert list(members(plan, "excluded4")) == [
        "10.96.0.0/12",
        "10.244.0.0/16",
        "169.254.0.0/16",
        "203.0.113.7",
        "224.0.0.0/4",
        "255.255.255.255",
    ]
    assert list(members(plan, "excluded6")) == ["fd00:244::/48", "fe80::/10", "ff00::/8"]


def test_all_addresses_of_all_nodes_are_known() -> None:
    plan = planned(web_state())
    assert list(members(plan, "nodes4")) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert list(members(plan, "nodes6")) == ["fd00::1", "fd00::2", "fd00::3"]


def test_the_guard_covers_this_nodes_pod_networks_and_can_be_switched_off() -> None:
    plan = planned(web_state())
    assert members(plan, "local_pods4") == {"10.244.1.0/24": ""}
    assert members(plan, "local_pods6") == {"fd00:244:1::/64": ""}
    off = plan_node(web_state(), assigned(), facts_of(1), replace(SETTINGS, guard=False))
    assert not members(off, "local_pods4")
    assert not members(planned(replace(web_state(), nodes={"node-2": a_node(2)})), "local_pods4")


def test_reverse_paths_are_loosened_only_where_they_matter() -> None:
    """Always on the tunnel's devices; where replies come in only while there are IPv4 clients; never on an uplink."""
    tunnels = {Sysctl(f"net/ipv4/conf/sp-vx{family}/rp_filter", "2") for family in (4, 6)}
    reply = {Sysctl("net/ipv4/conf/cni0/rp_filter", "2")}
    assert set(planned(web_state()).by_kind(Kind.SYSCTL)) == tunnels | reply
    assert set(planned(web_state(SIX)).by_kind(Kind.SYSCTL)) == tunnels
    assert set(planned(a_state(), {}).by_kind(Kind.SYSCTL)) == tunnels
    by_uplink = facts_of(1, reply_devices=("eth0",))
    assert set(planned(web_state(), facts=by_uplink).by_kind(Kind.SYSCTL)) == tunnels


def test_a_bandwidth_limits_what_leaves_where_it_leaves() -> None:
    state = web_state(bandwidth=Bandwidth(rate=500_000_000, burst=1_000_000))
    assert members(planned(state), "limits") == {str(ID): "500000000/1000000"}
    assert not members(planned(state, assigned(holder="node-2")), "limits")


def test_peers_are_the_nodes_that_share_the_first_places_of_an_address() -> None:
    plan = planned(web_state(), assigned("10.0.0.50", "node-1", "node-1", "node-2", "node-3", "node-4"))
    assert plan.by_kind(Kind.PEER) == (
        Peer("10.0.0.2", "10.0.0.1", "eth0", 100, 3),
        Peer("10.0.0.3", "10.0.0.1", "eth0", 100, 3),
    )
    assert planned(web_state(), assigned("10.0.0.50", "node-2", "node-2", "node-3")).by_kind(Kind.PEER) == ()


def test_a_peer_is_watched_by_a_family_that_both_nodes_have() -> None:
    nodes = {"node-1": a_node(1), "node-2": a_node(2, families=(6,)), "node-3": a_node(3, families=())}
    plan = planned(replace(web_state(), nodes=nodes), assigned("10.0.0.50", "node-1", "node-1", "node-2", "node-3"))
    assert plan.by_kind(Kind.PEER) == (Peer("fd00::2", "fd00::1", "eth0", 100, 3),)


def test_switched_off_nothing_is_wanted() -> None:
    assert planned(replace(web_state(), enabled=False)) == NodePlan("node-1")


def test_what_the_user_wrote_wrongly_is_passed_on() -> None:
    problem = Problem(an_exit("web").ref, "InvalidSpec", "text")
    assert planned(replace(web_state(), problems=(problem,))).problems == (problem,)


def test_a_node_without_uplinks_still_steers_and_lets_nothing_out() -> None:
    plan = planned(web_state(), assigned(holder="node-2"), facts_of(1, families=()))
    assert decided(plan)["web", 4] == ("web", "blocked")
    assert plan.by_kind(Kind.LINK) == ()
    assert members(plan, "clients4") == {FOUR: NOWHERE}


def test_elements_that_steer_are_written_last() -> None:
    """The driver tells them by their set, the order of steps by their class."""
    plan = planned(web_state(FOUR, SIX))
    steering = {"clients4", "clients6", "governed4", "governed6", "free4", "local_pods4", "local_pods6"}
    assert {item.set for item in plan.objects if isinstance(item, ClientElement)} == steering


def test_the_order_of_objects_changes_nothing() -> None:
    state = web_state(FOUR, SIX)
    turned = replace(
        state,
        nodes=dict(reversed(list(state.nodes.items()))),
        clients=dict(reversed(list(state.clients.items()))),
        exits=dict(reversed(list(state.exits.items()))),
    )
    assert planned(turned) == planned(state)
