"""What Calico's kinds mean, in the words of the model: gateways' pods are exits, annotations are policies.

Whatever is wrong with a client's annotations, its traffic is dropped and not let out by a node's own address.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network

import msgspec

from sallyport.apis.calico.annotations import (
    IPV4_POOLS,
    IPV6_POOLS,
    MAX_NEXT_HOPS,
    NAMESPACE_NAME_LABEL,
    NAMESPACE_SELECTOR,
    NETWORK_NAMES,
    POLICY,
    SELECTOR,
)
from sallyport.apis.calico.felix import INVALID, Felix, Support, read_felix
from sallyport.apis.calico.objects import CalicoObjects
from sallyport.apis.calico.peering import external_networks, peerings
from sallyport.apis.calico.pods import GatewayPod, next_hops, recorded
from sallyport.apis.calico.types import EgressGatewayPolicy, IPPool, PolicyGateway
from sallyport.apis.core import Namespace, Node, ObjectMeta, Pod
from sallyport.model import state as model
from sallyport.model.addresses import parse_address, parse_network, whole
from sallyport.model.state import (
    FAMILIES,
    AddressRange,
    Destination,
    Exit,
    Family,
    Hops,
    IPAddress,
    ObjectRef,
    PodKey,
    Policy,
    Pool,
    Problem,
)
from sallyport.selectors.calico import Everything, Selector, SelectorError, fault, parse

UNKNOWN_POLICY = "UnknownPolicy"
TWO_ANNOTATIONS = "PolicyAndSelector"
_ANNOTATIONS = "metadata.annotations.egress.projectcalico.org/"
DEFAULTS = {family: ip_network(text) for family, text in ((4, "0.0.0.0/0"), (6, "::/0"))}


@dataclass(slots=True)
class Translated:
    """Calico's part of a cluster's state."""

    felix: Felix
    pools: dict[str, Pool] = field(default_factory=dict)
    exits: dict[str, Exit] = field(default_factory=dict)
    policies: tuple[Policy, ...] = ()
    chosen: dict[PodKey, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    external: Mapping[str, model.ExternalNetwork] = field(default_factory=dict)
    peerings: tuple[model.Peering, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    unexported: tuple[model.IPNetwork, ...] = ()

    @property
    def routing(self) -> model.Routing:
        """What concerns all external networks."""
        return model.Routing(
            enabled=self.felix.networks,
            device_patterns=self.felix.patterns,
            unexported=self.unexported,
        )

    @property
    def tuning(self) -> model.Tuning:
        """Numbers for the whole cluster."""
        return self.felix.tuning


def is_on(objects: CalicoObjects) -> bool:
    """Whether anything of Calico's is asked for, so that nodes are to be programmed for its sake."""
    felix = read_felix(objects.felix)[0]
    return felix.support is not Support.DISABLED or felix.networks


def by_namespace(objects: CalicoObjects) -> bool:
    """Whether annotations of namespaces decide about pods."""
    return read_felix(objects.felix)[0].support is not Support.DISABLED


def translate(
    objects: CalicoObjects,
    nodes: Sequence[Node],
    namespaces: Sequence[Namespace],
    pods: Sequence[Pod],
) -> Translated:
    """Never raises on what a user wrote. Of `pods`, those matter that ask for gateways or whose namespace does, and the
    gateways themselves."""
    felix, problems = read_felix(objects.felix)
    found = Translated(felix, problems=problems)
    found.pools = _pools(objects.pools, problems)
    found.unexported = tuple(_networks(item for item in objects.pools if item.spec.disable_bgp_export))
    found.external = external_networks(objects.networks, felix, problems)
    found.peerings = peerings(objects, nodes, found.external, felix, problems)
    addresses = {item.metadata.name: _node_addresses(item) for item in nodes}
    for pod in objects.pods:
        for exit_ in _exits(pod, objects.pools, felix, addresses):
            found.exits[exit_.key] = exit_
    if felix.support is not Support.DISABLED:
        demands = _Demands(objects, namespaces, felix.support, found.exits, problems)
        own = (policy for pod in objects.pods if (policy := _own(pod, found.exits)) is not None)
        gateways = {(item.metadata.namespace, item.metadata.name) for item in objects.pods}
        found.policies = (*own, *demands.policies(pod for pod in pods if _key(pod.metadata) not in gateways))
        wanted = {key for policy in found.policies for key in policy.clients}
        found.chosen = {_key(pod.metadata): hops for pod in pods if (hops := _chosen(pod, wanted))}
    return found


