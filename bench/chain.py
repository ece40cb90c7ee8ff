"""An Egress that is created, until it is in the kernels of its nodes: the whole chain, in a lab of 3 nodes.

The Egress takes its address from a pool and selects one pod. The time runs from the moment at which the request that
creates it is sent: the API server stores it, the controller gives it an address, an id and its nodes, the agents hear
of that and program their kernels, and the kernels tell (netlink). A pod that is *held back* sends nothing out any more;
one that is *led*, which is the last change of its node's map of clients, sends to the holder. *In force in both nodes*
is the later one of that and of the source address on the holder. 200 Egresses, one after the other, each removed before
the next one; all on one machine.
"""

import asyncio
import statistics
import time
from collections.abc import Iterator

from bench import scene
from bench.figures import Figure
from bench.heard import Heard, elements
from sallyport.apis.antrea.types import EGRESSES
from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.lab.driving import Lab
from sallyport.lab.supervisor import take_down

EVENTS = 200
NODE, HOLDER = "node-1", "node-2"
PAUSE = 0.1
"""Seconds of rest after each, in which all is done that comes of it."""
PATIENCE = 10.0
POOL = {
    "apiVersion": "crd.antrea.io/v1beta1",
    "kind": "ExternalIPPool",
    "metadata": {"name": "pool"},
    "spec": {
        "ipRanges": [{"start": "10.10.0.11", "end": "10.10.0.250"}],
        "nodeSelector": {"matchLabels": {"kubernetes.io/hostname": HOLDER}},
    },
}


def measure() -> list[Figure]:
    """Milliseconds."""
    lab = Lab.up("default", "bench")
    try:
        pod = scene.pod("default", "web", NODE)
        scene.apply(lab, POOL, {**pod, "metadata": {**pod["metadata"], "labels": {"app": "web"}}})
        lab.kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=20s")
        time.sleep(1)  # what the pod brings along is done
        with (
            elements(lab.space(NODE), "sallyport", "clients4", deleted=True) as client,
            elements(lab.space(HOLDER), "sallyport", "exits4", deleted=True) as holder,
        ):
            answered, held, led, both = zip(*asyncio.run(_all(lab, client, holder)), strict=True)
    finally:
        take_down(lab.record)
    names = ("the API has stored it", "its pod is held back", "its pod is led", "it is in force in both nodes")
    return [
        figure
        for name, values in zip(names, (answered, held, led, both), strict=True)
        for figure in _figures(f"an Egress is created until {name}", values)
    ]


async def _all(lab: Lab, client: Heard, holder: Heard) -> list[tuple[float, ...]]:
    async with Client(load(str(lab.record.kubeconfig))) as api:
        return [await _one(api, number, client, holder) for number in range(EVENTS)]


async def _one(api: Client, number: int, client: Heard, holder: Heard) -> tuple[float, ...]:
    """Milliseconds, in the order of the figures."""
    name = f"egress-{number:03}"
    spec = {"appliedTo": {"podSelector": {"matchLabels": {"app": "web"}}}, "externalIPPool": "pool"}
    began = time.time()
    await api.create(EGRESSES, {"metadata": {"name": name}, "spec": spec})
    answered = time.time()
    held, there = [await _since(heard, began) for heard in (client, holder)]
    await asyncio.sleep(PAUSE)
    led = client.since(began)[-1]
    gone = time.time()
    await api.delete(EGRESSES, name)
    for heard in (client, holder):
        await _since(heard, gone)
    await asyncio.sleep(PAUSE)
    return tuple(1000 * (moment - began) for moment in (answered, held, led, max(led, there)))


async def _since(heard: Heard, moment: float) -> float:
    """When something was first heard from a moment on."""
    async with asyncio.timeout(PATIENCE):
        while not (times := heard.since(moment)):  # noqa: ASYNC110  (another thread appends)
            await asyncio.sleep(0.002)
    return times[0]


def _figures(name: str, values: tuple[float, ...]) -> Iterator[Figure]:
    yield Figure(f"{name}: all", "ms", values)
    yield Figure(f"{name}: p99", "ms", (statistics.quantiles(values, n=100)[98],))
