"""What a node does for external networks: where its gateways' packets go, and the sessions that fill the tables."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from tests.unit.plan.build import SETTINGS, a_client, an_exit, facts_of
from tests.unit.plan.gateways import a_cluster, a_gateway, a_network, a_peering, a_policy, by, joined, members

from sallyport.model.kernel import Announced, Bootstrap, Fib, InterfaceAddress, Kind, Route, Rule, Session, Sysctl
from sallyport.model.plan import NodeFacts, NodePlan
from sallyport.model.state import ClusterState, Exit, ExternalNetwork, Peering, Routing, Tuning
from sallyport.plan.cluster import recorded
from sallyport.plan.networks import matches, standing
from sallyport.plan.node import located, plan_node

RED, YELLOW = a_network("red", 500), a_network("yellow", 600)
TO_RED = a_peering("red-router", "red", "172.31.11.1")
TO_YELLOW = a_peering("yellow-router", "yellow", "172.31.12.1")
ON_LINKS = joined(1, red0="172.31.11.0/24", yellow0="172.31.12.0/24")
ID = 7
MARK = str(ID)
MERGED = SETTINGS.table(ID)


def gateway(*networks: str, node: int = 1, **fields: Any) -> Exit:
    """Gateway gw/g with id 7 and address 10.10.10.7, which leads to these networks."""
    return a_gateway("g", node, number=ID, networks=networks, **fields)


def cluster(
    *gateways: Exit,
    peerings: tuple[Peering, ...] = (TO_RED, TO_YELLOW),
    external: Mapping[str, ExternalNetwork] | None = None,
    **fields: Any,
) -> ClusterState:
    networks = {item.ref.name: item for item in (RED, YELLOW)} if external is None else external
    return a_cluster(gateways, peerings=peerings, external=networks, **fields)


def planned(state: ClusterState, facts: NodeFacts = ON_LINKS) -> NodePlan:
    """The plan of the node with these facts. No two of its objects have one key."""
    plan = plan_node(state, recorded(state), facts, SETTINGS)
    assert len({(item.kind, item.key) for item in plan.objects}) == len(plan.objects)
    return plan


def fibs(plan: NodePlan) -> set[Fib]:
    return {item for item in plan.objects if isinstance(item, Fib)}


def announced(plan: NodePlan) -> set[tuple[str, str]]:
    return {(item.network, item.destination) for item in plan.objects if isinstance(item, Announced)}


def sessions(plan: NodePlan) -> dict[str, Session]:
    return {item.name: item for item in plan.objects if isinstance(item, Session)}


def leading(plan: NodePlan) -> list[Rule]:
    """The rules of the gateway's mark."""
    return [item for item in plan.objects if isinstance(item, Rule) and item.mark == ID]


def closed(plan: NodePlan, table: int) -> bool:
    return Route(4, table, "0.0.0.0/0", 4294967295, "unreachable") in plan.objects


# Where a gateway's packets go


def test_a_gateway_of_one_network_is_led_to_that_networks_table() -> None:
    plan = planned(cluster(gateway("red")))
    assert leading(plan) == [Rule(4, 20002, 500, mark=ID, mask=0x3FFF)]
    assert fibs(plan) == {Fib(500, ("red",)), Fib(600, ("yellow",))}
    assert closed(plan, 500)
    assert members(plan.objects, "networked") == {MARK: ""}
    assert members(plan.objects, "wires") == {f"{MARK} . red0": ""}


@pytest.mark.parametrize("networks", [("red", "yellow"), ("yellow", "red")])
def test_a_gateway_of_several_networks_has_a_table_merged_of_them_in_its_order(networks: tuple[str, ...]) -> None:
    """One table, so that the longest prefix wins over all of them, and of equal ones the first in the list."""
    plan = planned(cluster(gateway(*networks)))
    assert leading(plan) == [Rule(4, 20002, MERGED, mark=ID, mask=0x3FFF)]
    assert Fib(MERGED, networks) in fibs(plan)
    assert closed(plan, MERGED)
    assert set(members(plan.objects, "wires")) == {f"{MARK} . red0", f"{MARK} . yellow0"}