def _chosen(pod: Pod, wanted: set[PodKey]) -> Mapping[str, tuple[str, ...]]:
    return next_hops(pod.metadata.annotations) if _key(pod.metadata) in wanted else {}


def _key(meta: ObjectMeta) -> PodKey:
    return (meta.namespace, meta.name)


def _networks(pools: Iterable[IPPool]) -> Iterable[model.IPNetwork]:
    for pool in pools:
        try:
            yield parse_network(pool.spec.cidr)
        except ValueError:
            continue  # told of where the pool itself is read


def _pools(pools: Iterable[IPPool], problems: list[Problem]) -> dict[str, Pool]:
    """Every address of a pool may be handed out, the first and the last too, as upstream's IPAM does."""
    found: dict[str, Pool] = {}
    for item in pools:
        ref = ObjectRef("IPPool", item.metadata.name, uid=item.metadata.uid)
        ranges: tuple[AddressRange, ...] = ()
        try:
            ranges = (whole(parse_network(item.spec.cidr)),)
        except ValueError as error:
            problems.append(Problem(ref, INVALID, str(error), "spec.cidr"))
        pool = Pool(ref, () if item.spec.disabled else ranges, frozenset())
        found[pool.key] = pool
    return found


def _node_addresses(node: Node) -> list[IPAddress]:
    found = []
    for item in node.status.addresses:
        try:
            found += [parse_address(item.address)] if item.type == "InternalIP" else []
        except ValueError:
            continue  # told of where the node itself is read
    return found


# Gateways


def _exits(
    pod: GatewayPod, pools: Sequence[IPPool], felix: Felix, nodes: Mapping[str, list[IPAddress]]
) -> Iterable[Exit]:
    """A gateway's exits: one per family that it has pools of."""
    if not pod.spec.node_name or pod.finished:
        return
    known = recorded(pod.metadata.annotations)
    networks = _listed(pod.metadata.annotations.get(NETWORK_NAMES)) if felix.networks else ()
    for family in FAMILIES:
        named = _listed(pod.metadata.annotations.get(IPV4_POOLS if family == 4 else IPV6_POOLS))
        of_family = [pool for name in named for pool in pools if name in (pool.metadata.name, pool.spec.cidr)]
        if not named:
            continue
        address, number = known.of(family)
        own, outside = _worn(pod, of_family, family), _by_node(of_family, nodes.get(pod.spec.node_name, []), family)
        fixed = own or outside
        yield Exit(
            ref=ObjectRef("Pod", pod.metadata.name, pod.metadata.namespace, pod.metadata.uid),
            created=pod.metadata.creation_timestamp or "",
            requested=fixed or address,
            pools=()
            if outside
            else tuple(f"IPPool/{pool.metadata.name}" for pool in of_family) or (f"IPPool/{named[0]}",),
            allocated=fixed is None and address is not None,
            decided=address,
            id=number,
            nodes=(pod.spec.node_name,),
            holder=pod.spec.node_name,
            effective=address,
            node=pod.spec.node_name,
            family=family,
            networks=networks,
            ready=pod.ready,
            leaving=pod.metadata.deletion_timestamp is not None,
            carried=own is not None,
            watchers=known.watchers,
        )


def _listed(text: str | None) -> tuple[str, ...]:
    """A JSON list of text in an annotation; nothing where it is none, since the controller writes it anew."""
    try:
        return msgspec.json.decode(text or "[]", type=tuple[str, ...])
    except msgspec.DecodeError:
        return ()


