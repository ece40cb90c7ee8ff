"""The tunnel's devices, and the way to one exit."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from tests.unit.plan.build import SETTINGS, a_node, facts_of

from sallyport.model.kernel import Fdb, Link, Neighbor, NextHop
from sallyport.model.state import Family
from sallyport.plan.tunnel import endpoint, hardware_address, links, way


def test_there_is_one_device_for_each_family_that_the_node_reaches_others_by() -> None:
    four = Link("sp-vx4", 4097, 4790, "10.0.0.1", 1450)
    six = Link("sp-vx6", 4097, 4790, "fd00::1", 1430)
    assert links(facts_of(1), SETTINGS) == (four, six)
    assert links(facts_of(1, families=(6,)), SETTINGS) == (six,)
    assert links(facts_of(1, families=()), SETTINGS) == ()


def test_the_mtu_leaves_room_for_the_outer_headers() -> None:
    facts = facts_of(1)
    jumbo = {family: replace(uplink, mtu=9000) for family, uplink in facts.uplinks.items()}
    assert [link.mtu for link in links(replace(facts, uplinks=jumbo), SETTINGS)] == [8950, 8930]


@pytest.mark.parametrize(
    ("egress_ip", "holder", "families", "outer"),
    [
        ("10.0.0.50", (4, 6), (4, 6), "10.0.0.50"),
        ("fd00::50", (4, 6), (4, 6), "fd00::50"),
        ("192.0.2.50", (4, 6), (4, 6), "10.0.0.2"),
        ("2001:db8::50", (4, 6), (4, 6), "fd00::2"),
        ("2001:db8::50", (4,), (4, 6), "10.0.0.2"),
        ("fd00::50", (4, 6), (4,), "10.0.0.2"),
        ("192.0.2.50", (6,), (4, 6), "fd00::2"),
        ("192.0.2.50", (6,), (4,), None),
        ("192.0.2.50", (4,), (6,), None),
        ("192.0.2.50", None, (4, 6), None),
        ("10.0.0.50", None, (4, 6), "10.0.0.50"),
    ],
)
def test_the_tunnel_ends_at_the_egress_ip_on_link_and_else_at_its_holders_address(
    egress_ip: str, holder: tuple[Family, ...] | None, families: tuple[Family, ...], outer: str | None
) -> None:
    """The holder's family of the egress IP first, then the other; neither without an uplink of our own in it."""
    node = None if holder is None else a_node(2, families=holder)
    found = endpoint(ip_address(egress_ip), node, facts_of(1, families=families))
    assert found == (None if outer is None else ip_address(outer))


def test_a_way_is_a_next_hop_whose_mac_leads_to_the_outer_address() -> None:
    found = way(ip_address("10.0.0.50"), 83, SETTINGS)
    mac = hardware_address(ip_address("10.0.0.50"))
    assert found.next_hop == NextHop(83, "fe80::5350:a00:32", "sp-vx4")
    assert found.neighbor == Neighbor("sp-vx4", "fe80::5350:a00:32", mac)
    assert found.fdb == Fdb("sp-vx4", mac, "10.0.0.50")


@pytest.mark.parametrize("network", ["10.0.0.0/16", "fd00::/112"])
def test_every_outer_address_has_a_link_local_next_hop_and_a_mac_of_its_own(network: str) -> None:
    """Never the outer address: the kernel refuses one that is the node's own, or in another device's subnet."""
    ways = [way(ip_network(network)[number], 83, SETTINGS) for number in range(20_000)]
    assert all(ip_address(item.next_hop.gateway) in ip_network("fe80::/64") for item in ways[:100])
    assert len({item.next_hop.gateway for item in ways}) == len({item.neighbor.lladdr for item in ways}) == 20_000


def test_macs_are_unicast_of_local_administration_and_differ() -> None:
    macs = {hardware_address(ip_address(f"10.0.{n // 256}.{n % 256}")) for n in range(2000)}
    assert len(macs) == 2000
    assert all(int(mac[:2], 16) & 0b11 == 0b10 and len(mac) == 17 for mac in macs)
