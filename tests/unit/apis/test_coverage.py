"""Every field that upstream has is supported, ignored or refused, and says why."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from sallyport.apis.antrea import coverage
from sallyport.apis.antrea.crds import EGRESS, POOL
from sallyport.apis.coverage import Coverage, Support
from sallyport.apis.crd import Definition, schema_of

# Written down from crd.antrea.io/v1beta1 and the documentation of Antrea 2.8, independently of our types.
UPSTREAM_EGRESS = [
    "spec.appliedTo.podSelector",
    "spec.appliedTo.namespaceSelector",
    "spec.appliedTo.group",
    "spec.appliedTo.serviceAccount",
    "spec.appliedTo.service",
    "spec.appliedTo.nodeSelector",
    "spec.egressIP",
    "spec.egressIPs",
    "spec.externalIPPool",
    "spec.externalIPPools",
    "spec.bandwidth.rate",
    "spec.bandwidth.burst",
    "status.egressNode",
    "status.egressIP",
    "status.conditions",
]
UPSTREAM_POOL = [
    "spec.ipRanges[].cidr",
    "spec.ipRanges[].start",
    "spec.ipRanges[].end",
    "spec.nodeSelector",
    "spec.subnetInfo.gateway",
    "spec.subnetInfo.prefixLength",
    "spec.subnetInfo.vlan",
    "status.usage.total",
    "status.usage.used",
]
UPSTREAM_OPTIONS = [
    "featureGates.Egress",
    "featureGates.EgressTrafficShaping",
    "featureGates.EgressSeparateSubnet",
    "egress.exceptCIDRs",
    "egress.maxEgressIPsPerNode",
    "egress.snatFullyRandomPorts",
    "egress.uniqueMACForSubInterfaces",
    "clusterPort",
    "serviceCIDR",
    "serviceCIDRv6",
    "memberlist.gossipVerifyOutgoing",
    "memberlist.gossipVerifyIncoming",
    "antreaSysctlInit.enable",
]
OURS = {"status.allocatedIP", "status.id", "status.nodes", "status.clients"}


@pytest.mark.parametrize(
    ("listed", "covered"),
    [
        (UPSTREAM_EGRESS, coverage.EGRESS),
        (UPSTREAM_POOL, coverage.POOL),
        (UPSTREAM_OPTIONS, coverage.CONFIGURATION),
    ],
)
def test_every_upstream_field_is_covered_and_nothing_else(listed: list[str], covered: Mapping[str, Coverage]) -> None:
    assert set(covered) == set(listed)
    assert all(entry.reason for entry in covered.values())


@pytest.mark.parametrize(("definition", "covered"), [(EGRESS, coverage.EGRESS), (POOL, coverage.POOL)])
def test_the_schema_has_what_is_covered_and_our_own_status_fields(
    definition: Definition, covered: Mapping[str, Coverage]
) -> None:
    schema = schema_of(definition, "v1beta1")["properties"]
    fields = {f"{part}.{path}" for part in ("spec", "status") for path in _leaves(schema[part], "", set(covered), part)}
    pruned = {path for path, entry in covered.items() if entry.support is Support.REFUSED and path not in fields}
    assert fields - OURS == set(covered) - pruned
    assert all(path.startswith("spec.appliedTo.") for path in pruned)


def _leaves(schema: Mapping[str, Any], path: str, stops: set[str], part: str) -> Iterator[str]:
    if f"{part}.{path}" in stops or not ("properties" in schema or schema.get("type") == "array"):
        yield path
    elif "properties" in schema:
        for name, below in schema["properties"].items():
            yield from _leaves(below, f"{path}.{name}" if path else name, stops, part)
    elif "properties" in schema["items"]:
        yield from _leaves(schema["items"], f"{path}[]", stops, part)
    else:
        yield path
