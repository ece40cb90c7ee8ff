"""External networks, and the BGP peers and filters that fill their tables."""

from collections.abc import Iterable, Mapping, Sequence

from sallyport.apis.calico.bgp import BGPFilter, BGPPeer, FilterRule
from sallyport.apis.calico.felix import INVALID, Felix, read_as_number
from sallyport.apis.calico.network_schema import MAX_TABLE, reserved
from sallyport.apis.calico.objects import CalicoObjects
from sallyport.apis.calico.types import ExternalNetwork
from sallyport.apis.calico.values import parse_as_number, parse_duration, parse_peer
from sallyport.apis.core import Node
from sallyport.model import state as model
from sallyport.model.addresses import parse_address, parse_network
from sallyport.model.state import FAMILIES, Family, ObjectRef, Peering, Problem, RouteFilter, RouteRule
from sallyport.selectors.calico import SelectorError, parse

INVALID_TABLE = "InvalidTableIndex"
DUPLICATE_TABLE = "DuplicateTableIndex"
UNKNOWN_NETWORK = "UnknownNetwork"
DISABLED = "ExternalNetworkSupportDisabled"
UNSUPPORTED = "NotSupported"
NO_PASSWORD = "PasswordNotFound"


def external_networks(
    networks: Iterable[ExternalNetwork], felix: Felix, problems: list[Problem]
) -> dict[str, model.ExternalNetwork]:
    """Networks by name. Of several with one table the oldest has it; a table that cannot be had is None."""
    taken: dict[int, str] = {}
    found: dict[str, model.ExternalNetwork] = {}
    for item in sorted(networks, key=lambda each: (each.metadata.creation_timestamp or "", each.metadata.name)):
        ref = ObjectRef("ExternalNetwork", item.metadata.name, uid=item.metadata.uid)
        index = item.spec.route_table_index
        reason = _table_fault(index, felix)
        if reason:
            problems.append(Problem(ref, INVALID_TABLE, reason, "spec.routeTableIndex"))
        elif index in taken:
            reason = f"routeTableIndex {index} is that of ExternalNetwork {taken[index]}, which is older"
            problems.append(Problem(ref, DUPLICATE_TABLE, reason, "spec.routeTableIndex"))
        else:
            taken[index] = item.metadata.name
        found[item.metadata.name] = model.ExternalNetwork(ref, None if reason else index)
    return found


def _table_fault(index: int, felix: Felix) -> str:
    if not 0 < index <= MAX_TABLE:
        return f"routeTableIndex {index} must be 1 to {MAX_TABLE}"
    if why := reserved(index):
        return f"routeTableIndex {index} cannot be had: {why}"
    for first, last in felix.tables:
        if first <= index <= last:
            return f"routeTableIndex {index} is within the routeTableRanges, {first} to {last}, of FelixConfiguration"
    return ""


def peerings(
    objects: CalicoObjects,
    nodes: Sequence[Node],
    external: Mapping[str, model.ExternalNetwork],
    felix: Felix,
    problems: list[Problem],
) -> tuple[Peering, ...]:
    """Every peer; one that makes no sense is blocked, and says why."""
    default, found = read_as_number(objects.bgp)
    problems += found
    filters = {item.metadata.name: _filter(item, problems) for item in objects.filters}
    made = [_peering(item, objects, nodes, external, felix, filters, default, problems) for item in objects.peers]
    return tuple(sorted(made, key=lambda item: item.ref.name))


