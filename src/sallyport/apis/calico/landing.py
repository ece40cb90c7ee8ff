"""On which nodes pods of a gateway may land, as far as their template says: nodeSelector, required node affinity, and
tolerations.

Source: k8s.io/api/core/v1 (NodeAffinity, Taint, Toleration). What is not understood counts as fitting.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from sallyport.apis.calico.types import TemplateSpec
from sallyport.apis.core import Node, Taint
from sallyport.selectors.kubernetes import OPERATORS, Requirement

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def landing(template: TemplateSpec, nodes: Iterable[Node]) -> list[str]:
    """Names of the nodes that fit, in order. Cordoned ones do: that passes."""
    return sorted(node.metadata.name for node in nodes if _fits(template, node))


def _fits(template: TemplateSpec, node: Node) -> bool:
    labels = _labels(node)
    return (
        all(labels.get(name) == value for name, value in template.node_selector.items())
        and _is_near(template.affinity, labels, node.metadata.name)
        and all(any(_tolerates(item, taint) for item in template.tolerations) for taint in _repelling(node))
    )


def _labels(node: Node) -> Mapping[str, str]:
    """With those that every kubelet sets and manifests leave out."""
    return {
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": node.metadata.name,
        **node.metadata.labels,
    }


def _is_near(affinity: Mapping[str, Any], labels: Mapping[str, str], name: str) -> bool:
    try:
        required = msgspec.convert(affinity, _Affinity).node_affinity.required
    except msgspec.ValidationError:
        return True
    if required is None:
        return True
    return any(
        (term.match_expressions or term.match_fields)
        and all(_matches(item, labels) for item in term.match_expressions)
        and all(_matches(item, {"metadata.name": name}) for item in term.match_fields)
        for term in required.node_selector_terms
    )


def _matches(item: Requirement, labels: Mapping[str, str]) -> bool:
    """Gt and Lt count as fitting."""
    return item.operator not in OPERATORS or item.matches(labels)


def _repelling(node: Node) -> list[Taint]:
    return [item for item in node.spec.taints if item.effect in ("NoSchedule", "NoExecute")]


def _tolerates(toleration: Mapping[str, Any], taint: Taint) -> bool:
    key, effect = toleration.get("key") or "", toleration.get("effect") or ""
    exists = toleration.get("operator") == "Exists"
    return (
        (key == taint.key or (not key and exists))
        and effect in ("", taint.effect)
        and (exists or (toleration.get("value") or "") == taint.value)
    )


class _Term(msgspec.Struct, rename="camel"):
    match_expressions: tuple[Requirement, ...] = ()
    match_fields: tuple[Requirement, ...] = ()


class _Terms(msgspec.Struct, rename="camel"):
    node_selector_terms: tuple[_Term, ...] = ()


class _NodeAffinity(msgspec.Struct):
    required: _Terms | None = msgspec.field(default=None, name=_REQUIRED)


class _Affinity(msgspec.Struct, rename="camel"):
    node_affinity: _NodeAffinity = msgspec.field(default_factory=_NodeAffinity)
