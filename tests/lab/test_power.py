"""Nodes that lose their power, and networks that are cut, in a lab of its own: takeover without anybody's help."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime

import pytest
from tests.lab.labs import lab_of, scene_of
from tests.lab.scene import GATEWAYS, SIDES, Flows, Scene, becomes, egress, ip_pool, on, pod

from sallyport.lab.driving import Asked, until

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.alone]

SERVED = {family: side.spare(1) for family, side in SIDES.items()}
"""The egress IPs of the pod of node-1. node-3 is to hold both of them, and node-2 where node-3 is gone."""


@pytest.fixture(scope="module")
def standing() -> Iterator[Scene]:
    """A lab of this module's own."""
    with lab_of("default", f"t{os.getpid()}p") as lab, scene_of(lab) as scene:
        yield scene


@pytest.fixture
def served(scene: Scene) -> Scene:
    """The scene in which the pod of node-1 leaves by node-3 in both families."""
    for family, ip in SERVED.items():
        pool = f"two-{family}"
        scene.apply(ip_pool(pool, ip, nodes=GATEWAYS), egress(f"web-{family}", on(1), pool=pool))
    comes_by(scene, "node-3")
    return scene


def comes_by(scene: Scene, node: str, seconds: float = 5.0, *, off: Sequence[str] = ()) -> None:
    """Within some seconds both families leave by a node, and the statuses name it.

    `off` are nodes without power, of which `trace` cannot know yet that they do not answer any more.
    """
    becomes(lambda: [scene.held(f"web-{family}") for family in SERVED], [(ip, node) for ip in SERVED.values()], seconds)
    for family, side in SIDES.items():
        scene.comes_to_leave(pod(1), side, SERVED[family], node, 1.0, or_by=off)


def nothing_comes(scene: Scene) -> None:
    """No request of either family reaches the server, and no frame of it."""
    with scene.only():
        for side in SIDES.values():
            assert not scene.asked(pod(1), side, "http", timeout=0.4).source


@pytest.fixture(autouse=True)
def powered(scene: Scene) -> Iterator[None]:
    """Starts every node again that a test has left without power."""
    yield
    power(scene, "on", *(path.name for path in scene.lab.record.powered_off.iterdir()))


def power(scene: Scene, state: str, *nodes: str) -> None:
    for node in nodes:
        scene.lab.sallyport("lab", f"power-{state}", node, "--name", scene.lab.name)


def longest_gap(asked: Sequence[Asked]) -> float:
    """The longest time between two answered requests, in seconds."""
    times = [datetime.fromisoformat(answer.time).timestamp() for answer in asked if answer.source]
    return max(later - earlier for earlier, later in itertools.pairwise(times))


def is_whole_again(flows: Flows) -> bool:
    """Whether requests were lost in each family, and the last five were answered."""
    return all(
        any(not answer.source for answer in asked) and all(answer.source for answer in asked[-5:])
        for asked in flows.values()
    )


def test_the_next_node_takes_over_within_two_seconds(served: Scene) -> None:
    """When the holder of two addresses loses its power, the next in rank serves them within 2 seconds, and no packet
    leaves with another source; with that one off as well, all is dropped; with both back, the first has them again."""
    with served.only(*SERVED.values()):
        with served.flowing(pod(1), *SIDES.values(), timeout=0.2) as flows:
            power(served, "off", "node-3")
            until(lambda: is_whole_again(flows), "requests are answered again", 5)
        assert {family: longest_gap(asked) < 2.0 for family, asked in flows.items()} == {4: True, 6: True}
        comes_by(served, "node-2", 2.0, off=["node-3"])
        power(served, "off", "node-2")
        nothing_comes(served)
        power(served, "on", "node-2", "node-3")
        comes_by(served, "node-3", 15.0)


def test_takeover_needs_no_api_server(served: Scene) -> None:
    """When the API server is out of reach, too, the next in rank takes the addresses over all the same."""
    server = served.lab.record.child("apiserver")
    assert server is not None
    os.kill(server.pid, signal.SIGSTOP)
    argv = [sys.executable, "-m", "sallyport.cli", "lab", "power-off", "node-3", "--name", served.lab.name]
    try:
        with served.only(*SERVED.values()), served.flowing(pod(1), *SIDES.values(), timeout=0.2) as flows:
            # It pulls the plug at once, and then waits to mark the Node as not ready.
            command = subprocess.Popen(argv)
            until(lambda: is_whole_again(flows), "requests are answered again", 5)
        assert {family: longest_gap(asked) < 2.0 for family, asked in flows.items()} == {4: True, 6: True}
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert command.wait(30) == 0
    comes_by(served, "node-2", off=["node-3"])
    power(served, "on", "node-3")
    comes_by(served, "node-3", 15.0)


def test_a_static_address_goes_with_its_node(scene: Scene) -> None:
    """When the node of a static egress IP loses its power, its pods' traffic is dropped, and leaves by no other."""
    for family, side in SIDES.items():
        scene.apply(egress(f"static-{family}", on(1), ip=side.node(3)))
    for side in SIDES.values():
        scene.comes_to_leave(pod(1), side, side.node(3), "node-3")
    power(scene, "off", "node-3")
    nothing_comes(scene)
    power(scene, "on", "node-3")
    for side in SIDES.values():
        scene.comes_to_leave(pod(1), side, side.node(3), "node-3", 10.0)


def test_nodes_that_are_cut_from_each_other_do_not_quarrel_over_an_address(served: Scene) -> None:
    """When two candidates see each other no more, but everybody else sees both, the second in rank gives the address
    back as soon as the first claims it, and no packet has another source meanwhile."""
    lab = served.lab
    ping = ("ping", "-c", "1", "-W", "1", SIDES[4].node(3))
    lab.sallyport("lab", "cut", "node-2", "node-3", "--name", lab.name)
    try:
        with pytest.raises(Exception, match="ping"):
            lab.execute("node-2", *ping)
        lab.execute("node-1", *ping)
        with served.only(*SERVED.values()):
            until(lambda: all(has_given_back(served, family) for family in SERVED), "node-2 gives both back", 15)
            comes_by(served, "node-3")
            assert served.extra_addresses(2) == set()
    finally:
        lab.sallyport("lab", "heal", "node-2", "node-3", "--name", lab.name)
    lab.execute("node-2", *ping)


def has_given_back(scene: Scene, family: int) -> bool:
    reasons = [reason for reason, message in scene.events("Egress", f"web-{family}") if message.endswith("node-2")]
    return reasons == ["IPAssigned", "IPUnassigned"]
