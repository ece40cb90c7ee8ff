"""Gateways of external networks run where their networks are: on nodes that peer with each of them.

Upstream leaves that to a label that the user puts into two places, and its guide forgets one of them. The peers'
nodeSelectors say it already, so they are put into the Deployment as required node affinity, besides what the user
asks for.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from sallyport.apis.calico.bgp import BGPPeer
from sallyport.apis.calico.types import EgressGateway
from sallyport.apis.core import Node
from sallyport.selectors.calico import (
    Both,
    Compared,
    Either,
    Everything,
    Has,
    Listed,
    Not,
    Selector,
    SelectorError,
    negation,
    parse,
)

Requirement = Mapping[str, Any]
"""One of matchExpressions of a node selector term (k8s.io/api/core/v1, NodeSelectorRequirement)."""
Term = tuple[Requirement, ...]
"""Requirements that a node has to meet all of; of several terms one is enough. An empty one is met by every node."""

MOST_TERMS = 16
"""A selector that takes more is written as the names of the nodes that it matches now."""
HOSTNAME = "kubernetes.io/hostname"


def near_networks(gateway: EgressGateway, peers: Iterable[BGPPeer], nodes: Sequence[Node]) -> tuple[Term, ...]:
    """Terms for the nodes that have a peer of each of a gateway's networks; none where all nodes will do. A network
    without a peer asks for nothing: its table may be filled by the user."""
    found: list[Term] = [()]
    for network in dict.fromkeys(gateway.spec.external_networks):
        own = [item for item in peers if item.spec.external_network == network]
        terms = [term for item in own for term in _terms(item, nodes)]
        if own and () not in terms:
            different = [term for index, term in enumerate(terms) if term not in terms[:index]]
            found = [_joined(one, other) for one, other in product(found, different)]
    return () if found == [()] else tuple(found[:MOST_TERMS])


def _terms(peer: BGPPeer, nodes: Sequence[Node]) -> list[Term]:
    """The nodes of one peer."""
    if peer.spec.node:
        return [({"key": HOSTNAME, "operator": "In", "values": [peer.spec.node]},)]
    if not peer.spec.node_selector:
        return [()]
    try:
        selector = parse(peer.spec.node_selector)
    except SelectorError:
        return []  # it selects no node, and says so
    terms = _alternatives(selector)
    if terms is not None and len(terms) <= MOST_TERMS:
        return terms
    names = sorted(item.metadata.name for item in nodes if selector.matches(item.metadata.labels))
    return [({"key": HOSTNAME, "operator": "In", "values": names},)] if names else []


def _alternatives(selector: Selector) -> list[Term] | None:
    """A selector as terms; None for what Kubernetes' node selectors cannot say, such as a part of a value."""
    match selector:
        case Everything():
            return [()]
        case Has() | Compared() | Listed():
            requirement = _requirement(selector, negated=False)
            return None if requirement is None else [(requirement,)]
        case Not(part=Has() | Compared() | Listed() as part):
            requirement = _requirement(part, negated=True)
            return None if requirement is None else [(requirement,)]
        case Not(part=Both(parts=parts)):
            return _alternatives(Either(tuple(negation(part) for part in parts)))
        case Not(part=Either(parts=parts)):
            return _alternatives(Both(tuple(negation(part) for part in parts)))
        case Either(parts=parts):
            each = [_alternatives(part) for part in parts]
            return None if None in each else [term for terms in each for term in terms or ()]
        case Both(parts=parts):
            return _combined([_alternatives(part) for part in parts])
        case _:
            return None


def _combined(each: Sequence[list[Term] | None]) -> list[Term] | None:
    found: list[Term] = [()]
    for terms in each:
        if terms is None or len(found) * len(terms) > MOST_TERMS:
            return None
        found = [_joined(one, other) for one, other in product(found, terms)]
    return found


def _joined(one: Term, other: Term) -> Term:
    return (*one, *(item for item in other if item not in one))


def _requirement(selector: Has | Compared | Listed, *, negated: bool) -> Requirement | None:
    """Kubernetes' NotIn holds where the label is absent, too, as Calico's `!=` and `not in` do."""
    match selector:
        case Has(key=key):
            return {"key": key, "operator": "DoesNotExist" if negated else "Exists"}
        case Listed(key=key, values=values, negated=turned):
            return {"key": key, "operator": "NotIn" if turned != negated else "In", "values": list(values)}
        case Compared(key=key, operator=("==" | "!=") as operator, value=value):
            return {"key": key, "operator": "NotIn" if (operator == "!=") != negated else "In", "values": [value]}
        case _:
            return None


def with_terms(affinity: Mapping[str, Any], terms: Sequence[Term]) -> dict[str, Any]:
    """A pod's affinity with these terms besides the node affinity that it requires already."""
    if not terms:
        return dict(affinity)
    node = dict(affinity.get("nodeAffinity") or {})
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    given = required.get("nodeSelectorTerms") or [{}]
    joined = [
        {**term, "matchExpressions": [*(term.get("matchExpressions") or ()), *more]} for term in given for more in terms
    ]
    node["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": joined}
    return {**affinity, "nodeAffinity": node}
