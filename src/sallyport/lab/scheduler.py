"""Which node a pod runs on: as much of kube-scheduler as a lab needs. Pure.

The filters, their order and their words are kube-scheduler's (pkg/scheduler/framework/plugins). Of the nodes that are
left, the one is taken that is preferred most, then is spread best, then has the fewest pods.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sallyport.lab.affinity import LabNode, PodTerm, Spread, Taint
from sallyport.lab.pods import LabPod
from sallyport.selectors.kubernetes import LabelSelector

CORDONED = Taint("node.kubernetes.io/unschedulable")
"""What Kubernetes taints a cordoned node with."""
UNREACHABLE = Taint("node.kubernetes.io/unreachable")
"""What Kubernetes taints a node with whose kubelet has fallen silent."""

_UNEVEN = "didn't match pod topology spread constraints"
_SHUNNED = "didn't match pod anti-affinity rules"
_SHUNNING = "didn't satisfy existing pods anti-affinity rules"
_WITH_OTHER_PODS = (_UNEVEN, _SHUNNED, _SHUNNING)
"""Faults of a node that would be gone with some of its pods."""
_NO_HELP = "Preemption is not helpful for scheduling"

Filter = Callable[[LabNode], str]
"""Why a node does not fit, "" when it does."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a pod is to run; `node` is "" when it fits nowhere, and `why` then a sentence."""

    node: str = ""
    why: str = ""


def place(pod: LabPod, nodes: Sequence[LabNode], pods: Iterable[LabPod]) -> Placement:
    """The node for a pod. Of `pods` those count that are on a node and have not ended."""
    if not nodes:
        return Placement(why="no nodes available to schedule pods")
    by_name = {node.metadata.name: node for node in nodes}
    here = _Here(by_name, [other for other in pods if other.spec.node_name in by_name and not other.finished])
    filters = (_tainted(pod), _unselected(pod), _uneven(pod, here), _apart(pod, here))
    faults: Counter[str] = Counter()
    fitting: list[LabNode] = []
    for node in nodes:
        fault = next((text for text in (check(node) for check in filters) if text), "")
        if fault:
            faults[fault] += 1
        else:
            fitting.append(node)
    if not fitting:
        return Placement(why=_nowhere(len(nodes), faults))
    rank = _rank(pod, here)
    return Placement(min(fitting, key=rank).metadata.name)


def _nowhere(count: int, faults: Counter[str]) -> str:
    """Why a pod fits nowhere, in the words of version 1.36; the second half is about nodes on which lower pods would
    have to give way, and a lab has none of those."""
    reasons = Counter({f"node(s) {fault}": many for fault, many in faults.items()})
    helpless = Counter[str]()
    for fault, many in faults.items():
        removable = fault in _WITH_OTHER_PODS
        helpless["No preemption victims found for incoming pod" if removable else _NO_HELP] += many
    first, second = (", ".join(sorted(f"{many} {text}" for text, many in each.items())) for each in (reasons, helpless))
    available = f"0/{count} nodes are available: "
    return f"{available}{first}. no new claims to deallocate, preemption: {available}{second}."


@dataclass(frozen=True, slots=True)
class _Here:
    """The pods that run, and the nodes they run on."""

    nodes: Mapping[str, LabNode]
    pods: Sequence[LabPod]

    def places(self, key: str, counted: Callable[[LabPod], bool]) -> Counter[str]:
        """How many of these pods run in each place, a place being a value of the node label `key`."""
        labels = ((self.nodes[pod.spec.node_name].metadata.labels, pod) for pod in self.pods)
        return Counter(found[key] for found, pod in labels if key in found and counted(pod))


# Taints, cordons, node selectors


def _tainted(pod: LabPod) -> Filter:
    def check(node: LabNode) -> str:
        if node.spec.unschedulable and not _tolerated(pod, CORDONED):
            return "were unschedulable"
        for taint in node.spec.taints:
            if taint.effect in ("NoSchedule", "NoExecute") and not _tolerated(pod, taint):
                return "had untolerated taint(s)"
        return ""

    return check


def _tolerated(pod: LabPod, taint: Taint) -> bool:
    return any(item.tolerates(taint) for item in pod.spec.tolerations)


def _unselected(pod: LabPod) -> Filter:
    return lambda node: "" if _selected(pod, node) else "didn't match Pod's node affinity/selector"


def _selected(pod: LabPod, node: LabNode) -> bool:
    labels = node.metadata.labels
    required = pod.spec.affinity.node_affinity.required
    return all(labels.get(key) == value for key, value in pod.spec.node_selector.items()) and (
        required is None or any(term.matches(labels) for term in required.node_selector_terms)
    )


# Even spreading


