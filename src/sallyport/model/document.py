"""Plans as plain values, to be printed as YAML or JSON: one form for golden files, for people and for bug reports.

Keys are the words of `model.kernel` and `model.plan`. Everything is sorted, so equal plans print alike; a field that
has its default value is left out. Members of nftables sets are grouped by set: lists for sets, mappings for maps.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from sallyport.model.kernel import Chain, Element, KernelObject, Kind
from sallyport.model.plan import ClusterPlan, Decision, NodePlan
from sallyport.model.state import Problem

SECTIONS: Mapping[str, Kind] = {
    "links": Kind.LINK,
    "sysctls": Kind.SYSCTL,
    "tables": Kind.SKELETON,
    "addresses": Kind.ADDRESS,
    "neighbors": Kind.NEIGHBOR,
    "fdb": Kind.FDB,
    "next_hops": Kind.NEXT_HOP,
    "routes": Kind.ROUTE,
    "fibs": Kind.FIB,
    "rules": Kind.RULE,
    "chains": Kind.CHAIN,
    "peers": Kind.PEER,
    "sessions": Kind.SESSION,
}
"""A node plan's sections and the kinds that they hold; elements of sets are in the section `sets`."""


def node_document(plan: NodePlan) -> dict[str, Any]:
    """A node's plan: why (decisions, held addresses, problems) and what (objects by kind, empty kinds left out)."""
    document: dict[str, Any] = {
        "node": plan.node,
        "held": {name: str(address) for name, address in sorted(plan.held.items())},
        "announcements": [f"{address} on {device}" for device, address in plan.announcements],
        "decisions": [_decision(item) for item in sorted(plan.decisions, key=lambda item: (item.pod, item.family))],
        "problems": [_problem(item) for item in sorted(plan.problems)],
        **objects_document(plan.objects),
    }
    return {name: value for name, value in document.items() if value}


def objects_document(objects: Iterable[KernelObject]) -> dict[str, Any]:
    """Kernel objects by section, whether planned or read back."""
    held = list(objects)
    document: dict[str, Any] = {
        section: [_kernel_object(item) for item in sorted((i for i in held if i.kind is kind), key=_order)]
        for section, kind in SECTIONS.items()
    }
    document["sets"] = _sets(item for item in held if isinstance(item, Element))
    return {name: value for name, value in document.items() if value}


def _order(item: KernelObject) -> tuple[str, tuple[Any, ...]]:
    return (type(item).__name__, dataclasses.astuple(item))


def _kernel_object(item: KernelObject) -> dict[str, Any]:
    """Its fields; of a chain what it says besides, since its name alone tells a person nothing."""
    if isinstance(item, Chain):
        to = {network: target or "ordinary" for network, target in item.destinations}
        said = {"to": to, "fresh": list(item.fresh), "kept": list(item.kept)}
        return _fields(item) | {name: value for name, value in said.items() if value}
    return _fields(item)


def cluster_document(plan: ClusterPlan) -> dict[str, Any]:
    """The controller's decisions."""
    document: dict[str, Any] = {
        "assignments": {name: _fields(item) for name, item in sorted(plan.assignments.items())},
        "usage": {name: _fields(item) for name, item in sorted(plan.usage.items())},
        "clients": dict(sorted(plan.clients.items())),
        "chosen": {
            _pod(pod): {to: list(keys) for to, keys in sorted(by.items())} for pod, by in sorted(plan.chosen.items())
        },
        "watchers": {key: list(nodes) for key, nodes in sorted(plan.watchers.items())},
        "overlaps": [_fields(item) | {"pods": [_pod(pod) for pod in item.pods]} for item in plan.overlaps],
        "problems": [_problem(item) for item in sorted(plan.problems)],
    }
    return {name: value for name, value in document.items() if value}


def _decision(decision: Decision) -> dict[str, Any]:
    return _fields(decision) | {"pod": _pod(decision.pod)}


def _problem(problem: Problem) -> dict[str, Any]:
    return {"object": str(problem.ref)} | {k: v for k, v in _fields(problem).items() if k != "ref"}


def _pod(key: tuple[str, str]) -> str:
    return "/".join(key)


def _sets(elements: Iterable[Element]) -> dict[str, Any]:
    grouped: dict[str, dict[str, str]] = {}
    for item in sorted(elements, key=lambda item: item.key):
        grouped.setdefault(item.set, {})[item.member] = item.value
    return {name: members if any(members.values()) else list(members) for name, members in grouped.items()}


def _fields(value: Any) -> dict[str, Any]:
    """A dataclass's compared fields, without those that have their defaults."""
    return {
        item.name: _plain(getattr(value, item.name))
        for item in dataclasses.fields(value)
        if item.compare and getattr(value, item.name) != item.default
    }


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return value if value is None or isinstance(value, bool | int) else str(value)
