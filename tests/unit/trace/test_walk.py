"""Whither packets go, in kernels that hold their whole plans."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

import pytest
from tests.unit.trace.scene import (
    CLIENTS,
    EGRESS_IP,
    GROUND,
    OUTSIDE,
    STATIC_IP,
    all_ways,
    packet,
    plan,
    planned,
    traced,
)

from sallyport.model.kernel import ClientElement, InterfaceAddress, KernelObject
from sallyport.trace import Host, Packet, Verdict
from sallyport.trace.packet import Translation


def test_a_remote_client_leaves_at_the_holder_with_the_egress_ip() -> None:
    trace = traced(packet("web", OUTSIDE[4]))
    assert (trace.verdict, trace.node, trace.source, trace.governed) == (Verdict.LEFT, "n3", EGRESS_IP, True)


def test_a_client_on_the_holder_leaves_without_the_tunnel() -> None:
    trace = traced(packet("near", OUTSIDE[4]))
    assert (trace.verdict, trace.node, trace.source, trace.governed) == (Verdict.LEFT, "n3", EGRESS_IP, True)
    assert {hop.node for hop in trace.hops} == {"n3"}


def test_a_static_exit_of_ipv6_takes_its_client_to_the_node_that_has_the_address() -> None:
    trace = traced(packet("six", OUTSIDE[6]))
    assert (trace.verdict, trace.node, trace.source, trace.governed) == (Verdict.LEFT, "n2", STATIC_IP, True)


def test_a_client_without_an_exit_of_the_family_is_dropped_by_its_table() -> None:
    trace = traced(packet("web", OUTSIDE[6]))
    assert trace.verdict is Verdict.DROPPED
    assert "unreachable ::/0" in trace.hops[-1].decided


def test_a_free_pod_leaves_with_its_nodes_own_address() -> None:
    trace = traced(packet("free", OUTSIDE[4]))
    assert (trace.verdict, trace.node, trace.source) == (Verdict.LEFT, "n1", ip_address("10.10.0.101"))
    assert not trace.governed


def test_an_unknown_pod_of_the_node_is_kept_in_the_cluster() -> None:
    stranger = Packet(ip_address("10.244.1.99"), "n1", ip_address(OUTSIDE[4]))
    assert traced(stranger).verdict is Verdict.DROPPED
    assert traced(replace(stranger, destination=ip_address("10.244.2.1"))).verdict is Verdict.DELIVERED


@pytest.mark.parametrize(
    ("destination", "network"),
    [("10.244.2.9", "pod network 10.244.2.0/24"), ("10.96.0.1", "service network 10.96.0.0/12")],
)
def test_what_goes_to_pods_and_services_is_the_cnis(destination: str, network: str) -> None:
    trace = traced(packet("web", destination))
    assert trace.verdict is Verdict.DELIVERED
    assert any(network in hop.decided for hop in trace.hops)
    assert trace.source == CLIENTS["prod", "web"].addresses[0]


@pytest.mark.parametrize("destination", ["192.0.2.1", "203.0.113.9", "169.254.169.254"])
def test_an_excepted_destination_is_reached_with_the_nodes_own_address(destination: str) -> None:
    trace = traced(packet("web", destination))
    assert (trace.verdict, trace.source) == (Verdict.LEFT, ip_address("10.10.0.101"))


@pytest.mark.parametrize(("destination", "node"), [("10.10.0.102", "n2"), ("10.10.0.101", "n1")])
def test_what_goes_to_a_node_is_not_governed(destination: str, node: str) -> None:
    trace = traced(packet("web", destination))
    assert (trace.verdict, trace.node) == (Verdict.DELIVERED, node)


@pytest.mark.parametrize("name", ["web", "near", "free"])
def test_an_egress_ip_takes_no_connections_from_any_pod(name: str) -> None:
    trace = traced(packet(name, str(EGRESS_IP)))
    assert (trace.verdict, trace.node) == (Verdict.DROPPED, "n3")
    assert "held4" in trace.hops[-1].decided


def test_an_egress_ip_answers_pings() -> None:
    assert traced(packet("free", str(EGRESS_IP), protocol="icmp")).verdict is Verdict.DELIVERED


def test_a_pod_cannot_speak_vxlan_to_its_own_node() -> None:
    trace = traced(packet("web", "10.10.0.101", protocol="udp", port=4790))
    assert (trace.verdict, trace.hops[-1].decided) == (Verdict.DROPPED, "tunnel: nodes4 lacks 10.244.1.5")


def test_a_reply_goes_back_by_the_connection_that_it_answers() -> None:
    trace = traced(packet("web", OUTSIDE[4], original=False))
    assert (trace.verdict, trace.node, trace.source) == (Verdict.LEFT, "n1", None)


@pytest.mark.parametrize("destination", ["224.0.0.5", "255.255.255.255", "ff02::1", "fe80::1"])
def test_nothing_is_forwarded_that_stays_on_its_link(destination: str) -> None:
    trace = traced(packet("web", destination))
    assert trace.verdict is Verdict.DROPPED


def test_the_bandwidth_of_an_exit_is_told() -> None:
    assert any("limited to 8 bit/s" in hop.decided for hop in traced(packet("web", OUTSIDE[4])).hops)


def test_the_mark_is_told_hop_by_hop() -> None:
    marks = [hop.mark for hop in traced(packet("web", OUTSIDE[4])).hops]
    assert set(marks) == {21}


def test_where_two_nodes_answer_for_the_egress_ip_both_ways_are_told() -> None:
    kernels = planned()
    kernels["n2"] = plan("n2", holder="n2").objects
    ways = all_ways(packet("web", OUTSIDE[4]), kernels)
    assert [(way.node, way.source) for way in ways] == [("n2", EGRESS_IP), ("n3", EGRESS_IP)]


def test_the_first_by_name_gets_the_packet_where_only_one_way_is_asked_for() -> None:
    kernels = planned()
    kernels["n2"] = (*kernels["n2"], InterfaceAddress("eth0", str(EGRESS_IP)))
    trace = traced(packet("web", OUTSIDE[4]), kernels)
    assert (trace.verdict, trace.node) == (Verdict.DROPPED, "n2")
    assert trace.hops[-1].decided == "guard: marks4 lacks 0x15"


def test_a_clients_node_needs_no_default_route_of_ipv6_to_steer_its_pods() -> None:
    bare = {**GROUND.hosts, "n1": Host(GROUND.hosts["n1"].addresses, {4: ip_address("10.10.0.101")})}
    trace = traced(packet("six", OUTSIDE[6]), ground=replace(GROUND, hosts=bare))
    assert any(hop.decided.startswith("steer: clients6 has") for hop in trace.hops)


def test_a_pod_cannot_speak_into_the_tunnel_itself() -> None:
    """Masqueraded to its node's address, a forged frame would be taken for the node's and leave by any exit."""
    trace = traced(replace(packet("web", "10.10.0.103"), protocol="udp", port=4790))
    assert trace.verdict is Verdict.DROPPED
    assert trace.hops[-1].decided == "guard: nodes do not forward tunnel packets"


def test_a_connection_keeps_its_source_while_its_exit_stays() -> None:
    first = traced(packet("web", OUTSIDE[4]))
    later = traced(replace(packet("web", OUTSIDE[4]), translated=first.translated))
    assert (later.node, later.source, later.governed) == ("n3", EGRESS_IP, True)


def test_a_connection_follows_its_exit_to_another_node() -> None:
    first = traced(packet("web", OUTSIDE[4]))
    later = traced(replace(packet("web", OUTSIDE[4]), translated=first.translated), planned("n2"))
    assert (later.node, later.source, later.governed) == ("n2", EGRESS_IP, True)


def test_a_connection_whose_exit_comes_to_the_clients_node_is_dropped_by_the_last_check() -> None:
    """Seen on a kernel: without the last check the packet would leave with the pod's own address."""
    first = traced(packet("web", OUTSIDE[4]))
    later = traced(replace(packet("web", OUTSIDE[4]), translated=first.translated), planned("n1"))
    assert (later.verdict, later.node) == (Verdict.DROPPED, "n1")
    assert later.hops[-1].decided == "verify: sources4 lacks 0x15 with 10.244.1.5"


