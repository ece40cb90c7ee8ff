"""A holder loses power while a pod on another node sends requests: how long until they are answered again."""

import time
from datetime import datetime
from itertools import pairwise

from bench.figures import Figure
from sallyport.lab.driving import Asked, Lab, answers, until

RUNS = 5
INTERVAL = 0.02
SERVER = "203.0.113.10"
OBJECTS = """
apiVersion: crd.antrea.io/v1beta1
kind: ExternalIPPool
metadata: {name: pool}
spec: {ipRanges: [{start: 10.10.0.11, end: 10.10.0.11}], nodeSelector: {}}
---
apiVersion: crd.antrea.io/v1beta1
kind: Egress
metadata: {name: egress}
spec: {appliedTo: {podSelector: {matchLabels: {app: web}}}, externalIPPool: pool}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default, labels: {app: web}}
spec: {nodeName: NODE, containers: [{name: web, image: none}]}
"""


def measure() -> list[Figure]:
    """Seconds of silence, and requests lost, over several power cuts; and how long a lab needs to come up."""
    began = time.perf_counter()
    lab = Lab.up("default", "bench")
    up = time.perf_counter() - began
    try:
        lab.kubectl("apply", "-f", "-", text=OBJECTS)
        until(lambda: bool(_holder(lab)), "a holder")
        node = next(item.name for item in lab.topology.nodes if item.name != _holder(lab))
        lab.kubectl("apply", "-f", "-", text=POD.replace("NODE", node))
        lab.kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=20s")
        until(lambda: lab.ask("default/web", "http", SERVER).source == "10.10.0.11", "the egress IP")
        silences, lost = zip(*(_cut(lab) for _ in range(RUNS)), strict=True)
    finally:
        lab.down()
    return [
        Figure("lab of 3 nodes up", "s", (up,)),
        Figure("holder lost power until requests are answered again", "s", silences),
        Figure(f"requests lost, one each {INTERVAL:g} s with a limit of 0.1 s", "", lost),
    ]


def _holder(lab: Lab) -> str:
    return str(lab.objects("egress", "egress")[0].get("status", {}).get("egressNode", ""))


def _cut(lab: Lab) -> tuple[float, float]:
    """Cut the power of the holder once; give it back, and wait until it holds the address again."""
    node = _holder(lab)
    asked: list[Asked] = []
    with lab.asker("default/web", "http", SERVER, timeout=0.1, count=200, interval=INTERVAL) as child:
        for item in answers(child):
            if item.source not in ("", "10.10.0.11"):
                raise AssertionError(f"a request left as {item.source}")
            asked.append(item)
            if len(asked) == 20:
                lab.sallyport("lab", "power-off", node, "--name", lab.name)
    lab.sallyport("lab", "power-on", node, "--name", lab.name)
    until(lambda: _holder(lab) == node, f"{node} holds the address again", 20)
    answered = [datetime.fromisoformat(item.time).timestamp() for item in asked if item.source]
    silence = max(later - earlier for earlier, later in pairwise(answered))
    return silence, float(len(asked) - len(answered))
