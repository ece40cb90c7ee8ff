"""What the rules between objects mean for packets: who governs a pod, what is excepted, and that no exit means drop."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from tests.lab.scene import (
    EVERY_WEB_POD,
    NAMESPACE,
    SIDES,
    Scene,
    Side,
    becomes,
    egress,
    hosted,
    ip_pool,
    labelled,
    on,
    pod,
    pod_object,
)

from sallyport.apis.antrea.types import EGRESSES
from sallyport.lab.driving import answers, until

pytestmark = [pytest.mark.lab, pytest.mark.root]


def condition(scene: Scene, name: str, kind: str) -> tuple[str, str]:
    """Status and reason of an Egress's condition; both "" where it has none."""
    found = [item for item in scene.status(name).conditions if item.type == kind]
    return (found[0].status, found[0].reason) if found else ("", "")


def test_of_two_egresses_on_a_pod_the_oldest_has_it(scene: Scene, side: Side) -> None:
    """Two Egresses that select one pod: it leaves by the older one, both say so, and the younger takes it over when
    the older is gone."""
    older, younger = side.spare(1), side.spare(2)
    scene.apply(ip_pool("at-2", f"{older}-{younger}", nodes=hosted(2)), ip_pool("at-3", side.spare(3), nodes=hosted(3)))
    scene.apply(egress("older", on(1), pool="at-2"))
    scene.comes_to_leave(pod(1), side, older, "node-2")
    created = scene.get(EGRESSES, "older").metadata.creation_timestamp

    def is_younger() -> bool:
        scene.lab.kubectl("delete", "egress", "a-younger", "--ignore-not-found")
        scene.apply(egress("a-younger", EVERY_WEB_POD, pool="at-3"))
        return scene.get(EGRESSES, "a-younger").metadata.creation_timestamp != created

    until(is_younger, "an Egress of a later second; within one the name would decide")
    scene.comes_to_leave(pod(3), side, side.spare(3), "node-3")
    scene.leaves(pod(1), side, older, "node-2")
    becomes(lambda: condition(scene, "older", "Overlapping"), ("True", "WinsPods"))
    becomes(lambda: condition(scene, "a-younger", "Overlapping"), ("True", "YieldsPods"))
    scene.delete("egress", "older")
    scene.comes_to_leave(pod(1), side, side.spare(3), "node-3")
    becomes(lambda: condition(scene, "a-younger", "Overlapping"), ("", ""))


def test_a_deleted_pool_means_drop_until_it_is_back(scene: Scene, side: Side) -> None:
    """With its pool deleted an Egress has no address: its pods are dropped, the condition and a Warning event say
    why, no node keeps the address, others are untouched, and all is as before once the pool is back."""
    pool = ip_pool("gone", side.spare(1), nodes=hosted(2))
    scene.apply(pool, egress("web", on(1), pool="gone"), egress("static", on(3), ip=side.node(3)))
    scene.comes_to_leave(pod(1), side, side.spare(1), "node-2")
    scene.delete("externalippool", "gone")
    scene.comes_to_be_dropped(pod(1), side)
    becomes(lambda: condition(scene, "web", "IPAllocated"), ("False", "AllocationError"))
    becomes(lambda: scene.held("web"), ("", ""))
    becomes(lambda: scene.extra_addresses(2), set[str]())
    warning = ("AllocationError", "Cannot allocate EgressIP from ExternalIPPool: ExternalIPPool gone does not exist")
    becomes(lambda: warning in scene.events("Egress", "web", component="sallyport-controller"), True)
    scene.leaves(pod(3), side, side.node(3), "node-3")
    scene.apply(pool)
    scene.comes_to_leave(pod(1), side, side.spare(1), "node-2")


def test_a_static_address_that_no_node_has_means_drop(scene: Scene, side: Side) -> None:
    """An Egress whose static address is on no node drops its pods' traffic, says so, and serves them as soon as
    somebody puts the address on a node."""
    ip = side.spare(40)  # of which no neighbour has an older entry: nobody announces what people do
    scene.apply(egress("static", on(1), ip=ip))
    scene.comes_to_be_dropped(pod(1), side)
    becomes(lambda: condition(scene, "static", "IPAssigned"), ("False", "IPNotFound"))
    address = f"{ip}/{32 if side.family == 4 else 128}"
    scene.lab.execute("node-3", "ip", "address", "add", address, "dev", "eth0")
    try:
        scene.comes_to_leave(pod(1), side, ip, "node-3")
        becomes(lambda: scene.held("static"), (ip, "node-3"))
    finally:
        scene.lab.execute("node-3", "ip", "address", "del", address, "dev", "eth0")
    scene.comes_to_be_dropped(pod(1), side)
    becomes(lambda: scene.held("static"), ("", ""))


