"""Which source a pod is seen with: lines 1 to 8 of the list that Antrea's own end-to-end tests make.

Where Antrea's tests say that a pod on another node loses its connectivity, a pod of the lab reaches the server with
its own node's address: the lab's network routes for all nodes.
"""

import sys
from collections.abc import Iterator

import pytest
from tests.lab.scene import EVERY_WEB_POD, NAMESPACE, NODES, Scene, Side, becomes, egress, labelled, on, pod, pod_object

from sallyport.lab.driving import until

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.alone]

ANY_WEB_POD = {"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}


@pytest.fixture
def static(scene: Scene, side: Side) -> str:
    """The address of node-2, with which all standing pods leave by an Egress named static."""
    ip = side.node(2)
    scene.apply(egress("static", ANY_WEB_POD, ip=ip))
    for number in NODES:
        scene.turns_to(pod(number), side, ip, "node-2")
    return ip


def test_without_an_egress_pods_leave_with_the_address_of_their_node(scene: Scene, side: Side) -> None:
    """Line 1: before any Egress, a pod reaches the server with the address of the node that it runs on."""
    scene.leaves(pod(1), side, side.node(1), "node-1")
    scene.leaves(pod(2), side, side.node(2), "node-2")


def test_a_static_egress_serves_pods_of_all_nodes(scene: Scene, side: Side, static: str) -> None:
    """Line 2: with a node's address as egress IP, pods of that node and of others are seen with it."""
    for number in NODES:
        for protocol in ("http", "tcp", "udp"):
            scene.leaves(pod(number), side, static, "node-2", protocol)


def test_the_status_names_the_node_that_has_a_static_address(scene: Scene, side: Side) -> None:
    """Line 3: within a second of its creation the status of an Egress names the right node."""
    scene.apply(egress("static", EVERY_WEB_POD, ip=side.node(2)))
    becomes(lambda: scene.held("static"), (side.node(2), "node-2"), 1.0)


@pytest.mark.parametrize("number", [1, 2], ids=["remote", "local"])
def test_the_very_first_connection_of_a_new_pod_has_the_egress_ip(
    scene: Scene, side: Side, static: str, number: int
) -> None:
    """Line 4: a pod that comes after its Egress and talks before it is known there is seen with the egress IP."""
    command = [sys.executable, "-m", "sallyport.lab.ask", "http", side.server]
    with scene.only(static):
        scene.apply(pod_object("early", number, {"app": "web"}, command, restartPolicy="Never"))
        scene.lab.kubectl("wait", "-n", NAMESPACE, "pod/early", "--for=jsonpath={.status.phase}=Succeeded")
    log = scene.lab.record.log(f"pod-{NAMESPACE}-early").read_text()
    assert f'"source": "{static}"' in log.splitlines()[-1]


def test_an_egress_that_is_narrowed_lets_the_other_pods_go(scene: Scene, side: Side, static: str) -> None:
    """Line 5: with appliedTo narrowed to the remote pod it keeps the egress IP, and the local pod reverts."""
    scene.select("static", on(1))
    scene.comes_to_leave(pod(2), side, side.node(2), "node-2")
    scene.comes_to_leave(pod(3), side, side.node(3), "node-3")
    scene.leaves(pod(1), side, static, "node-2")


def test_an_egress_that_selects_another_pod_lets_the_first_one_go(scene: Scene, side: Side, static: str) -> None:
    """Line 6: with appliedTo moved from the remote pod to the local one, the egress IP moves along within 2 seconds."""
    scene.select("static", on(1))
    scene.comes_to_leave(pod(3), side, side.node(3), "node-3")
    scene.select("static", on(2))
    scene.comes_to_leave(pod(1), side, side.node(1), "node-1", 2.0)
    scene.leaves(pod(2), side, static, "node-2")


@pytest.fixture
def second(scene: Scene, side: Side) -> Iterator[str]:
    """Another address that somebody has put on node-2."""
    address = f"{side.spare(60)}/{32 if side.family == 4 else 128}"
    scene.lab.execute("node-2", "ip", "address", "add", address, "dev", "eth0")
    yield side.spare(60)
    scene.lab.execute("node-2", "ip", "address", "del", address, "dev", "eth0")


def test_the_source_follows_a_change_of_the_address(scene: Scene, side: Side, static: str, second: str) -> None:
    """Line 7: with egressIP changed to another address of the node, pods are seen with that one."""
    scene.patch("egress", "static", {"spec": {"egressIP": second}})
    scene.comes_to_leave(pod(1), side, second, "node-2")
    scene.comes_to_leave(pod(2), side, second, "node-2")
    becomes(lambda: scene.held("static"), (second, "node-2"), 1.0)


def test_without_its_egress_a_pod_leaves_as_before(scene: Scene, side: Side, static: str) -> None:
    """Line 8: when the Egress is deleted, every pod is seen with the address of its own node again."""
    scene.delete("egress", "static")
    for number in (1, 2, 3):
        scene.comes_to_leave(pod(number), side, side.node(number), f"node-{number}")


def test_a_pod_that_nobody_selects_has_its_nodes_address_from_its_first_connection(scene: Scene, side: Side) -> None:
    """Line 4, the other way round: a new pod without an Egress is let out as soon as it is known to have none."""
    scene.apply(egress("static", labelled(app="none"), ip=side.node(2)))
    command = [sys.executable, "-m", "sallyport.lab.ask", "http", side.server]
    with scene.only(side.node(1)):
        scene.apply(pod_object("early", 1, {"app": "web"}, command, restartPolicy="Never"))
        log = scene.lab.record.log(f"pod-{NAMESPACE}-early")
        until(lambda: log.exists() and f'"source": "{side.node(1)}"' in log.read_text(), "the first answer", 5)
