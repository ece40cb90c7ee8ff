"""Whether what is written fits together: gateways to the nodes of their networks, networks to peers, replicas to
addresses, clients to gateways.

All of it would be stored and may become right later; each is a `Problem`. Only what is among these objects is known.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from sallyport.apis.calico import annotations
from sallyport.apis.calico.bgp import BGPPeer
from sallyport.apis.calico.deployment import deployment, pools_of
from sallyport.apis.calico.landing import landing
from sallyport.apis.calico.objects import CalicoObjects
from sallyport.apis.calico.placement import near_networks, with_terms
from sallyport.apis.calico.references import Client
from sallyport.apis.calico.types import EgressGateway, IPPool
from sallyport.apis.core import Namespace, Node, ObjectMeta
from sallyport.model.addresses import parse_network
from sallyport.model.state import FAMILIES, Family, ObjectRef, Peering, Problem
from sallyport.selectors.calico import Everything, SelectorError, parse


def unfit(
    objects: CalicoObjects,
    nodes: Sequence[Node],
    namespaces: Iterable[Namespace],
    clients: Iterable[Client],
    peerings: Sequence[Peering],
) -> list[Problem]:
    """What does not fit. Of nodes nothing is said where there is none, and of clients where there is no gateway."""
    return [
        *_unpeered(objects),
        *(problem for item in peerings if nodes for problem in _nowhere(item)),
        *(problem for item in objects.gateways if nodes for problem in _astray(item, objects.peers, nodes)),
        *_crowded(objects),
        *_unselected(objects, namespaces, clients),
    ]


def _ref(kind: str, meta: ObjectMeta) -> ObjectRef:
    return ObjectRef(kind, meta.name, meta.namespace, meta.uid)


def _unpeered(objects: CalicoObjects) -> Iterator[Problem]:
    peered = {item.spec.external_network for item in objects.peers}
    for network in objects.networks:
        if network.metadata.name not in peered:
            message = "no BGPPeer in these files is of this network; without one its table is empty, unless you fill it"
            yield Problem(_ref("ExternalNetwork", network.metadata), "NoPeers", message)


def _nowhere(peering: Peering) -> Iterator[Problem]:
    if not peering.nodes and not peering.blocked:
        yield Problem(peering.ref, "NoNodes", "selects no Node of these files: no session is made", "spec.nodeSelector")


# Gateways and nodes


def _astray(gateway: EgressGateway, peers: Iterable[BGPPeer], nodes: Sequence[Node]) -> Iterator[Problem]:
    """Pods of a gateway run where it says and where all of its networks have a peer: upstream has the user make the two
    agree, here no such node is left only where they contradict each other."""
    ref, field = _ref("EgressGateway", gateway.metadata), "spec.template.spec.nodeSelector"
    template = gateway.spec.template.spec
    if not landing(template, nodes):
        message = "no Node of these files fits its nodeSelector, node affinity and tolerations: its pods wait"
        yield Problem(ref, "NoNodes", message, field)
        return
    near = with_terms(template.affinity, near_networks(gateway, peers, nodes))
    if not landing(msgspec.structs.replace(template, affinity=near), nodes):
        networks = " and ".join(dict.fromkeys(gateway.spec.external_networks))
        message = f"no Node of these files that it may run on has a peer of network {networks}: its pods wait"
        yield Problem(ref, "NotJoined", message, field)


# Gateways and addresses


def _crowded(objects: CalicoObjects) -> Iterator[Problem]:
    """Gateways that have one pool alone between them, and those whose pods cannot be replaced."""
    sharing: dict[tuple[Family, str], list[EgressGateway]] = {}
    for gateway in objects.gateways:
        for family, pools in _by_family(gateway, objects.pools).items():
            yield from _full(gateway, family, pools)
            if len(pools) == 1:
                sharing.setdefault((family, pools[0].metadata.name), []).append(gateway)
    sizes = {pool.metadata.name: parse_network(pool.spec.cidr).num_addresses for pool in objects.pools}
    for (_, name), gateways in sharing.items():
        wanted = sum(item.spec.replicas for item in gateways)
        if len(gateways) > 1 and wanted > sizes[name]:
            others = ", ".join(f"{item.metadata.namespace}/{item.metadata.name}" for item in gateways[:-1])
            message = f"IPPool {name} has {sizes[name]} addresses, but with {others} {wanted} replicas are to have one"
            yield Problem(_ref("EgressGateway", gateways[-1].metadata), "Conflict", message, "spec.replicas")


def _by_family(gateway: EgressGateway, pools: Sequence[IPPool]) -> dict[Family, list[IPPool]]:
    chosen = {pool.metadata.name: pool for pool in pools_of(gateway, pools)}.values()
    found = {
        family: [item for item in chosen if parse_network(item.spec.cidr).version == family] for family in FAMILIES
    }
    return {family: listed for family, listed in found.items() if listed}


def _full(gateway: EgressGateway, family: Family, pools: Iterable[IPPool]) -> Iterator[Problem]:
    room = sum(parse_network(pool.spec.cidr).num_addresses for pool in pools)
    if 0 < gateway.spec.replicas == room:
        message = f"the IPv{family} pools have no address to spare: in a rollout a gateway goes before the next comes"
        yield Problem(_ref("EgressGateway", gateway.metadata), "NoSpareAddress", message, "spec.replicas")


# Gateways and clients


@dataclass(frozen=True, slots=True)
class _Candidate:
    namespace: str
    labels: Mapping[str, str]


def _unselected(
    objects: CalicoObjects, namespaces: Iterable[Namespace], clients: Iterable[Client]
) -> Iterator[Problem]:
    """Selectors that no gateway of these files fits: all traffic that they are about would be dropped."""
    candidates = [_Candidate(pod.metadata.namespace, pod.metadata.labels) for pod in objects.pods]
    for gateway in objects.gateways:
        labels = deployment(gateway, objects.pools, "")["spec"]["template"]["metadata"]["labels"]
        candidates.append(_Candidate(gateway.metadata.namespace, labels))
    if not candidates:
        return
    known = {item.metadata.name: item.metadata.labels for item in namespaces}
    tail = "selects no gateway of these files: what it is about is dropped"
    for client in clients:
        meta = client.metadata
        text = meta.annotations.get(annotations.SELECTOR)
        if text and annotations.POLICY not in meta.annotations:
            kind, own = ("Namespace", meta.name) if isinstance(client, Namespace) else ("Pod", meta.namespace)
            spaces = meta.annotations.get(annotations.NAMESPACE_SELECTOR, "")
            if not _any(text, spaces, own, candidates, known):
                yield Problem(_ref(kind, meta), "NoGateway", tail, f"metadata.annotations.{annotations.SELECTOR}")
    for policy in objects.policies:
        for index, rule in enumerate(policy.spec.rules):
            wanted = rule.gateway
            if (
                wanted
                and wanted.namespace_selector
                and not _any(wanted.selector, wanted.namespace_selector, "", candidates, known)
            ):
                ref = _ref("EgressGatewayPolicy", policy.metadata)
                yield Problem(ref, "NoGateway", tail, f"spec.rules[{index}].gateway.selector")


def _any(
    selector: str, spaces: str, own: str, candidates: Iterable[_Candidate], known: Mapping[str, Mapping[str, str]]
) -> bool:
    """Whether any candidate fits; also true of what cannot be read, which is told elsewhere."""
    try:
        wanted, where = parse(selector), parse(spaces) if spaces else None
    except SelectorError:
        return True
    if isinstance(where, Everything) and where.is_global:
        return False  # what is outside of all namespaces: no pod is
    for item in candidates:
        labels = {**known.get(item.namespace, {}), annotations.NAMESPACE_NAME_LABEL: item.namespace}
        there = item.namespace == own if where is None else where.matches(labels)
        if there and wanted.matches(item.labels):
            return True
    return False
