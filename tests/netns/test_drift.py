"""Drift: what somebody changed by hand is seen and repaired. One world serves all: each test mends what it breaks."""

from collections.abc import Iterator

import pytest
from tests.netns.agents import Agent, everything
from tests.netns.conftest import agent, worlds
from tests.netns.world import EGRESS, SERVER, ask, run

from sallyport.model.kernel import Kind, Neighbor, NextHop
from sallyport.model.state import FAMILIES, ClusterState

pytestmark = pytest.mark.root

DAMAGE = {
    "ip link del sp-vx4": {
        Kind.LINK,
        Kind.SYSCTL,
        Kind.SKELETON,
        Kind.NEIGHBOR,
        Kind.FDB,
        Kind.NEXT_HOP,
        Kind.ROUTE,
    },
    "ip link set sp-vx4 mtu 1300": {Kind.LINK},
    "ip link set sp-vx6 down": {Kind.LINK, Kind.NEIGHBOR, Kind.NEXT_HOP, Kind.ROUTE},
    "ip address del 192.0.0.8/32 dev sp-vx4": {Kind.LINK},
    "sysctl -q -w net.ipv4.conf.sp-vx4.rp_filter=1": {Kind.SYSCTL},
    "nft delete table inet sallyport": {Kind.SKELETON, Kind.EXIT_ELEMENT, Kind.CLIENT_ELEMENT},
    "nft delete table netdev sallyport": {Kind.SKELETON},
    "nft flush chain inet sallyport guard": {Kind.SKELETON},
    "nft insert rule inet sallyport guard accept": {Kind.SKELETON},
    "nft add rule inet sallyport exit accept": {Kind.SKELETON},
    "nft flush chain inet sallyport mark_4": {Kind.CLIENT_ELEMENT},
    "nft flush set inet sallyport excluded4": {Kind.EXIT_ELEMENT},
    "nft add element inet sallyport excluded4 { 198.51.100.0-198.51.100.9 }": {Kind.EXIT_ELEMENT},
    "nft add element inet sallyport free4 { 10.244.1.77 }": {Kind.CLIENT_ELEMENT},
    "nft delete element inet sallyport exits4 { 7 }": {Kind.EXIT_ELEMENT},
    "ip address del 192.0.2.101/32 dev eth0": {Kind.ADDRESS},
    "ip neigh del GATEWAY dev sp-vx4": {Kind.NEIGHBOR},
    "bridge fdb del MAC dev sp-vx4": {Kind.FDB},
    "ip nexthop del id HOP": {Kind.NEXT_HOP, Kind.ROUTE},
    "ip -6 route del default table 830006 metric 100": {Kind.ROUTE},
    "ip route add 198.51.100.0/24 via 192.0.2.1 table 830004 proto 83": {Kind.ROUTE},
    "ip rule del priority 20001": {Kind.RULE},
    "ip rule add priority 20001 fwmark 0x4/0x3fff lookup main protocol 83": {Kind.RULE},
}
"""What somebody does by hand on node a, and the kinds in which the next look finds a difference."""


@pytest.fixture(scope="module")
def repaired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ClusterState, Agent]]:
    """Node a of a world that every test leaves as it was."""
    folder = tmp_path_factory.mktemp("drift")
    for made in worlds(("a", "b")):
        cluster = everything(made)
        with agent("a", folder) as a, agent("b", folder) as b:
            b.sync(cluster)
            a.sync(cluster)
            yield cluster, a


@pytest.mark.parametrize("command", DAMAGE)
def test_drift_is_seen_and_repaired(repaired: tuple[ClusterState, Agent], command: str) -> None:
    """A change by hand shows as a difference of its kind, and one round later there is none and packets flow."""
    cluster, a = repaired
    plan = a.plan(cluster)
    neighbor = next(item for item in plan.objects if isinstance(item, Neighbor) and item.device == "sp-vx4")
    hop = next(item for item in plan.objects if isinstance(item, NextHop) and item.device == "sp-vx4")
    words = {"MAC": neighbor.lladdr, "GATEWAY": neighbor.address, "HOP": str(hop.id)}
    run("a", " ".join(words.get(word, word) for word in command.split()))
    assert set(a.differences(a.plan(cluster))) == DAMAGE[command]
    a.sync(cluster)
    assert a.differences(a.plan(cluster)) == {}
    assert [ask("pod-a", SERVER[family]) for family in FAMILIES] == [EGRESS[4], EGRESS[6]]