def test_what_leads_to_a_network_has_a_priority_of_its_own_where_it_is_set() -> None:
    plan = planned(cluster(gateway("red"), tuning=Tuning(rule_priority=100, network_rule_priority=102)))
    assert [item.priority for item in leading(plan)] == [102]


def test_a_gateway_of_a_network_that_does_not_exist_leads_nowhere_at_all() -> None:
    """Neither to another network nor by the node's own routes: its table ends, and no wire is its own."""
    plan = planned(cluster(gateway("blue")))
    assert leading(plan) == [Rule(4, 20002, MERGED, mark=ID, mask=0x3FFF)]
    assert closed(plan, MERGED)
    assert MERGED not in {item.table for item in fibs(plan)}
    assert members(plan.objects, "networked") == {MARK: ""}
    assert members(plan.objects, "wires") == {}
    assert announced(plan) == set()


def test_of_several_networks_those_that_are_in_order_are_served() -> None:
    plan = planned(cluster(gateway("blue", "yellow")))
    assert Fib(MERGED, ("yellow",)) in fibs(plan)
    assert set(members(plan.objects, "wires")) == {f"{MARK} . yellow0"}


@pytest.mark.parametrize("spoilt", ["no table", "used by others"])
def test_a_network_that_cannot_be_honoured_here_is_not_served(spoilt: str) -> None:
    external = {"red": a_network("red", None if spoilt == "no table" else 500)}
    facts = ON_LINKS if spoilt == "no table" else replace(ON_LINKS, foreign={500: "zebra has routes in it"})
    plan = planned(cluster(gateway("red"), external=external, peerings=(TO_RED,)), facts)
    assert fibs(plan) == set()
    assert sessions(plan) == {}
    assert [item.table for item in leading(plan)] == [MERGED]
    assert closed(plan, MERGED)
    assert members(plan.objects, "wires") == {}


def test_a_gateway_on_another_node_has_its_way_out_there_and_not_here() -> None:
    plan = planned(cluster(gateway("red", node=2)))
    assert leading(plan) == []
    assert members(plan.objects, "networked") == {}
    assert announced(plan) == set()


def test_a_gateway_without_networks_goes_by_the_nodes_own_routes() -> None:
    plan = planned(cluster(gateway()))
    assert leading(plan) == []
    assert members(plan.objects, "networked") == {}
    assert members(plan.objects, "exits4") == {MARK: "10.10.10.7"}


def test_routes_that_a_user_put_into_a_table_make_wires_without_any_peer() -> None:
    facts = replace(ON_LINKS, table_devices={500: ("ens20",)})
    plan = planned(cluster(gateway("red"), peerings=()), facts)
    assert set(members(plan.objects, "wires")) == {f"{MARK} . ens20"}
    assert Fib(500, ("red",)) in fibs(plan)


def test_a_peers_wire_is_that_of_the_narrowest_link_that_has_it() -> None:
    facts = joined(1, wide0="172.31.0.0/16", red0="172.31.11.0/24")
    assert set(members(planned(cluster(gateway("red"))).objects, "wires")) == {f"{MARK} . red0"}
    assert set(members(planned(cluster(gateway("red")), facts).objects, "wires")) == {f"{MARK} . red0"}


def test_a_peer_of_another_nodes_makes_no_wire_here() -> None:
    there = a_peering("red-router", "red", "172.31.11.1", "node-2")
    plan = planned(cluster(gateway("red"), peerings=(there,)))
    assert members(plan.objects, "wires") == {}
    assert sessions(plan) == {}