def test_traffic_of_the_other_family_is_dropped_until_it_has_an_egress_too(scene: Scene, side: Side) -> None:
    """A pod that an Egress of one family selects does not leave in the other one, unless an Egress of that family
    selects it as well."""
    other = SIDES[10 - side.family]
    scene.apply(egress("one", on(1), ip=side.node(2)))
    scene.comes_to_leave(pod(1), side, side.node(2), "node-2")
    scene.comes_to_be_dropped(pod(1), other)
    scene.apply(egress("two", on(1), ip=other.node(3)))
    scene.comes_to_leave(pod(1), other, other.node(3), "node-3")
    scene.leaves(pod(1), side, side.node(2), "node-2")


def test_a_pod_on_the_host_network_is_not_governed(scene: Scene, side: Side) -> None:
    """A pod with hostNetwork leaves with its node's address, although an Egress selects its labels."""
    scene.run(pod_object("host", 1, {"app": "web"}, hostNetwork=True))
    scene.apply(egress("web", EVERY_WEB_POD, ip=side.node(2)))
    scene.comes_to_leave(pod(1), side, side.node(2), "node-2")
    with scene.only(side.node(1)):
        asked = scene.lab.ask("node-1", "http", side.server)
    assert asked.source == side.node(1)


def test_an_address_that_a_finished_pod_had_is_not_governed(scene: Scene, side: Side) -> None:
    """A pod that no Egress selects, and that has the address of a selected one that has ended, is not governed."""
    selected = egress("jobs", labelled(app="job"), ip=side.node(2))
    scene.apply(selected, pod_object("job", 1, {"app": "job"}, ["true"], restartPolicy="Never"))
    scene.lab.kubectl("wait", "-n", NAMESPACE, "pod/job", "--for=jsonpath={.status.phase}=Succeeded")
    scene.run(pod_object("next", 1, {"app": "next"}))
    assert scene.pod_addresses("next") == scene.pod_addresses("job")
    scene.comes_to_leave(f"{NAMESPACE}/next", side, side.node(1), "node-1")


@pytest.fixture
def configure(scene: Scene) -> Iterator[Callable[[str], None]]:
    """Writes the agents' configuration, as Antrea keeps it, into the cluster."""

    def written(text: str) -> None:
        scene.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "antrea-config", "namespace": "kube-system"},
                "data": {"antrea-agent.conf": text},
            }
        )

    yield written
    scene.lab.kubectl("delete", "configmap", "-n", "kube-system", "antrea-config")


def test_excepted_networks_are_reached_with_the_nodes_own_address(
    scene: Scene, side: Side, configure: Callable[[str], None]
) -> None:
    """What exceptCIDRs of Antrea's configuration names is reached as without an Egress, and the rest is not."""
    scene.apply(egress("web", EVERY_WEB_POD, ip=side.node(2)))
    scene.comes_to_leave(pod(1), side, side.node(2), "node-2")
    configure(f"egress:\n  exceptCIDRs: ['{side.everything_outside}']\n")
    scene.comes_to_leave(pod(1), side, side.node(1), "node-1")
    configure("egress:\n  exceptCIDRs: []\n")
    scene.comes_to_leave(pod(1), side, side.node(2), "node-2")


def test_a_connection_does_not_outlive_its_egress_with_another_source(scene: Scene, side: Side) -> None:
    """A connection that was made through an Egress ends with it: the server sees no packet from the pod's address."""
    talker = f"{NAMESPACE}/talker-1"
    scene.run(pod_object("talker-1", 1, {"app": "talker"}))
    scene.apply(egress("web", labelled(app="talker"), ip=side.node(2)))
    scene.comes_to_leave(talker, side, side.node(2), "node-2")
    asker = (sys.executable, "-m", "sallyport.lab.ask", "tcp", side.server, "--hold", "--timeout", "0.5")
    command = scene.lab.command(talker, *asker, "--count", "0", "--interval", "0.02")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child, scene.only(side.node(2), side.node(1)):
        assert next(answers(child)).source == side.node(2)
        scene.delete("egress", "web")
        assert list(answers(child))[-1].error


def test_pods_and_nodes_are_reached_directly(scene: Scene, side: Side) -> None:
    """A governed pod reaches other pods with its own address, and nodes as it does without an Egress."""
    log = scene.lab.record.log("reached")
    command = [sys.executable, "-m", "sallyport.lab.outside", "--log", str(log)]
    scene.run(pod_object("server", 3, {"app": "server"}, command))
    scene.apply(egress("web", EVERY_WEB_POD, ip=side.node(2)))
    scene.comes_to_leave(pod(1), side, side.node(2), "node-2")
    here, there = (scene.pod_addresses(name)[side.family // 6] for name in ("on-1", "server"))
    becomes(lambda: scene.lab.ask(pod(1), "http", there, timeout=0.3).source, here)
    with scene.lab.capture("node-3", "icmp or icmp6") as capture:
        scene.lab.execute(pod(1), "ping", "-c", "1", "-W", "1", side.node(3))
        assert capture.sources(side.node(3)) == {side.node(1)}
