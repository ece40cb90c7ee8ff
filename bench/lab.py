"""How long a lab takes: 3 nodes with 9 pods, and 50 nodes with 500 pods, from `sallyport lab up` until all is ready.

Both have the addresses of the topology `default`, in both families. The pods are those of Deployments, 50 of each or 9,
applied at once with kubectl, and count as ready when the API says so and each has an address. Which processes used the
CPU, each with the commands that it has run; *others* is all that the machine did beside, most of it the kernel's
own work, kubectl's and, where the load is high, that of others.

On the same machine, with less to do (load 0.3), 3 nodes took 4.6 s, 50 nodes 36.3 s and their pods 33.3 s, before this:

- Each agent was begun as a Python of its own: 60 of 70 s of CPU until 50 nodes were up were those of agents, 1.2 s of
  each, nearly all of it for imports. A process now begins as a copy of one that has imported.
- A pod took four runs of `ip`, one pod at a time; now a few messages to the kernel take 2 ms. Kubelet and scheduler
  took 15 s of CPU, and their commands 5 s.
- Each write to a pod woke the watches of all agents. The API server took 10.5 s of CPU.
- `ip netns exec` gave each pod mounts of its own, to which each namespace spreads that is made later: among 200 pods
  the next one took the kernel three times as long as the first.
"""

import asyncio
import os
import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from bench import scene
from bench.figures import Figure
from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.kube.watch import Reflector
from sallyport.lab.driving import Lab
from sallyport.lab.pods import LAB_PODS, LabPod
from sallyport.lab.supervisor import take_down
from sallyport.lab.topology_file import find

SIZES = ((3, 9, 9, 5), (50, 500, 50, 3))
"""Nodes, pods, pods of a Deployment, and runs."""
SETTLED, REST = 3.0, 10.0
"""Seconds after which a lab is at rest, and over which it is then looked at."""
PATIENCE = 300.0
"""Seconds until pods that are not ready are given up."""
NAME = "bench"
_TICKS = os.sysconf("SC_CLK_TCK")
_ADDRESSES = ["10.10.0.101", "fd10:10::101"]
_POD_NETWORKS = ["10.244.0.0/16", "fd10:244::/48"]

Times = dict[str, float]
"""Seconds of each thing that is measured."""


def measure() -> list[Figure]:
    """Seconds of all runs of both sizes, and of these the CPU's."""
    figures: list[Figure] = []
    for nodes, pods, each, runs in SIZES:
        times = [_one(nodes, pods, each) for _ in range(runs)]
        figures += [Figure(name, "s", tuple(one[name] for one in times)) for name in times[0]]
    return figures


def topology(nodes: int) -> str:
    """The topology `default` with so many nodes."""
    text, _ = find("default")
    found: dict[str, Any] = yaml.safe_load(text)
    group = {"name": "node", "count": nodes, "addresses": _ADDRESSES, "podNetworks": _POD_NETWORKS}
    return yaml.safe_dump({**found, "name": NAME, "nodes": group})


def _one(nodes: int, pods: int, each: int) -> Times:
    """A lab from its beginning to its end."""
    began, busy = time.monotonic(), _machine()
    with TemporaryDirectory() as folder:
        path = Path(folder, "topology.yaml")
        path.write_text(topology(nodes))
        lab = Lab.up(str(path), NAME)
    try:
        up = time.monotonic()
        used, spent = _used(lab), _machine() - busy
        found = {f"{nodes} nodes up": up - began, **_shares(f"until {nodes} nodes are up", used, {}, spent)}
        busy = _machine()
        asyncio.run(_run(lab, pods, each))
        ready = time.monotonic()
        spent = _machine() - busy
        found |= {f"{pods} pods more, until all are ready": ready - up}
        found |= _shares(f"until {pods} pods are ready", _used(lab), used, spent)
        found[f"all of it: {nodes} nodes with {pods} pods"] = ready - began
        time.sleep(SETTLED)
        used, busy = _used(lab), _machine()
        time.sleep(REST)
        rest = _shares(f"of {REST:g} s with {pods} pods, at rest", _used(lab), used, _machine() - busy)
        ending = time.monotonic()
        lab.down()
        return found | rest | {f"`lab down` with {nodes} nodes and {pods} pods": time.monotonic() - ending}
    finally:
        take_down(lab.record)


async def _run(lab: Lab, pods: int, each: int) -> None:
    """Apply the Deployments, and wait until their pods are ready."""
    ready: set[str] = set()
    done = asyncio.Event()

    def heard(key: object, old: LabPod | None, new: LabPod | None) -> None:
        if new is not None and (condition := new.condition("Ready")) is not None:
            if condition.status == "True" and new.status.pod_ips:
                ready.add(new.metadata.name)
            if len(ready) == pods:
                done.set()

    async with Client(load(str(lab.record.kubeconfig))) as client:
        follows = asyncio.create_task(Reflector(client, LAB_PODS, on_change=heard).run())
        made = [_deployment(f"web-{number}", each) for number in range(pods // each)]
        await asyncio.to_thread(scene.apply, lab, *made)
        try:
            await asyncio.wait_for(done.wait(), PATIENCE)
        finally:
            follows.cancel()


def _deployment(name: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def _machine() -> float:
    """Seconds of CPU that the machine has spent on anything (proc(5), the first line of stat, without what is idle)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS


def _used(lab: Lab) -> Times:
    """Seconds of CPU of the lab's processes, by what they are, each with the commands that it has run."""
    found: Times = defaultdict(float)
    for child in lab.record.noted():
        if kind := _KINDS.get(child.name.split("-")[0]):
            own, commands = _stat(child.pid)
            found[kind] += own
            found[_COMMANDS if child.name == "supervisor" else kind] += commands
    return found


_KINDS = {
    "agent": "the agents",
    "controller": "the controller",
    "apiserver": "the API server",
    "supervisor": "kubelet and scheduler",
    "forkserver": "the fork server",
}
"""What the processes of a lab are, by what their names begin with."""
_COMMANDS = "commands of kubelet and scheduler"


def _stat(pid: int) -> tuple[float, float]:
    """Seconds of CPU of a process, and of those that it has waited for (proc(5): fields 14 to 17 of stat)."""
    try:
        fields = [int(field) for field in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]]
    except OSError:
        return 0.0, 0.0  # it has just ended
    return sum(fields[:2]) / _TICKS, sum(fields[2:]) / _TICKS


def _shares(until: str, now: Times, before: Times, spent: float) -> Times:
    """CPU of each kind of process, and of all others together."""
    parts = {kind: now[kind] - before.get(kind, 0.0) for kind in now}
    parts["others"] = spent - sum(parts.values())
    return {f"CPU {until}: {kind}": seconds for kind, seconds in parts.items()}
