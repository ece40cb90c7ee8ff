"""Outside routers that speak BGP, seen by a plain BIRD on a node: nothing of the product takes part.

The lab is `networks` with a second router of the network red, which takes sessions of node-2 with a password only.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.lab.labs import lab_of

from sallyport.lab import namespaces
from sallyport.lab.driving import Lab, until
from sallyport.lab.topology_file import find

pytestmark = [pytest.mark.lab, pytest.mark.root]

SECOND = """
  - name: red-two
    addresses:
      - 172.31.11.2
      - "fd31:11::2"
      - {address: 105.8.10.253, on: red}
      - {address: "2001:db8:105::fd", on: red}
    bgp: {asn: 63400, password: secret, peers: [172.31.11.102, "fd31:11::102"]}

nodes:
"""
FAMILIES = (4, 6)
SERVER = {4: "105.8.10.1", 6: "2001:db8:105::1"}
"""The address of red-server, and of yellow-server."""
ROUTER = {"red-router": {4: "172.31.11.1", 6: "fd31:11::1"}, "yellow-router": {4: "172.31.12.1", 6: "fd31:12::1"}}
SECOND_ROUTER = {4: "172.31.11.2", 6: "fd31:11::2"}
AS = {"red-router": 63400, "yellow-router": 63500}
NODE = {4: "172.31.11.102", 6: "fd31:11::102"}
"""The addresses of node-2 on the link to red."""
GATEWAY = {"node-2": {4: "192.0.2.2", 6: "2001:db8:2::2"}, "node-3": {4: "192.0.2.3", 6: "2001:db8:2::3"}}
"""Addresses that a node announces and sends from."""
WIDE = "198.51.100.0/24"
"""A network that a node announces, too."""
PORT = 179


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of this module's own."""
    text, _ = find("networks")
    assert text.count("\nnodes:\n") == 1
    file = tmp_path_factory.mktemp("topology") / "two.yaml"
    file.write_text(text.replace("\nnodes:\n", SECOND))
    with lab_of(str(file), f"t{os.getpid()}r") as running:
        yield running


Peering = Callable[..., contextlib.AbstractContextManager[None]]


@pytest.fixture
def peering(lab: Lab, tmp_path: Path) -> Peering:
    """A block in which a node runs BIRD with sessions to routers, given as address, AS and, if any, password."""
    return partial(peered, lab, tmp_path)


@contextlib.contextmanager
def peered(lab: Lab, folder: Path, node: str, *sessions: tuple[str, int] | tuple[str, int, str]) -> Iterator[None]:
    """What is learned goes into the node's main table, with the gateway's address as its source."""
    config = folder / f"{node}.conf"
    config.write_text(configuration(node, *sessions))
    argv = ["bird", "-f", "-c", str(config), "-s", str(folder / node), "-P", str(folder / f"{node}.pid")]
    with (folder / f"{node}.log").open("a") as log:
        child = subprocess.Popen(lab.command(node, *argv), stderr=log)
    addresses = [(str(address), "128" if ":" in address else "32") for address in GATEWAY[node].values()]
    try:
        for address, length in addresses:
            lab.execute(node, "ip", "address", "add", f"{address}/{length}", "dev", "lo")
        yield
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()
        for address, length in addresses:
            lab.execute(node, "ip", "address", "delete", f"{address}/{length}", "dev", "lo", check=False)


def configuration(node: str, *sessions: tuple[str, int] | tuple[str, int, str]) -> str:
    lines = [f"router id {GATEWAY[node][4]};", "protocol device {}"]
    lines.append('protocol bfd { interface "*" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }')
    for family in FAMILIES:
        own = GATEWAY[node][family]
        wide = f"route {WIDE} blackhole;" if family == 4 else ""
        lines.append(f"protocol static {{ ipv{family}; route {own}/{32 if family == 4 else 128} blackhole; {wide} }}")
        only = f"if source != RTS_BGP then reject; krt_prefsrc = {own}; accept;"
        lines.append(f"protocol kernel {{ ipv{family} {{ import none; export filter {{ {only} }}; }}; }}")
    channels = [f"ipv{family} {{ import all; export where source = RTS_STATIC; }};" for family in FAMILIES]
    for address, asn, *password in sessions:
        lines += ["protocol bgp {", f"  local as 64512; neighbor {address} as {asn};", *channels]
        lines += ["  bfd on; connect delay time 1; error wait time 1, 1;"]
        lines += [f'  password "{word}";' for word in password] + ["}"]
    return "\n".join([*lines, ""])


