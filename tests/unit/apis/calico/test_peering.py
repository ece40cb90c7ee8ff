"""External networks, BGP peers and filters: what they mean, and what of them cannot be."""

from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import pytest
from tests.unit.apis.calico.build import felix, network, node, peer
from tests.unit.apis.calico.objects import manifest

from sallyport.apis.calico.bgp import BGPConfiguration, BGPFilter, BGPPeer
from sallyport.apis.calico.felix import Felix, read_felix
from sallyport.apis.calico.objects import CalicoObjects
from sallyport.apis.calico.peering import (
    DISABLED,
    DUPLICATE_TABLE,
    INVALID_TABLE,
    NO_PASSWORD,
    UNKNOWN_NETWORK,
    UNSUPPORTED,
    external_networks,
    peerings,
)
from sallyport.apis.calico.types import ExternalNetwork
from sallyport.model.state import Peering, Problem, RouteRule

ON, _ = read_felix([felix()])


def tables(*networks: ExternalNetwork, options: Felix = ON) -> tuple[dict[str, int | None], list[Problem]]:
    problems: list[Problem] = []
    found = external_networks(networks, options, problems)
    return {name: item.table for name, item in found.items()}, problems


def peered(*peers: BGPPeer, options: Felix = ON, **objects: Any) -> tuple[dict[str, Peering], list[Problem]]:
    """Peerings by name, of nodes node-1 and node-2, of which the second is labelled egress; network red exists."""
    problems: list[Problem] = []
    external = external_networks([network("red", 500)], ON, [])
    nodes = [node("node-1"), node("node-2", egress="true")]
    found = peerings(CalicoObjects(peers=peers, **objects), nodes, external, options, problems)
    return {item.ref.name: item for item in found}, problems


def the(*peers: BGPPeer, **objects: Any) -> Peering:
    found, problems = peered(*peers, **objects)
    assert problems == []
    (one,) = found.values()
    return one


# Networks


@pytest.mark.parametrize("table", [0, 253, 254, 255, -1, 4294967296, 830_001, 846_575])
def test_tables_that_are_the_kernels_own_or_an_exits_or_none_at_all_are_not_served(table: int) -> None:
    """Routes of a network in the table of an exit would lead that exit's packets onto the network."""
    found, problems = tables(network("red", table))
    assert found == {"red": None}
    assert [(item.reason, item.field) for item in problems] == [(INVALID_TABLE, "spec.routeTableIndex")]


@pytest.mark.parametrize(
    ("table", "served"), [(250, None), *((item, item) for item in (251, 830_000, 846_576, 4294967295))]
)
def test_reserved_tables_are_not_served_and_those_beside_them_are(table: int, served: int | None) -> None:
    assert tables(network("red", table))[0] == {"red": served}


def test_of_two_networks_with_one_table_the_older_has_it() -> None:
    old, new = network("z", 500, "2026-01-01T00:00:00Z"), network("a", 500, "2026-01-02T00:00:00Z")
    found, problems = tables(new, old)
    assert found == {"z": 500, "a": None}
    assert [(item.reason, item.ref.name) for item in problems] == [(DUPLICATE_TABLE, "a")]


# Peers


def test_a_peer_is_a_session_of_the_nodes_that_its_selector_selects() -> None:
    found = the(peer(nodeSelector="egress == 'true'", externalNetwork="red", sourceAddress="None"))
    assert (found.network, found.nodes, found.use_node_ip) == ("red", frozenset({"node-2"}), False)
    assert (found.address, found.port, found.asn, found.own_asn) == (ip_address("172.31.11.1"), 179, 63400, 64512)
    assert the(peer()).nodes == frozenset({"node-1", "node-2"})
    assert the(peer(node="node-9")).nodes == frozenset({"node-9"})


def test_what_a_peer_may_ask_for_is_taken() -> None:
    found = the(
        peer(
            peerIP="[fd00::1]:1179",
            asNumber="1.10",
            localASNumber=65001,
            reachableBy="fd00::2",
            ttlSecurity=3,
            failureDetectionMode="BFDIfDirectlyConnected",
            restartMode="LongLivedGracefulRestart",
            maxRestartTime="2m",
            keepaliveTime="10s",
            numAllowedLocalASNumbers=2,
            nextHopMode="Self",
        )
    )
    assert (found.address, found.port, found.via) == (ip_address("fd00::1"), 1179, ip_address("fd00::2"))
    assert (found.asn, found.own_asn, found.own_asn_in_path) == (65546, 65001, 2)
    assert (found.hops, found.bfd, found.long_lived, found.next_hop) == (3, True, True, "self")
    assert (found.restart_time, found.keepalive) == (120, 10)
    assert the(peer(keepOriginalNextHop=True)).next_hop == "keep"


