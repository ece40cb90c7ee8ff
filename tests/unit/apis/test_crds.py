"""The CustomResourceDefinitions: as generated, structural, and refusing what upstream refuses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cel
import pytest
import yaml
from tools.crds import name, text

from sallyport.apis.antrea.crds import EGRESS, POOL
from sallyport.apis.crd import Definition, render, schema_of
from sallyport.apis.definitions import DEFINITIONS
from sallyport.apis.schema import check

ROOT = Path(__file__).parents[3]
SCHEMAS = {
    (f"{definition.resource.group}/{version.name}", definition.resource.kind): schema_of(definition, version.name)
    for definition in DEFINITIONS
    for version in definition.versions
}
EGRESS_SCHEMA = SCHEMAS["crd.antrea.io/v1beta1", "Egress"]
POOL_SCHEMA = SCHEMAS["crd.antrea.io/v1beta1", "ExternalIPPool"]


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_the_files_are_what_the_types_give(definition: Definition) -> None:
    """Run `python tools/crds.py` after a change of the types."""
    assert (ROOT / "deploy" / "crds" / name(definition)).read_text() == text(definition)


def test_there_is_a_file_for_each_definition_and_no_other() -> None:
    files = {file.name for file in (ROOT / "deploy" / "crds").iterdir()}
    assert files == {name(definition) for definition in DEFINITIONS}


def test_versions_columns_and_short_names_are_upstreams() -> None:
    for definition, short, columns in (
        (EGRESS, ["eg"], ["EgressIP", "Age", "Node"]),
        (POOL, ["eip"], ["Total", "Used", "Age"]),
    ):
        spec = render(definition)["spec"]
        assert spec["names"]["shortNames"] == short
        assert [(item["name"], item["storage"]) for item in spec["versions"]] == [
            ("v1alpha2", False),
            ("v1beta1", True),
        ]
        for version in spec["versions"]:
            assert version["served"]
            assert version["subresources"] == {"status": {}}
            assert [column["name"] for column in version["additionalPrinterColumns"]] == columns


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=map(str, SCHEMAS))
def test_schemas_are_structural_and_described(schema: Any) -> None:
    for path, node in _nodes(schema, ""):
        assert "type" in node or node.get("x-kubernetes-int-or-string"), path
        assert "$ref" not in node
        assert not {"properties", "additionalProperties"} <= node.keys(), path
        for junction in ("oneOf", "anyOf", "allOf", "not"):
            assert "'type'" not in str(node.get(junction, "")), f"{path}: no types inside {junction}"
        if path not in ("", ".metadata") and not path.endswith(("[]", "{}")):
            assert node.get("description"), f"{path} has no description"


def _nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for key, below in schema.get("properties", {}).items():
        yield from _nodes(below, f"{path}.{key}")
    if isinstance(items := schema.get("items"), dict):
        yield from _nodes(items, f"{path}[]")
    if isinstance(values := schema.get("additionalProperties"), dict):
        yield from _nodes(values, f"{path}{{}}")


def egress(**spec: object) -> dict[str, object]:
    return {"spec": {"appliedTo": {}, **spec}}


def pool(*ranges: object, **spec: object) -> dict[str, object]:
    return {"spec": {"ipRanges": list(ranges), "nodeSelector": {}, **spec}}


@pytest.mark.parametrize(
    "value",
    [
        egress(egressIP="10.0.0.1"),
        egress(egressIP="2001:db8::1", externalIPPool="p"),
        egress(externalIPPool="p", bandwidth={"rate": "100M", "burst": "1.5Gi"}),
        egress(egressIPs=[], externalIPPools=["p"]),
    ],
)
def test_egresses_that_upstream_takes_are_taken(value: object) -> None:
    assert check(EGRESS_SCHEMA, value) == []


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({}, "spec"),
        ({"spec": {"egressIP": "10.0.0.1"}}, "spec.appliedTo"),
        (egress(), "spec"),
        (egress(egressIP=""), "spec.egressIP"),
        (egress(egressIP="10.0.0.256"), "spec.egressIP"),
        (egress(egressIP="10.0.0.1", egressIPs=["10.0.0.1"]), "spec"),
        (egress(externalIPPool="p", bandwidth={"rate": "1M"}), "spec.bandwidth.burst"),
        (egress(externalIPPool="p", bandwidth={"rate": "fast", "burst": "1M"}), "spec.bandwidth.rate"),
        (
            egress(egressIP="10.0.0.1", appliedTo={"podSelector": {"matchLabels": {"a": "-"}}}),
            "spec.appliedTo.podSelector.matchLabels.a",
        ),
    ],
)
def test_egresses_that_upstream_refuses_are_refused(value: object, field: str) -> None:
    assert [fault.field for fault in check(EGRESS_SCHEMA, value)] == [field]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"spec": {"nodeSelector": {}}}, "spec.ipRanges"),
        ({"spec": {"ipRanges": []}}, "spec.nodeSelector"),
        (pool({"start": "10.0.0.1"}), "spec.ipRanges[0]"),
        (pool({"cidr": "10.0.0.0/24", "start": "10.0.0.1", "end": "10.0.0.2"}), "spec.ipRanges[0]"),
        (pool({"cidr": "10.0.0.0"}), "spec.ipRanges[0].cidr"),
        (pool(nodeSelector={"matchLabels": {"a": "invalid value"}}), "spec.nodeSelector.matchLabels.a"),
        (pool(subnetInfo={"gateway": "10.0.0.1", "prefixLength": 128}), "spec.subnetInfo.prefixLength"),
        (pool(subnetInfo={"gateway": "10.0.0.1", "prefixLength": 24, "vlan": 4095}), "spec.subnetInfo.vlan"),
    ],
)
def test_pools_that_upstream_refuses_are_refused(value: object, field: str) -> None:
    assert [fault.field for fault in check(POOL_SCHEMA, value)] == [field]


def broken_rules(schema: Any, value: object, old: object = None) -> list[str]:
    """Messages of the CEL rules of one node that do not hold."""
    context = cel.Context()
    context.add_function("split", lambda text, separator: text.split(separator))
    context.add_variable("self", value)
    context.add_variable("oldSelf", old)
    rules = schema["x-kubernetes-validations"]
    return [
        rule["message"]
        for rule in rules
        if ("oldSelf" not in rule["rule"] or old is not None) and not cel.evaluate(rule["rule"], context)
    ]


def test_rules_refuse_what_only_upstreams_webhook_refuses() -> None:
    ranges = POOL_SCHEMA["properties"]["spec"]["properties"]["ipRanges"]
    spec = EGRESS_SCHEMA["properties"]["spec"]["properties"]
    a, b = {"cidr": "10.0.0.0/24"}, {"start": "10.0.1.1", "end": "10.0.1.9"}
    assert broken_rules(ranges, [b, a], [a]) == []
    assert broken_rules(ranges, [b], [a]) == ["existing IPRanges cannot be updated or deleted"]
    assert broken_rules(ranges["items"], a) == broken_rules(ranges["items"], b) == []
    backwards = {"start": "10.0.1.9", "end": "10.0.1.10"}
    assert broken_rules(ranges["items"], backwards) == [], "compared as numbers, not as text"
    assert broken_rules(ranges["items"], {"start": "10.0.2.1", "end": "10.0.1.9"}) == [
        "start must not be greater than end"
    ]
    assert broken_rules(ranges["items"], {"start": "10.0.0.1", "end": "2001:db8::1"}) == [
        "start and end must be of the same IP family"
    ]
    assert broken_rules(spec["egressIPs"], ["10.0.0.1"]) == ["egressIPs is not supported yet"]


def test_a_file_holds_no_anchors() -> None:
    assert all("&id" not in text(definition) and yaml.safe_load(text(definition)) for definition in DEFINITIONS)
