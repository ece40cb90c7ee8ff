"""What the objects of a cluster mean, in the words of the model.

An object that makes no sense yields a Problem on itself; all others are translated. Whatever is wrong with an Egress,
it stays an exit (one without an address where need be), so that its pods' traffic is dropped and not let out by a
node's own address.
"""

import bisect
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from sallyport.apis.antrea.config import Configuration, read_configuration
from sallyport.apis.antrea.objects import Objects
from sallyport.apis.antrea.types import LIMIT_ANNOTATION, Egress, ExternalIPPool, IPRange, SubnetInfo
from sallyport.apis.core import Node, ObjectMeta, Pod
from sallyport.apis.quantity import parse_quantity
from sallyport.model import state as model
from sallyport.model.addresses import Claims, family_of, parse_address, parse_network, span, usable, whole
from sallyport.model.state import AddressRange, ClusterState, IPAddress, IPNetwork, ObjectRef, Problem
from sallyport.selectors.index import LabelIndex, PodSelector, PodSelectorIndex
from sallyport.selectors.kubernetes import LabelSelector, faults

ALLOCATED_ANNOTATION = "sallyport.io/allocated-ip"
"""On an Egress: the address that the controller chose by itself, so that it may choose another one later."""

INVALID = "InvalidSpec"
UNSUPPORTED = "NotSupported"
OVERLAP = "OverlappingRanges"
BAD_ANNOTATION = "InvalidAnnotation"
NODE_ADDRESS = "NodeAddressInRange"


def translate(objects: Objects, *, namespaces_count: bool = False) -> ClusterState:
    """The cluster as the planners see it. Never raises on what a user wrote. `namespaces_count`: others too go by what
    is on namespaces, so that a pod whose namespace is not known yet is no client yet."""
    configuration, problems = read_configuration(objects.configmaps)
    found = list(problems)
    nodes = {item.metadata.name: node_of(item, found) for item in objects.nodes}
    clients = {
        client.key: client
        for pod in _decidable(objects, namespaces_count)
        if (client := client_of(pod, found)) is not None
    }
    exits = _exits(objects, clients.keys(), found)
    in_use = {address for item in exits.values() if (address := used_by(item)) is not None}
    pools = pools_of(objects.pools, objects.nodes, found)
    return ClusterState(
        nodes=nodes,
        pools=spared(pools, nodes, in_use, found),
        exits=exits,
        clients=clients,
        networks=networks_of(nodes, objects.service_networks, configuration),
        default_limit=configuration.limit,
        enabled=configuration.enabled,
        problems=tuple(sorted(set(found))),
    )


def reference(kind: str, meta: ObjectMeta) -> ObjectRef:
    """How conditions and events name an object."""
    return ObjectRef(kind, meta.name, meta.namespace, meta.uid)


def networks_of(
    nodes: Mapping[str, model.Node], service_networks: Iterable[str], configuration: Configuration
) -> model.Networks:
    """What no Egress governs."""
    services = [parse_network(text) for text in service_networks]
    return model.Networks(
        pods=_distinct(network for node in nodes.values() for network in node.pod_networks),
        services=_distinct([*services, *configuration.services]),
        excepted=_distinct(configuration.excepted),
    )


def _distinct(networks: Iterable[IPNetwork]) -> tuple[IPNetwork, ...]:
    return tuple(sorted(set(networks), key=lambda item: (item.version, int(item.network_address), item.prefixlen)))


def node_of(node: Node, problems: list[Problem]) -> model.Node:
    """What one Node means."""
    ref = reference("Node", node.metadata)
    addresses: list[IPAddress] = []
    for kind in ("InternalIP", "ExternalIP"):
        for index, item in enumerate(node.status.addresses):
            if item.type == kind:
                addresses += _parsed(item.address, ref, f"status.addresses[{index}].address", problems)
    networks: list[IPNetwork] = []
    for index, text in enumerate(node.pod_networks):
        try:
            networks.append(parse_network(text))
        except ValueError as error:
            problems.append(Problem(ref, INVALID, str(error), f"spec.podCIDRs[{index}]"))
    return model.Node(
        name=node.metadata.name,
        addresses=tuple(dict.fromkeys(addresses)),
        pod_networks=tuple(networks),
        limit=_limit(node, ref, problems),
    )


def by_namespace(egress: Egress) -> bool:
    """Whether labels of namespaces say which pods it selects."""
    return egress.spec.applied_to.namespace_selector is not None


def _decidable(objects: Objects, namespaces_count: bool) -> Iterable[Pod]:
    """Pods of which can be told whether an Egress selects them.

    A pod may be heard of before its namespace, since each kind is watched by itself. Where selectors ask for labels
    of namespaces, such a pod is no client yet: to call it free would let its first packets out by its node's address.
    """
    if not namespaces_count and not any(map(by_namespace, objects.egresses)):
        return objects.pods
    known = {item.metadata.name for item in objects.namespaces}
    return (pod for pod in objects.pods if pod.metadata.namespace in known)