def test_a_gateways_address_is_told_to_its_networks_and_to_no_other_peers() -> None:
    main = a_peering("tor", "", "10.0.0.254")
    plan = planned(cluster(gateway("red"), peerings=(TO_RED, TO_YELLOW, main)))
    assert announced(plan) == {("red", "10.10.10.7/32")}
    assert announced(planned(cluster(gateway("red", "yellow")))) == {
        ("red", "10.10.10.7/32"),
        ("yellow", "10.10.10.7/32"),
    }


def test_a_gateways_address_that_is_on_no_link_is_on_the_loopback() -> None:
    """Unlike one that can move, it is reached by routes."""
    plan = planned(cluster(gateway("red")))
    assert plan.by_kind(Kind.ADDRESS) == (InterfaceAddress("lo", "10.10.10.7"),)
    assert plan.announcements == ()
    assert members(plan.objects, "held4") == {"10.10.10.7": ""}


def test_an_address_that_is_the_pods_own_is_put_on_no_interface() -> None:
    plan = planned(cluster(gateway("red", carried=True)))
    assert plan.by_kind(Kind.ADDRESS) == ()
    assert members(plan.objects, "exits4") == {MARK: "10.10.10.7"}


# Sessions


def test_a_session_has_its_network_table_and_the_way_to_its_peer() -> None:
    plan = planned(cluster(peerings=(TO_RED,)))
    session = sessions(plan)["red-router"]
    assert (session.network, session.address, session.asn, session.own_asn) == ("red", "172.31.11.1", 63400, 64512)
    assert (session.source, session.device) == ("", "red0")
    assert [item for item in plan.objects if isinstance(item, Bootstrap)] == [
        Bootstrap("red", "172.31.11.0/24", "red0")
    ]
    assert fibs(plan) == {Fib(500, ("red",))}
    assert closed(plan, 500)
    assert Route(6, 500, "::/0", 4294967295, "unreachable") in plan.objects


def test_a_peer_beyond_a_router_is_reached_by_that_router_in_the_networks_table() -> None:
    far = a_peering("far", "red", "192.0.2.9", via=ip_address("172.31.11.5"))
    plan = planned(cluster(gateway("red"), peerings=(far,)))
    assert [item for item in plan.objects if isinstance(item, Bootstrap)] == [
        Bootstrap("red", "172.31.11.0/24", "red0"),
        Bootstrap("red", "192.0.2.9/32", "", "172.31.11.5"),
    ]
    assert (sessions(plan)["far"].via, sessions(plan)["far"].device) == ("172.31.11.5", "")
    assert set(members(plan.objects, "wires")) == {f"{MARK} . red0"}


def test_what_is_said_to_a_peer_beyond_the_link_goes_by_its_networks_table() -> None:
    """By the router that it names, or by what a user has put there. One on a link is reached by the main table, and so
    is one to which no table leads."""

    def said(peering: Peering, facts: NodeFacts = ON_LINKS) -> list[Rule]:
        plan = planned(cluster(peerings=(peering,)), facts)
        return [item for item in plan.objects if isinstance(item, Rule) and item.to]

    far = a_peering("far", "red", "192.0.2.9")
    led = [Rule(4, 20000, 500, to="192.0.2.9")]
    assert said(replace(far, via=ip_address("172.31.11.5"))) == led
    assert said(far, replace(ON_LINKS, table_devices={500: ("red0",)})) == led
    assert said(far, replace(ON_LINKS, table_devices={600: ("red0",)})) == []
    assert said(replace(TO_RED, via=ip_address("172.31.11.5"))) == []
    assert said(replace(far, network="", via=ip_address("172.31.11.5"))) == []


def test_the_sessions_source_is_the_nodes_address_unless_the_interfaces_is_asked_for() -> None:
    usual = replace(TO_RED, use_node_ip=True)
    assert sessions(planned(cluster(peerings=(usual,))))["red-router"].source == "10.0.0.1"
    six = a_peering("six", "red", "fd00:172::1", use_node_ip=True)
    assert sessions(planned(cluster(peerings=(six,))))["six"].source == "fd00::1"


