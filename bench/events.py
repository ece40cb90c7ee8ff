"""An event at the API until it is in force in the kernel of one node, 200 times over.

The agent's real process in a namespace with a real kernel, in a cluster of 200 nodes. The node has 110 pods and its
share of the egress IPs. The time runs from the moment at which the API server sends an event to that at which the
kernel tells (netlink) that a pod's traffic goes the new way; the controller has no part in it.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

from bench.figures import Figure
from bench.heard import Heard, elements
from bench.onenode import NODES, OneNode, egress, pod, running, until

EVENTS = 200
SIZES = (100, 10_000)
PAUSE = 0.08
"""Seconds after each event, so that it is the first one after a pause."""
SPARE = 200
"""Number of a pod that comes and goes."""

Change = Callable[[], object]


def measure() -> list[Figure]:
    """Milliseconds; all of the events, and the hundredth part that took longest."""
    return [figure for size in SIZES for figure in _at(size)]


def _at(size: int) -> Iterator[Figure]:
    with running(size) as node, _clients(node) as heard:
        gone, spare = partial(node.api.remove, "pods", [f"pod-{SPARE}"]), partial(_pod, node)
        yield from _figures(f"one more pod, {size} Egresses", _events(heard, partial(spare, "g5"), gone))
        spare("g5")
        yield from _figures(
            f"one label changed, {size} Egresses", _events(heard, partial(spare, "g6"), partial(spare, "g5"))
        )
        spare("fresh")
        come, left = partial(_egress, node, size), partial(node.api.remove, "egresses", [f"egress-{size:05}"])
        yield from _figures(f"one more Egress, {size} Egresses", _events(heard, come, left))


def _clients(node: OneNode) -> AbstractContextManager[Heard]:
    """The map that leads each client to its exit."""
    return elements(node.namespace, "sallyport", "clients4", deleted=True)


def _pod(node: OneNode, group: str) -> None:
    node.api.put("pods", pod(SPARE, group))


def _egress(node: OneNode, number: int) -> None:
    node.api.put("egresses", egress(number, "fresh", 7 % NODES))


def _events(heard: Heard, change: Change, back: Change) -> list[float]:
    """Milliseconds of each."""
    time.sleep(1)
    return [_timed(heard, change, back) for _ in range(EVENTS)]


def _timed(heard: Heard, change: Change, back: Change) -> float:
    """Of the change; then all is as before."""
    took = _until_heard(heard, change)
    _until_heard(heard, back)
    return took * 1000


def _until_heard(heard: Heard, change: Change) -> float:
    began = time.time()
    change()
    until(lambda: bool(heard.since(began)), "the change is in the kernel", 10)
    time.sleep(PAUSE)
    return heard.since(began)[0] - began


def _figures(name: str, values: list[float]) -> Iterator[Figure]:
    yield Figure(f"{name}: all", "ms", tuple(values))
    yield Figure(f"{name}: p99", "ms", (statistics.quantiles(values, n=100)[98],))
