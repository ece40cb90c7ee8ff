"""What must not let a packet of an external network out on another wire: routers that fail, agents that die, and edits
of networks that are in use; and what must not even lose one.

A client sends all the time while it happens, in both families.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from functools import partial

import pytest
from tests.lab.manifests import STANDING, client, network, peer
from tests.lab.scene import becomes
from tests.lab.wires import AS, BOTH, PEER, SHARED, TABLES, Networks, after, standing_gateway
from tests.moments import moment, seconds

from sallyport.apis.core import LEASES
from sallyport.lab.driving import until
from sallyport.processes.settings import LEASE_PREFIX
from sallyport.processes.settings import NAMESPACE as SALLYPORT

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.alone]

OFFICE = "203.0.113.128/25"
"""A route that a user puts into a network's table himself."""
LOSSES = {
    "stopped": (("stop", "red-router"), ("start", "red-router")),
    "killed": (("stop", "red-router", "--kill"), ("start", "red-router")),
    "cut": (("cut", "node-2", "red-router"), ("heal", "node-2", "red-router")),
}


def lacks_routes(net: Networks, family: int) -> bool:
    """Whether the gateways' node has lost what red's router announces."""
    return SHARED[family] not in net.routes("node-2", family, TABLES["red"])


def up(net: Networks, node: str) -> int:
    """How many BGP sessions of a node are established."""
    return sum("Established" in line for line in sessions(net, node))


@pytest.mark.parametrize("loss", LOSSES)
def test_without_its_router_a_networks_traffic_is_dropped_and_the_others_goes_on(net: Networks, loss: str) -> None:
    """A router whose BGP ends, is killed, or is cut off and watched by BFD: within 2 seconds its routes are gone, its
    clients are dropped and none of their packets is seen elsewhere, while the other network, which has the same
    addresses, loses nothing. When it is back, they go on."""
    served = net.served("red", "yellow")
    begin, end = LOSSES[loss]
    with net.on_wires(**served), net.undisturbed("yellow/app"), net.asking("red/app"):
        net.command(*begin)
        try:
            for side in BOTH.values():
                until(partial(lacks_routes, net, side.family), "the routes are gone", 2)
                net.comes_to_stay("red/app", side, 1)
            becomes(lambda: net.of_network("red"), ("False", "NotEstablished"))
            becomes(lambda: net.ready("red"), 0)
        finally:
            net.command(*end)
        for side in BOTH.values():
            net.comes_to_go("red/app", side, served["red"])


def renewed(net: Networks, node: str) -> str | None:
    return net.get(LEASES, f"{LEASE_PREFIX}{node}", SALLYPORT).spec.renew_time


def kernel(net: Networks, node: str) -> tuple[str, ...]:
    """Rules and tables of external networks on a node."""
    commands = [
        f"ip -{family} {what}" for family in BOTH for what in ("rule", *(f"route show table {t}" for t in (500, 600)))
    ]
    return tuple(net.lab.execute(node, *command.split()) for command in commands)


def sessions(net: Networks, node: str) -> list[list[str]]:
    """Each BGP session of a node: its name, its state and since when; none where BIRD does not run."""
    lines = net.bird(node, "show", "protocols", check=False).splitlines()
    return [line.split() for line in lines if line.startswith("bgp-")]


def established(net: Networks, node: str) -> dict[str, float]:
    """The moment since when each BGP session of a node is established."""
    return {line[0]: seconds(line[4]) for line in sessions(net, node) if line[5:] == ["Established"]}


def has_recovered(net: Networks, node: str) -> bool:
    """Whether a node's BIRD has told its peers all that it has since it was started. One that ends before that has its
    routes forgotten: stale ones outlive no second restart (RFC 4724, section 4.2)."""
    return "Graceful restart recovery" not in net.bird(node, "show", "status")