def _limit(node: Node, ref: ObjectRef, problems: list[Problem]) -> int | None:
    text = node.metadata.annotations.get(LIMIT_ANNOTATION)
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    message = f"annotation {LIMIT_ANNOTATION} is {text!r} but must be a number, 0 or more; the default is used"
    problems.append(Problem(ref, BAD_ANNOTATION, message, f"metadata.annotations[{LIMIT_ANNOTATION}]"))
    return None


def client_of(pod: Pod, problems: list[Problem]) -> model.Client | None:
    """What one Pod means; None where none of its traffic is an exit's."""
    if pod.spec.host_network or not pod.spec.node_name or pod.finished:
        return None
    ref = reference("Pod", pod.metadata)
    addresses: dict[model.Family, IPAddress] = {}
    for index, text in enumerate(pod.addresses):
        for address in _parsed(text, ref, f"status.podIPs[{index}]", problems):
            addresses.setdefault(family_of(address), address)
    return model.Client(pod.metadata.namespace, pod.metadata.name, pod.spec.node_name, tuple(addresses.values()))


def _parsed(text: str, ref: ObjectRef, field: str, problems: list[Problem]) -> list[IPAddress]:
    try:
        return [parse_address(text)]
    except ValueError as error:
        problems.append(Problem(ref, INVALID, str(error), field))
        return []


def _parsed_or_none(text: str) -> IPAddress | None:
    """An address that one of us wrote into a status; somebody else may have written anything."""
    try:
        return parse_address(text)
    except ValueError:
        return None


def pools_of(
    pools: Iterable[ExternalIPPool], nodes: Iterable[Node], problems: list[Problem]
) -> Mapping[str, model.Pool]:
    """What pools mean together: of ranges that overlap, the older pool has them."""
    index = LabelIndex({node.metadata.name: node.metadata.labels for node in nodes if _is_linux(node)})
    claims = Claims()
    translated: dict[str, model.Pool] = {}
    for pool in sorted(pools, key=lambda item: (item.metadata.creation_timestamp or "", item.metadata.name)):
        ref = reference("ExternalIPPool", pool.metadata)
        problems += [
            Problem(ref, INVALID, f"{field}: {text}", field)
            for field, text in _selector_faults(pool.spec.node_selector, "spec.nodeSelector")
        ]
        ranges = [
            part
            for number, item in enumerate(pool.spec.ip_ranges)
            if (part := _range(item, ref, f"spec.ipRanges[{number}]", claims, problems)) is not None
        ]
        if pool.spec.subnet_info is not None:
            ranges = _in_subnet(ref, ranges, pool.spec.subnet_info, problems)
        made = model.Pool(ref, tuple(ranges), index.matching(pool.spec.node_selector))
        translated[made.key] = made
    return translated


def used_by(exit_: model.Exit) -> IPAddress | None:
    """The address of a pool that an exit has been given."""
    return exit_.requested if exit_.pools and exit_.id else None


def spared(
    pools: Mapping[str, model.Pool],
    nodes: Mapping[str, model.Node],
    in_use: Collection[IPAddress],
    problems: list[Problem],
) -> Mapping[str, model.Pool]:
    """Pools without the addresses that are some node's own: who took one for an egress IP would cut that node off.

    Those in use stay, since some clouds list the egress IPs that a node holds among its addresses.
    """
    owners = sorted((item.version, int(item), name) for name, node in nodes.items() for item in node.addresses)
    kept = {(item.version, int(item)) for item in in_use}
    spared: dict[str, model.Pool] = {}
    for key, pool in pools.items():
        ranges: list[AddressRange] = []
        for part in pool.ranges:
            version = part.first.version
            start = bisect.bisect_left(owners, (version, int(part.first), ""))
            inside = owners[start : bisect.bisect_left(owners, (version, int(part.last) + 1, ""))]
            ranges += _without(part, (number for _, number, _ in inside if (version, number) not in kept))
            if inside:
                address = type(part.first)(inside[0][1])
                text = f"range {part.first} to {part.last} holds {address}, an address of Node {inside[0][2]}"
                problems.append(
                    Problem(pool.ref, NODE_ADDRESS, f"{text}; no further Egress is given it", "spec.ipRanges")
                )
        spared[key] = replace(pool, ranges=tuple(ranges))
    return spared


def _without(part: AddressRange, holes: Iterable[int]) -> list[AddressRange]:
    """What is left of a range without some of its addresses."""
    make, low = type(part.first), int(part.first)
    pieces: list[AddressRange] = []
    for hole in sorted(set(holes)):
        if low < hole:
            pieces.append(AddressRange(make(low), make(hole - 1)))
        low = hole + 1
    return pieces if low > int(part.last) else [*pieces, AddressRange(make(low), part.last)]


def _is_linux(node: Node) -> bool:
    return node.metadata.labels.get("kubernetes.io/os", "linux") == "linux"


