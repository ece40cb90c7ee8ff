"""Antrea's objects, translated into the model object by object: a bad one costs itself only."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_interface, ip_network

from sallyport.apis.antrea.objects import Objects
from sallyport.apis.antrea.types import LIMIT_ANNOTATION, Egress, ExternalIPPool, IPRange
from sallyport.apis.core import Node as KubeNode
from sallyport.apis.core import Pod
from sallyport.model.state import (
    AddressRange,
    Client,
    ClusterState,
    Exit,
    IPAddress,
    Networks,
    Node,
    ObjectRef,
    PodKey,
    Pool,
    Problem,
)

ALLOCATED_ANNOTATION = "sallyport.io/allocated-ip"


def translate(objects: Objects) -> ClusterState:
    """The state that the objects describe, with a problem for each part that cannot be honoured."""
    problems: list[Problem] = []
    nodes = {node.metadata.name: _node(node, problems) for node in objects.nodes}
    labels = {node.metadata.name: node.metadata.labels for node in objects.nodes}
    namespaces = {item.metadata.name: item.metadata.labels for item in objects.namespaces}
    pods = [pod for pod in objects.pods if _steerable(pod)]
    clients = {client.key: client for client in map(_client, pods)}
    return ClusterState(
        nodes=nodes,
        pools={pool.metadata.name: _pool(pool, labels, problems) for pool in objects.pools},
        exits={egress.metadata.name: _exit(egress, pods, namespaces, problems) for egress in objects.egresses},
        clients=clients,
        networks=Networks(
            pods=tuple(sorted({part for node in nodes.values() for part in node.pod_networks}, key=str)),
            services=tuple(ip_network(text) for text in objects.service_networks),
        ),
        problems=tuple(problems),
    )


def _steerable(pod: Pod) -> bool:
    """Pods with a network of their own that still run: host-network ones share their node's address."""
    return bool(pod.spec.node_name) and not pod.spec.host_network and not pod.finished and bool(pod.addresses)


def _client(pod: Pod) -> Client:
    meta = pod.metadata
    return Client(meta.namespace, meta.name, pod.spec.node_name, tuple(ip_address(text) for text in pod.addresses))


def _node(node: KubeNode, problems: list[Problem]) -> Node:
    ref = ObjectRef("Node", node.metadata.name, uid=node.metadata.uid)
    addresses = [
        ip_address(item.address)
        for kind in ("InternalIP", "ExternalIP")
        for item in node.status.addresses
        if item.type == kind
    ]
    limit: int | None = None
    text = node.metadata.annotations.get(LIMIT_ANNOTATION)
    if text is not None:
        if text.isascii() and text.isdigit():
            limit = int(text)
        else:
            message = f"annotation {LIMIT_ANNOTATION} is {text!r}, not a number of egress IPs; the default applies"
            problems.append(Problem(ref, "InvalidAnnotation", message, f"metadata.annotations[{LIMIT_ANNOTATION}]"))
    networks = tuple(ip_network(part) for part in node.pod_networks)
    return Node(node.metadata.name, tuple(dict.fromkeys(addresses)), networks, limit)


def _pool(pool: ExternalIPPool, labels: Mapping[str, Mapping[str, str]], problems: list[Problem]) -> Pool:
    ref = ObjectRef("ExternalIPPool", pool.metadata.name, uid=pool.metadata.uid)
    ranges = tuple(part for item in pool.spec.ip_ranges if (part := _range(item)) is not None)
    chosen = frozenset(name for name, values in labels.items() if pool.spec.node_selector.matches(values))
    return Pool(ref, ranges, chosen)


def _range(item: IPRange) -> AddressRange | None:
    if not item.cidr:
        return AddressRange(ip_address(item.start), ip_address(item.end))
    network = ip_interface(item.cidr).network
    first = int(network.network_address) + 1
    last = int(network.broadcast_address) - (1 if network.version == 4 else 0)
    make = type(network.network_address)
    return AddressRange(make(first), make(last)) if first <= last else None


def _exit(
    egress: Egress, pods: Iterable[Pod], namespaces: Mapping[str, Mapping[str, str]], problems: list[Problem]
) -> Exit:
    spec, meta = egress.spec, egress.metadata
    requested: IPAddress | None = ip_address(spec.egress_ip) if spec.egress_ip else None
    bandwidth = None
    return Exit(
        ref=ObjectRef("Egress", meta.name, uid=meta.uid),
        created=meta.creation_timestamp or "",
        requested=requested,
        pool=spec.external_ip_pool or None,
        clients=tuple(_selected(egress, pods, namespaces)),
        bandwidth=bandwidth,
        allocated=bool(spec.egress_ip) and meta.annotations.get(ALLOCATED_ANNOTATION) == spec.egress_ip,
        id=egress.status.id,
        nodes=egress.status.nodes,
        holder=egress.status.egress_node,
    )


def _selected(egress: Egress, pods: Iterable[Pod], namespaces: Mapping[str, Mapping[str, str]]) -> Iterable[PodKey]:
    chosen = egress.spec.applied_to
    if chosen.pod_selector is None and chosen.namespace_selector is None:
        return
    for pod in pods:
        namespace = namespaces.get(pod.metadata.namespace, {})
        if chosen.namespace_selector is not None and not chosen.namespace_selector.matches(namespace):
            continue
        if chosen.pod_selector is None or chosen.pod_selector.matches(pod.metadata.labels):
            yield (pod.metadata.namespace, pod.metadata.name)
