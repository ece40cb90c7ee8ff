"""The node that holds an egress IP: what it lets in, what it answers, and how much it lets out."""

import socket
from contextlib import closing

import pytest
from tests.netns.agents import Agent, client, exit_, state, steered
from tests.netns.traffic import SINK, Sink, rate_through, segment_size, vxlan
from tests.netns.world import (
    EGRESS,
    SECOND_SERVER,
    SERVER,
    World,
    answers_echo,
    ask,
    capture,
    eventually,
    inside,
    pod,
    run,
    underlay,
)

from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, Bandwidth, Family

pytestmark = pytest.mark.root

TUNNEL_MTU = {4: 1450, 6: 1430}
SYN, SYN_ACK = 0x02, 0x12


@pytest.mark.parametrize("family", FAMILIES)
def test_nobody_can_connect_to_a_held_address(world: World, b: Agent, family: Family) -> None:
    """A connection to an egress IP gets no answer, not even a reset, which would end connections that just moved;
    the node's own addresses refuse as before."""
    b.sync(steered(world, family))
    own = next(address for address in underlay(2) if address.version == family)
    with pytest.raises(ConnectionRefusedError):
        ask("outside", own, port=9)
    with capture("outside") as seen:
        with pytest.raises(TimeoutError):
            ask("outside", EGRESS[family], port=9, seconds=0.2)
        assert [packet for packet in seen.packets() if packet.source == EGRESS[family]] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_a_held_address_answers_echo_requests(world: World, b: Agent, family: Family) -> None:
    """Whether an egress IP is up can be seen from outside."""
    b.sync(steered(world, family))
    assert answers_echo("outside", EGRESS[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_node_never_uses_an_egress_ip_for_its_own_traffic(world: World, b: Agent, family: Family) -> None:
    """What the node itself sends leaves with the node's address."""
    b.sync(steered(world, family))
    assert ask("b", SERVER[family]) in underlay(2)


def test_the_tunnel_is_open_to_nodes_only(world: World, a: Agent, b: Agent) -> None:
    """The same frame is sent on with the egress IP when a node sends it, and dropped when the server or a pod does,
    although a pod's packet comes with its node's address."""
    cluster = steered(world, 4)
    b.sync(cluster)
    a.sync(cluster)
    frame = vxlan(mark=5, vni=Settings().vxlan_vni, source=pod(1)[4], destination=SECOND_SERVER[4])
    with capture("outside") as seen:
        for namespace, expected in (("outside", 0), ("pod-a", 0), ("pod-b", 0), ("a", 1)):
            with inside(namespace), closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as link:
                link.sendto(frame, (str(underlay(2)[0]), 4790))
            assert answers_echo(namespace, underlay(2)[0])
            found = [packet for packet in seen.packets() if packet.destination == SECOND_SERVER[4]]
            assert [packet.source for packet in found] == [EGRESS[4]] * expected


@pytest.mark.parametrize("family", FAMILIES)
def test_conntrack_knows_a_connection_and_not_the_tunnel(world: World, a: Agent, b: Agent, family: Family) -> None:
    """Neither node remembers who sent what into the tunnel. The connection within is known to both."""
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    assert ask("pod-a", SERVER[family]) == EGRESS[family]
    for node in ("a", "b"):
        known = run(node, f"conntrack -L -f ipv{family}")
        assert f"src={pod(1)[family]} dst={SERVER[family]}" in known
        assert "dport=4790" not in known


@pytest.mark.parametrize("family", FAMILIES)
def test_the_mark_stays_in_the_tunnel(world: World, a: Agent, b: Agent, family: Family) -> None:
    """What a node sends to another one carries it in its header, and is not itself marked: nobody else's rules for
    marks, on its way out, are to take it for a pod's packet."""
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    rules = ("udp dport 4790 counter", "udp dport 4790 meta mark & 0x3fff != 0 counter")
    chain = "type filter hook postrouting priority 200;\n" + "\n".join(rules)
    run("a", "nft -f -", f"table inet seen {{\nchain c {{\n{chain}\n}}\n}}\n")
    assert ask("pod-a", SERVER[family]) == EGRESS[family]
    sent, marked = (line for line in run("a", "nft list chain inet seen c").splitlines() if "counter" in line)
    assert "packets 0" not in sent
    assert "packets 0" in marked


@pytest.mark.parametrize("family", FAMILIES)
def test_segments_are_cut_to_the_tunnels_size(world: World, a: Agent, b: Agent, family: Family) -> None:
    """The server's offer reaches the client cut, its own offer the server uncut: replies do not use the tunnel."""
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    with capture("pod-a") as near, capture("outside") as far:
        assert ask("pod-a", SERVER[family]) == EGRESS[family]
        header = 40 if family == 4 else 60
        assert segment_size(near.packets(), SYN_ACK) == TUNNEL_MTU[6] - header
        assert segment_size(far.packets(), SYN) == 1500 - header


@pytest.mark.parametrize("family", FAMILIES)
def test_bulk_goes_through_the_tunnel_whole(world: World, a: Agent, b: Agent, family: Family) -> None:
    """Twenty megabytes arrive although full frames would not fit."""
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    with closing(Sink(family, socket.SOCK_STREAM)) as sink, inside("pod-a"):
        with socket.create_connection((str(SERVER[family]), SINK), timeout=5) as link:
            link.sendall(bytes(20_000_000))
        assert eventually(lambda: sink.received == 20_000_000)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_client_learns_what_fits_into_the_tunnel(world: World, a: Agent, b: Agent, family: Family) -> None:
    """A full datagram that may not be fragmented is answered with the tunnel's size (RFC 1191, RFC 8201)."""
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    level, discover, mtu = {
        4: (socket.IPPROTO_IP, 10, 14),
        6: (socket.IPPROTO_IPV6, 23, 24),
    }[family]
    of = socket.AF_INET if family == 4 else socket.AF_INET6
    with inside("pod-a"), closing(socket.socket(of, socket.SOCK_DGRAM)) as link:
        link.setsockopt(level, discover, 2)
        link.connect((str(SERVER[family]), 9))
        link.send(bytes(1500 - (28 if family == 4 else 48)))
        assert eventually(lambda: link.getsockopt(level, mtu) == TUNNEL_MTU[family])


def test_bandwidth_is_kept_and_can_be_changed(world: World, a: Agent, b: Agent) -> None:
    """Of what a client sends, as much gets out as its exit's limit allows; another limit takes effect in place."""
    pods = [client(world, "a")]
    for rate in (20_000_000, 8_000_000):
        limit = Bandwidth(rate, burst=rate // 10)
        cluster = state(world, exit_("out", EGRESS[4], "b", clients=pods, number=5, bandwidth=limit), clients=pods)
        b.sync(cluster)
        a.sync(cluster)
        seen = rate_through("pod-a", 4, sent=4 * rate, settle=1.0, window=0.7)
        assert seen == pytest.approx(rate, rel=0.2)


def test_after_a_silence_the_burst_may_be_sent_at_once(world: World, a: Agent, b: Agent) -> None:
    """Upstream's figure: with a rate of 100M and a burst of 200M, the first second passes about 300 Mbit."""
    pods = [client(world, "a")]
    limit = Bandwidth(8_000_000, burst=16_000_000)
    cluster = state(world, exit_("out", EGRESS[4], "b", clients=pods, number=5, bandwidth=limit), clients=pods)
    b.sync(cluster)
    a.sync(cluster)
    seen = rate_through("pod-a", 4, sent=48_000_000, settle=0.0, window=1.0)
    assert seen == pytest.approx(24_000_000, rel=0.2)
