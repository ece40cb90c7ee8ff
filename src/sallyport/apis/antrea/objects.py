"""The objects that one translation reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Changes:
    """What has become of objects of which there are many, by name (pods by namespace and name): each as it is now, None
    where it is gone."""

    egresses: Mapping[str, Egress | None] = field(default_factory=dict)
    pods: Mapping[tuple[str, str], Pod | None] = field(default_factory=dict)