def test_our_as_number_is_the_clusters_unless_the_peer_has_another_one() -> None:
    bgp = (msgspec.convert(manifest("BGPConfiguration", "default", asNumber=65100), BGPConfiguration),)
    assert the(peer(), bgp=bgp).own_asn == 65100
    assert the(peer(localASNumber=65001), bgp=bgp).own_asn == 65001


@pytest.mark.parametrize(
    ("spec", "reason", "field"),
    [
        ({"peerIP": "router"}, "InvalidSpec", "spec"),
        ({"asNumber": "sixty"}, "InvalidSpec", "spec"),
        ({"keepaliveTime": "soon"}, "InvalidSpec", "spec.keepaliveTime"),
        ({"nodeSelector": "egress =="}, "InvalidSpec", "spec.nodeSelector"),
        ({"peerSelector": "all()"}, UNSUPPORTED, "spec.peerSelector"),
        ({"localWorkloadSelector": "all()"}, UNSUPPORTED, "spec.localWorkloadSelector"),
        ({"network": "blue"}, UNSUPPORTED, "spec.network"),
        ({"externalNetwork": "blue"}, UNKNOWN_NETWORK, "spec.externalNetwork"),
        ({"filters": ["missing"]}, "InvalidSpec", "spec.filters"),
        ({"password": {"secretKeyRef": {"name": "s", "key": "k"}}}, NO_PASSWORD, "spec.password"),
    ],
)
def test_a_peer_that_makes_no_sense_has_no_session_and_says_why(spec: dict[str, Any], reason: str, field: str) -> None:
    """And costs no other its own."""
    found, problems = peered(peer("bad", **spec), peer("good"))
    assert [(item.reason, item.field, item.ref.name) for item in problems] == [(reason, field, "bad")]
    assert found["bad"].blocked == problems[0].message
    assert found["good"].blocked == ""


def test_a_peer_of_a_network_has_no_session_while_networks_are_switched_off() -> None:
    off, _ = read_felix([felix(externalNetworkSupport="Disabled")])
    found, problems = peered(peer(externalNetwork="red"), options=off)
    assert [item.reason for item in problems] == [DISABLED]
    assert found["router"].blocked
    assert peered(peer(), options=off)[0]["router"].blocked == ""


def test_a_password_is_that_of_the_secret() -> None:
    spec = {"secretKeyRef": {"name": "s", "key": "k"}}
    assert the(peer(password=spec), secrets={("s", "k"): "word"}).password == "word"


# Filters


def a_filter(**spec: Any) -> BGPFilter:
    return msgspec.convert(manifest("BGPFilter", "f", **spec), BGPFilter)


def rules(direction: str, family: Any, **spec: Any) -> tuple[RouteRule, ...]:
    return the(peer(filters=["f"]), filters=(a_filter(**spec),)).filters[0].rules[direction, family]


def test_a_filters_rules_are_kept_by_direction_and_family() -> None:
    wanted = {"action": "Reject", "cidr": "10.0.0.0/8", "matchOperator": "NotIn"}
    assert rules("import", 4, importV4=[wanted]) == (RouteRule(False, ip_network("10.0.0.0/8"), "NotIn"),)
    assert rules("export", 4, importV4=[wanted]) == ()
    assert rules("export", 6, exportV6=[{"action": "Accept"}]) == (RouteRule(True),)


@pytest.mark.parametrize(
    ("given", "lengths"), [({"min": 16, "max": 24}, (16, 24)), ({"min": 16}, (16, 32)), ({"max": 24}, (8, 24))]
)
def test_bounds_that_are_not_given_are_the_networks_own_and_the_longest(
    given: dict[str, int], lengths: tuple[int, int]
) -> None:
    spec = {"action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": given}
    assert rules("import", 4, importV4=[spec])[0].lengths == lengths


def test_what_a_rule_does_to_a_route_is_kept_in_order() -> None:
    operations = [
        {"prependASPath": {"prefix": [65000, "1.10"]}},
        {"addCommunity": {"value": "1:2"}},
        {"addCommunity": {"value": "3:4:5"}},
    ]
    (found,) = rules("export", 4, exportV4=[{"action": "Accept", "operations": operations}])
    assert (found.add, found.prepend) == (("1:2", "3:4:5"), (65000, 65546))


def test_in_the_place_of_a_rule_that_cannot_be_read_every_route_is_rejected() -> None:
    """Left out, it would let through what it is there to stop."""
    broken = {"action": "Reject", "cidr": "fd00::/8", "matchOperator": "In"}
    found, problems = peered(peer(filters=["f"]), filters=(a_filter(importV4=[{"action": "Accept"}, broken]),))
    assert found["router"].filters[0].rules["import", 4] == (RouteRule(True), RouteRule(False))
    assert [(item.ref.kind, item.field) for item in problems] == [("BGPFilter", "spec.importV4[1]")]