@pytest.mark.parametrize(
    "peering",
    [
        replace(TO_RED, blocked="it makes no sense"),
        replace(TO_RED, nodes=frozenset({"node-2"})),
        replace(TO_RED, network="blue"),
    ],
)
def test_there_is_no_session_that_is_blocked_of_another_node_or_of_no_known_network(peering: Peering) -> None:
    plan = planned(cluster(peerings=(peering,)))
    assert plan.by_kind(Kind.SESSION) == ()
    assert plan.by_kind(Kind.FIB) == ()
    assert not closed(plan, 500)


def test_a_node_that_is_not_in_the_api_speaks_with_the_interfaces_address() -> None:
    """A peer may name a node whose object is gone while its agent still runs."""
    state = replace(cluster(peerings=(replace(TO_RED, use_node_ip=True),)), nodes={})
    assert sessions(planned(state))["red-router"].source == ""


def test_a_password_is_told_by_its_digest_and_never_printed() -> None:
    one, other = (sessions(planned(cluster(peerings=(replace(TO_RED, password=text),)))) for text in ("a", "b"))
    assert one["red-router"].digest != other["red-router"].digest
    assert one["red-router"] != other["red-router"]
    assert one["red-router"].password == "a"
    assert "password" not in repr(one["red-router"])
    assert sessions(planned(cluster()))["red-router"].digest == ""


def test_replies_from_a_networks_devices_are_looked_for_by_their_mark_and_routed_by_the_main_table() -> None:
    plan = planned(cluster(gateway("red"), peerings=(TO_RED,)))
    assert Sysctl("net/ipv4/conf/red0/src_valid_mark", "1") in plan.objects
    assert Rule(4, 20000, 254, iif="red0") in plan.objects
    assert members(plan.objects, "externals") == {"red0": ""}


@pytest.mark.parametrize(
    ("clients", "networks", "replies"), [(None, 102, 101), (200, 102, 101), (100, 102, 100), (9, None, 9)]
)
def test_replies_are_routed_by_the_main_table_before_any_rule_of_a_network(
    clients: int | None, networks: int | None, replies: int
) -> None:
    tuning = Tuning(rule_priority=clients, network_rule_priority=networks)
    plan = planned(cluster(gateway("red"), peerings=(TO_RED,), tuning=tuning))
    assert Rule(4, replies, 254, iif="red0") in plan.objects
    assert [item.priority > replies for item in leading(plan)] == [True]


@pytest.mark.parametrize(("enabled", "found"), [(True, {"red0", "ens20.100"}), (False, {"red0"})])
def test_devices_that_a_pattern_names_carry_external_traffic_too(enabled: bool, found: set[str]) -> None:
    facts = replace(ON_LINKS, devices=(*ON_LINKS.devices, "ens20.100", "ens20.300"))
    routing = Routing(enabled=enabled, device_patterns=(r"/^ens20\.(100|200)$/",))
    plan = planned(replace(cluster(peerings=(TO_RED,)), routing=routing), facts)
    assert set(members(plan.objects, "externals")) == found


@pytest.mark.parametrize(
    ("pattern", "device", "fits"),
    [
        ("ens20", "ens20", True),
        ("ens20", "ens200", False),
        ("/ens2[01]/", "ens21.100", True),
        ("/^ens2$/", "ens21", False),
        ("/", "/", True),
    ],
)
def test_a_pattern_is_a_name_or_an_expression_between_slashes(pattern: str, device: str, fits: bool) -> None:
    assert matches(device, [pattern]) is fits
    assert matches(device, ["other", pattern]) is fits


# Peers of no network