def _peering(
    peer: BGPPeer,
    objects: CalicoObjects,
    nodes: Sequence[Node],
    external: Mapping[str, model.ExternalNetwork],
    felix: Felix,
    filters: Mapping[str, RouteFilter],
    own_asn: int,
    problems: list[Problem],
) -> Peering:
    ref, spec = ObjectRef("BGPPeer", peer.metadata.name, uid=peer.metadata.uid), peer.spec
    blocked: list[tuple[str, str, str]] = []
    address, port, asn, via = parse_address("0.0.0.0"), None, 0, None
    try:
        address, port = parse_peer(spec.peer_ip)
        asn = parse_as_number(spec.as_number)
        own_asn = parse_as_number(spec.local_as_number) if spec.local_as_number else own_asn
        via = parse_address(spec.reachable_by) if spec.reachable_by else None
    except ValueError as error:
        blocked.append((INVALID, str(error), "spec"))
    for name, value in (("peerSelector", spec.peer_selector), ("localWorkloadSelector", spec.local_workload_selector)):
        if value:
            blocked.append((UNSUPPORTED, f"{name} is not supported: only routers by their peerIP are", f"spec.{name}"))
    if spec.network:
        blocked.append((UNSUPPORTED, "network is not supported: use externalNetwork", "spec.network"))
    if spec.external_network and spec.external_network not in external:
        message = f"ExternalNetwork {spec.external_network} does not exist"
        blocked.append((UNKNOWN_NETWORK, message, "spec.externalNetwork"))
    elif spec.external_network and not felix.networks:
        message = "externalNetworkSupport is not Enabled in FelixConfiguration default"
        blocked.append((DISABLED, message, "spec.externalNetwork"))
    password, missing = _password(peer, objects.secrets)
    if missing:
        blocked.append((NO_PASSWORD, missing, "spec.password"))
    unknown = [name for name in spec.filters if name not in filters]
    if unknown:
        blocked.append((INVALID, f"BGPFilter {unknown[0]} does not exist", "spec.filters"))
    times = [_seconds(spec.max_restart_time, "maxRestartTime", blocked)]
    times.append(_seconds(spec.keepalive_time, "keepaliveTime", blocked))
    chosen = _nodes(spec.node, spec.node_selector, nodes, blocked)
    problems += [Problem(ref, *item) for item in blocked]
    return Peering(
        ref=ref,
        network=spec.external_network,
        nodes=chosen,
        address=address,
        asn=asn,
        own_asn=own_asn,
        port=port or 179,
        use_node_ip=spec.source_address != "None",
        via=via,
        hops=spec.ttl_security or 0,
        bfd=spec.failure_detection_mode == "BFDIfDirectlyConnected",
        long_lived=spec.restart_mode == "LongLivedGracefulRestart",
        restart_time=times[0],
        keepalive=times[1],
        own_asn_in_path=spec.num_allowed_local_as_numbers,
        next_hop="keep" if spec.keep_original_next_hop else (spec.next_hop_mode or "auto").lower(),
        password=password,
        filters=tuple(filters[name] for name in spec.filters if name in filters),
        blocked="; ".join(message for _, message, _ in blocked),
    )


def _password(peer: BGPPeer, secrets: Mapping[tuple[str, str], str]) -> tuple[str, str]:
    """The password, and what is missing where it cannot be had."""
    wanted = peer.spec.password.secret_key_ref if peer.spec.password else None
    if wanted is None:
        return "", ""
    found = secrets.get((wanted.name, wanted.key))
    return (found, "") if found else ("", f"Secret {wanted.name} has no key {wanted.key}")


def _seconds(text: str, name: str, blocked: list[tuple[str, str, str]]) -> int:
    try:
        return round(parse_duration(text)) if text else 0
    except ValueError as error:
        blocked.append((INVALID, str(error), f"spec.{name}"))
        return 0


def _nodes(node: str, selector: str, nodes: Iterable[Node], blocked: list[tuple[str, str, str]]) -> frozenset[str]:
    if node:
        return frozenset({node})
    if not selector:
        return frozenset(item.metadata.name for item in nodes)
    try:
        parsed = parse(selector)
    except SelectorError as error:
        blocked.append((INVALID, f"nodeSelector: {error}", "spec.nodeSelector"))
        return frozenset()
    return frozenset(item.metadata.name for item in nodes if parsed.matches(item.metadata.labels))


def _filter(item: BGPFilter, problems: list[Problem]) -> RouteFilter:
    ref, spec = ObjectRef("BGPFilter", item.metadata.name, uid=item.metadata.uid), item.spec
    written = {
        ("import", 4): spec.import_v4,
        ("import", 6): spec.import_v6,
        ("export", 4): spec.export_v4,
        ("export", 6): spec.export_v6,
    }
    rules: dict[tuple[str, Family], tuple[RouteRule, ...]] = {}
    for direction in ("import", "export"):
        for family in FAMILIES:
            made = []
            for index, rule in enumerate(written[direction, family]):
                try:
                    made.append(_rule(rule, family))
                except ValueError as error:
                    # Left out, it would let through what it is there to stop: in its place nothing passes.
                    made.append(RouteRule(accept=False))
                    field = f"spec.{direction}V{family}[{index}]"
                    problems.append(Problem(ref, INVALID, f"{error}; every route is rejected there", field))
            rules[direction, family] = tuple(made)
    return RouteFilter(item.metadata.name, rules)


def _rule(rule: FilterRule, family: Family) -> RouteRule:
    network = parse_network(rule.cidr) if rule.cidr else None
    if network is not None and network.version != family:
        raise ValueError(f"{rule.cidr} is not IPv{family}")
    lengths = None
    if rule.prefix_length is not None:
        longest = 32 if family == 4 else 128
        least = rule.prefix_length.min if rule.prefix_length.min is not None else network.prefixlen if network else 0
        lengths = (least, rule.prefix_length.max if rule.prefix_length.max is not None else longest)
    add = [item.add_community.value for item in rule.operations if item.add_community]
    prepend = [number for item in rule.operations if item.prepend_as_path for number in item.prepend_as_path.prefix]
    return RouteRule(
        accept=rule.action == "Accept",
        network=network,
        operator=rule.match_operator or "In",
        lengths=lengths,
        source=rule.source,
        interface=rule.interface,
        peers=rule.peer_type,
        communities=rule.communities.values if rule.communities else (),
        add=tuple(add),
        prepend=tuple(parse_as_number(number) for number in prepend),
    )
