"""What is refused in one object of Calico's kinds beyond its schema, told with the field that is at fault.

Most of it the CRDs' rules refuse, too (see `crds`); the rest is text that only its reader can judge: selectors, AS
numbers, addresses. What depends on other objects is in `references`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sallyport.apis.calico.bgp import (
    ASNumber,
    BGPConfiguration,
    BGPFilter,
    BGPPeer,
    BGPPeerSpec,
    FilterOperation,
    FilterRule,
)
from sallyport.apis.calico.crds import DEFINITIONS
from sallyport.apis.calico.gateway_schema import CLOUD
from sallyport.apis.calico.network_schema import MAX_TABLES, reserved
from sallyport.apis.calico.types import (
    EgressGateway,
    EgressGatewayPolicy,
    ExternalNetwork,
    FelixConfiguration,
    HTTPProbe,
    ICMPProbe,
    IPPool,
    PolicyRule,
)
from sallyport.apis.calico.values import (
    parse_as_number,
    parse_community,
    parse_interfaces,
    parse_peer,
)
from sallyport.apis.crd import schema_of
from sallyport.apis.schema import Fault, Schema
from sallyport.model.addresses import parse_address, parse_network
from sallyport.model.state import Family, IPNetwork
from sallyport.selectors import calico
from sallyport.selectors.kubernetes import key_fault, value_fault

SCHEMAS: Mapping[tuple[str, str], Schema] = {
    (definition.resource.api_version, definition.resource.kind): schema_of(definition, definition.resource.version)
    for definition in DEFINITIONS
}
"""Schemas by apiVersion and kind."""

EVERYWHERE: tuple[IPNetwork, ...] = (parse_network("0.0.0.0/0"), parse_network("::/0"))
"""What a policy's rule without a destination stands for."""


def faults(value: object) -> list[Fault]:
    """Refusals of an object of one of our kinds that its schema takes; none for what is no object of ours."""
    match value:
        case ExternalNetwork():
            found = _network(value)
        case IPPool():
            found = _pool(value)
        case EgressGatewayPolicy():
            found = _policy(value)
        case EgressGateway():
            found = _gateway(value)
        case BGPPeer():
            found = _peer(value.spec)
        case BGPFilter():
            found = _filter(value)
        case BGPConfiguration():
            found = _as_number("spec.asNumber", value.spec.as_number)
        case FelixConfiguration():
            found = _felix(value)
        case _:
            found = iter(())
    return list(found)


def selector_faults(path: str, text: str) -> list[Fault]:
    """What is wrong with a text in Calico's selector language; nothing where it is empty."""
    reason = calico.fault(text) if text else None
    return [Fault(path, f'Invalid value: "{text}": {reason}')] if reason else []


def destinations(rule: PolicyRule) -> tuple[IPNetwork, ...]:
    """The networks that a policy's rule is for. Raises ValueError for a text that is none."""
    return EVERYWHERE if rule.destination is None else (parse_network(rule.destination.cidr),)


def _parsed(path: str, parse: Callable[[str], object], text: str) -> Iterator[Fault]:
    """A fault where `parse` raises ValueError; nothing for an empty text."""
    if not text:
        return
    try:
        parse(text)
    except ValueError as error:
        yield Fault(path, str(error))


def _as_number(path: str, value: ASNumber) -> Iterator[Fault]:
    if value in (0, ""):
        return
    try:
        parse_as_number(value)
    except ValueError as error:
        yield Fault(path, str(error))


def _network(network: ExternalNetwork) -> Iterator[Fault]:
    if why := reserved(network.spec.route_table_index):
        yield Fault("spec.routeTableIndex", why)


