"""What must not disturb a packet: agents and controllers that die, an API server that is out of reach; and what
somebody changes in the kernel by hand is mended and told. Both families at once: a disturbance costs seconds.
"""

import os
import re
import signal

import pytest
from tests.lab.scene import NODES, SIDES, Flows, Scene, egress, hosted, ip_pool, on, pod

from sallyport.apis.core import LEASES
from sallyport.lab.driving import until
from sallyport.lab.record import Child
from sallyport.model.settings import Settings
from sallyport.processes.settings import LEASE_PREFIX
from sallyport.processes.settings import NAMESPACE as SALLYPORT

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.alone]

SERVED = {family: side.spare(1) for family, side in SIDES.items()}
"""The egress IPs at node-3 with which the pod of node-1 leaves."""


@pytest.fixture
def served(scene: Scene) -> Scene:
    """The scene in which the pod of node-1 leaves with the egress IPs."""
    for family, ip in SERVED.items():
        scene.apply(
            ip_pool(f"at-3-{family}", ip, nodes=hosted(3)), egress(f"web-{family}", on(1), pool=f"at-3-{family}")
        )
    leaves_as_before(scene, 5.0)
    return scene


def leaves_as_before(scene: Scene, seconds: float = 1.0) -> None:
    for family, side in SIDES.items():
        scene.comes_to_leave(pod(1), side, SERVED[family], "node-3", seconds)


def none_lost(flows: Flows, count: int = 60) -> None:
    """Wait for some more requests; all of them were answered, and seen from the egress IP."""
    before = {family: len(asked) for family, asked in flows.items()}
    until(lambda: all(len(asked) >= before[family] + count for family, asked in flows.items()), "requests flow")
    for family, asked in flows.items():
        assert {answer.source or answer.error for answer in asked} == {SERVED[family]}


def kernel(scene: Scene, number: int) -> str:
    """All that a node's kernel holds for egress, but for counters, clocks and what packets themselves put there."""
    commands = (
        "nft -s list table inet sallyport",
        "nft -s list table netdev sallyport",
        "ip rule",
        "ip -6 rule",
        "ip route show table all",
        "ip -6 route show table all",
        "ip nexthop",
        "ip -br link",
        "ip -o address",
        "bridge fdb show dev sp-vx4",
        "bridge fdb show dev sp-vx6",
    )
    text = "\n".join(scene.lab.execute(f"node-{number}", *command.split()) for command in commands)
    text = re.sub(r"set unknown[46] \{.*?\n\t\}", "", text, flags=re.DOTALL)
    return re.sub(r" expires \S+| valid_lft \S+| preferred_lft \S+", "", text)


def child(scene: Scene, name: str) -> Child:
    found = scene.lab.record.child(name)
    assert found is not None, f"{name} does not run"
    return found


def renewed(scene: Scene, number: int) -> str | None:
    """When a node's agent renewed its lease last; one that has just started does so once its node is programmed."""
    return scene.get(LEASES, f"{LEASE_PREFIX}node-{number}", SALLYPORT).spec.renew_time


@pytest.mark.parametrize("number", [1, 3], ids=["clients-node", "holder"])
def test_killing_an_agent_disturbs_no_packet(served: Scene, number: int) -> None:
    """An agent that is killed and started again while a pod sends 50 requests a second: none is lost, none is seen
    from elsewhere, and the kernel's state is what it was."""
    before, agent = kernel(served, number), child(served, f"agent-node-{number}")
    with served.only(*SERVED.values()), served.flowing(pod(1), *SIDES.values()) as flows:
        os.kill(agent.pid, signal.SIGKILL)
        stamp = renewed(served, number)
        until(lambda: renewed(served, number) != stamp, "the next agent has programmed its node")
        none_lost(flows, 20)
    assert kernel(served, number) == before
    leaves_as_before(served)


def test_killing_the_controller_disturbs_no_packet(served: Scene) -> None:
    """A controller that is killed while traffic flows: no request is lost, no address moves, and the next one serves
    new Egresses without touching those that are there."""
    before, controller = [kernel(served, number) for number in NODES], child(served, "controller")
    status, side = served.status("web-4"), SIDES[4]
    with served.only(*SERVED.values()), served.flowing(pod(1), *SIDES.values()) as flows:
        os.kill(controller.pid, signal.SIGKILL)
        until(lambda: served.lab.record.child("controller") not in (None, controller), "the next one is started")
        none_lost(flows)
        assert [kernel(served, number) for number in NODES] == before
    served.apply(ip_pool("at-2", side.spare(2), nodes=hosted(2)), egress("more", on(2), pool="at-2"))
    served.comes_to_leave(pod(2), side, side.spare(2), "node-2", 20)
    assert served.status("web-4") == status


def test_an_api_server_out_of_reach_disturbs_no_packet(served: Scene) -> None:
    """While the API server does not answer, no request is lost and kernels stay as they are; afterwards changes are
    carried out again."""
    before, server = [kernel(served, number) for number in NODES], child(served, "apiserver")
    with served.only(*SERVED.values()), served.flowing(pod(1), *SIDES.values()) as flows:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            none_lost(flows)
            assert [kernel(served, number) for number in NODES] == before
        finally:
            os.kill(server.pid, signal.SIGCONT)
    served.delete("egress", "web-4", "web-6")
    for side in SIDES.values():
        served.comes_to_leave(pod(1), side, side.node(1), "node-1")


DAMAGES = {
    "element": (1, "nft delete element inet sallyport clients{family} {{ {pod} }}"),
    "rule": (1, "ip -{family} rule del fwmark {mark}/{mask}"),
    "route": (1, "ip -{family} route del default table {table} metric 100"),
    "address": (3, "ip address del {ip}/{length} dev eth0"),
    "table": (3, "nft delete table inet sallyport"),
}
"""What is done by hand, and on which node."""


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_changed_by_hand_is_mended_and_told(served: Scene, damage: str) -> None:
    """What somebody deletes from a kernel is there again within 6 seconds, and an event on the Node tells of it.
    Meanwhile packets are dropped and none leaks; only with the whole table gone nothing is left to drop them."""
    number, text = DAMAGES[damage]
    commands = dict.fromkeys(described(served, family, text) for family in SIDES)
    before, told = kernel(served, number), drifts(served, number)
    unguarded = [side.node(number) for side in SIDES.values()] if damage == "table" else []
    with served.only(*SERVED.values(), *unguarded):
        with served.flowing(pod(1), *SIDES.values(), protocol="udp", timeout=0.1):
            for command in commands:
                served.lab.execute(f"node-{number}", *command.split())
            until(lambda: drifts(served, number) > told, "an event tells of it", 6)
            until(lambda: kernel(served, number) == before, "the kernel's state is what it was", 1)
        leaves_as_before(served)


def described(scene: Scene, family: int, text: str) -> str:
    """A damage to what serves one family."""
    exit_id, settings = scene.status(f"web-{family}").id, Settings()
    return text.format(
        family=family,
        pod=scene.pod_addresses("on-1")[family // 6],
        mark=settings.mark(exit_id),
        mask=settings.mark_mask,
        table=settings.table(exit_id),
        ip=SERVED[family],
        length=32 if family == 4 else 128,
    )


def drifts(scene: Scene, number: int) -> int:
    """How often it was told that a node's kernel was mended."""
    return [reason for reason, _ in scene.events("Node", f"node-{number}")].count("DriftRepaired")