def test_an_agent_that_is_killed_disturbs_neither_packets_nor_sessions(net: Networks) -> None:
    """While the agent of the gateways' node is killed and started again, no request is lost; rules, tables, a route
    that a user has put there, and BGP sessions are what they were, since the same moment."""
    for family, office, gate in ((4, OFFICE, PEER["red"][4]), (6, "2001:db8:77::/64", PEER["red"][6])):
        argv = f"ip -{family} route replace {office} via {gate} table 500".split()
        net.lab.execute("node-2", *argv)
    try:
        agent = net.lab.record.child("agent-node-2")
        assert agent is not None
        before, since = kernel(net, "node-2"), established(net, "node-2")
        assert OFFICE in str(before)
        assert len(since) == 6
        served = net.served("red", "yellow")
        with net.on_wires(**served), net.undisturbed("red/app", "yellow/app"):
            os.kill(agent.pid, signal.SIGKILL)
            stamp = renewed(net, "node-2")
            until(lambda: renewed(net, "node-2") != stamp, "the next agent has programmed its node")
        assert kernel(net, "node-2") == before
        assert established(net, "node-2") == moment(since)
    finally:
        for family, office in ((4, OFFICE), (6, "2001:db8:77::/64")):
            net.lab.execute("node-2", *f"ip -{family} route del {office} table 500".split())


def test_a_bird_that_is_killed_is_started_again_and_lets_nothing_out_elsewhere(net: Networks) -> None:
    """Routers that watch it by BFD forget the way back at once, so requests are lost; none goes astray, the sessions
    come up again, and the kernel's state is what it was."""
    served, before = net.served("red", "yellow"), kernel(net, "node-2")
    pid = int((net.lab.record.runtime("node-2") / "bird.pid").read_text())
    net.command("status")
    with net.on_wires(**served), net.asking("red/app"), net.asking("yellow/app"):
        os.kill(pid, signal.SIGKILL)
        until(lambda: not sessions(net, "node-2"), "it has ended")
        until(lambda: up(net, "node-2") == 6, "sessions are back", 20)
    becomes(lambda: kernel(net, "node-2"), before)
    until(lambda: has_recovered(net, "node-2"), "its restart is over", 20)


@contextlib.contextmanager
def patient(net: Networks, *routers: str) -> Iterator[None]:
    """While the block runs, what BFD tells these routers is the beginning of a graceful restart and not the end of a
    session (RFC 5882, section 4.3)."""
    paths = [net.lab.record.runtime(router) / "bird.conf" for router in routers]
    before = [path.read_text() for path in paths]

    def have(texts: Iterable[str]) -> None:
        for router, path, text in zip(routers, paths, texts, strict=True):
            path.write_text(text)
            assert "Reconfigur" in net.bird(router, "configure")
        until(lambda: up(net, "node-2") == up(net, "node-3") == 6, "sessions are back", 20)

    try:
        have(text.replace("  bfd on;", "  bfd graceful;") for text in before)
        yield
    finally:
        have(before)


def test_a_bird_that_is_killed_costs_no_request_where_routers_restart_gracefully(net: Networks) -> None:
    """The kernel has its routes, the routers keep theirs, gateways stay ready, and the next BIRD hears anew what its
    peers have; all in both families, and on the right wires."""
    served, before = net.served("red", "yellow"), kernel(net, "node-2")
    path = net.lab.record.runtime("node-2") / "bird.pid"
    with patient(net, "red-router", "yellow-router"):
        for name in ("red", "yellow"):
            for side in BOTH.values():
                net.comes_to_go(f"{name}/app", side, served[name])
        with net.on_wires(**served), net.undisturbed("red/app", "yellow/app"):
            old = path.read_text()
            os.kill(int(old), signal.SIGKILL)
            until(lambda: path.read_text() not in ("", old), "another one has taken its place", 5)
            until(lambda: up(net, "node-2") == 6, "sessions are back", 20)
            assert (net.ready("red"), net.ready("yellow")) == (1, 1)
            until(lambda: has_recovered(net, "node-2"), "its restart is over", 20)
    becomes(lambda: kernel(net, "node-2"), before)