def masqueraded() -> Packet:
    """A packet of a connection that prod/web opened while no exit governed it."""
    web = packet("web", OUTSIDE[4])
    return replace(web, translated={("n1", web.source): Translation(ip_address("10.10.0.101"))})


@pytest.mark.parametrize("pod", ["web", "near"])
def test_a_connection_does_not_go_on_when_its_pod_is_governed_no_more(pod: str) -> None:
    """Neither with the identity translation of the tunnel nor with an egress IP that may be another's by now."""
    first = traced(packet(pod, OUTSIDE[4]))
    freed = {name: _freed(objects) for name, objects in planned().items()}
    again, new = replace(packet(pod, OUTSIDE[4]), translated=first.translated), packet(pod, OUTSIDE[4])
    assert traced(again, freed).hops[-1].decided == "guard: the connection began with a mark and has none now"
    assert traced(again, freed).verdict is Verdict.DROPPED
    assert traced(new, freed).verdict is Verdict.LEFT


def _freed(objects: Iterable[KernelObject]) -> tuple[KernelObject, ...]:
    """A node's objects once no exit governs its pods: nothing steers them, and the guard lets them out."""
    governed = [item for item in objects if isinstance(item, ClientElement) and item.set.startswith("governed")]
    kept = [item for item in objects if not isinstance(item, ClientElement)]
    return (*kept, *(ClientElement(item.set.replace("governed", "free"), item.member) for item in governed))


def test_a_connection_from_before_its_pod_was_governed_leaves_with_the_egress_ip_of_a_remote_exit() -> None:
    trace = traced(masqueraded())
    assert (trace.node, trace.source, trace.governed) == ("n3", EGRESS_IP, True)


def test_a_connection_from_before_its_pod_was_governed_is_dropped_by_an_exit_on_its_own_node() -> None:
    trace = traced(masqueraded(), planned("n1"))
    assert (trace.verdict, trace.hops[-1].decided) == (
        Verdict.DROPPED,
        "verify: sources4 lacks 0x15 with 10.10.0.101",
    )


def test_the_last_check_spares_what_came_with_a_nodes_own_address() -> None:
    """So an exit that lost its translation lets a connection out that its pod's node has masqueraded."""
    kernels = planned()
    kernels["n3"] = tuple(item for item in kernels["n3"] if getattr(item, "set", "") != "exits4")
    trace = traced(masqueraded(), kernels)
    assert (trace.verdict, trace.source) == (Verdict.LEFT, ip_address("10.10.0.101"))


def test_a_connection_whose_exit_leaves_the_clients_node_is_a_martian_at_the_new_one() -> None:
    first = traced(packet("near", OUTSIDE[4]))
    both = planned("n2")
    both["n2"] = (*both["n2"], InterfaceAddress("eth0", str(EGRESS_IP)))
    later = traced(replace(packet("near", OUTSIDE[4]), translated=first.translated), both)
    assert (later.verdict, later.node) == (Verdict.DROPPED, "n2")
    assert later.hops[-1].decided == "IP stack: source 10.10.0.11 is its own"