def _pool(pool: IPPool) -> Iterator[Fault]:
    spec = pool.spec
    yield from selector_faults("spec.nodeSelector", spec.node_selector)
    if spec.ipip_mode != "Never" and spec.vxlan_mode != "Never":
        yield Fault("spec", "ipipMode and vxlanMode cannot both be used")
    network = parse_network(spec.cidr)
    if parse_address(spec.cidr.partition("/")[0]) != network.network_address:
        yield Fault("spec.cidr", f"{spec.cidr} has bits beyond its prefix; {network} has not")
    if not spec.block_size:
        return
    low, high = (20, 32) if network.version == 4 else (116, 128)
    if not low <= spec.block_size <= high:
        yield Fault("spec.blockSize", f"blockSize must be {low} to {high} for IPv{network.version}")
    elif spec.block_size < network.prefixlen:
        yield Fault("spec.blockSize", f"a block of /{spec.block_size} is larger than the pool {spec.cidr}")


def _policy(policy: EgressGatewayPolicy) -> Iterator[Fault]:
    rules = policy.spec.rules
    if not any(rule.gateway or rule.destination for rule in rules):
        yield Fault("spec.rules", "at least one rule must have a gateway or a destination")
    seen: dict[IPNetwork, int] = {}
    for index, rule in enumerate(rules):
        if rule.gateway is not None:
            path = f"spec.rules[{index}].gateway"
            yield from selector_faults(f"{path}.selector", rule.gateway.selector)
            yield from selector_faults(f"{path}.namespaceSelector", rule.gateway.namespace_selector)
        for network in destinations(rule):
            earlier = seen.setdefault(network, index)
            if earlier != index:
                yield Fault(f"spec.rules[{index}]", f"destination {network} is that of rules[{earlier}], too")
                break


def _gateway(gateway: EgressGateway) -> Iterator[Fault]:
    spec = gateway.spec
    for index, pool in enumerate(spec.ip_pools):
        if not pool.name and not pool.cidr:
            yield Fault(f"spec.ipPools[{index}]", "name or cidr must be given")
        yield from _parsed(f"spec.ipPools[{index}].cidr", parse_network, pool.cidr)
    if spec.aws is not None:
        if spec.aws.native_ip != "Disabled":
            yield Fault("spec.aws.nativeIP", f"nativeIP is {CLOUD}")
        if spec.aws.elastic_ips:
            yield Fault("spec.aws.elasticIPs", f"elasticIPs is {CLOUD}")
    detection = spec.egress_gateway_failure_detection
    if detection is not None:
        path = "spec.egressGatewayFailureDetection"
        if detection.icmp_probe is None and detection.http_probe is None:
            yield Fault(path, "icmpProbe or httpProbe must be given")
        yield from _in_time(f"{path}.icmpProbe", detection.icmp_probe)
        yield from _in_time(f"{path}.httpProbe", detection.http_probe)
    yield from _labels("spec.template.metadata.labels", spec.template.metadata.labels)
    yield from _labels("spec.template.spec.nodeSelector", spec.template.spec.node_selector)


def _in_time(path: str, probe: ICMPProbe | HTTPProbe | None) -> Iterator[Fault]:
    if probe is not None and probe.timeout_seconds < probe.interval_seconds:
        reason = (
            f"timeoutSeconds {probe.timeout_seconds} must not be less than intervalSeconds {probe.interval_seconds}"
        )
        yield Fault(path, reason)


def _labels(path: str, labels: Mapping[str, str]) -> Iterator[Fault]:
    for key, value in labels.items():
        yield from (Fault(f"{path}.{key}", text) for text in (key_fault(key), value_fault(value)) if text)


def _peer(spec: BGPPeerSpec) -> Iterator[Fault]:
    if spec.node and spec.node_selector:
        yield Fault("spec.nodeSelector", "node and nodeSelector cannot both be given")
    if spec.keep_original_next_hop and spec.next_hop_mode:
        yield Fault("spec.keepOriginalNextHop", "keepOriginalNextHop and nextHopMode cannot both be given")
    for name, given in (
        ("peerSelector", spec.peer_selector),
        ("localWorkloadSelector", spec.local_workload_selector),
        ("network", spec.network),
    ):
        if given:
            yield Fault(f"spec.{name}", f"{name} is not supported")
    yield from selector_faults("spec.nodeSelector", spec.node_selector)
    yield from _required_as_number("spec.asNumber", spec.as_number)
    yield from _as_number("spec.localASNumber", spec.local_as_number)
    try:
        address, _ = parse_peer(spec.peer_ip)
    except ValueError as error:
        yield Fault("spec.peerIP", str(error))
        return
    if spec.reachable_by and parse_address(spec.reachable_by).version != address.version:
        yield Fault("spec.reachableBy", f"{spec.reachable_by} is not of the IP family of {address}")


