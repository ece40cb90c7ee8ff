"""What the API server can do to the processes, in a lab of its own: away for longer than Leases last, refusing, slow.

Packets go on, nothing leaks, what is changed meanwhile arrives afterwards, and each process tells of it in two lines.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.lab.labs import lab_of, scene_of
from tests.lab.scene import GATEWAYS, NAMESPACE, SIDES, Scene, becomes, egress, hosted, ip_pool, on, pod, pod_object
from tests.lab.test_power import is_whole_again, longest_gap, power

from sallyport.apis.core import LEASES, Lease
from sallyport.lab.controlplane.plane import API_PORT
from sallyport.lab.driving import Lab, until
from sallyport.model.settings import Settings
from sallyport.processes.heartbeat import DURATION
from sallyport.processes.settings import LEASE_PREFIX
from sallyport.processes.settings import NAMESPACE as SALLYPORT

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.alone, pytest.mark.timeout(300)]

SERVED = {family: side.spare(1) for family, side in SIDES.items()}
"""The egress IPs of the pod of node-1. node-3 is to hold both of them, and node-2 where node-3 is gone."""
PROCESSES = ("controller", "agent-node-1", "agent-node-2")
"""Those that live through every test here."""


@pytest.fixture(scope="module")
def standing() -> Iterator[Scene]:
    """A lab of this module's own."""
    with lab_of("default", f"t{os.getpid()}a") as lab, scene_of(lab) as scene:
        yield scene


@pytest.fixture
def served(scene: Scene) -> Iterator[Scene]:
    """The scene in which the pod of node-1 leaves by node-3 in both families."""
    for family, ip in SERVED.items():
        pool = f"two-{family}"
        scene.apply(ip_pool(pool, ip, nodes=GATEWAYS), egress(f"web-{family}", on(1), pool=pool))
    for family, side in SIDES.items():
        scene.comes_to_leave(pod(1), side, SERVED[family], "node-3", 10.0)
    yield scene
    power(scene, "on", *(path.name for path in scene.lab.record.powered_off.iterdir()))


_ASKED, _ANSWERED = f"ip saddr != 127.0.0.1 tcp dport {API_PORT}", f"ip daddr != 127.0.0.1 tcp sport {API_PORT}"
CUT = {"input": f"{_ASKED} drop", "output": f"{_ANSWERED} drop"}
REFUSE = {"input": f"{_ASKED} reject with tcp reset"}


@contextlib.contextmanager
def barred(lab: Lab, rules: Mapping[str, str]) -> Iterator[None]:
    """While the block runs, what goes between the API server and any process of the lab meets these rules, by hook.
    This test and the lab's kubelet go another way, by loopback."""
    control, table = lab.topology.control.name, "inet barred"
    lines = [f"add table {table}"]
    for hook, rule in rules.items():
        lines.append(f"add chain {table} {hook} {{ type filter hook {hook} priority 0; }}")
        lines.append(f"add rule {table} {hook} {rule}")
    lab.execute(control, "nft", "; ".join(lines))
    try:
        yield
    finally:
        lab.execute(control, "nft", f"delete table {table}")


@contextlib.contextmanager
def slowed(lab: Lab) -> Iterator[None]:
    """While the block runs, the API server stands still for nine tenths of each second."""
    server, over = lab.record.child("apiserver"), threading.Event()
    assert server is not None

    def hold() -> None:
        while not over.wait(0.1):
            os.kill(server.pid, signal.SIGSTOP)
            over.wait(0.9)
            os.kill(server.pid, signal.SIGCONT)

    holding = threading.Thread(target=hold)
    holding.start()
    try:
        yield
    finally:
        over.set()
        holding.join()


class Log:
    """What a process logs from now on."""

    def __init__(self, lab: Lab, process: str) -> None:
        self._path = lab.record.log(process)
        self._start = self._path.stat().st_size

    def entries(self, *events: str) -> list[dict[str, Any]]:
        with self._path.open("rb") as file:
            file.seek(self._start)
            lines = [line for line in file if line.startswith(b"{") and line.endswith(b"\n")]
        return [item for line in lines if (item := json.loads(line))["event"] in events]

    def outages(self) -> list[str]:
        """Begin and end of each trouble that the process had with the API server."""
        return [item["event"] for item in self.entries("api.trouble", "api.well")]


def lease(scene: Scene, node: str) -> Lease:
    return scene.get(LEASES, f"{LEASE_PREFIX}{node}", SALLYPORT)


def seconds_without(scene: Scene) -> float:
    """For how long agents have not renewed their Leases, as `sallyport status` sees it."""
    done = scene.lab.sallyport("status", "-o", "json", check=False)
    return float(min(row["renewed"] for row in json.loads(done.stdout)["nodes"]))