def routers_for(lab: Lab, where: str, destination: str) -> set[str]:
    """The next hops of the routes to exactly that address or network on a machine."""
    family = "-6" if ":" in destination else "-4"
    listed = json.loads(lab.execute(where, "ip", family, "-j", "route", "show", destination) or "[]")
    hops = [hop for route in listed for hop in route.get("nexthops", [route])]
    return {hop.get("gateway") or hop.get("via", {}).get("host", "") for hop in hops}


def network(family: int) -> str:
    return {4: "105.8.10.0/24", 6: "2001:db8:105::/64"}[family]


def learned(lab: Lab, node: str, hops: dict[int, str]) -> bool:
    """Whether a node leads both families of the outside network to a router, and to no other."""
    return all(routers_for(lab, node, network(family)) == {hops[family]} for family in FAMILIES)


def known(lab: Lab, router: str, node: str) -> bool:
    """Whether a router knows the way to a node's gateway addresses."""
    return all(routers_for(lab, router, GATEWAY[node][family]) for family in FAMILIES)


def session_row(lab: Lab, router: str) -> str:
    lines = lab.sallyport("lab", "status", "--name", lab.name).stdout.splitlines()
    (row,) = [" ".join(line.split()) for line in lines if line.split()[:1] == [router]]
    return row


def seen_by(lab: Lab, host: str) -> set[str]:
    file = lab.record.seen(host)
    lines = file.read_text().splitlines() if file.exists() else []
    return {json.loads(line)["source"] for line in lines}


@pytest.mark.parametrize("session", FAMILIES, ids=lambda family: f"session{family}")
def test_nodes_of_two_networks_with_the_same_addresses_reach_each_its_own(
    lab: Lab, peering: Peering, session: int
) -> None:
    """Over a session of either family, prefixes of both arrive at the node, its host routes arrive at the router, and
    requests and their answers pass between them."""
    red, yellow = ((ROUTER[name][session], AS[name]) for name in ("red-router", "yellow-router"))
    with peering("node-2", red), peering("node-3", yellow):
        for node, router, host in (
            ("node-2", "red-router", "red-server"),
            ("node-3", "yellow-router", "yellow-server"),
        ):
            until(lambda node=node, router=router: learned(lab, node, ROUTER[router]), "prefixes arrive")  # type: ignore[misc]
            until(lambda node=node, router=router: known(lab, router, node), "host routes arrive")  # type: ignore[misc]
            for family in FAMILIES:
                asked = lab.ask(node, "http", SERVER[family])
                assert asked.source == GATEWAY[node][family], asked
            assert set(GATEWAY[node].values()) <= seen_by(lab, host)
    assert not set(GATEWAY["node-3"].values()) & seen_by(lab, "red-server")
    assert not set(GATEWAY["node-2"].values()) & seen_by(lab, "yellow-server")


def test_a_router_learns_single_addresses_only(lab: Lab, peering: Peering) -> None:
    """A wider route of a node is not taken, so that no network comes back to a router by way of a node."""
    with peering("node-2", (ROUTER["red-router"][4], AS["red-router"])):
        until(lambda: known(lab, "red-router", "node-2"), "host routes arrive")
        told = lab.execute("red-router", "birdc", "-s", f"{lab.record.runtime('red-router')}/bird.ctl", "show", "route")
        assert GATEWAY["node-2"][4] in told
        assert WIDE not in told
        assert not routers_for(lab, "red-router", WIDE)


def test_status_shows_the_as_of_a_router_and_who_has_a_session(lab: Lab, peering: Peering) -> None:
    """`lab status` names AS and sessions of a BGP router, and nothing of the kind for another router."""
    red = lab.record.child("bird-red-router")
    assert red is not None
    assert session_row(lab, "red-router").endswith(f"bird {red.pid}, AS 63400: no session")
    with peering("node-2", *((ROUTER["red-router"][family], AS["red-router"]) for family in FAMILIES)):
        until(lambda: session_row(lab, "red-router").endswith(f"AS 63400: {NODE[4]}, {NODE[6]}"), "two sessions", 20)
    assert session_row(lab, "router").endswith("2001:db8:113::1")


