"""Nothing leaves in any other way: what is blocked, unknown, or has lost part of its way."""

import socket
from contextlib import suppress
from ipaddress import ip_address

import pytest
from tests.netns.agents import Agent, client, exit_, state, steered
from tests.netns.traffic import line, says
from tests.netns.world import EGRESS, SERVER, Capture, World, ask, capture, eventually, inside, pod, run, underlay

from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, Family, IPAddress

FAR = ip_address("203.0.113.9")
"""An egress IP that is on no subnet of the nodes, so that the tunnel leads to the holder's own address."""

pytestmark = pytest.mark.root


def refused(namespace: str, family: Family, seconds: float = 0.1) -> bool:
    """Whether a connection to the server fails and none of its packets reaches the server's link."""
    with capture("outside") as seen:
        try:
            ask(namespace, SERVER[family], seconds=seconds)
        except OSError:
            return not [packet for packet in seen.packets() if packet.destination == SERVER[family]]
    return False


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_holder_nothing_leaves_and_the_client_is_told(world: World, a: Agent, family: Family) -> None:
    """An exit that no node holds: the client hears at once that its destination is unreachable."""
    pods = [client(world, "a")]
    a.sync(state(world, exit_("out", EGRESS[family], clients=pods, number=5), clients=pods))
    with capture("outside") as seen:
        with pytest.raises(OSError, match=r"No route to host|unreachable"):
            ask("pod-a", SERVER[family])
        assert [packet for packet in seen.packets() if packet.destination == SERVER[family]] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_an_exit_that_falls_away_closes_the_way(world: World, a: Agent, b: Agent, family: Family) -> None:
    """After the holder is gone from the plan, the client is blocked and does not fall back to its node's address."""
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    assert ask("pod-a", SERVER[family]) == EGRESS[family]
    pods = [client(world, "a")]
    a.sync(state(world, exit_("out", EGRESS[family], clients=pods, number=5), clients=pods))
    assert refused("pod-a", family)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "damage",
    [
        "ip -{family} route del default table 830005 metric 100",
        "ip -{family} rule del priority 20002",
        "nft flush chain inet sallyport mark_5",
        "nft flush map inet sallyport clients{family}",
        "ip link set sp-vx{family} down",
        "ip link del sp-vx{family}",
    ],
)
def test_half_a_way_leaks_nothing(world: World, a: Agent, b: Agent, damage: str, family: Family) -> None:
    """Whatever part of the way somebody takes away, packets of a governed client do not leave by another, not even on
    a node that lets unknown pods out."""
    a.settings = Settings(guard=False)
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    run("a", damage.format(family=family))
    assert refused("pod-a", family)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_exit_that_is_not_held_sends_nothing(world: World, a: Agent, b: Agent, family: Family) -> None:
    """A packet that comes to a node by the tunnel after the egress IP has left it, goes nowhere."""
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    run("b", f"nft delete element inet sallyport marks{family} {{ 5 }}")
    assert refused("pod-a", family)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_pod_reaches_the_cluster_only(world: World, a: Agent, family: Family) -> None:
    """A pod of which the agent has not heard may talk to pods and nodes; it is noted, and does not leave."""
    a.sync(state(world, clients=[]))
    assert refused("pod-a", family)
    with inside("a"):
        assert pod(1)[family] in a.hands.undecided()
    assert ask("pod-a", pod(2)[family]) == pod(1)[family]
    address = next(item for item in underlay(2) if item.version == family)
    world.serve("b", address)
    assert ask("pod-a", address)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unknown_pod_answers_those_outside(world: World, a: Agent, family: Family) -> None:
    """The guard judges who opens a connection: what comes in from outside is answered."""
    own = next(item for item in underlay(1) if item.version == family)
    network = next(item for item in world.members()["a"].pod_networks if item.version == family)
    run("outside", f"ip route add {network} via {own}")
    a.sync(state(world, clients=[]))
    assert ask("outside", pod(1)[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_decision_opens_the_guard(world: World, a: Agent, family: Family) -> None:
    """As soon as the agent has decided that a pod is free, it leaves as the cluster lets it."""
    a.sync(state(world, clients=[]))
    assert refused("pod-a", family)
    a.sync(state(world, clients=[client(world, "a")]))
    assert ask("pod-a", SERVER[family]) in underlay(1)


def test_a_packet_never_turns_round_in_the_tunnel(world: World, a: Agent, b: Agent) -> None:
    """Two nodes that each think the other holds the address do not play ball with a client's packet."""
    pods = [client(world, "a"), client(world, "b")]
    for agent, other in ((a, "b"), (b, "a")):
        agent.sync(state(world, exit_("out", FAR, other, clients=pods, number=5), clients=pods))
    assert refused("pod-a", 4)
    dropped = next(line for line in run("b", "nft list chain inet sallyport into").splitlines() if "drop" in line)
    assert "packets 0" not in dropped


@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection_older_than_its_exit_does_not_go_on(world: World, a: Agent, family: Family) -> None:
    """What was translated to the node's address before the pod was governed, would keep that source: it is cut."""
    a.sync(state(world, clients=[client(world, "a")]))
    with line("pod-a", family) as (near, far):
        assert says(near, far)
        a.sync(steered(world, family, by="a"))
        with capture("outside") as seen:
            near.sendall(b"!")
            assert ask("pod-a", SERVER[family]) == EGRESS[family]
            assert {packet.source for packet in seen.packets() if packet.destination == SERVER[family]} == {
                EGRESS[family]
            }


@pytest.mark.parametrize("family", FAMILIES)
def test_a_forgotten_connection_goes_on_with_the_egress_ip(world: World, a: Agent, family: Family) -> None:
    """Its next packet is translated anew, so that the server, who knows no such connection, ends it."""
    a.sync(state(world, clients=[client(world, "a")]))
    with line("pod-a", family) as (near, far):
        assert says(near, far)
        a.sync(steered(world, family, by="a"))
        with inside("a"):
            assert a.hands.forget_connections([pod(1)[family]]) == []
            assert a.hands.forget_connections([pod(1)[family]]) == []
        with capture("outside") as seen:
            near.sendall(b"!")
            with pytest.raises(ConnectionResetError):
                near.recv(1)
            assert {packet.source for packet in seen.packets() if packet.destination == SERVER[family]} == {
                EGRESS[family]
            }


def sources(seen: Capture, family: Family) -> set[IPAddress]:
    """Where what has come for the server since the capture began was from; it waits for a first packet."""
    found: set[IPAddress] = set()

    def any_came() -> bool:
        found.update(packet.source for packet in seen.packets() if packet.destination == SERVER[family])
        return bool(found)

    assert eventually(any_came)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_a_server_that_talks_into_a_forgotten_connection_draws_no_answer_from_the_pods_own_address(
    world: World, a: Agent, b: Agent, family: Family
) -> None:
    """The exit that was left still knows the connection and brings the server's packets. Taken for the first ones of a
    new connection, they would make the pod's packets replies, which are not steered and not translated."""
    b.sync(steered(world, family, by="b"))
    a.sync(steered(world, family, by="b"))
    with line("pod-a", family) as (near, far):
        assert says(near, far)
        a.sync(steered(world, family, by="a"))
        with inside("a"):
            assert a.hands.forget_connections([pod(1)[family]]) == []
        with capture("outside") as seen:
            far.sendall(b"?")
            with suppress(TimeoutError, ConnectionError):
                near.settimeout(0.3)
                near.recv(1)
            with suppress(ConnectionError):
                near.sendall(b"!")
            assert sources(seen, family) == {EGRESS[family]}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_datagram_into_a_forgotten_flow_draws_no_answer_from_the_pods_own_address(
    world: World, a: Agent, b: Agent, family: Family
) -> None:
    """As over TCP, but that no flag tells a flow's first datagram from a later one."""
    b.sync(steered(world, family, by="b"))
    a.sync(steered(world, family, by="b"))
    of = socket.AF_INET if family == 4 else socket.AF_INET6
    with inside("outside"):
        far = socket.socket(of, socket.SOCK_DGRAM)
    with inside("pod-a"):
        near = socket.socket(of, socket.SOCK_DGRAM)
    with far, near:
        far.bind((str(SERVER[family]), 7777))
        far.settimeout(2)
        near.connect((str(SERVER[family]), 7777))
        near.send(b"!")
        peer = far.recvfrom(10)[1]
        a.sync(steered(world, family, by="a"))
        with inside("a"):
            assert a.hands.forget_connections([pod(1)[family]]) == []
        with capture("outside") as seen:
            far.sendto(b"?", peer)
            near.settimeout(0.3)
            with suppress(TimeoutError):
                near.recv(10)
            near.send(b"!")
            assert sources(seen, family) == {EGRESS[family]}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_left_of_a_forgotten_connection_does_not_leave_once_its_pod_is_free(
    world: World, a: Agent, family: Family
) -> None:
    """Its FIN is no beginning of a connection, so no NAT is applied to it: it would go with the pod's own address."""
    free = state(world, clients=[client(world, "a")])
    a.sync(free)
    with line("pod-a", family) as (near, far):
        assert says(near, far)
        a.sync(steered(world, family, by="a"))
        with inside("a"):
            assert a.hands.forget_connections([pod(1)[family]]) == []
        a.sync(free)
        with capture("outside") as seen:
            near.shutdown(socket.SHUT_RDWR)
            assert ask("pod-a", SERVER[family])
            assert pod(1)[family] not in {packet.source for packet in seen.packets()}