def test_what_a_client_sends_from_its_first_moment_goes_by_its_gateway_or_nowhere(net: Networks) -> None:
    """Pods that send as soon as they are started, on the gateways' node and on another: nothing of it is seen but on
    red, from red's gateway."""
    command = [sys.executable, "-m", "sallyport.lab.ask", "udp", "--timeout", "0.05", "--interval", "0.01"]
    pods = [
        client("red", f"early-{number}-{family}", number, command=[*command, "--count", "200", side.server])
        for number in (1, 2)
        for family, side in BOTH.items()
    ]
    with net.on_wires(red=net.served_by("red")):
        net.apply(*pods)
        for pod in pods:
            log = net.lab.record.log(f"pod-red-{pod['metadata']['name']}")
            until(lambda log=log: log.exists() and '"source"' in log.read_text(), "it is answered", 15)  # type: ignore[misc]
    net.lab.kubectl("delete", "pods", "-n", "red", *(pod["metadata"]["name"] for pod in pods), "--grace-period=1")


def test_a_network_is_moved_to_another_table_without_a_packet_lost(net: Networks) -> None:
    """routeTableIndex edited while traffic flows: the new table is filled before the old one is left, which is empty
    afterwards; and back."""
    served = net.served("red", "yellow")
    with net.on_wires(**served), net.undisturbed("red/app", "yellow/app"):
        for table, old in ((510, 500), (500, 510)):
            net.apply(network("red", table, STANDING))
            for node in ("node-2", "node-3"):
                for family in BOTH:
                    until(lambda: SHARED[family] in net.routes(node, family, table), "the new table is filled")  # noqa: B023
                    until(lambda: not net.routes(node, family, old), "the old table is emptied")  # noqa: B023


def test_the_networks_of_a_gateway_are_changed_pod_by_pod(net: Networks) -> None:
    """externalNetworks edited while traffic flows: a gateway with the new list takes over from the one with the old, no
    request is lost, and each is seen on the wire of the gateway that it went by."""
    old = net.served_by("either")
    with net.flowing("either/app", *BOTH.values()) as flows:
        net.apply(standing_gateway("either", ["yellow", "red"]))
        until(lambda: not net.served_by("either") & old, "the old gateway has gone", 20)
        new = net.served_by("either")
        with net.on_wires(yellow=new):
            after([flows], 10)
    seen = {item.source or item.error for asked in flows.values() for item in asked}
    assert seen == old | new


def test_what_cannot_be_honoured_says_so_and_harms_no_other(net: Networks) -> None:
    """A peer of a network that is not there, a second network with the same table, one whose table somebody else uses,
    a peer without its password and one with another router's address: each has its condition, and no request of other
    networks is lost."""
    served = net.served("red", "yellow")
    rule = "rule {} priority 20000 from 192.0.2.9 lookup 700".format
    net.lab.execute("node-3", "ip", *rule("add").split())
    try:
        with net.on_wires(**served), net.undisturbed("red/app", "yellow/app"):
            secret = {"secretKeyRef": {"name": "nowhere", "key": "password"}}
            net.apply(
                peer("stray", "172.31.11.9", 63401, "green"),
                network("copy", 500),
                network("taken", 700),
                network("beyond", 100),
                peer("locked", "172.31.11.2", AS["red"], "red", password=secret),
                peer("silent", "172.31.11.99", 63499, "red"),
            )
            becomes(lambda: net.of_peer("stray"), ("False", "UnknownNetwork"))
            becomes(lambda: net.of_network("copy"), ("False", "DuplicateTableIndex"))
            becomes(lambda: net.of_network("taken"), ("False", "TableIndexInUse"))
            becomes(lambda: net.of_network("beyond"), ("False", "InvalidTableIndex"))
            becomes(lambda: net.of_peer("locked"), ("False", "PasswordNotFound"))
            becomes(lambda: net.of_peer("silent"), ("False", "NotEstablished"))
        assert net.routes("node-2", 4, 500)
    finally:
        net.lab.execute("node-3", "ip", *rule("del").split())