def _in_subnet(
    ref: ObjectRef, ranges: list[AddressRange], subnet: SubnetInfo, problems: list[Problem]
) -> list[AddressRange]:
    """Nothing is handed out of a tagged subnet yet: its addresses would be announced on the wrong network. Of an
    untagged one, everything but the address of its router."""
    effect = "its addresses are not handed out" if subnet.vlan else "its addresses are held on the nodes' own network"
    problems.append(Problem(ref, UNSUPPORTED, f"subnetInfo is not supported yet; {effect}", "spec.subnetInfo"))
    if subnet.vlan:
        return []
    (router,) = _parsed(subnet.gateway, ref, "spec.subnetInfo.gateway", problems) or (None,)
    return [
        piece
        for part in ranges
        for piece in _without(part, [int(router)] if router is not None and router in part else [])
    ]


def parse_range(item: IPRange) -> AddressRange:
    """All addresses that an entry of `ipRanges` covers. Raises ValueError with a sentence."""
    if item.cidr and (item.start or item.end):
        raise ValueError("cidr cannot be given together with start or end")
    return whole(parse_network(item.cidr)) if item.cidr else span(item.start, item.end)


def _range(item: IPRange, ref: ObjectRef, field: str, claims: Claims, problems: list[Problem]) -> AddressRange | None:
    try:
        part = parse_range(item)
    except ValueError as error:
        problems.append(Problem(ref, INVALID, str(error), field))
        return None
    if (other := claims.claim(part, ref.name)) is not None:
        where = "another range of this pool" if other == ref.name else f"a range of ExternalIPPool {other}"
        problems.append(Problem(ref, OVERLAP, f"range [{item}] overlaps with {where} and is not used", field))
        return None
    return usable(part, network=bool(item.cidr))


def _exits(objects: Objects, clients: Collection[model.PodKey], problems: list[Problem]) -> Mapping[str, model.Exit]:
    egresses = objects.egresses
    index = PodSelectorIndex(
        (selector for item in egresses if (selector := selector_of(item)) is not None),
        {item.metadata.name: item.metadata.labels for item in objects.namespaces},
    )
    selected: dict[str, list[model.PodKey]] = {item.metadata.name: [] for item in egresses}
    for pod in objects.pods:
        key = (pod.metadata.namespace, pod.metadata.name)
        if key in clients:
            for name in index.matching(pod.metadata.namespace, pod.metadata.labels):
                selected[name].append(key)
    return {item.metadata.name: exit_of(item, sorted(selected[item.metadata.name]), problems) for item in egresses}


def selector_of(egress: Egress) -> PodSelector | None:
    """The pods that it selects; an Egress with neither selector selects nothing."""
    applied = egress.spec.applied_to
    if applied.pod_selector is None and applied.namespace_selector is None:
        return None
    return PodSelector(egress.metadata.name, applied.pod_selector, applied.namespace_selector)


def exit_of(egress: Egress, clients: Iterable[model.PodKey], problems: list[Problem]) -> model.Exit:
    """What one Egress means."""
    ref, spec, status = reference("Egress", egress.metadata), egress.spec, egress.status
    for name in ("pod_selector", "namespace_selector"):
        selector = getattr(spec.applied_to, name)
        path = "spec.appliedTo.podSelector" if name == "pod_selector" else "spec.appliedTo.namespaceSelector"
        problems += [
            Problem(ref, INVALID, f"{field}: {text}", field) for field, text in _selector_faults(selector, path)
        ]
    if spec.egress_ips or spec.external_ip_pools:
        problems.append(Problem(ref, UNSUPPORTED, "egressIPs and externalIPPools are not supported yet", "spec"))
    elif not spec.egress_ip and not spec.external_ip_pool:
        problems.append(Problem(ref, INVALID, "neither egressIP nor externalIPPool is given", "spec"))
    requested = _parsed(spec.egress_ip, ref, "spec.egressIP", problems) if spec.egress_ip else []
    return model.Exit(
        ref=ref,
        created=egress.metadata.creation_timestamp or "",
        requested=requested[0] if requested else None,
        pools=(str(ObjectRef("ExternalIPPool", spec.external_ip_pool)),) if spec.external_ip_pool else (),
        clients=tuple(clients),
        bandwidth=_bandwidth(egress, ref, problems),
        allocated=bool(spec.egress_ip) and egress.metadata.annotations.get(ALLOCATED_ANNOTATION) == spec.egress_ip,
        decided=_parsed_or_none(status.allocated_ip),
        id=status.id,
        nodes=status.nodes,
        holder=status.egress_node,
        effective=_parsed_or_none(status.egress_ip),
    )


def _bandwidth(egress: Egress, ref: ObjectRef, problems: list[Problem]) -> model.Bandwidth | None:
    limit = egress.spec.bandwidth
    if limit is None:
        return None
    values: list[int] = []
    for name, text in (("rate", limit.rate), ("burst", limit.burst)):
        try:
            values.append(parse_quantity(text))
        except ValueError as error:
            problems.append(Problem(ref, INVALID, f"bandwidth is not limited: {error}", f"spec.bandwidth.{name}"))
    return model.Bandwidth(*values) if len(values) == 2 else None


def _selector_faults(selector: LabelSelector | None, path: str) -> list[tuple[str, str]]:
    return [] if selector is None else [(f"{path}.{field}", text) for field, text in faults(selector)]
