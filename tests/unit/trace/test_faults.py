"""Whither packets go in kernels that lack a part of their plan: closed, or out by the node's own address."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest
from tests.unit.trace.scene import (
    EGRESS_IP,
    NODES,
    OUTSIDE,
    SETTINGS,
    packet,
    plan,
    planned,
    traced,
    without,
)

from sallyport.model.kernel import (
    Element,
    Fdb,
    InterfaceAddress,
    KernelObject,
    Link,
    Neighbor,
    NextHop,
    Route,
    Rule,
    Skeleton,
    Sysctl,
)
from sallyport.trace import Host, Underlay, Verdict, walk

Predicate = Callable[[KernelObject], bool]


def of(kind: type, **fields: object) -> Predicate:
    """Objects of a class whose named fields have these values."""

    def matches(item: KernelObject) -> bool:
        return isinstance(item, kind) and all(getattr(item, name) == value for name, value in fields.items())

    return matches


@pytest.mark.parametrize(
    ("where", "lost", "decided"),
    [
        ("n1", of(Rule, mark=21), "guard: marks4 lacks 0x15"),
        ("n1", of(Element, set="clients4"), "guard: governed4 has 10.244.1.5, which has no mark"),
        ("n1", of(NextHop), "rule 20002 fwmark 0x15/0x3fff, table 830021: unreachable 0.0.0.0/0"),
        ("n1", of(Link), "rule 20002 fwmark 0x15/0x3fff, table 830021: unreachable 0.0.0.0/0"),
        ("n1", of(Route, type="unicast"), "rule 20002 fwmark 0x15/0x3fff, table 830021: unreachable 0.0.0.0/0"),
        ("n1", of(Route), "guard: marks4 lacks 0x15"),
        ("n1", of(Neighbor), "sp-vx4: no neighbour entry for "),
        ("n1", of(Fdb), "sp-vx4: no forwarding entry for 02:"),
        ("n1", of(Rule, udp_port=4790), "sp-vx4: outer 10.10.0.11: rule 20002 fwmark 0x15/0x3fff, table 830021: "),
        ("n3", of(Element, set="nodes4"), "tunnel: nodes4 lacks 10.10.0.101"),
        ("n3", of(Link), "no VXLAN device for VNI 4097, UDP 4790, IPv4"),
        ("n3", of(Skeleton, family="netdev"), "sp-vx4: no ingress chain of ours"),
        ("n3", of(Element, set="marks4"), "guard: marks4 lacks 0x15"),
        ("n3", of(Element, set="exits4"), "verify: sources4 lacks 0x15 with 10.10.0.103"),
        ("n3", of(Element, set="sources4"), "verify: sources4 lacks 0x15 with 10.10.0.11"),
    ],
)
def test_a_governed_packet_is_dropped_where_its_way_is_broken(where: str, lost: Predicate, decided: str) -> None:
    trace = traced(packet("web", OUTSIDE[4]), without(planned(), where, lost))
    assert (trace.verdict, trace.node) == (Verdict.DROPPED, where)
    assert trace.hops[-1].decided.startswith(decided)


@pytest.mark.parametrize(
    ("where", "lost", "address"),
    [
        ("n1", of(Skeleton, family="inet"), "10.10.0.101"),
        ("n3", of(Skeleton, family="inet"), "10.10.0.103"),
    ],
)
def test_without_our_table_the_nodes_own_address_is_seen_outside(where: str, lost: Predicate, address: str) -> None:
    trace = traced(packet("web", OUTSIDE[4]), without(planned(), where, lost))
    assert (trace.verdict, trace.node, trace.source) == (Verdict.LEFT, where, ip_address(address))
    assert not trace.governed


def test_an_empty_kernel_lets_everything_out() -> None:
    trace = walk(
        packet("web", OUTSIDE[4]), {}, Underlay({"n1": Host(uplinks={4: ip_address("10.10.0.101")})}), SETTINGS
    )
    assert (trace.verdict, trace.node, trace.source) == (Verdict.LEFT, "n1", ip_address("10.10.0.101"))


def test_a_node_without_an_uplink_of_the_family_drops() -> None:
    trace = walk(packet("web", OUTSIDE[4]), {}, Underlay({"n1": Host()}), SETTINGS)
    assert (trace.verdict, trace.hops[-1].decided) == (Verdict.DROPPED, f"table main: no route to {OUTSIDE[4]}")


def test_strict_reverse_path_filtering_drops_what_comes_out_of_the_tunnel() -> None:
    strict = [replace(item, value="1") if isinstance(item, Sysctl) else item for item in planned()["n3"]]
    trace = traced(packet("web", OUTSIDE[4]), {**planned(), "n3": tuple(strict)})
    assert (trace.verdict, trace.hops[-1].decided) == (Verdict.DROPPED, "IP stack: rp_filter of sp-vx4 is strict")


def test_a_node_that_took_the_address_before_its_routes_changed_drops_its_own_packets() -> None:
    """Seen on a kernel: the tunnel device hands the packet to itself, and the guard lets none go round."""
    kernels = planned()
    kernels["n1"] = (*kernels["n1"], InterfaceAddress("eth0", str(EGRESS_IP)))
    trace = traced(packet("web", OUTSIDE[4]), kernels)
    assert (trace.node, trace.hops[-1].decided) == ("n1", "guard: out of the tunnel and into it again")


def test_a_packet_is_lost_where_no_node_has_the_egress_ip() -> None:
    trace = traced(packet("web", OUTSIDE[4]), without(planned(), "n3", of(InterfaceAddress)))
    assert (trace.verdict, trace.node) == (Verdict.DROPPED, "n1")
    assert trace.hops[-1].decided == "uplink: no node answers for 10.10.0.11"


def towards(outer: str, local: str) -> tuple[KernelObject, ...]:
    """A node without guard that sends what is marked on through the tunnel."""
    return (
        Link("sp-vx4", SETTINGS.vxlan_vni, SETTINGS.vxlan_port, local, 1450),
        Skeleton("netdev", "sallyport", ""),
        NextHop(1, "192.0.2.1", "sp-vx4"),
        Neighbor("sp-vx4", "192.0.2.1", "02:00:00:00:00:01"),
        Fdb("sp-vx4", "02:00:00:00:00:01", outer),
        Rule(4, 20000, 254, udp_port=SETTINGS.vxlan_port),
        Rule(4, 20001, 830021, mark=21, mask=SETTINGS.mark_mask),
        Route(4, 830021, "0.0.0.0/0", 100, "unicast", 1),
    )


def test_a_walk_ends_where_nodes_without_guards_send_a_packet_round() -> None:
    kernels = planned()
    kernels["n3"] = (*towards("10.10.0.102", "10.10.0.103"), InterfaceAddress("eth0", str(EGRESS_IP)))
    kernels["n2"] = towards("10.10.0.103", "10.10.0.102")
    trace = traced(packet("web", OUTSIDE[4]), kernels)
    assert (trace.verdict, trace.node) == (Verdict.DROPPED, "n3")
    assert trace.hops[-1].effect == "goes in circles until its hop limit is spent"


def test_elements_read_back_as_ranges_mean_the_same() -> None:
    ranges = {"192.0.2.0/24": "192.0.2.0-192.0.2.255"}
    kernels = planned()
    kernels["n1"] = tuple(
        replace(item, member=ranges.get(item.member, item.member)) if isinstance(item, Element) else item
        for item in kernels["n1"]
    )
    trace = traced(packet("web", "192.0.2.77"), kernels)
    assert trace.verdict is Verdict.LEFT
    assert trace.hops[0].decided == "steer: excluded4 has 192.0.2.0-192.0.2.255"


def test_skeletons_read_back_without_their_text_are_believed() -> None:
    kernels = {
        name: tuple(replace(item, text="") if isinstance(item, Skeleton) else item for item in plan(name).objects)
        for name in NODES
    }
    assert traced(packet("web", OUTSIDE[4]), kernels).source == EGRESS_IP


def test_a_table_that_is_longer_prefixed_wins_over_a_lower_metric() -> None:
    """What a policy of destinations needs: the kernel's longest-prefix match decides, metrics only between equals."""
    blocked = Route(4, 830021, "198.51.100.0/24", LATE, "unreachable")
    kernels = planned()
    kernels["n1"] = (*kernels["n1"], blocked)
    trace = traced(packet("web", OUTSIDE[4]), kernels)
    assert trace.verdict is Verdict.DROPPED
    assert "unreachable 198.51.100.0/24" in trace.hops[-1].decided


LATE = 4294967295
