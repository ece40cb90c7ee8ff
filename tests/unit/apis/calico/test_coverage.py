"""Every field that upstream has is supported, ignored or refused, and says why; what is ignored is found."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sallyport.apis.calico.coverage import ANNOTATIONS, COVERED, without_effect
from sallyport.apis.calico.crds import DEFINITIONS
from sallyport.apis.coverage import Support, fate
from sallyport.apis.crd import Definition, schema_of

from .objects import felix, gateway, importing, pool

# Written down from Calico's and the operator's API types and documentation, independently of our types.
FILTER_RULE = (
    "action cidr prefixLength.min prefixLength.max matchOperator source interface peerType communities.values "
    "asPathPrefix priority operations[].addCommunity.value operations[].prependASPath.prefix "
    "operations[].setPriority.value"
)
UPSTREAM = {
    "ExternalNetwork": "routeTableIndex",
    "IPPool": "cidr blockSize nodeSelector disabled natOutgoing disableBGPExport ipipMode vxlanMode allowedUses "
    "assignmentMode awsSubnetID",
    "EgressGatewayPolicy": "rules[].destination.cidr rules[].description rules[].gateway.selector "
    "rules[].gateway.namespaceSelector rules[].gateway.maxNextHops rules[].gatewayPreference",
    "EgressGateway": "replicas ipPools[].name ipPools[].cidr externalNetworks logSeverity "
    "egressGatewayFailureDetection.healthTimeoutDataStoreSeconds egressGatewayFailureDetection.icmpProbe.ips "
    "egressGatewayFailureDetection.icmpProbe.intervalSeconds egressGatewayFailureDetection.icmpProbe.timeoutSeconds "
    "egressGatewayFailureDetection.httpProbe.urls egressGatewayFailureDetection.httpProbe.intervalSeconds "
    "egressGatewayFailureDetection.httpProbe.timeoutSeconds aws.nativeIP aws.elasticIPs template.metadata.labels "
    "template.metadata.annotations template.spec.affinity template.spec.nodeSelector template.spec.tolerations "
    "template.spec.topologySpreadConstraints template.spec.priorityClassName "
    "template.spec.terminationGracePeriodSeconds template.spec.containers[].name "
    "template.spec.containers[].resources template.spec.containers[].readinessProbe "
    "template.spec.containers[].livenessProbe template.spec.initContainers[].name "
    "template.spec.initContainers[].resources",
    "BGPPeer": "node nodeSelector peerIP asNumber localASNumber peerSelector localWorkloadSelector externalNetwork "
    "network sourceAddress keepOriginalNextHop nextHopMode password.secretKeyRef.name password.secretKeyRef.key "
    "failureDetectionMode restartMode maxRestartTime birdGatewayMode keepaliveTime numAllowedLocalASNumbers "
    "ttlSecurity filters reachableBy reversePeering extensions",
    "BGPFilter": " ".join(
        f"{way}{family}[].{field}"
        for way in ("export", "import")
        for family in ("V4", "V6")
        for field in FILTER_RULE.split()
    ),
    "BGPConfiguration": "asNumber listenPort nodeToNodeMeshEnabled bindMode ignoredInterfaces "
    "nodeMeshPassword.secretKeyRef.name nodeMeshPassword.secretKeyRef.key nodeMeshMaxRestartTime communities[].name "
    "communities[].value prefixAdvertisements[].cidr prefixAdvertisements[].communities serviceClusterIPs[].cidr "
    "serviceExternalIPs[].cidr serviceLoadBalancerIPs[].cidr logSeverityScreen",
    "FelixConfiguration": "egressIPSupport egressIPVXLANPort egressIPVXLANVNI egressIPRoutingRulePriority "
    "egressGatewayPollInterval egressGatewayPollFailureCount egressIPHostIfacePattern externalNetworkSupport "
    "externalNetworkRoutingRulePriority routeTableRanges[].min routeTableRanges[].max routeTableRange.min "
    "routeTableRange.max policySyncPathPrefix iptablesBackend natOutgoingAddress natOutgoingExclusions "
    "awsSecondaryIPSupport awsSecondaryIPRoutingRulePriority localSubnetL2Reachability",
}
REFUSED = {
    "EgressGateway": {"aws.nativeIP", "aws.elasticIPs"},
    "BGPPeer": {"peerSelector", "localWorkloadSelector", "network"},
}


@pytest.mark.parametrize("kind", UPSTREAM)
def test_every_upstream_field_has_a_fate_and_nothing_else_has_one(kind: str) -> None:
    fields = {f"spec.{name}" for name in UPSTREAM[kind].split()}
    covered = COVERED[kind]
    assert {field for field in fields if fate(covered, field) is None} == set()
    for path, entry in covered.items():
        assert entry.reason
        if path.startswith("spec."):
            assert any(field == path or field.startswith((f"{path}.", f"{path}[")) for field in fields), path


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda item: item.resource.kind)
def test_the_schema_has_the_fields_of_upstream_and_no_other(definition: Definition) -> None:
    schema = schema_of(definition, definition.resource.version)["properties"]["spec"]
    assert set(_leaves(schema, "")) == set(UPSTREAM[definition.resource.kind].split())


def test_what_is_refused_is_what_is_for_a_cloud_and_for_peers_within_the_cluster() -> None:
    for kind, covered in COVERED.items():
        refused = {path.removeprefix("spec.") for path, entry in covered.items() if entry.support is Support.REFUSED}
        refused -= {path for path in refused if path.endswith(("asPathPrefix", "].priority"))}
        assert refused == REFUSED.get(kind, set()), kind


def test_all_of_the_kinds_that_are_about_egress_is_supported_but_what_is_for_a_cloud() -> None:
    for kind in ("ExternalNetwork", "EgressGatewayPolicy", "EgressGateway"):
        assert not any(entry.support is Support.IGNORED for entry in COVERED[kind].values()), kind


def test_every_annotation_has_a_fate() -> None:
    assert all("projectcalico.org/" in name and entry.reason for name, entry in ANNOTATIONS.items())


def test_what_is_given_and_ignored_is_found_with_its_place() -> None:
    found = dict(without_effect("IPPool", pool(ipipMode="Always", allowedUses=["Workload"], blockSize=32)["spec"]))
    assert set(found) == {"spec.ipipMode", "spec.allowedUses"}
    rule = {"action": "Accept", "operations": [{"addCommunity": {"value": "1:1"}}, {"setPriority": {"value": 1}}]}
    assert [path for path, _ in without_effect("BGPFilter", importing({"action": "Accept"}, rule)["spec"])] == [
        "spec.importV4[1].operations[1].setPriority.value"
    ]
    assert dict(without_effect("EgressGateway", gateway(replicas=2, logSeverity="Info")["spec"])) == {}


def test_every_option_of_felix_that_is_not_of_egress_is_told_to_have_no_effect() -> None:
    given = felix(egressIPSupport="Disabled", iptablesBackend="NFT", bpfEnabled=True, other={"a": [{"b": 1}]}, no=None)
    found = [path for path, _ in without_effect("FelixConfiguration", given["spec"])]
    assert found == ["spec.iptablesBackend", "spec.bpfEnabled", "spec.other.a[0].b"]


def _leaves(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if "properties" in schema:
        for name, below in schema["properties"].items():
            yield from _leaves(below, f"{path}.{name}" if path else name)
    elif "properties" in schema.get("items", {}):
        yield from _leaves(schema["items"], f"{path}[]")
    else:
        yield path


PAGE = Path(__file__).parents[4] / "docs" / "calico.md"


def told(page: str) -> set[tuple[str, str, str]]:
    """What a page's tables say: the heading, a name in the first cell, and the word in the second one."""
    heading, found = "", set()
    for line in page.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif (cells := line.split(" | "))[0].startswith("| `") and len(cells) >= 2:
            found |= {(heading, name, cells[1].strip()) for name in re.findall(r"`([^`]+)`", cells[0])}
    return {entry for entry in found if entry[2] in [item.value for item in Support]}


def test_the_page_for_users_says_the_same_of_every_field() -> None:
    covered = {
        (kind, path.removeprefix("spec."), entry.support.value)
        for kind, fields in {**COVERED, "BGPFilter": {}, "Annotations": ANNOTATIONS}.items()
        for path, entry in fields.items()
        if not path.startswith("status.")
    }
    filters = {
        ("BGPFilter", re.sub(r"^spec\.\w+\[\]\.", "", path), entry.support.value)
        for path, entry in COVERED["BGPFilter"].items()
    }
    assert told(PAGE.read_text()) == covered | filters
    assert told("## A\n| `b`, `c` | ignored | d |\n| `e` | f | g |") == {("A", "b", "ignored"), ("A", "c", "ignored")}
