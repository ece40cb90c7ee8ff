"""The objects that one translation reads."""

from dataclasses import dataclass

from sallyport.apis.antrea.types import Egress, ExternalIPPool
from sallyport.apis.core import ConfigMap, Namespace, Node, Pod


@dataclass(frozen=True, slots=True)
class Objects:
    """A snapshot. `pods` may be all of the cluster (controller) or one node's (agent)."""

    egresses: tuple[Egress, ...] = ()
    pools: tuple[ExternalIPPool, ...] = ()
    nodes: tuple[Node, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    pods: tuple[Pod, ...] = ()
    configmaps: tuple[ConfigMap, ...] = ()
    service_networks: tuple[str, ...] = ()
