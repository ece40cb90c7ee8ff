"""Addresses that move from node to node: lines 21 to 24 of Antrea's end-to-end tests.

node-1 observes: its neighbour entry of the egress IP tells which MAC it believes in, and only an announcement of the
new holder can change that before it sends a packet there.
"""

import json
import os
import signal
from collections.abc import Iterator

import pytest
from tests.lab.scene import GATEWAYS, Scene, Side, becomes, egress, ip_pool, on, pod

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.alone]


OBSERVERS = ("node-1", "router")


def believed(scene: Scene, observer: str, ip: str) -> str:
    """The node whose MAC an observer has in its neighbour entry of an address, or what the entry is otherwise."""
    text = scene.lab.execute(observer, "ip", "-j", "neighbour", "show", "to", ip, "dev", "eth0")
    entry: dict[str, str] = next(iter(json.loads(text or "[]")), {})
    return scene.lab.node_macs().get(entry.get("lladdr", ""), text)


def all_believe(scene: Scene, ip: str, node: str, seconds: float = 1.0) -> None:
    becomes(lambda: [believed(scene, observer, ip) for observer in OBSERVERS], [node] * len(OBSERVERS), seconds)


def other(node: str) -> str:
    """The other one of the two gateways."""
    return "node-3" if node == "node-2" else "node-2"


@pytest.fixture
def held(scene: Scene, side: Side) -> tuple[str, str]:
    """An address that one of two nodes may hold, its holder, and neighbours who know it."""
    ip = side.spare(1)
    scene.apply(ip_pool("two", ip, nodes=GATEWAYS), egress("web", on(1), pool="two"))
    becomes(lambda: scene.status("web").egress_ip, ip, 3.0)
    node = scene.holder("web")
    scene.comes_to_leave(pod(1), side, ip, node)
    for observer in OBSERVERS:
        # An entry that is being probed since the address was last heard of would soon be given up.
        scene.lab.execute(observer, "ip", "neighbour", "flush", "to", ip, "nud", "all")
        scene.lab.execute(observer, "ping", "-c", "1", "-W", "1", ip)
    all_believe(scene, ip, node, 2.0)
    return ip, node


def has_moved(scene: Scene, ip: str, node: str, seconds: float) -> None:
    """The address is on `node` and nowhere else, and observers know it there before they send anything."""
    becomes(lambda: scene.holder("web"), node, seconds)
    all_believe(scene, ip, node)
    becomes(lambda: {number for number in (1, 2, 3) if ip in scene.addresses(number)}, {int(node[-1])}, 1.0)


@pytest.fixture
def relabelled(scene: Scene) -> Iterator[None]:
    """Puts the gateways' labels back."""
    yield
    scene.lab.kubectl("label", "node", "node-2", "node-3", "network-role=egress-gateway", "--overwrite")


@pytest.mark.usefixtures("relabelled")
def test_an_address_follows_its_pools_node_selector_there_and_back(
    scene: Scene, side: Side, held: tuple[str, str]
) -> None:
    """Lines 21 and 22: taken out of the pool's selector, a node loses its address to the other within a second; put
    back, it gets it again. Neighbours learn the new MAC before they connect."""
    ip, node = held
    scene.lab.kubectl("label", "node", node, "network-role-")
    has_moved(scene, ip, other(node), 1.0)
    scene.leaves(pod(1), side, ip, other(node))
    scene.lab.kubectl("label", "node", node, "network-role=egress-gateway")
    has_moved(scene, ip, node, 1.0)
    scene.leaves(pod(1), side, ip, node)


def test_an_address_leaves_a_frozen_agent_and_returns_to_it(scene: Scene, side: Side, held: tuple[str, str]) -> None:
    """Lines 23 and 24: a node whose agent is frozen loses its address within 10 seconds and has it again within 10
    seconds after the agent goes on. Neighbours learn the new MAC before they connect."""
    ip, node = held
    agent = scene.lab.record.child(f"agent-{node}")
    assert agent is not None
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        becomes(lambda: scene.holder("web"), other(node), 10.0)
        all_believe(scene, ip, other(node))
        scene.leaves(pod(1), side, ip, other(node), or_by=[node])
    finally:
        os.kill(agent.pid, signal.SIGCONT)
    has_moved(scene, ip, node, 10.0)
    scene.leaves(pod(1), side, ip, node)
