"""Whither packets go by gateways and external networks, in kernels that hold their whole plans."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from tests.unit.trace.gateways import (
    ADDRESSES,
    IDS,
    PARTNER,
    REPORTS,
    REST,
    ROUTERS,
    SERVER,
    SIX_IP,
    SIX_ROUTER,
    SIX_SERVER,
    TABLES,
    ends,
    planned,
    report,
    routes,
    ways,
    with_gateways,
)

from sallyport.model.kernel import Chain, Fib, Route
from sallyport.model.plan import Learned, RoutingReport
from sallyport.trace import Verdict

RED_ONE = ("n3", str(ADDRESSES["red/one"]), "red", ROUTERS["red"], "red0")
RED_TWO = ("n2", str(ADDRESSES["red/two"]), "red", ROUTERS["red"], "red0")
YELLOW = ("n3", str(ADDRESSES["yellow/one"]), "yellow", ROUTERS["yellow"], "yellow0")


def test_one_address_in_two_networks_is_reached_in_that_of_the_pods_gateway() -> None:
    assert ends(ways("yellow/app", SERVER)) == [YELLOW]
    assert ends(ways("red/app", SERVER)) == [RED_ONE, RED_TWO]


def test_each_gateway_that_new_connections_are_shared_out_to_is_a_way() -> None:
    one, two = ways("red/app", SERVER)
    assert [way.hops[-1].mark for way in (one, two)] == [IDS["red/one"], IDS["red/two"]]
    assert all(way.governed and way.table == TABLES["red"] for way in (one, two))


def test_a_client_on_a_gateways_node_goes_out_there_or_by_the_tunnel() -> None:
    traces = ways("red/near", SERVER)
    assert ends(traces) == [RED_ONE, RED_TWO]
    assert {hop.node for hop in traces[0].hops} == {"n3"}
    assert traces[1].hops[0].node == "n3"


@pytest.mark.parametrize("pod", ["red/app", "red/near"])
def test_a_connection_stays_with_the_gateway_that_it_began_with(pod: str) -> None:
    for first in ways(pod, SERVER):
        (later,) = ways(pod, SERVER, translated=first.translated)
        assert (later.node, later.source, later.network) == (first.node, first.source, "red")
        (again,) = ways(pod, SERVER, translated=later.translated)
        assert ends((again,)) == ends((later,))


def test_a_gateway_that_is_leaving_keeps_its_connections_and_gets_no_new_ones() -> None:
    leaving = with_gateways(leaving=("red/one",))
    began, _ = ways("red/app", SERVER)
    assert ends(ways("red/app", SERVER, leaving, translated=began.translated)) == [RED_ONE]
    assert ends(ways("red/app", SERVER, leaving)) == [RED_TWO]


def test_a_connection_of_a_gateway_that_is_gone_takes_another_and_stays_there() -> None:
    began, _ = ways("red/app", SERVER)
    (moved,) = ways("red/app", SERVER, with_gateways(unready=("red/one",)), translated=began.translated)
    assert ends((moved,)) == [RED_TWO]
    (later,) = ways("red/app", SERVER, translated=moved.translated)
    assert ends((later,)) == [RED_TWO]


def test_where_all_gateways_are_leaving_new_connections_lead_nowhere() -> None:
    (way,) = ways("red/app", SERVER, with_gateways(leaving=("red/one", "red/two")))
    assert way.verdict is Verdict.DROPPED
    assert way.hops[-1].decided.endswith("unreachable 0.0.0.0/0")


def test_destinations_of_one_client_go_by_what_decides_about_each() -> None:
    assert ends(ways("split/app", SERVER)) == [RED_ONE, RED_TWO]
    assert ends(ways("split/app", "105.8.20.1")) == [
        ("n3", str(ADDRESSES["red/one"]), "red", ROUTERS["red"], "red0"),
        ("n2", str(ADDRESSES["red/two"]), "red", ROUTERS["red"], "red0"),
    ]
    (rest,) = ways("split/app", REST)
    assert (rest.verdict, rest.hops[-1].mark) == (Verdict.DROPPED, IDS["yellow/one"])
    assert ends(ways("split/app", PARTNER)) == [("n1", "10.10.0.101", "", "", "eth0")]


def test_ipv6_goes_the_same_way() -> None:
    assert ends(ways("red/app", SIX_SERVER)) == [("n3", str(SIX_IP), "red", str(SIX_ROUTER), "red0")]
    (way,) = ways("red/app", "2001:db8:106::1")
    assert (way.verdict, way.node) == (Verdict.DROPPED, "n3")
    assert way.hops[-1].decided.endswith("table 500: unreachable ::/0")


def test_the_chains_that_decide_are_told() -> None:
    way, _ = ways("split/app", SERVER)
    texts = [(hop.decided, hop.effect) for hop in way.hops[:3]]
    chains = {item.name for item in planned()["n1"] if isinstance(item, Chain)}
    assert texts[0][0] == "steer: clients4 has 10.244.1.8"
    assert texts[0][1] in chains
    assert texts[1] == (f"{texts[0][1]}: 105.8.0.0/16", texts[1][1])
    assert texts[2] == (f"{texts[1][1]}: new connections go by 11, 12", "egress id 11, mark 0xb")


def test_an_ordinary_destination_is_let_out_by_the_guard_without_a_mark() -> None:
    (way,) = ways("split/app", PARTNER)
    assert [hop.mark for hop in way.hops] == [0] * len(way.hops)
    assert any(hop.decided == "guard: ordinary4 has 10.244.1.8 with 203.0.113.0/24" for hop in way.hops)


def test_a_gateway_without_networks_leads_where_its_nodes_own_routes_do() -> None:
    assert ends(ways("plain/app", REST)) == [("n2", str(ADDRESSES["plain/one"]), "", "", "eth0")]


def test_what_a_network_has_no_route_for_is_dropped_by_its_table() -> None:
    (way,) = ways("yellow/app", REST)
    assert (way.verdict, way.node) == (Verdict.DROPPED, "n3")
    assert way.hops[-1].decided == "rule 20002 fwmark 0xd/0x3fff, table 600: unreachable 0.0.0.0/0"


@pytest.mark.parametrize(
    ("destination", "network"),
    [("105.8.10.1", "red"), ("105.8.20.1", "yellow"), (REST, "red")],
)
def test_of_two_networks_of_a_gateway_the_longer_prefix_wins_then_the_first(destination: str, network: str) -> None:
    """A default route of the first network hides nothing of the second."""
    (way,) = ways("both/app", destination)
    assert (way.network, way.router, way.device) == (network, ROUTERS[network], f"{network}0")
    assert way.source == ADDRESSES["both/one"]


def test_a_prefix_that_a_router_withdraws_goes_to_no_other_network_by_itself() -> None:
    """Red's client is dropped where yellow, of the same node, has the address still."""
    (way, _) = ways("red/app", SERVER, reports={**REPORTS, "n3": report("red", "yellow", red=("105.8.99.0/24",))})
    assert (way.verdict, way.node) == (Verdict.DROPPED, "n3")


