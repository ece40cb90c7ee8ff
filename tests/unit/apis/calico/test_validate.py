"""What `sallyport check` refuses of Calico's kinds, and of what several of them together it warns."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from sallyport.apis.manifests import read_manifests
from sallyport.apis.review import Review, Severity, review

from .objects import (
    ACCEPTED,
    ALL,
    REFUSED,
    Manifest,
    felix,
    gateway,
    importing,
    manifest,
    network,
    peer,
    policy,
    pool,
    rule,
)


def reviewed(*values: Manifest) -> Review:
    """The manifests as one file."""
    return review(*read_manifests(yaml.safe_dump_all(copy.deepcopy(values)), "f.yaml"))


def findings(severity: Severity, *values: Manifest) -> list[tuple[str, str]]:
    """Fields and reasons of that severity."""
    return [(item.field, item.reason) for item in reviewed(*values).findings if item.severity is severity]


def ids(value: object) -> str:
    return str(value["kind"]) if isinstance(value, dict) else str(value)


@pytest.mark.parametrize("value", ACCEPTED, ids=ids)
def test_what_the_api_takes_is_not_refused(value: Manifest) -> None:
    result = reviewed(value)
    assert [item for item in result.findings if item.severity is Severity.REFUSED] == []
    assert len(result.sources) == 1
    assert not result.skipped


@pytest.mark.parametrize(("value", "field"), REFUSED, ids=ids)
def test_what_the_api_refuses_is_refused_at_the_same_field_or_within_it(value: Manifest, field: str) -> None:
    found = [path for path, _ in findings(Severity.REFUSED, value)]
    assert found
    assert all(path == field or path.startswith((f"{field}.", f"{field}[")) for path in found)


@pytest.mark.parametrize(
    ("value", "field", "reason"),
    [
        (pool(nodeSelector="all("), "spec.nodeSelector", 'Invalid value: "all(": at 5: expected ), found the end'),
        (pool("10.10.10.1/30"), "spec.cidr", "10.10.10.1/30 has bits beyond its prefix; 10.10.10.0/30 has not"),
        (peer(nodeSelector="egress = 'true'"), "spec.nodeSelector", "at 8: '=' has no meaning here"),
        (peer(peerIP="router"), "spec.peerIP", "'router' is not an IP address"),
        (peer(peerIP="fd00::1:99999:1"), "spec.peerIP", "is not an IP address"),
        (peer(asNumber=0), "spec.asNumber", "Required value"),
        (peer(asNumber="1.65536"), "spec.asNumber", "each part must be at most 65535"),
        (peer(localASNumber="0.0"), "spec.localASNumber", "must be 1 to 4294967295"),
        (
            policy(rule(selector="a == b", namespaceSelector="all()")),
            "spec.rules[0].gateway.selector",
            "at 6: expected a value in quotes, found 'b'",
        ),
        (
            policy(rule("10.0.0.1/8", **ALL), rule("10.0.0.0/8")),
            "spec.rules[1]",
            "destination 10.0.0.0/8 is that of rules[0], too",
        ),
        (policy(rule(**ALL), rule("0.0.0.0/0")), "spec.rules[1]", "destination 0.0.0.0/0 is that of rules[0], too"),
        (policy(rule("::/0"), rule(**ALL)), "spec.rules[1]", "destination ::/0 is that of rules[0], too"),
        (gateway(ipPools=[{"cidr": "10.10.10.0"}]), "spec.ipPools[0].cidr", "is not a network in CIDR notation"),
        (
            gateway(template={"metadata": {"labels": {"a": "not ok"}}}),
            "spec.template.metadata.labels.a",
            "label value 'not ok' must be",
        ),
        (
            importing({"action": "Accept", "cidr": "fd00::/8", "matchOperator": "In"}),
            "spec.importV4[0].cidr",
            "fd00::/8 is not an IPv4 network",
        ),
        (
            importing(
                {"action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 9, "max": 8}}
            ),
            "spec.importV4[0].prefixLength",
            "min 9 must not be greater than max 8",
        ),
        (
            importing({"action": "Accept", "communities": {"values": ["70000:1"]}}),
            "spec.importV4[0].communities.values[0]",
            "each part must be at most 65535",
        ),
        (
            felix(egressIPHostIfacePattern="ens3,/(/"),
            "spec.egressIPHostIfacePattern",
            "/(/ is not a regular expression",
        ),
        (network(500) | {"apiVersion": "projectcalico.org/v1"}, "apiVersion", "projectcalico.org/v3 is"),
    ],
    ids=ids,
)
def test_what_only_its_reader_can_judge_is_refused_with_the_reason(value: Manifest, field: str, reason: str) -> None:
    ((path, text),) = findings(Severity.REFUSED, value)
    assert path == field
    assert reason in text


def annotated(kind: str = "Namespace", **annotations: str) -> Manifest:
    metadata: dict[str, Any] = {"name": "red"} | ({"namespace": "red"} if kind == "Pod" else {})
    metadata["annotations"] = {f"egress.projectcalico.org/{name}": text for name, text in annotations.items()}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


ON = felix(egressIPSupport="EnabledPerNamespace", externalNetworkSupport="Enabled")
RED = [network(500), pool(), gateway(externalNetworks=["red"]), peer(externalNetwork="red"), ON]
SELECTOR = "metadata.annotations.egress.projectcalico.org/selector"
POLICY = "metadata.annotations.egress.projectcalico.org/egressGatewayPolicy"


def test_a_set_of_manifests_that_fits_together_has_no_warning() -> None:
    assert findings(Severity.WARNING, *RED, annotated(selector="egress-code == 'red'", maxNextHops="1")) == []


ELSEWHERE = "in these files; it must exist where they are applied"


WARNED: list[tuple[list[Manifest], str, str]] = [
    (
        [gateway()],
        "spec.ipPools[0].cidr",
        f"an IPPool with exactly the cidr 10.10.10.0/30 does not exist {ELSEWHERE}",
    ),
    ([gateway(ipPools=[{"name": "a"}])], "spec.ipPools[0].name", f"IPPool a does not exist {ELSEWHERE}"),
    ([pool(), gateway(ipPools=[{"cidr": "10.10.10.0/31"}])], "spec.ipPools[0].cidr", "does not exist"),
    ([pool(), gateway(externalNetworks=["red"])], "spec.externalNetworks[0]", "ExternalNetwork red does not exist"),
    ([peer(externalNetwork="red")], "spec.externalNetwork", "ExternalNetwork red does not exist"),
    ([peer(filters=["a"])], "spec.filters[0]", "BGPFilter a does not exist"),
    ([annotated(egressGatewayPolicy="p")], POLICY, "EgressGatewayPolicy p does not exist"),
    (
        [pool(), gateway(ipPools=[{"name": "red-pool", "cidr": "10.10.10.0/29"}])],
        "spec.ipPools[0]",
        "IPPool red-pool has the cidr 10.10.10.0/30, not 10.10.10.0/29",
    ),
    ([pool(), gateway(replicas=5)], "spec.replicas", "5 replicas, but the IPv4 pools hold 4 addresses"),
    ([pool(), manifest("IPPool", "wide", cidr="10.10.0.0/16")], "spec.cidr", "overlaps with IPPool red-pool"),
    (
        [network(500), network(500, "yellow")],
        "spec.routeTableIndex",
        "table 500 is that of ExternalNetwork red, too",
    ),
    ([network(250)], "spec.routeTableIndex", "table 250 is within routeTableRanges, 1 to 250"),
    (
        [network(500), felix(routeTableRanges=[{"min": 400, "max": 600}])],
        "spec.routeTableIndex",
        "within routeTableRanges, 400 to 600",
    ),
    (
        [
            network(500),
            peer(externalNetwork="red"),
            manifest("BGPPeer", "z", peerIP="172.31.11.1:1179", asNumber=1),
        ],
        "spec.peerIP",
        "172.31.11.1 is the address of BGPPeer x of network red, too",
    ),
    ([annotated(selector="a = 'b'")], SELECTOR, "is no selector: at 3: '=' has no meaning here"),
    ([annotated(selector="")], SELECTOR, "is no selector"),
    (
        [annotated(namespaceSelector="all()")],
        "metadata.annotations.egress.projectcalico.org/namespaceSelector",
        "has no effect without egress.projectcalico.org/selector on the same object",
    ),
    (
        [annotated(selector="all()", maxNextHops="two")],
        "metadata.annotations.egress.projectcalico.org/maxNextHops",
        "'two' must be a number, 0 or more",
    ),
    (
        [policy(rule(**ALL)), annotated(selector="all()", egressGatewayPolicy="x")],
        SELECTOR,
        "does not count beside egress.projectcalico.org/egressGatewayPolicy: the policy decides",
    ),
    ([felix(), annotated(selector="all()")], SELECTOR, "egressIPSupport of FelixConfiguration default is Disabled"),
    ([ON, annotated("Pod", selector="all()")], SELECTOR, "egressIPSupport of FelixConfiguration default is Enab"),
    (
        [felix(), network(500), pool(), gateway(externalNetworks=["red"])],
        "spec.externalNetworks",
        "externalNetworkSupport of FelixConfiguration default is not Enabled",
    ),
    ([manifest("FelixConfiguration", "other")], "metadata.name", "only default is read"),
    (
        [manifest("FelixConfiguration", "node.n1", egressIPSupport="Disabled")],
        "spec.egressIPSupport",
        "has no effect: options of egress hold for all nodes",
    ),
    ([felix(bpfEnabled=True)], "spec.bpfEnabled", "has no effect: it is not an option of egress gateways"),
    ([pool(vxlanMode="Always")], "spec.vxlanMode", "has no effect: clients reach gateways through Sallyport's own"),
    (
        [network(500) | {"spec": {"routeTableIndex": 500, "vlan": 4}}],
        "spec.vlan",
        "unknown field; it is not stored",
    ),
]


@pytest.mark.parametrize(("values", "field", "reason"), WARNED)
def test_what_does_not_fit_together_is_a_warning_and_no_refusal(
    values: list[Manifest], field: str, reason: str
) -> None:
    ((path, text),) = findings(Severity.WARNING, *values)
    assert path == field
    assert reason in text
    assert findings(Severity.REFUSED, *values) == []


def test_tables_within_the_ranges_that_felix_gives_instead_of_the_default_are_free() -> None:
    assert findings(Severity.WARNING, network(200), felix(routeTableRanges=[{"min": 1000, "max": 2000}])) == []


def test_pools_and_networks_of_both_families_go_together() -> None:
    six = manifest("IPPool", "six", cidr="fd00:10::/126", blockSize=128)
    both = gateway(ipPools=[{"name": "red-pool"}, {"cidr": "fd00:10::/126"}], replicas=4)
    assert findings(Severity.WARNING, pool(), six, both) == []
    assert findings(Severity.WARNING, pool("10.10.10.0/29"), six, gateway(ipPools=both["spec"]["ipPools"], replicas=5))


def test_a_remark_points_at_the_line_and_refused_objects_are_left_out() -> None:
    text = yaml.safe_dump(network(500)) + "---\n" + yaml.safe_dump(peer(nodeSelector="a =", externalNetwork="red"))
    result = review(*read_manifests(text, "f.yaml"))
    (finding,) = result.findings
    assert text.splitlines()[finding.line - 1].strip() == "nodeSelector: a ="
    assert result.objects.calico.peers == ()
    assert [item.metadata.name for item in result.objects.calico.networks] == ["red"]


def test_a_gateways_pod_is_read_as_a_pod_and_as_a_gateway() -> None:
    metadata = {"name": "g-1", "namespace": "default", "labels": {"sallyport.io/gateway": "g"}}
    result = reviewed({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": "n1"}})
    assert [item.metadata.name for item in result.objects.pods] == ["g-1"]
    assert [item.metadata.name for item in result.objects.calico.pods] == ["g-1"]


EXAMPLES = sorted((Path(__file__).parents[4] / "examples" / "calico").glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_each_example_is_taken_and_warns_at_most_of_what_is_in_the_others(file: Path) -> None:
    result = review(*read_manifests(file.read_text(), file.name))
    assert result.sources
    assert not result.skipped
    assert all(item.severity is Severity.WARNING and ELSEWHERE in item.reason for item in result.findings)


def test_the_examples_fit_together() -> None:
    read = [read_manifests(file.read_text(), file.name) for file in EXAMPLES]
    result = review(
        [item for manifests, _ in read for item in manifests], [item for _, flaws in read for item in flaws]
    )
    assert result.findings == []
    assert {network.spec.route_table_index for network in result.objects.calico.networks} == {500, 600}