def _worn(pod: GatewayPod, pools: Iterable[IPPool], family: Family) -> IPAddress | None:
    """The pod's own address, where its CNI gave it one out of a pool that its gateway names."""
    ranges = [network for network in _networks(pools) if network.version == family]
    for text in pod.addresses:
        address = parse_address(text)
        if any(address in network for network in ranges):
            return address
    return None


def _by_node(pools: Sequence[IPPool], addresses: Iterable[IPAddress], family: Family) -> IPAddress | None:
    """The node's address, where the gateway's first pool says that its addresses leave by that (natOutgoing)."""
    if not pools or not pools[0].spec.nat_outgoing:
        return None
    return next((address for address in addresses if address.version == family), None)


def _own(pod: GatewayPod, exits: Mapping[str, Exit]) -> Policy | None:
    """What a gateway sends itself, its probes above all, goes by its own address and networks."""
    ref = ObjectRef("Pod", pod.metadata.name, pod.metadata.namespace, pod.metadata.uid)
    destinations = tuple(
        Destination(DEFAULTS[family], Hops((key,), keep=False, own=True))
        for family in FAMILIES
        if (key := f"{ref.namespace}/{ref.name}/v{family}") in exits
    )
    return (
        Policy(ref, pod.metadata.creation_timestamp or "", destinations, (_key(pod.metadata),))
        if destinations
        else None
    )


# Clients


