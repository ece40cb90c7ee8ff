"""Which node a pod runs on: the smallest part of kube-scheduler that a lab needs. Pure."""

from collections.abc import Iterable, Mapping

from sallyport.apis.core import Node
from sallyport.lab.pods import LabPod


def choose(pod: LabPod, nodes: Iterable[Node], load: Mapping[str, int]) -> str | None:
    """The node with the fewest pods of those that are not cordoned and fit its nodeSelector; None if none does."""
    fitting = [
        node.metadata.name
        for node in nodes
        if not node.spec.unschedulable
        and all(node.metadata.labels.get(key) == value for key, value in pod.spec.node_selector.items())
    ]
    return min(fitting, key=lambda name: (load.get(name, 0), name), default=None)