@pytest.mark.parametrize("kill", [(), ("--kill",)], ids=["stopped", "killed"])
def test_a_stopped_router_takes_its_routes_with_it_and_a_started_one_brings_them(
    lab: Lab, peering: Peering, kill: tuple[str, ...]
) -> None:
    """Its peers hear of the end at once. The router's own kernel forgets what BGP told it, unless it was killed."""
    with peering("node-2", (ROUTER["red-router"][4], AS["red-router"])):
        until(lambda: learned(lab, "node-2", ROUTER["red-router"]) and known(lab, "red-router", "node-2"), "learned")
        lab.sallyport("lab", "stop", "red-router", *kill, "--name", lab.name)
        try:
            assert known(lab, "red-router", "node-2") == bool(kill)
            until(lambda: not routers_for(lab, "node-2", network(4)), "the route is gone", 1)
            assert "bird-red-router not running, AS 63400: no session" in session_row(lab, "red-router")
            again = lab.sallyport("lab", "stop", "red-router", "--name", lab.name, check=False)
            assert again.stderr == "sallyport lab stop: red-router is stopped already\n"
        finally:
            lab.sallyport("lab", "start", "red-router", "--name", lab.name)
        until(lambda: learned(lab, "node-2", ROUTER["red-router"]) and known(lab, "red-router", "node-2"), "back")


def test_a_cut_between_node_and_router_is_noticed_by_bfd_only_and_healed(lab: Lab, peering: Peering) -> None:
    """Within a second the route is gone on both sides; after `heal` the session is there again within seconds."""
    cut = ("node-2", "red-router", "--name", lab.name)
    with peering("node-2", (ROUTER["red-router"][4], AS["red-router"])):
        until(lambda: learned(lab, "node-2", ROUTER["red-router"]), "prefixes arrive")
        birdc = ("birdc", "-s", f"{lab.record.runtime('red-router')}/bird.ctl", "show", "bfd", "sessions")
        until(lambda: " Up " in lab.execute("red-router", *birdc), "BFD is up")
        lab.sallyport("lab", "cut", *cut)
        try:
            until(lambda: not routers_for(lab, "node-2", network(4)), "the route is gone", 1)
            until(lambda: not known(lab, "red-router", "node-2"), "the way back is gone", 1)
        finally:
            lab.sallyport("lab", "heal", *cut)
        until(lambda: learned(lab, "node-2", ROUTER["red-router"]), "prefixes are back")


def test_the_second_router_of_a_network_takes_over_with_the_answers(lab: Lab, peering: Peering) -> None:
    """Where the first router's BGP has ended, requests leave by the second one, and answers, which its hosts go on
    sending to the first, come back by way of the second."""
    first, second = ROUTER["red-router"], SECOND_ROUTER
    with peering("node-2", (first[4], 63400), (second[4], 63400, "secret")):
        until(lambda: known(lab, "red-router", "node-2") and known(lab, "red-two", "node-2"), "both know the node")
        lab.sallyport("lab", "stop", "red-router", "--name", lab.name)
        try:
            until(lambda: learned(lab, "node-2", second), "the second router's prefixes remain", 2)
            for family in FAMILIES:
                assert lab.ask("node-2", "http", SERVER[family]).source == GATEWAY["node-2"][family]
        finally:
            lab.sallyport("lab", "start", "red-router", "--name", lab.name)


def greeted(lab: Lab, node: str, router: str) -> bool:
    """Whether a router, connected to without a password, says anything: it would begin with its OPEN message."""

    def said() -> bytes:
        with socket.create_connection((router, PORT), timeout=0.5) as link:
            return link.recv(1)

    try:
        return namespaces.inside(lab.space(node), said) != b""
    except OSError:
        return False


def test_a_router_with_peers_and_a_password_speaks_with_those_who_have_both(lab: Lab, peering: Peering) -> None:
    """A named peer without the password is not heard, nor somebody who is not named; others speak with anybody."""
    for node in ("node-2", "node-3"):
        assert [greeted(lab, node, router[4]) for router in (ROUTER["red-router"], SECOND_ROUTER)] == [True, False]
    with peering("node-2", (SECOND_ROUTER[4], 63400, "secret")):
        until(lambda: learned(lab, "node-2", SECOND_ROUTER), "prefixes arrive")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("stop", "router"), "router is not a router with bgp of this lab: red-router, yellow-router, red-two"),
        (("start", "node-1"), "node-1 is not a router with bgp of this lab: red-router, yellow-router, red-two"),
        (("start", "red-router"), "red-router runs already"),
    ],
    ids=["no-bgp", "no-router", "runs"],
)
def test_what_stop_and_start_cannot_do_they_say(lab: Lab, arguments: tuple[str, ...], words: str) -> None:
    """A command about a machine without BGP, or one that is in that state already, says so and exits with 2."""
    done = lab.sallyport("lab", *arguments, "--name", lab.name, check=False)
    assert (done.returncode, done.stderr) == (2, f"sallyport lab {arguments[0]}: {words}\n")
