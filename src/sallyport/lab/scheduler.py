"""Which node a pod runs on: the smallest part of kube-scheduler that a lab needs. Pure."""

from collections.abc import Iterable, Mapping

from sallyport.lab.pods import LabPod
from sallyport.lab.topology import NodeMachine


def choose(pod: LabPod, nodes: Iterable[NodeMachine], cordoned: frozenset[str], load: Mapping[str, int]) -> str | None:
    """The node with the fewest pods of those whose labels fit the pod's nodeSelector; None while there is none."""
    fitting = [
        node
        for node in nodes
        if node.name not in cordoned
        and all(node.labels.get(key) == value for key, value in pod.spec.node_selector.items())
    ]
    best = min(fitting, key=lambda node: (load.get(node.name, 0), node.name), default=None)
    return best.name if best else None
