"""Restart and removal: what a fresh agent finds, and leaves behind."""

import json

import pytest
from tests.netns.agents import Agent, everything, steered
from tests.netns.world import EGRESS, SERVER, World, ask, inside, run, underlay

from sallyport.model.kernel import Kind
from sallyport.model.state import FAMILIES, ClusterState, Family

pytestmark = pytest.mark.root

REMOTE = {Kind.NEIGHBOR, Kind.FDB, Kind.NEXT_HOP}
"""What a node without clients of remote exits lacks."""
GATEWAYS = {Kind.FIB, Kind.CHAIN, Kind.SESSION}
"""What gateways and external networks bring: see test_gateways.py, test_networks.py and the contract tests."""


def test_a_fresh_agent_finds_nothing_to_do(world: World, a: Agent, b: Agent) -> None:
    """With nothing in memory, what the kernel and BIRD hold is read back equal to what is planned."""
    cluster = everything(world)
    for agent in (b, a):
        plan = agent.sync(cluster)
        assert {item.kind for item in plan.objects} >= set(Kind) - REMOTE - GATEWAYS
        assert agent.differences(agent.plan(cluster)) == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_held_address_is_known_again_after_nftables_was_flushed(world: World, a: Agent, family: Family) -> None:
    """Nothing names the address any more, and yet the node goes on holding it, and gives it up when it moves."""
    a.sync(steered(world, family, by="a"))
    run("a", "nft flush ruleset")
    a.sync(steered(world, family, by="a"))
    assert str(EGRESS[family]) in run("a", f"nft list set inet sallyport held{family}")
    assert str(EGRESS[family]) in run("a", "ip address show dev eth0")
    a.sync(steered(world, family, by="b", nodes=[]))
    assert str(EGRESS[family]) not in run("a", "ip address show dev eth0")


def listed(node: str) -> list[str]:
    """Everything on a node that could be ours, without counters and times."""
    found: list[str] = []
    for command in (
        "ip rule",
        "ip -6 rule",
        "ip route show table all",
        "ip -6 route show table all",
        "nft list tables",
    ):
        found += run(node, command).splitlines()
    found += [str(item["ifname"]) for item in json.loads(run(node, "ip -j link"))]
    found += [entry["local"] for item in json.loads(run(node, "ip -j address")) for entry in item["addr_info"]]
    found += run(node, "ip nexthop").splitlines() + run(node, "ip neigh show nud permanent").splitlines()
    found += run(node, "sysctl -a -r rp_filter").splitlines()
    return sorted(line.partition(" expires")[0].strip() for line in found)


@pytest.mark.parametrize("family", FAMILIES)
def test_removal_leaves_nothing_behind(world: World, a: Agent, b: Agent, family: Family) -> None:
    """With the last object gone, each node is as it was before the first, and pods leave by its address again."""
    before = {node: listed(node) for node in "ab"}
    for agent in (b, a):
        agent.sync(everything(world))
        assert listed(agent.node) != before[agent.node]
    for agent in (a, b):
        agent.sync(ClusterState(enabled=False))
        assert listed(agent.node) == before[agent.node]
        assert not list(agent.runtime.glob("*.ctl"))
    assert ask("pod-a", SERVER[family]) in underlay(1)


def test_what_others_made_is_never_taken_for_ours(world: World, a: Agent) -> None:
    """Routes, rules, next hops, addresses, entries and tables without our numbers and names are not even read."""
    foreign = [
        "ip link add other type vxlan id 9 dstport 4789 local 192.0.2.11 nolearning",
        "ip link set other up",
        "ip neigh add 192.0.2.200 lladdr 02:00:00:00:00:01 dev other nud permanent",
        "bridge fdb add 02:00:00:00:00:01 dev other dst 192.0.2.200",
        "ip nexthop add id 83000008 via 192.0.2.1 dev eth0 proto 84",
        "ip route add 198.18.0.0/15 via 192.0.2.1 table 830004 proto 84",
        "ip -6 route add 2001:db8:77::/48 via 2001:db8::1 table 830004",
        "ip rule add priority 20001 fwmark 0x4/0x3fff lookup 830004",
        "ip -6 rule add priority 20001 fwmark 0x4/0x3fff lookup 830004 protocol 84",
        "ip address add 192.0.2.100/32 dev eth0",
        "nft add table inet sallyport2",
        "nft add set inet sallyport2 held4 { type ipv4_addr; }",
        "nft add element inet sallyport2 held4 { 192.0.2.100 }",
    ]
    for command in foreign:
        run("a", command)
    with inside("a"):
        assert all(not found for found in a.hands.read().values())