def test_a_route_by_a_device_that_is_no_wire_of_the_network_is_not_taken() -> None:
    stray = RoutingReport(routes={"yellow": (Learned(ip_network("105.8.10.0/24"), None, "eth0"),)})
    (way,) = ways("yellow/app", SERVER, reports={"n3": stray})
    assert (way.verdict, way.hops[-1].decided) == (Verdict.DROPPED, "guard: wires lacks 0xd with eth0")


def test_several_routers_of_one_network_share_what_goes_there() -> None:
    twin = Learned(ip_network("105.8.10.0/24"), ip_address("172.31.12.2"), "yellow0")
    both = RoutingReport(routes={"yellow": (*routes("yellow", "105.8.10.0/24"), twin)})
    assert ends(ways("yellow/app", SERVER, reports={"n3": both})) == [
        (*YELLOW[:3], "172.31.12.1 or 172.31.12.2", "yellow0")
    ]


def test_a_peers_own_link_is_reached_directly() -> None:
    assert ends(ways("yellow/app", "172.31.12.77")) == [(*YELLOW[:3], "", "yellow0")]


def test_a_peer_that_announces_its_own_link_is_no_way_to_it() -> None:
    """BIRD prefers its static routes, of which this link is one, to what BGP says."""
    told = report("yellow", yellow=("172.31.12.0/24",))
    assert ends(ways("yellow/app", "172.31.12.77", reports={"n3": told})) == [(*YELLOW[:3], "", "yellow0")]


def test_an_address_of_the_gateways_own_node_on_the_link_is_delivered_there() -> None:
    (way,) = ways("yellow/app", "172.31.12.103")
    assert (way.verdict, way.node) == (Verdict.DELIVERED, "n3")


def test_without_a_report_the_networks_that_come_into_question_are_named() -> None:
    (way,) = ways("both/app", SERVER, reports={})
    assert ends((way,)) == [("n3", str(ADDRESSES["both/one"]), "red or yellow", "", "red0 or yellow0")]
    decided = [hop.decided for hop in way.hops if "BGP" in hop.decided]
    assert decided[0].endswith(": routes of red or yellow come by BGP and are not known here")


def test_routes_beyond_those_that_a_node_tells_are_no_proof_of_absence() -> None:
    partial = replace(REPORTS["n3"], counts={"red": 2, "yellow": 5000})
    (way,) = ways("yellow/app", REST, reports={"n3": partial})
    assert (way.verdict, way.network, way.router) == (Verdict.LEFT, "yellow", "")
    (known,) = ways("yellow/app", SERVER, reports={"n3": partial})
    assert any(hop.decided.endswith("via 172.31.12.1, of those that are known") for hop in known.hops)


def test_our_own_routes_win_over_shorter_ones_that_bird_brings() -> None:
    kernels = planned()
    kernels["n3"] = (*kernels["n3"], Route(4, 600, "105.8.10.1/32", 1, "unreachable"))
    (way,) = ways("yellow/app", SERVER, kernels)
    assert (way.verdict, way.hops[-1].decided.endswith("unreachable 105.8.10.1/32")) == (Verdict.DROPPED, True)


def test_a_table_that_bird_does_not_fill_has_no_routes_of_its_own() -> None:
    kernels = planned()
    kernels["n3"] = tuple(item for item in kernels["n3"] if not isinstance(item, Fib))
    (way,) = ways("yellow/app", SERVER, kernels)
    assert way.verdict is Verdict.DROPPED