def test_a_minute_without_the_api_server_loses_nothing_and_leaks_nothing(served: Scene) -> None:
    """For longer than Leases last nothing reaches the API server, in the midst of which the holder loses its power.
    Takeover is as quick as ever; an Egress and a pod that are made meanwhile are served afterwards, and not before; an
    Egress that nothing has happened to is as it was; and no request is seen from elsewhere at any time."""
    side, lab = SIDES[4], served.lab
    served.apply(ip_pool("at-2", side.spare(2), side.spare(3), nodes=hosted(2)), egress("still", on(2), pool="at-2"))
    served.comes_to_leave(pod(2), side, side.spare(2), "node-2", 10.0)
    becomes(lambda: served.held("still"), (side.spare(2), "node-2"))
    still = served.status("still")
    logs = {process: Log(lab, process) for process in PROCESSES}
    allowed = [*SERVED.values(), side.spare(2)]
    with served.only(*allowed), barred(lab, CUT):
        with served.flowing(pod(1), *SIDES.values()) as flows:
            until(lambda: all(log.outages() == ["api.trouble"] for log in logs.values()), "each tells of it", 60)
            until(lambda: seconds_without(served) > DURATION.total_seconds() + 10, "Leases are over", 60)
        assert {answer.source or answer.error for asked in flows.values() for answer in asked} == set(SERVED.values())
        served.run(pod_object("late", 1, {"app": "late"}))
        served.apply(egress("more", {"podSelector": {"matchLabels": {"app": "late"}}}, pool="at-2"))
        assert not served.asked(f"{NAMESPACE}/late", side).source, "nobody has decided about it"
        with served.flowing(pod(1), *SIDES.values(), timeout=0.2) as flows:
            power(served, "off", "node-3")
            until(lambda: is_whole_again(flows), "the next node has taken over", 5)
        assert {family: longest_gap(asked) < 2.0 for family, asked in flows.items()} == {4: True, 6: True}
        assert served.asked(pod(2), side).source == side.spare(2)
        done = lab.sallyport("status", check=False)
        assert "Node/node-1: its agent has not renewed its Lease" in done.stdout
        assert all(log.outages() == ["api.trouble"] for log in logs.values()), "one line, whatever was tried"
    with served.only(*allowed, side.spare(3)):
        late = f"{NAMESPACE}/late"
        becomes(lambda: served.asked(late, side).source, side.spare(3), 60)
        becomes(
            lambda: [served.held(f"web-{family}") for family in SERVED], [(ip, "node-2") for ip in SERVED.values()], 60
        )
        becomes(lambda: {process: log.outages() for process, log in logs.items()}, dict.fromkeys(PROCESSES, TOLD), 60)
    assert served.status("still") == still
    until(lambda: all(way == (SERVED[4], "node-2") for way in served.trace(pod(1), side.server)), "node-3 is lost", 60)
    for family, family_side in SIDES.items():
        served.leaves(pod(1), family_side, SERVED[family], "node-2")


TOLD = ["api.trouble", "api.well"]


def test_an_agent_that_is_started_again_meanwhile_keeps_what_its_node_holds(served: Scene) -> None:
    """It hears of nothing, and says for its node what the agent before would have said: nobody takes over from it. When
    a peer is lost, it cannot know whether it has to take over itself, and falls silent."""
    lab, agent = served.lab, "agent-node-3"
    old, log, other = lab.record.child(agent), Log(lab, agent), Log(lab, "agent-node-2")
    assert old is not None
    with served.only(*SERVED.values()), barred(lab, CUT):
        os.kill(old.pid, signal.SIGKILL)
        until(lambda: bool(log.entries("agent.vigil")), "its successor has begun", 15)
        with served.flowing(pod(1), *SIDES.values()) as flows:
            until(lambda: seconds_without(served) > 3 * Settings().dead_after, "it is long dead otherwise", 60)
        assert {answer.source or answer.error for asked in flows.values() for answer in asked} == set(SERVED.values())
        for family, side in SIDES.items():
            served.leaves(pod(1), side, SERVED[family], "node-3")
        assert other.entries("agent.holding") == []
        assert all("Down" not in item["sessions"].values() for item in other.entries("agent.sessions"))
        power(served, "off", "node-2")
        until(lambda: "BFD is not up" in log.entries("agent.vigil")[-1].get("silent", ""), "it falls silent", 10)
    becomes(lambda: log.outages()[-1:], TOLD[-1:], 60)


def test_an_api_server_that_refuses_connections_is_told_by_status_and_in_logs(served: Scene) -> None:
    lab = served.lab
    logs = {process: Log(lab, process) for process in PROCESSES}
    argv = [sys.executable, "-m", "sallyport.cli", "status", "--kubeconfig", str(lab.record.inner_kubeconfig)]
    with served.only(*SERVED.values()), served.flowing(pod(1), *SIDES.values()) as flows:
        with barred(lab, REFUSE):
            until(lambda: all(log.outages() == ["api.trouble"] for log in logs.values()), "each tells of it", 30)
            with pytest.raises(Exception, match="sallyport status: the API server cannot be reached from here"):
                lab.execute("node-1", *argv)
        becomes(lambda: {process: log.outages() for process, log in logs.items()}, dict.fromkeys(PROCESSES, TOLD), 60)
    assert {answer.source for asked in flows.values() for answer in asked} == set(SERVED.values())
    assert logs["agent-node-1"].entries("api.trouble")[0]["effect"] == "existing egress goes on as it is, changes wait"


def test_a_slow_api_server_makes_changes_late_and_nothing_else(served: Scene) -> None:
    """It works for a tenth of each second. No Lease runs out, and a change arrives some seconds later."""
    lab, side = served.lab, SIDES[4]
    logs = {process: Log(lab, process) for process in PROCESSES}
    allowed = [*SERVED.values(), side.node(2), side.spare(2)]
    with slowed(lab), served.only(*allowed), served.flowing(pod(1), *SIDES.values()) as flows:
        stamp = lease(served, "node-3").spec.renew_time
        until(lambda: lease(served, "node-3").spec.renew_time != stamp, "a Lease is renewed", 30)
        served.apply(ip_pool("at-2", side.spare(2), nodes=hosted(2)), egress("more", on(2), pool="at-2"))
        becomes(lambda: served.asked(pod(2), side).source, side.spare(2), 40)
    assert {answer.source for asked in flows.values() for answer in asked} == set(SERVED.values())
    assert not any(log.outages() for log in logs.values())
    served.leaves(pod(2), side, side.spare(2), "node-2")
