"""What an agent sees of its node's links, and of the tables of external networks."""

import os
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest
from tests.netns.world import World, build, inside, run

from sallyport.drivers.facts import gather, table_use
from sallyport.model.plan import NodeFacts

pytestmark = pytest.mark.root


@pytest.fixture
def world() -> Iterator[World]:
    """One node."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    made = build(("a",))
    try:
        yield made
    finally:
        made.close()


def facts(*tables: int) -> NodeFacts:
    """Those of the node."""
    with inside("a"):
        return gather("a", [ip_address("192.0.2.11")], frozenset(), [], "sp-vx", table_use(tables, 83))


def add(*lines: str) -> None:
    """Carry out those lines of `ip` on the node."""
    run("a", "ip -batch -", "".join(line + "\n" for line in lines))


def test_links_are_networks_on_devices(world: World) -> None:
    """Those of addresses and those that a user added, of both families; neither what lies behind a router, nor a host
    address of the node's own, nor a tunnel of ours."""
    add(
        "route add 10.77.0.0/24 dev eth0",
        "route add fd00:77::/64 dev cni0 proto static",
        "route add 10.88.0.0/24 via 192.0.2.1",
        "route add fd00:88::/64 via 2001:db8::1",
        "route add 10.99.0.0/24 dev lo",
        "address add 192.0.2.100/32 dev eth0",
        "address add 2001:db8::100/128 dev eth0 nodad preferred_lft 0",
        "link add sp-vx4 type vxlan id 4097 dstport 4790 local 192.0.2.11",
        "link set sp-vx4 up",
        "route add 10.66.0.0/24 dev sp-vx4",
    )
    seen = facts()
    assert seen.connected == {
        ip_network("10.77.0.0/24"): "eth0",
        ip_network("10.244.1.0/24"): "cni0",
        ip_network("192.0.2.0/24"): "eth0",
        ip_network("2001:db8::/64"): "eth0",
        ip_network("fd00:77::/64"): "cni0",
        ip_network("fd00:244:1::/64"): "cni0",
    }
    assert seen.devices == ("cni0", "eth0", "lo", "pod")


def test_a_users_routes_in_a_networks_table_tell_its_devices(world: World) -> None:
    """Not BIRD's, not ours, not those of another table; of several next hops each."""
    add(
        "route add 10.5.0.0/24 table 500 proto static nexthop via 192.0.2.1 dev eth0 nexthop via 10.244.1.2 dev cni0",
        "route add fd00:6::/64 dev eth0 table 600",
        "route add unreachable default table 600",
        "route add 10.7.0.0/24 dev eth0 table 700 proto bird",
        "route add 10.8.0.0/24 dev eth0 table 700 proto 83",
        "route add 10.9.0.0/24 dev eth0 table 800",
    )
    seen = facts(500, 600, 700, 900)
    assert seen.table_devices == {500: ("cni0", "eth0"), 600: ("eth0",)}
    assert seen.foreign == {}
    assert facts().table_devices == {}


def test_a_table_that_something_else_uses_is_told_with_what_that_is(world: World) -> None:
    """A rule that is not ours, or routes of another daemon."""
    add(
        "route add 10.5.0.0/24 dev eth0 table 500 proto zebra",
        "route add fd00:5::/64 dev eth0 table 500 proto ospf",
        "rule add from 10.0.0.1 lookup 600 priority 77",
        "rule add fwmark 5 lookup 700 priority 78 protocol 83",
        "route add 10.7.0.0/24 dev eth0 table 700 proto bird",
    )
    assert facts(500, 600, 700).foreign == {
        500: "it has routes of zebra and ospf",
        600: "the rule of priority 77 leads to it, which is not ours",
    }
