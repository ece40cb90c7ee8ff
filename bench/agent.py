"""What one agent costs its node: memory, CPU at rest, and CPU while pods come and go.

The same node as that of `events`, in a cluster of 200 nodes and 10,000 Egresses. Of 50 pods a second in the cluster a
node sees its 200th part; beside that stands a node on which all 50 are.
"""

import time
from collections.abc import Iterator

from bench.figures import Figure
from bench.networks import usage
from bench.onenode import NODES, OneNode, pod, running

SIZE = 10_000
LOOKED_AT = 30.0
"""Seconds over which CPU is counted."""
CHURN = 50
"""Pods that come, and as many that go, in a second."""
_SPARE = 130
"""Numbers of pods that come and go begin here."""


def measure() -> list[Figure]:
    """Shares of a core, commands that the agent starts included, and MiB."""
    with running(SIZE) as node:
        return list(_measured(node))


def _measured(node: OneNode) -> Iterator[Figure]:
    yield Figure("share of a core at rest", "%", (_share(node, 0),))
    yield Figure("share of a core, 50 pods a second in the cluster", "%", (_share(node, CHURN / NODES),))
    yield Figure("share of a core, 50 pods a second on this node", "%", (_share(node, CHURN),))
    yield Figure("memory", "MiB", (usage(node.pid).memory,))


def _share(node: OneNode, rate: float) -> float:
    """While that many pods a second come, each gone half a second later."""
    before, began, number = usage(node.pid), time.monotonic(), 0
    while (passed := time.monotonic() - began) < LOOKED_AT:
        if rate and passed * rate > number:
            node.api.put("pods", pod(_SPARE + number % 100, f"g{number % SIZE}"))
            gone = _SPARE + (number - CHURN // 2) % 100
            if number >= CHURN // 2:
                node.api.remove("pods", [f"pod-{gone}"])
            number += 1
        time.sleep(0.002)
    return 100 * (usage(node.pid).cpu - before.cpu) / LOOKED_AT