def test_peers_of_no_network_are_told_of_gateways_that_have_none() -> None:
    main = a_peering("tor", "", "10.0.0.254")
    plan = planned(cluster(gateway(), peerings=(main,)))
    assert announced(plan) == {("", "10.10.10.7/32")}
    assert fibs(plan) == set()
    assert [item for item in plan.objects if isinstance(item, Bootstrap)] == []
    assert members(plan.objects, "externals") == {}


def test_addresses_of_pools_that_are_not_exported_are_told_to_nobody() -> None:
    main = a_peering("tor", "", "10.0.0.254")
    routing = Routing(enabled=True, unexported=(ip_network("10.10.10.0/24"),))
    assert announced(planned(replace(cluster(gateway(), peerings=(main,)), routing=routing))) == set()
    assert announced(planned(replace(cluster(gateway("red")), routing=routing))) == set()
    assert announced(planned(cluster(gateway("red")))) != set()


def test_a_nodes_own_address_is_told_only_to_routers_that_are_not_on_its_link() -> None:
    """A router that has the node on its link would lead the address to itself, and with it all that goes by it."""
    own = ip_address("10.0.0.1")
    near = a_peering("near", "red", "10.0.0.254")
    facts = replace(ON_LINKS, connected={**ON_LINKS.connected, ip_network("10.0.0.0/24"): "eth0"})
    for networks, peer, told in (
        ((), a_peering("tor", "", "10.0.0.254"), set()),
        (("red",), near, set()),
        (("red",), TO_RED, {("red", "10.0.0.1/32")}),
    ):
        lent = replace(gateway(*networks), requested=own, decided=own, effective=own)
        assert announced(planned(cluster(lent, peerings=(peer,)), facts)) == told


def test_exits_that_are_bound_to_no_node_are_told_to_no_peer() -> None:
    """They are announced on their link, and may move."""
    web = an_exit("web", "10.0.0.50", "c", id=9, nodes=("node-1",), holder="node-1")
    plan = planned(cluster(web, peerings=(a_peering("tor", "", "10.0.0.254"),)))
    assert plan.held
    assert announced(plan) == set()


# Standing


def stands(state: ClusterState, facts: NodeFacts = ON_LINKS) -> dict[str, str]:
    return standing(located(state, recorded(state), facts, SETTINGS))


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (gateway("red"), ""),
        (gateway(), ""),
        (gateway("blue", "red"), ""),
        (gateway("blue"), "external network blue does not exist"),
        (gateway("blue", "green"), "external network blue does not exist; external network green does not exist"),
        (a_gateway("g", 1, networks=("red",)), "it has no address yet"),
    ],
)
def test_a_gateways_way_stands_or_it_is_told_why_not(item: Exit, reason: str) -> None:
    assert stands(cluster(item)) == {item.key: reason}


def test_why_a_network_is_not_honoured_is_told() -> None:
    state = cluster(gateway("red"), external={"red": a_network("red", None)})
    assert stands(state) == {"gw/g/v4": "external network red cannot be honoured"}
    used = replace(ON_LINKS, foreign={500: "zebra has routes in it"})
    assert stands(cluster(gateway("red")), used) == {
        "gw/g/v4": "table 500 of external network red is in use here: zebra has routes in it"
    }


def test_each_node_speaks_of_its_own_gateways_alone() -> None:
    assert stands(cluster(gateway("red", node=2))) == {}
    assert stands(cluster(gateway("red", node=2)), facts_of(2)) == {"gw/g/v4": ""}


def test_clients_of_a_gateway_of_networks_that_is_here_need_no_throw_into_the_main_table() -> None:
    """A throw would lead them on to the node's own routes."""
    policy = a_policy("p", {"0.0.0.0/0": by("g")}, "c")
    state = cluster(gateway("red"), policies=[policy], clients=[a_client("c", "10.244.1.2")])
    plan = planned(state)
    assert [item.state for item in plan.decisions] == ["local"]
    assert not [item for item in plan.objects if isinstance(item, Route) and item.type == "throw"]
