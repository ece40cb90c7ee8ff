"""The CustomResourceDefinitions of Calico's kinds: structural, described, and refusing in schema and rules."""

from collections.abc import Iterator
from typing import Any

import msgspec.inspect as inspect
import pytest

from sallyport.apis.calico.crds import DEFINITIONS
from sallyport.apis.crd import Definition, render, schema_of
from sallyport.lab.apiserver import rules, schema, validation

from .objects import ACCEPTED, REFUSED, Manifest, pool

SCHEMAS = {item.resource.kind: schema_of(item, item.resource.version) for item in DEFINITIONS}


def ids(value: object) -> str:
    return str(value["kind"]) if isinstance(value, dict) else str(value)


def refusals(value: Manifest, old: Manifest | None = None) -> list[str]:
    """Fields that the embedded API server refuses, as it does: rules only over an object of the right shape."""
    declared = SCHEMAS[value["kind"]]
    schema.default(declared, value)
    causes = validation.check(declared, value, "") or rules.evaluate(declared, value, old, "")
    return [cause.field for cause in causes]


@pytest.mark.parametrize("value", ACCEPTED, ids=ids)
def test_what_upstream_takes_is_taken_whole(value: Manifest) -> None:
    assert refusals(value) == []
    assert schema.prune(SCHEMAS[value["kind"]], value) == []


@pytest.mark.parametrize(("value", "field"), REFUSED, ids=ids)
def test_what_makes_no_sense_is_refused_at_its_field(value: Manifest, field: str) -> None:
    assert refusals(value) == [field]


def test_a_pools_network_and_blocks_stay_as_they_are() -> None:
    before = pool(blockSize=32)
    assert refusals(pool(blockSize=32, natOutgoing=True), before) == []
    assert refusals(pool("10.10.10.0/29", blockSize=32), before) == ["spec.cidr"]
    assert refusals(pool(blockSize=31), before) == ["spec.blockSize"]


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda item: item.resource.kind)
def test_every_rule_compiles_with_the_functions_of_the_embedded_server(definition: Definition) -> None:
    (version,) = render(definition)["spec"]["versions"]
    assert rules.check_schema(version["schema"]["openAPIV3Schema"], "schema") == []


def paths(declared: Any, path: str = "") -> set[str]:
    """Paths of all fields of a schema, as overlays write them."""
    found = {path}
    for key, below in declared.get("properties", {}).items():
        found |= paths(below, f"{path}.{key}" if path else key)
    for part, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(declared.get(part), dict):
            found |= paths(declared[part], path + mark)
    return found


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda item: item.resource.kind)
def test_an_overlay_speaks_only_of_fields_that_are_there(definition: Definition) -> None:
    (version,) = definition.versions
    assert set(version.overlay) - paths(SCHEMAS[definition.resource.kind]) == set()


def defaults(kind: inspect.Type, declared: Any, path: str = "") -> Iterator[tuple[str, object, object]]:
    """Paths of fields that have a default in the schema, with the type's own and the schema's."""
    if isinstance(kind, inspect.StructType):
        for item in kind.fields:
            below = declared.get("properties", {}).get(item.encode_name, {})
            if "default" in below:
                yield f"{path}.{item.encode_name}", item.default, below["default"]
            yield from defaults(item.type, below, f"{path}.{item.encode_name}")
    elif isinstance(kind, inspect.UnionType):
        for part in kind.types:
            yield from defaults(part, declared, path)
    elif isinstance(kind, inspect.VarTupleType):
        yield from defaults(kind.item_type, declared.get("items", {}), f"{path}[]")


def test_a_default_of_the_schema_is_what_the_type_says_of_an_absent_field() -> None:
    """So that an object means the same before and after the server has filled it in."""
    found = [
        entry
        for item in DEFINITIONS
        for entry in defaults(inspect.type_info(item.resource.type), SCHEMAS[item.resource.kind], item.resource.kind)
    ]
    assert {path for path, own, schema_own in found if own != schema_own} == set()
    assert "EgressGateway.spec.egressGatewayFailureDetection.icmpProbe.timeoutSeconds" in {path for path, *_ in found}


def test_kinds_are_where_upstream_has_them() -> None:
    served = {(item.resource.path(), item.resource.namespaced) for item in DEFINITIONS}
    v3 = "/apis/projectcalico.org/v3"
    assert served == {
        (f"{v3}/externalnetworks", False),
        (f"{v3}/ippools", False),
        (f"{v3}/egressgatewaypolicies", False),
        (f"{v3}/felixconfigurations", False),
        (f"{v3}/bgppeers", False),
        (f"{v3}/bgpfilters", False),
        (f"{v3}/bgpconfigurations", False),
        ("/apis/operator.tigera.io/v1/egressgateways", True),
    }
