"""What several objects of Calico's kinds say together: names that are nowhere, and what contradicts itself.

Neither keeps an object from being stored, since the other one may come later or change; each is a `Problem`. They
are told of objects that `validate` takes.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from sallyport.apis.calico import annotations
from sallyport.apis.calico.bgp import BGPPeer
from sallyport.apis.calico.felix import Felix, Support, read_felix
from sallyport.apis.calico.objects import CalicoObjects
from sallyport.apis.calico.types import EgressGateway, ExternalNetwork, FelixConfiguration, IPPool
from sallyport.apis.calico.values import parse_peer
from sallyport.apis.core import Namespace, ObjectMeta, Pod
from sallyport.model.addresses import parse_network
from sallyport.model.state import ObjectRef, Problem
from sallyport.selectors import calico

NOT_FOUND = "NotFound"
CONFLICT = "Conflict"
INVALID_ANNOTATION = "InvalidAnnotation"
NO_EFFECT = "NoEffect"

Client = Namespace | Pod
"""What may be annotated so as to be led to gateways."""


def missing(objects: CalicoObjects, clients: Iterable[Client]) -> list[Problem]:
    """Names of objects that are not among these, each told on the object that uses the name."""
    pools = {pool.metadata.name for pool in objects.pools}
    networks = {network.metadata.name for network in objects.networks}
    filters = {item.metadata.name for item in objects.filters}
    policies = {item.metadata.name for item in objects.policies}
    cidrs = {pool.spec.cidr for pool in objects.pools}
    found: list[Problem] = []
    for gateway in objects.gateways:
        ref = _ref("EgressGateway", gateway.metadata)
        for index, pool in enumerate(gateway.spec.ip_pools):
            path = f"spec.ipPools[{index}]"
            if pool.name:
                found += _absent(ref, f"{path}.name", "IPPool", pool.name, pools)
            elif pool.cidr not in cidrs:
                found += _absent(ref, f"{path}.cidr", "an IPPool with exactly the cidr", pool.cidr, cidrs)
        for index, name in enumerate(gateway.spec.external_networks):
            found += _absent(ref, f"spec.externalNetworks[{index}]", "ExternalNetwork", name, networks)
    for peer in objects.peers:
        ref = _ref("BGPPeer", peer.metadata)
        if peer.spec.external_network:
            found += _absent(ref, "spec.externalNetwork", "ExternalNetwork", peer.spec.external_network, networks)
        for index, name in enumerate(peer.spec.filters):
            found += _absent(ref, f"spec.filters[{index}]", "BGPFilter", name, filters)
    for client in clients:
        if policy := client.metadata.annotations.get(annotations.POLICY):
            path = f"metadata.annotations.{annotations.POLICY}"
            found += _absent(_of(client), path, "EgressGatewayPolicy", policy, policies)
    return found


def conflicts(objects: CalicoObjects, clients: Iterable[Client]) -> list[Problem]:
    """What cannot be as it reads, whatever other objects there may be: duplicates, overlaps, mismatches, and what has
    no effect as things are."""
    felix, _ = read_felix(objects.felix)
    asking = list(clients)
    found = [
        *_tables(objects, felix),
        *_pools(objects.pools),
        *_peers(objects),
        *(problem for gateway in objects.gateways for problem in _gateway(gateway, objects.pools)),
        *(problem for item in objects.felix for problem in _options(item)),
        *(problem for client in asking for problem in annotation_problems(_of(client), client.metadata.annotations)),
    ]
    default = next((item for item in objects.felix if item.metadata.name == "default"), None)
    return found if default is None else [*found, *_disabled(objects, asking, felix, default)]


def annotation_problems(ref: ObjectRef, given: Mapping[str, str]) -> list[Problem]:
    """What is wrong with the annotations by which a namespace or pod asks for gateways."""
    found: list[Problem] = []

    def tell(name: str, text: str) -> None:
        found.append(Problem(ref, INVALID_ANNOTATION, text, f"metadata.annotations.{name}"))

    for name in (annotations.SELECTOR, annotations.NAMESPACE_SELECTOR):
        if name in given and (reason := calico.fault(given[name])):
            tell(name, f"{given[name]!r} is no selector: {reason}")
    if annotations.SELECTOR not in given:
        for name in (annotations.NAMESPACE_SELECTOR, annotations.MAX_NEXT_HOPS):
            if name in given:
                tell(name, f"has no effect without {annotations.SELECTOR} on the same object")
    elif annotations.POLICY in given:
        tell(annotations.SELECTOR, f"does not count beside {annotations.POLICY}: the policy decides")
    hops = given.get(annotations.MAX_NEXT_HOPS, "0")
    if not (hops.isascii() and hops.isdecimal()):
        tell(annotations.MAX_NEXT_HOPS, f"{hops!r} must be a number, 0 or more")
    return found


def _of(client: Client) -> ObjectRef:
    return _ref("Namespace" if isinstance(client, Namespace) else "Pod", client.metadata)


def _ref(kind: str, meta: ObjectMeta) -> ObjectRef:
    return ObjectRef(kind, meta.name, meta.namespace, meta.uid)


def _absent(ref: ObjectRef, path: str, kind: str, name: str, known: set[str]) -> list[Problem]:
    return [] if name in known else [Problem(ref, NOT_FOUND, f"{kind} {name} does not exist", path)]


def _age(item: ExternalNetwork | IPPool | BGPPeer) -> tuple[str, str]:
    """The oldest first, and by name where no age is known, as in files."""
    return item.metadata.creation_timestamp or "", item.metadata.name


def _tables(objects: CalicoObjects, felix: Felix) -> Iterator[Problem]:
    owners: dict[int, str] = {}
    for network in sorted(objects.networks, key=_age):
        index = network.spec.route_table_index
        ref, path = _ref("ExternalNetwork", network.metadata), "spec.routeTableIndex"
        owner = owners.setdefault(index, network.metadata.name)
        if owner != network.metadata.name:
            yield Problem(ref, CONFLICT, f"table {index} is that of ExternalNetwork {owner}, too", path)
        for first, last in felix.tables:
            if first <= index <= last:
                message = f"table {index} is within routeTableRanges, {first} to {last}, which is used for other things"
                yield Problem(ref, CONFLICT, message, path)


def _pools(pools: Iterable[IPPool]) -> Iterator[Problem]:
    earlier: list[IPPool] = []
    for pool in sorted(pools, key=_age):
        for other in earlier:
            if parse_network(pool.spec.cidr).overlaps(parse_network(other.spec.cidr)):
                message = f"overlaps with IPPool {other.metadata.name}, {other.spec.cidr}"
                yield Problem(_ref("IPPool", pool.metadata), CONFLICT, message, "spec.cidr")
        earlier.append(pool)


def _peers(objects: CalicoObjects) -> Iterator[Problem]:
    """Routers of different networks must have different addresses, since a node knows a session by its address."""
    networks: dict[str, tuple[str, str]] = {}
    for peer in sorted(objects.peers, key=_age):
        address = str(parse_peer(peer.spec.peer_ip)[0])
        name, network = networks.setdefault(address, (peer.metadata.name, peer.spec.external_network))
        if network != peer.spec.external_network:
            where = f"of network {network}" if network else "of no network"
            message = f"{address} is the address of BGPPeer {name} {where}, too"
            yield Problem(_ref("BGPPeer", peer.metadata), CONFLICT, message, "spec.peerIP")


def _gateway(gateway: EgressGateway, pools: Iterable[IPPool]) -> Iterator[Problem]:
    ref = _ref("EgressGateway", gateway.metadata)
    by_name = {pool.metadata.name: pool for pool in pools}
    by_cidr = {pool.spec.cidr: pool for pool in pools}
    room: dict[str, int] = {}
    for index, wanted in enumerate(gateway.spec.ip_pools):
        pool = by_name.get(wanted.name) if wanted.name else by_cidr.get(wanted.cidr)
        if pool is None:
            return
        if wanted.cidr and wanted.cidr != pool.spec.cidr:
            message = f"IPPool {wanted.name} has the cidr {pool.spec.cidr}, not {wanted.cidr}"
            yield Problem(ref, CONFLICT, message, f"spec.ipPools[{index}]")
        room[pool.metadata.name] = parse_network(pool.spec.cidr).num_addresses
    for version in (4, 6):
        held = [count for name, count in room.items() if parse_network(by_name[name].spec.cidr).version == version]
        if held and sum(held) < gateway.spec.replicas:
            message = f"{gateway.spec.replicas} replicas, but the IPv{version} pools hold {sum(held)} addresses"
            yield Problem(ref, CONFLICT, message, "spec.replicas")


def _options(felix: FelixConfiguration) -> Iterator[Problem]:
    """Calico makes an object for each node by itself, whose options are none of egress: of these nothing is told."""
    name = felix.metadata.name
    ref = _ref("FelixConfiguration", felix.metadata)
    if name.startswith("node."):
        for option in msgspec.to_builtins(felix.spec):
            message = "has no effect: options of egress hold for all nodes, and are read from default alone"
            yield Problem(ref, NO_EFFECT, message, f"spec.{option}")
    elif name != "default":
        yield Problem(ref, NO_EFFECT, "has no effect: only default is read", "metadata.name")


def _disabled(
    objects: CalicoObjects, clients: Iterable[Client], felix: Felix, default: FelixConfiguration
) -> Iterator[Problem]:
    """What is asked for, and switched off by the FelixConfiguration default."""
    mode = default.spec.egress_ip_support or "Disabled"
    for client in clients:
        off = felix.support is Support.DISABLED or (isinstance(client, Pod) and felix.support is not Support.PODS)
        for name in (annotations.SELECTOR, annotations.POLICY):
            if off and name in client.metadata.annotations:
                message = f"has no effect: egressIPSupport of FelixConfiguration default is {mode}"
                yield Problem(_of(client), NO_EFFECT, message, f"metadata.annotations.{name}")
    for gateway in objects.gateways:
        if gateway.spec.external_networks and not felix.networks:
            message = "has no effect: externalNetworkSupport of FelixConfiguration default is not Enabled"
            yield Problem(_ref("EgressGateway", gateway.metadata), NO_EFFECT, message, "spec.externalNetworks")
