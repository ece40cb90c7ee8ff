"""A gateway is lost: how long until its clients' node uses another one, and whether anything leaves elsewhere.

Two gateways, each on a node of its own, and a client on a third, which begins a connection every 5 ms. All times are
the defaults: BFD 100 ms times three, readiness asked every two seconds and given up at the second failure, 30 s of
grace for a deleted pod, eight seconds until a node whose agent is frozen speaks no more BFD. A gateway's packets are
handled by its node: as long as that stands, connections to a lost gateway go on working.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench import scene
from bench.figures import Figure
from bench.heard import elements, lost_links
from sallyport.apis.core import PODS
from sallyport.lab import names, namespaces
from sallyport.lab.ask import PORTS
from sallyport.lab.driving import Lab, until
from sallyport.model.settings import Settings

RUNS = 5
INTERVAL = 0.005
"""Seconds between two connections of the probe, of which every second one goes to the gateway that is lost."""
SETTLED = 1.0
"""Seconds without a connection by the lost gateway after which none comes any more."""
ROUTERS = ("red-router", "yellow-router", "router")
CLIENT_NODE = "node-1"
PATIENCE = 60.0

Loss = Callable[[Lab, str, str], float]
"""Takes a gateway away, given its pod and its node, and returns the moment at which that began (since the epoch)."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of loss; `back` undoes it as far as the cluster does not do so by itself, given pod and node."""

    name: str
    lose: Loss
    back: Callable[[Lab, str, str], object] = lambda lab, pod, node: None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds from a loss to the last new connection that went to the lost gateway and to the change of the clients'
    chain; new connections without an answer at once; frames at a router that are not a gateway's."""

    connections: float
    chain: float
    unanswered: int
    leaked: int


def measure() -> list[Figure]:
    """Two gateways of red, one on each of two nodes, and a client on a third; each kind of loss, several times."""
    cases = (
        Case("its node loses power", _power_off, lambda lab, pod, node: ask_supervisor(lab, "power-on", node)),
        Case("its pod is deleted", _delete),
        Case("its pod is deleted by force", _force),
        Case("its process is killed", _kill),
        Case("its process is frozen", _freeze, lambda lab, pod, node: _signal(lab, pod, signal.SIGCONT)),
        Case("the agent of its node is frozen", _freeze_agent, lambda lab, pod, node: _thaw_agent(lab, node)),
    )
    with scene.lab("bng") as lab:
        scene.furnish(lab, 2)
        return [figure for case in cases for figure in _figures(case, [_lost(lab, case) for _ in range(RUNS)])]


def _figures(case: Case, outcomes: list[Outcome]) -> list[Figure]:
    found = [
        (f"{case.name}: last new connection by it", "s", [item.connections for item in outcomes]),
        (f"{case.name}: clients' chain is another", "s", [item.chain for item in outcomes]),
        (f"{case.name}: new connections unanswered", "", [float(item.unanswered) for item in outcomes]),
        (f"{case.name}: frames that left elsewhere", "", [float(item.leaked) for item in outcomes]),
    ]
    return [Figure(name, unit, tuple(values)) for name, unit, values in found]


def _lost(lab: Lab, case: Case) -> Outcome:
    scene.stand(lab, 2, PATIENCE)
    gateways = scene.ready(lab)
    victim, row = min(gateways.items())
    settings = Settings()
    with elements(lab.space(CLIENT_NODE), settings.table_name, "clients4") as chains, _captured(lab) as leaked:
        with _probing(lab) as seen:
            time.sleep(0.5)  # connections by both gateways before the loss
            began = case.lose(lab, row.pod, row.node)
            until(lambda: bool(chains.since(began)), f"another chain after {case.name}", PATIENCE)
            time.sleep(SETTLED)
        case.back(lab, row.pod, row.node)
    lost = [moment for moment, source in seen if moment >= began and source in ("", victim)]
    unanswered = sum(moment >= began and not source for moment, source in seen)
    return Outcome(
        max((moment - began for moment in lost), default=0.0), chains.since(began)[0] - began, unanswered, leaked[0]
    )


@contextlib.contextmanager
def _probing(lab: Lab) -> Iterator[list[tuple[float, str]]]:
    """Connections of the client while the block runs; they are in the list afterwards."""
    found: list[tuple[float, str]] = []
    argv = [sys.executable, "-m", "bench.traffic", "probe", scene.SERVER, str(PORTS["tcp"]), str(INTERVAL)]
    command = lab.command(scene.CLIENT, *argv)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        yield found
        text, _ = child.communicate("")
    found += [(moment, source) for moment, source in json.loads(text)]


@contextlib.contextmanager
def _captured(lab: Lab) -> Iterator[list[int]]:
    """Counts, in a list's first place, frames to the server at any router that are not from a gateway, or not at the
    router of its network."""
    counted = [0]
    with contextlib.ExitStack() as stack:
        expression = f"dst host {scene.SERVER}"
        captures = {
            router: stack.enter_context(lab.capture(router, expression, marker="" if router == "router" else "node-3"))
            for router in ROUTERS
        }
        yield counted
        for router, capture in captures.items():
            counted[0] += sum(is_astray(router, frame.source) for frame in capture.settle())


def is_astray(router: str, source: str) -> bool:
    """Whether a frame to the server has no business at a router: it is not red, or the source is no gateway's."""
    return router != "red-router" or not source.startswith(scene.POOL)


def ask_supervisor(lab: Lab, order: str, *subjects: str) -> None:
    """An order to the lab as its commands give it, without the time that a command takes to start."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.connect(str(lab.record.socket))
        link.sendall(json.dumps({"do": order, "names": list(subjects)}).encode() + b"\n")
        with link.makefile("rb") as file:
            answer = json.loads(file.readline())
    if answer["error"]:
        raise AssertionError(answer["error"])


def _power_off(lab: Lab, pod: str, node: str) -> float:
    with lost_links(names.wire_namespace(lab.name)) as links:
        ask_supervisor(lab, "power-off", node)
    return links.times[0]


def _delete(lab: Lab, pod: str, node: str) -> float:
    began = time.time()
    scene.on_api(lab, lambda client: client.delete(PODS, pod, "default"))
    return began


def _force(lab: Lab, pod: str, node: str) -> float:
    began = time.time()
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
    scene.on_api(lab, lambda client: client.request("DELETE", PODS.path("default", pod), body=options))
    return began


def _kill(lab: Lab, pod: str, node: str) -> float:
    return _signal(lab, pod, signal.SIGKILL)


def _freeze(lab: Lab, pod: str, node: str) -> float:
    return _signal(lab, pod, signal.SIGSTOP)


def _signal(lab: Lab, pod: str, number: signal.Signals) -> float:
    began = time.time()
    for pid in namespaces.members([lab.space(f"default/{pod}")]):
        os.kill(pid, number)
    return began


def _freeze_agent(lab: Lab, pod: str, node: str) -> float:
    began = time.time()
    os.kill(_agent(lab, node), signal.SIGSTOP)
    return began


def _thaw_agent(lab: Lab, node: str) -> None:
    os.kill(_agent(lab, node), signal.SIGCONT)


def _agent(lab: Lab, node: str) -> int:
    child = lab.record.child(f"agent-{node}")
    if child is None:
        raise AssertionError(f"the agent of {node} does not run")
    return child.pid
