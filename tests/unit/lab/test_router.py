"""Outside routers that speak BGP: their configuration, and what is read of their sessions."""

import dataclasses
import subprocess
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

import pytest

from sallyport.lab.router import Session, parse_sessions, render, router_id
from sallyport.lab.topology import Attachment, Bgp, Router
from sallyport.lab.topology_file import load

RED = IPv4Network("105.8.10.0/24"), IPv6Network("2001:db8:105::/64")
LINK = IPv4Network("172.31.11.0/24"), IPv6Network("fd31:11::/64")
BGP = Bgp(63400, RED, LINK)

PRINTED = """\
BIRD 2.0.12 ready.
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     03:24:18.029

nodes0     BGP        ---        start  03:24:18.029  Passive
  BGP state:          Passive
    Neighbor range:   172.31.11.0/24
    Neighbor AS:      0
    Local AS:         63400

node2      BGP        ---        up     03:24:18.899  Established
  BGP state:          Established
    Neighbor address: fd31:11::102
    Neighbor AS:      64512
    Local AS:         63400

node1      BGP        ---        start  03:28:37.591  Idle          Error: BFD session down
  BGP state:          Idle
    Neighbor address: 172.31.11.102
    Neighbor AS:      64513
    Local AS:         63400
    Last error:       BFD session down
"""


def router(*addresses: str) -> Router:
    return Router("red-router", tuple(Attachment("red-link", ip_address(text), 24) for text in addresses))


def stated(bgp: Bgp) -> list[str]:
    return [line.strip() for line in render(router("172.31.11.1", "fd31:11::1"), bgp).splitlines()]


def test_a_router_announces_its_networks_in_both_families_on_every_session() -> None:
    lines = stated(BGP)
    assert [line for line in lines if line.startswith("route ")] == [
        "route 105.8.10.0/24 blackhole;",
        "route 2001:db8:105::/64 blackhole;",
    ]
    for family, length in ((4, 32), (6, 128)):
        channel = f"ipv{family} {{ import where net.len = {length}; export where source = RTS_STATIC; }};"
        assert lines.count(channel) == 1


def test_what_a_router_announces_never_goes_into_its_own_kernel() -> None:
    """Its blackholes are for telling only: a kernel that had them would drop what it is to forward."""
    for family in (4, 6):
        assert f"ipv{family} {{ import none; export where source = RTS_BGP; }};" in stated(BGP)


def test_sessions_are_accepted_from_the_networks_that_are_named_and_no_others() -> None:
    ranges = [line.split("neighbor range ")[1].split()[0] for line in stated(BGP) if "neighbor range" in line]
    assert ranges == ["172.31.11.0/24", "fd31:11::/64"]
    (one,) = [
        line
        for line in stated(dataclasses.replace(BGP, peers=(IPv4Network("172.31.11.102/32"),)))
        if "neighbor" in line
    ]
    assert "neighbor range 172.31.11.102/32 external" in one


def test_password_and_bfd_are_there_where_they_are_asked_for_only() -> None:
    plain, guarded = stated(BGP), stated(dataclasses.replace(BGP, password="s3cret", bfd=True))
    added = [line for line in guarded if line not in plain]
    assert [line for line in plain if line not in guarded] == []
    assert [line.split(" {")[0] for line in added] == ["protocol bfd", 'password "s3cret";', "bfd on;"]


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (("fd31:11::1", "172.31.11.1"), "172.31.11.1"),
        (("fd31:11::1",), "1.0.0.1"),
        (("fd31:11::",), "1.0.0.0"),
        (("fd31:11::ffff:ffff",), "1.255.255.255"),
    ],
)
def test_a_router_id_is_an_ipv4_address_also_where_there_is_none(addresses: tuple[str, ...], expected: str) -> None:
    assert router_id(router(*addresses)) == IPv4Address(expected)


def test_sessions_are_read_with_neighbor_as_and_state_and_what_waits_is_no_session() -> None:
    assert parse_sessions(PRINTED.splitlines()) == (
        Session("172.31.11.102", 64513, "Idle"),
        Session("fd31:11::102", 64512, "Established"),
    )


@pytest.mark.skipif(not Path("/usr/sbin/bird").exists(), reason="bird is not installed")
@pytest.mark.parametrize(
    "bgp",
    [
        *(router.bgp for router in load("networks").routers if router.bgp is not None),
        Bgp(4200000000, (ip_network("0.0.0.0/0"),), (ip_network("fd31:11::102"),), password="a'b{c;", bfd=True),
        Bgp(1, (), LINK),
    ],
)
def test_bird_takes_every_configuration(bgp: Bgp, tmp_path: Path) -> None:
    file = tmp_path / "bird.conf"
    for addresses in (("172.31.11.1", "fd31:11::1"), ("fd31:11::1",)):
        file.write_text(render(router(*addresses), bgp))
        done = subprocess.run(["/usr/sbin/bird", "-p", "-c", str(file)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    file.write_text(file.read_text().replace("template", "tmplate"))
    assert subprocess.run(["/usr/sbin/bird", "-p", "-c", str(file)], capture_output=True, check=False).returncode != 0