def _required_as_number(path: str, value: ASNumber) -> Iterator[Fault]:
    if value in (0, ""):
        yield Fault(path, "Required value")
    yield from _as_number(path, value)


def _filter(value: BGPFilter) -> Iterator[Fault]:
    spec = value.spec
    lists: Iterable[tuple[str, Family, tuple[FilterRule, ...]]] = (
        ("exportV4", 4, spec.export_v4),
        ("importV4", 4, spec.import_v4),
        ("exportV6", 6, spec.export_v6),
        ("importV6", 6, spec.import_v6),
    )
    for name, family, rules in lists:
        for index, rule in enumerate(rules):
            yield from _filter_rule(f"spec.{name}[{index}]", family, rule)


def _filter_rule(path: str, family: Family, rule: FilterRule) -> Iterator[Fault]:
    if bool(rule.cidr) != bool(rule.match_operator):
        yield Fault(path, "cidr and matchOperator must both be given or none")
    if rule.cidr and parse_network(rule.cidr).version != family:
        yield Fault(f"{path}.cidr", f"{rule.cidr} is not an IPv{family} network")
    if rule.prefix_length is not None:
        if not rule.cidr:
            yield Fault(path, "prefixLength needs a cidr")
        low, high = rule.prefix_length.min, rule.prefix_length.max
        if low is not None and high is not None and low > high:
            yield Fault(f"{path}.prefixLength", f"min {low} must not be greater than max {high}")
    if rule.as_path_prefix:
        yield Fault(f"{path}.asPathPrefix", "asPathPrefix is not supported")
    if rule.priority is not None:
        yield Fault(f"{path}.priority", "priority is not supported")
    for place, text in enumerate(rule.communities.values if rule.communities else ()):
        yield from _parsed(f"{path}.communities.values[{place}]", parse_community, text)
    if rule.operations and rule.action != "Accept":
        yield Fault(path, "operations may only be used with action Accept")
    for place, operation in enumerate(rule.operations):
        yield from _operation(f"{path}.operations[{place}]", operation)


def _operation(path: str, operation: FilterOperation) -> Iterator[Fault]:
    given = (operation.add_community, operation.prepend_as_path, operation.set_priority)
    if sum(item is not None for item in given) != 1:
        yield Fault(path, "exactly one operation must be given")
    if operation.add_community is not None:
        yield from _parsed(f"{path}.addCommunity.value", parse_community, operation.add_community.value)
    if operation.prepend_as_path is not None:
        for number, item in enumerate(operation.prepend_as_path.prefix):
            yield from _required_as_number(f"{path}.prependASPath.prefix[{number}]", item)


def _felix(value: FelixConfiguration) -> Iterator[Fault]:
    spec = value.spec
    yield from _parsed("spec.egressIPHostIfacePattern", parse_interfaces, spec.egress_ip_host_iface_pattern)
    if spec.route_table_range is not None and spec.route_table_ranges:
        yield Fault("spec.routeTableRange", "routeTableRange and routeTableRanges cannot both be given")
    ranges: list[tuple[str, Any]] = [
        (f"spec.routeTableRanges[{index}]", item) for index, item in enumerate(spec.route_table_ranges)
    ]
    ranges += [("spec.routeTableRange", spec.route_table_range)] if spec.route_table_range else []
    for path, item in ranges:
        if item.min > item.max:
            yield Fault(path, f"min {item.min} must not be greater than max {item.max}")
    if sum(item.max - item.min + 1 for item in spec.route_table_ranges) > MAX_TABLES:
        yield Fault("spec.routeTableRanges", f"at most {MAX_TABLES} tables can be given in all")
