"""What a pod may ask of the node that it runs on, and what a node keeps pods off with, as the lab's scheduler reads it.

Source: k8s.io/api/core/v1 (Affinity, TopologySpreadConstraint, Taint, Toleration).
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from sallyport.apis.core import ObjectMeta
from sallyport.apis.resource import Resource
from sallyport.selectors.kubernetes import LabelSelector, Requirement

_REQUIRED: Any = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Any = "preferredDuringSchedulingIgnoredDuringExecution"


class NodeTerm(Struct, frozen=True, rename="camel"):
    """Requirements on a node's labels, all of which hold. One without any matches no node."""

    match_expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a node with these labels fits."""
        return bool(self.match_expressions) and all(item.matches(labels) for item in self.match_expressions)


class NodeTerms(Struct, frozen=True, rename="camel"):
    """A node fits when one of the terms does."""

    node_selector_terms: tuple[NodeTerm, ...] = ()


class PreferredNode(Struct, frozen=True):
    """Nodes that are worth `weight` (1 to 100) more than others."""

    weight: int = 1
    preference: NodeTerm = field(default_factory=NodeTerm)


class NodeAffinity(Struct, frozen=True):
    """Which nodes a pod must (None: any) and would rather run on."""

    required: NodeTerms | None = field(default=None, name=_REQUIRED)
    preferred: tuple[PreferredNode, ...] = field(default=(), name=_PREFERRED)


class PodTerm(Struct, frozen=True, rename="camel"):
    """Other pods, of the given `namespaces` (none: of the pod's own), and the node label whose value is one place.

    Without a selector it means no pod. `match_label_keys` are labels that such a pod has the same values of.
    """

    topology_key: str = ""
    label_selector: LabelSelector | None = None
    namespaces: tuple[str, ...] = ()
    match_label_keys: tuple[str, ...] = ()


class WeightedPodTerm(Struct, frozen=True, rename="camel"):
    """A place is worth `weight` (1 to 100) more, or less, for each such pod in it."""

    weight: int = 1
    pod_affinity_term: PodTerm = field(default_factory=PodTerm)


class PodAffinity(Struct, frozen=True):
    """Pods that a pod must, or would rather, share a place with; or, as an anti-affinity, not share it with."""

    required: tuple[PodTerm, ...] = field(default=(), name=_REQUIRED)
    preferred: tuple[WeightedPodTerm, ...] = field(default=(), name=_PREFERRED)


class Affinity(Struct, frozen=True, rename="camel"):
    """All of a pod's affinities."""

    node_affinity: NodeAffinity = field(default_factory=NodeAffinity)
    pod_affinity: PodAffinity = field(default_factory=PodAffinity)
    pod_anti_affinity: PodAffinity = field(default_factory=PodAffinity)


class Spread(Struct, frozen=True, rename="camel"):
    """How evenly pods are spread: no place has more than `max_skew` of them more than the emptiest one.

    `when_unsatisfiable` is DoNotSchedule or ScheduleAnyway. With fewer places than `min_domains` (None: 1) the emptiest
    one counts as empty.
    """

    topology_key: str = ""
    max_skew: int = 1
    when_unsatisfiable: str = "DoNotSchedule"
    label_selector: LabelSelector | None = None
    match_label_keys: tuple[str, ...] = ()
    min_domains: int | None = None


class Taint(Struct, frozen=True):
    """Keeps pods off a node; `effect` is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"


class Toleration(Struct, frozen=True):
    """Taints that a pod puts up with; `operator` is Equal or Exists, "" as key or effect means every one."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""

    def tolerates(self, taint: Taint) -> bool:
        """Whether it speaks of this taint."""
        if self.effect not in ("", taint.effect) or self.key not in ("", taint.key):
            return False
        return self.operator == "Exists" or (self.key != "" and self.value == taint.value)


class LabNodeSpec(Struct, frozen=True):
    """What keeps pods off a node; `unschedulable` is that it is cordoned."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class LabNode(Struct, frozen=True):
    """A node as a scheduler sees it."""

    metadata: ObjectMeta
    spec: LabNodeSpec = field(default_factory=LabNodeSpec)


LAB_NODES: Resource[LabNode] = Resource("", "v1", "nodes", "Node", False, LabNode)
