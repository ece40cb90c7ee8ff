"""Routers that speak BGP in a topology file, and nodes that stand on more than one subnet."""

from ipaddress import ip_network

import pytest
from tests.unit.lab.test_topology_file import LAB, addresses, changed, mistakes

from sallyport.lab.supervisor import node_object
from sallyport.lab.topology import Bgp
from sallyport.lab.topology_file import load, parse

PEERING = ("105.8.10.254]}", "105.8.10.254], bgp: {asn: 63400}}")


def bgp_of(*changes: tuple[str, str]) -> Bgp:
    bgp = parse(changed(*changes), "f").routers[0].bgp
    assert bgp is not None
    return bgp


def test_a_router_without_bgp_speaks_none() -> None:
    assert parse(LAB, "f").routers[0].bgp is None


def test_a_bgp_router_announces_its_outside_networks_and_accepts_its_subnets_where_it_has_an_address() -> None:
    red = tuple(map(ip_network, ["105.8.10.0/24"]))
    assert bgp_of(PEERING) == Bgp(63400, red, (ip_network("10.10.0.0/16"), ip_network("fd10:10::/64")))
    both = ("networks: [105.8.10.0/24]", 'networks: [105.8.10.0/24, "2001:db8:105::/64"]')
    assert bgp_of(PEERING, both).announces == red
    assert bgp_of(PEERING, ('[10.10.0.1, "fd10:10::1", ', "[10.10.0.1, ")).peers == (ip_network("10.10.0.0/16"),)


def test_a_bgp_router_does_what_is_written_instead() -> None:
    more = "announces: [0.0.0.0/0, 198.51.100.7/32], peers: [10.10.0.101], password: secret, bfd: true"
    expected = Bgp(
        63400,
        (ip_network("0.0.0.0/0"), ip_network("198.51.100.7/32")),
        (ip_network("10.10.0.101/32"),),
        password="secret",
        bfd=True,
    )
    assert bgp_of((PEERING[0], PEERING[1].replace("63400", f"63400, {more}"))) == expected
    assert bgp_of((PEERING[0], PEERING[1].replace("63400", "63400, announces: []"))).announces == ()


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("{}", "bgp.asn: is missing"),
        ("{asn: 0}", "bgp.asn: must be a whole number from 1 to 4294967294"),
        ("{asn: 4294967295}", "bgp.asn: must be a whole number from 1 to 4294967294"),
        ("{asn: 1.5}", "bgp.asn: must be a whole number"),
        ("{asn: 1, passwd: a}", "bgp.passwd: is no known field; did you mean password?"),
        ("{asn: 1, announces: [105.8.10.1/24]}", "bgp.announces[0]: 105.8.10.1/24 is an address in a network"),
        ("{asn: 1, announces: 105.8.10.0/24}", "bgp.announces: must be a list"),
        ("{asn: 1, peers: []}", "bgp.peers: must have 1 or more items"),
        ("{asn: 1, peers: [105.8.10.1]}", "bgp.peers[0]: 105.8.10.1 lies on none of: 10.10.0.0/16, fd10:10::/64"),
        ('{asn: 1, password: ""}', "bgp.password: must not be empty"),
        ("{asn: 1, password: 'a\"b'}", "bgp.password: must be at most 80 characters of ASCII"),
        (f"{{asn: 1, password: {'a' * 81}}}", "bgp.password: must be at most 80 characters of ASCII"),
        ("{asn: 1, bfd: yes}", "bgp.bfd: must be true or false"),
        ("{asn: 1, bfd: [true]}", "bgp.bfd: must be true or false"),
    ],
)
def test_a_mistake_in_bgp_is_told_once(written: str, line: str) -> None:
    (told,) = mistakes((PEERING[0], PEERING[1].replace("{asn: 63400}", written)))
    assert told.startswith(f"f.yaml:11: routers[0].{line}"), told


def test_a_bgp_router_stands_where_nodes_can_peer_with_it() -> None:
    (told,) = mistakes(PEERING, ('[10.10.0.1, "fd10:10::1", ', "["))
    assert told.startswith("f.yaml:11: routers[0].bgp: needs an address of the router on a subnet of the underlay")


def test_a_node_is_one_on_its_first_subnet_and_on_other_links_a_guest() -> None:
    (_, node, _) = load("networks").nodes
    assert node.subnets() == ("underlay", "red-link", "yellow-link")
    assert addresses(node.home()) == "10.10.0.102/16 fd10:10::102/64"
    listed = node_object(node)["status"]
    assert isinstance(listed, dict)
    assert [item["address"] for item in listed["addresses"]] == ["10.10.0.102", "fd10:10::102", "node-2"]


def test_an_address_of_the_family_elsewhere_does_not_make_a_node_one() -> None:
    """A pod network of a family needs the node's address of it on the node's first subnet."""
    link = (
        'networks: [10.10.0.0/16, "fd10:10::/64"]',
        'networks: [10.10.0.0/16]\n  - {name: l, networks: ["fd10:10::/64"]}',
    )
    (told,) = mistakes(link)
    assert told.endswith("has no IPv6 address on underlay, its first subnet, which its IPv6 pod network needs")