def _uneven(pod: LabPod, here: _Here) -> Filter:
    hard = [item for item in pod.spec.topology_spread_constraints if item.when_unsatisfiable == "DoNotSchedule"]
    counted = [(item, _spread(pod, item, here)) for item in hard]

    def check(node: LabNode) -> str:
        for item, counts in counted:
            place = node.metadata.labels.get(item.topology_key)
            if place is None:
                return f"{_UNEVEN} (missing required label)"
            least = min(counts.values(), default=0) if len(counts) >= (item.min_domains or 1) else 0
            own = _selects(item.label_selector, item.match_label_keys, pod, pod)
            if counts[place] + own - least > item.max_skew:
                return _UNEVEN
        return ""

    return check


def _spread(pod: LabPod, item: Spread, here: _Here) -> Counter[str]:
    """How many pods each place has, also the empty ones, on the nodes that the pod could select."""
    keys = {each.topology_key for each in pod.spec.topology_spread_constraints}
    eligible = {
        name: node for name, node in here.nodes.items() if _selected(pod, node) and keys <= node.metadata.labels.keys()
    }

    def counted(other: LabPod) -> bool:
        return (
            other.spec.node_name in eligible
            and other.metadata.namespace == pod.metadata.namespace
            and not other.metadata.deletion_timestamp
            and _selects(item.label_selector, item.match_label_keys, pod, other)
        )

    counts = here.places(item.topology_key, counted)
    for node in eligible.values():
        counts.setdefault(node.metadata.labels[item.topology_key], 0)
    return counts


def _selects(selector: LabelSelector | None, keys: Iterable[str], pod: LabPod, other: LabPod) -> bool:
    """Whether a selector of `pod` means `other`, which has the same values of the labels `keys`."""
    mine, labels = pod.metadata.labels, other.metadata.labels
    return (
        selector is not None
        and selector.matches(labels)
        and all(labels.get(key) == mine[key] for key in keys if key in mine)
    )


# Together and apart


def _means(pod: LabPod, term: PodTerm, other: LabPod) -> bool:
    """Whether a term of `pod` means `other`."""
    namespaces = term.namespaces or (pod.metadata.namespace,)
    return other.metadata.namespace in namespaces and _selects(term.label_selector, term.match_label_keys, pod, other)


def _apart(pod: LabPod, here: _Here) -> Filter:
    """Required affinity and anti-affinity, and the anti-affinity of those that are there already."""
    together = pod.spec.affinity.pod_affinity.required

    def meant_by_all(other: LabPod) -> bool:
        return all(_means(pod, term, other) for term in together)

    wanted = [(term.topology_key, here.places(term.topology_key, meant_by_all)) for term in together]
    first = meant_by_all(pod) and not any(places for _, places in wanted)  # somebody has to be the first of a group
    shunned = [
        (term.topology_key, here.places(term.topology_key, lambda other, term=term: _means(pod, term, other)))  # type: ignore[misc]
        for term in pod.spec.affinity.pod_anti_affinity.required
    ]
    taken = {
        (term.topology_key, here.nodes[other.spec.node_name].metadata.labels.get(term.topology_key))
        for other in here.pods
        for term in other.spec.affinity.pod_anti_affinity.required
        if _means(other, term, pod)
    }

    def check(node: LabNode) -> str:
        labels = node.metadata.labels
        if any(key not in labels or not (first or places[labels[key]]) for key, places in wanted):
            return "didn't match pod affinity rules"
        if any(key in labels and places[labels[key]] for key, places in shunned):
            return _SHUNNED
        if any(value is not None and labels.get(key) == value for key, value in taken):
            return _SHUNNING
        return ""

    return check


# Preferences


def _rank(pod: LabPod, here: _Here) -> Callable[[LabNode], tuple[int, int, int, int, str]]:
    """Orders nodes, the best first."""
    affinity = pod.spec.affinity
    signed = [(1, item) for item in affinity.pod_affinity.preferred]
    signed += [(-1, item) for item in affinity.pod_anti_affinity.preferred]
    liked = []
    for sign, item in signed:
        term = item.pod_affinity_term
        places = here.places(term.topology_key, lambda other, term=term: _means(pod, term, other))  # type: ignore[misc]
        liked.append((sign * item.weight, term.topology_key, places))
    soft = [item for item in pod.spec.topology_spread_constraints if item.when_unsatisfiable == "ScheduleAnyway"]
    spread = [(item.topology_key, _spread(pod, item, here)) for item in soft]
    load = Counter(other.spec.node_name for other in here.pods)

    def rank(node: LabNode) -> tuple[int, int, int, int, str]:
        labels, name = node.metadata.labels, node.metadata.name
        worth = sum(item.weight for item in affinity.node_affinity.preferred if item.preference.matches(labels))
        worth += sum(weight * places[labels[key]] for weight, key, places in liked if key in labels)
        avoided = sum(item.effect == "PreferNoSchedule" and not _tolerated(pod, item) for item in node.spec.taints)
        crowd = sum(counts[labels[key]] if key in labels else len(here.pods) + 1 for key, counts in spread)
        return (avoided, -worth, crowd, load[name], name)

    return rank
