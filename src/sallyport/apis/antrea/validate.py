"""What upstream's admission webhooks refuse, in their words, beyond what the schema refuses already.

Source: docs and pkg/controller/{egress,externalippool}/validate.go of Antrea 2.8. Each function takes the new object,
the one it replaces (None when it is created) and the objects it refers to, and returns faults, none for "accepted".
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from sallyport.apis.antrea.crds import DEFINITIONS
from sallyport.apis.antrea.translate import parse_range
from sallyport.apis.antrea.types import EGRESSES, POOLS, VERSIONS, Egress, ExternalIPPool, IPRange
from sallyport.apis.crd import schema_of
from sallyport.apis.quantity import parse_quantity
from sallyport.apis.schema import Fault, Schema
from sallyport.model.addresses import parse_address, parse_network, whole
from sallyport.model.state import AddressRange
from sallyport.selectors.kubernetes import LabelSelector, faults

SCHEMAS: Mapping[tuple[str, str], Schema] = {
    (f"{definition.resource.group}/{version}", definition.resource.kind): schema_of(definition, version)
    for definition in DEFINITIONS
    for version in VERSIONS
}
"""Schemas by apiVersion and kind."""


def admission_faults(
    kind: str, new: Mapping[str, Any], old: Mapping[str, Any] | None, pools: Iterable[Mapping[str, Any]]
) -> list[Fault]:
    """Refusals of an object as the API holds it, valid by its schema; none for kinds that are not ours.

    `old` is None when the object is created; `pools` are all ExternalIPPools there are.
    """
    if kind not in (EGRESSES.kind, POOLS.kind):
        return []
    known = [msgspec.convert(item, ExternalIPPool) for item in pools]
    if kind == POOLS.kind:
        before = None if old is None else msgspec.convert(old, ExternalIPPool)
        return pool_faults(msgspec.convert(new, ExternalIPPool), before, known)
    earlier = None if old is None else msgspec.convert(old, Egress)
    return egress_faults(msgspec.convert(new, Egress), earlier, {item.metadata.name: item for item in known})


def egress_faults(new: Egress, old: Egress | None, pools: Mapping[str, ExternalIPPool]) -> list[Fault]:
    """Refusals of an Egress. `pools` are all pools by name."""
    spec = new.spec
    found: list[Fault] = []
    if spec.egress_ips:
        found.append(Fault("spec.egressIPs", "spec.egressIPs is not supported yet"))
    if spec.external_ip_pools:
        found.append(Fault("spec.externalIPPools", "spec.externalIPPools is not supported yet"))
    if spec.bandwidth is not None:
        for name, text in (("rate", spec.bandwidth.rate), ("burst", spec.bandwidth.burst)):
            try:
                parse_quantity(text)
            except ValueError as error:
                found.append(Fault(f"spec.bandwidth.{name}", f"{name.capitalize()} {text} is invalid: {error}"))
    for path, selector in (
        ("spec.appliedTo.podSelector", spec.applied_to.pod_selector),
        ("spec.appliedTo.namespaceSelector", spec.applied_to.namespace_selector),
    ):
        found += selector_faults(selector, path)
    return found + _address_faults(new, old, pools)


def _address_faults(new: Egress, old: Egress | None, pools: Mapping[str, ExternalIPPool]) -> list[Fault]:
    ip, pool_name = new.spec.egress_ip, new.spec.external_ip_pool
    if not ip or not pool_name:
        return []
    if old is not None and (old.spec.egress_ip, old.spec.external_ip_pool) == (ip, pool_name):
        return []
    try:
        address = parse_address(ip)
    except ValueError:
        return [Fault("spec.egressIP", f"IP {ip} is not valid")]
    pool = pools.get(pool_name)
    if pool is None:
        return [Fault("spec.externalIPPool", f"ExternalIPPool {pool_name} does not exist")]
    if not any(address in part for _, part in _ranges(pool)):
        return [Fault("spec.egressIP", f"IP {ip} is not within the IP range")]
    return []


def pool_faults(new: ExternalIPPool, old: ExternalIPPool | None, others: Iterable[ExternalIPPool]) -> list[Fault]:
    """Refusals of an ExternalIPPool. `others` are all pools; the one of the same name is skipped."""
    found = selector_faults(new.spec.node_selector, "spec.nodeSelector")
    for index, item in enumerate(new.spec.ip_ranges):
        try:
            parse_range(item)
        except ValueError as error:
            found.append(Fault(f"spec.ipRanges[{index}]", f"range [{item}] is invalid: {error}"))
    found += _subnet_faults(new)
    found += _overlap_faults(new, others)
    if old is not None:
        kept = {(item.cidr, item.start, item.end) for item in new.spec.ip_ranges}
        gone = [item for item in old.spec.ip_ranges if (item.cidr, item.start, item.end) not in kept]
        if gone:
            listed = ", ".join(map(str, gone))
            found.append(Fault("spec.ipRanges", f"existing IPRanges [{listed}] cannot be updated or deleted"))
    return found


def _ranges(pool: ExternalIPPool) -> list[tuple[int, AddressRange]]:
    """The valid ranges of a pool with their index."""
    found: list[tuple[int, AddressRange]] = []
    for index, item in enumerate(pool.spec.ip_ranges):
        try:
            found.append((index, parse_range(item)))
        except ValueError:
            continue
    return found


def _overlap(left: AddressRange, right: AddressRange) -> bool:
    return left.first in right or right.first in left


def _overlap_faults(new: ExternalIPPool, others: Iterable[ExternalIPPool]) -> list[Fault]:
    found: list[Fault] = []
    mine = _ranges(new)
    for position, (index, part) in enumerate(mine):
        text = new.spec.ip_ranges[index]
        for earlier, other in mine[:position]:
            if _overlap(part, other):
                found.append(_overlapping(index, text, new.spec.ip_ranges[earlier], ""))
    for pool in others:
        if pool.metadata.name == new.metadata.name:
            continue
        for number, theirs in _ranges(pool):
            for index, part in mine:
                if _overlap(part, theirs):
                    where = f" of ExternalIPPool {pool.metadata.name}"
                    found.append(_overlapping(index, new.spec.ip_ranges[index], pool.spec.ip_ranges[number], where))
    return found


def _overlapping(index: int, mine: IPRange, theirs: IPRange, where: str) -> Fault:
    return Fault(f"spec.ipRanges[{index}]", f"range [{mine}] overlaps with range [{theirs}]{where}")


def _subnet_faults(pool: ExternalIPPool) -> list[Fault]:
    subnet = pool.spec.subnet_info
    if subnet is None:
        return []
    try:
        gateway = parse_address(subnet.gateway)
    except ValueError:
        return [Fault("spec.subnetInfo.gateway", f"gateway address {subnet.gateway} is invalid")]
    longest = 31 if gateway.version == 4 else 127
    if not 1 <= subnet.prefix_length <= longest:
        reason = f"invalid prefixLength {subnet.prefix_length}: must be between 1 and {longest}"
        return [Fault("spec.subnetInfo.prefixLength", reason)]
    network = parse_network(f"{gateway}/{subnet.prefix_length}")
    covered = whole(network)
    return [
        Fault(
            f"spec.ipRanges[{index}]",
            f"range [{pool.spec.ip_ranges[index]}] must be a strict subset of the subnet {network}",
        )
        for index, part in _ranges(pool)
        if part.first not in covered or part.last not in covered or part == covered
    ]


def selector_faults(selector: LabelSelector | None, path: str) -> list[Fault]:
    """What Kubernetes refuses in a selector; upstream lets it pass and then ignores the Egress."""
    return [] if selector is None else [Fault(f"{path}.{field}", reason) for field, reason in faults(selector)]