class _Demands:
    """Which gateways namespaces and pods ask for."""

    def __init__(
        self,
        objects: CalicoObjects,
        namespaces: Sequence[Namespace],
        support: Support,
        exits: Mapping[str, Exit],
        problems: list[Problem],
    ) -> None:
        self._pods, self._support, self._problems = objects.pods, support, problems
        self._policies = {item.metadata.name: item for item in objects.policies}
        self._namespaces = {item.metadata.name: item for item in namespaces}
        self._exits = exits
        self._groups: dict[tuple[str, str, str], tuple[str, ...]] = {}

    def policies(self, pods: Iterable[Pod]) -> list[Policy]:
        """A policy for each object whose annotations count, with the pods for which they do."""
        clients: dict[ObjectRef, tuple[ObjectMeta, str, list[PodKey]]] = {}
        for pod in pods:
            namespace = self._namespaces.get(pod.metadata.namespace)
            if self._support is Support.PODS and asks(pod.metadata):
                meta = pod.metadata
                ref = ObjectRef("Pod", meta.name, meta.namespace, meta.uid)
            elif namespace is not None and asks(namespace.metadata):
                ref = ObjectRef("Namespace", namespace.metadata.name, uid=namespace.metadata.uid)
                meta = namespace.metadata
            else:
                continue
            clients.setdefault(ref, (meta, pod.metadata.namespace, []))[2].append(_key(pod.metadata))
        return [self._policy(ref, *clients[ref]) for ref in sorted(clients)]

    def _policy(self, ref: ObjectRef, meta: ObjectMeta, namespace: str, clients: list[PodKey]) -> Policy:
        annotations, created, named_by = meta.annotations, meta.creation_timestamp or "", None
        name = annotations.get(POLICY)
        if name and SELECTOR in annotations:
            message = (
                f"annotations {POLICY} and {SELECTOR} are both given: the policy decides, the selector does not count"
            )
            self._problems.append(Problem(ref, TWO_ANNOTATIONS, message, f"metadata.annotations.{SELECTOR}"))
        blocked = ""
        destinations: tuple[Destination, ...] = ()
        if name:
            policy = self._policies.get(name)
            if policy is None:
                blocked = f"EgressGatewayPolicy {name} does not exist"
                message = f"{blocked}; all its traffic to the outside is dropped"
                self._problems.append(Problem(ref, UNKNOWN_POLICY, message, f"metadata.annotations.{POLICY}"))
            else:
                destinations = self._rules(policy, namespace)
                named_by, ref = ref, ObjectRef("EgressGatewayPolicy", name, uid=policy.metadata.uid)
        else:
            limit = self._limit(ref, annotations.get(MAX_NEXT_HOPS, "0"))
            text = (annotations.get(SELECTOR, ""), annotations.get(NAMESPACE_SELECTOR, ""))
            hops = self._hops(ref, PolicyGateway(*text, limit), namespace, _ANNOTATIONS, local=False)
            destinations = tuple(Destination(DEFAULTS[family], hops) for family in FAMILIES)
        return Policy(ref, created, destinations, tuple(sorted(clients)), blocked, named_by)

    def _limit(self, ref: ObjectRef, text: str) -> int:
        if text.isascii() and text.isdecimal():
            return int(text)
        message = f"annotation {MAX_NEXT_HOPS} is {text!r} but must be a number, 0 or more; all gateways are used"
        self._problems.append(Problem(ref, INVALID, message, f"metadata.annotations.{MAX_NEXT_HOPS}"))
        return 0

    def _rules(self, policy: EgressGatewayPolicy, namespace: str) -> tuple[Destination, ...]:
        ref = ObjectRef("EgressGatewayPolicy", policy.metadata.name, uid=policy.metadata.uid)
        found: list[Destination] = []
        for index, rule in enumerate(policy.spec.rules):
            networks = list(DEFAULTS.values())
            if rule.destination is not None and rule.destination.cidr:
                try:
                    networks = [parse_network(rule.destination.cidr)]
                except ValueError as error:
                    field_ = f"spec.rules[{index}].destination.cidr"
                    self._problems.append(Problem(ref, INVALID, f"{error}; the rule is left out", field_))
                    continue
            hops = None
            if rule.gateway is not None:
                local = rule.gateway_preference == "PreferNodeLocal"
                hops = self._hops(ref, rule.gateway, namespace, f"spec.rules[{index}].gateway.", local=local)
            found += [Destination(network, hops) for network in networks]
        return tuple(found)

    def _hops(self, ref: ObjectRef, gateway: PolicyGateway, namespace: str, path: str, *, local: bool) -> Hops:
        """The exits that selectors ask for; none where they cannot be read. `path` is what their names follow."""
        key = (gateway.selector, gateway.namespace_selector, "" if gateway.namespace_selector else namespace)
        if key not in self._groups:
            try:
                self._groups[key] = self._matching(gateway, namespace)
            except SelectorError as error:
                message = f"{error}; all traffic that it is about is dropped"
                name = "selector" if fault(gateway.selector) else "namespaceSelector"
                self._problems.append(Problem(ref, INVALID, message, f"{path}{name}"))
                return Hops(())
        return Hops(self._groups[key], limit=gateway.max_next_hops, prefer_local=local)

    def _matching(self, gateway: PolicyGateway, namespace: str) -> tuple[str, ...]:
        selector = parse(gateway.selector)
        spaces = self._spaces(parse(gateway.namespace_selector)) if gateway.namespace_selector else {namespace}
        chosen = [
            pod for pod in self._pods if pod.metadata.namespace in spaces and selector.matches(pod.metadata.labels)
        ]
        keys = [f"{'/'.join(_key(pod.metadata))}/v{family}" for pod in chosen for family in FAMILIES]
        return tuple(sorted(key for key in keys if key in self._exits))

    def _spaces(self, selector: Selector) -> set[str]:
        if isinstance(selector, Everything) and selector.is_global:
            return set()  # what is outside of all namespaces: no pod is
        return {
            name
            for name, item in self._namespaces.items()
            if selector.matches({**item.metadata.labels, NAMESPACE_NAME_LABEL: name})
        }


def asks(meta: ObjectMeta) -> bool:
    """Whether a namespace or pod asks for gateways."""
    return POLICY in meta.annotations or SELECTOR in meta.annotations
