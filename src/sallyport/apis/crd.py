"""Structural schemas of CustomResourceDefinitions from our types, plus what a type cannot say.

A type gives names and shapes; an overlay, keyed by the path of a field (`spec.egressIP`, lists as `[]`, maps as
`{}`), adds descriptions, formats, limits and rules. The result holds no `$ref`, as Kubernetes demands of structural
schemas (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec.inspect as inspect

from sallyport.apis.resource import Resource

Schema = dict[str, Any]
Overlay = Mapping[str, Mapping[str, Any]]

_OPEN = {"x-kubernetes-preserve-unknown-fields": True}
"""An object of any content, which is stored as it is."""
_ROOT: Overlay = {
    "apiVersion": {"description": "Group and version of this object's schema."},
    "kind": {"description": "Name of the kind of this object."},
}

CONDITIONS: Overlay = {
    "status.conditions": {"description": "What became of the request; a False one says in words what is in the way."},
    "status.conditions[]": {"required": ["type", "status"]},
    "status.conditions[].type": {"description": "What the condition is about, such as IPAllocated or IPAssigned."},
    "status.conditions[].status": {"description": "True, False or Unknown.", "enum": ["True", "False", "Unknown"]},
    "status.conditions[].lastTransitionTime": {
        "description": "When `status` last changed.",
        "format": "date-time",
    },
    "status.conditions[].reason": {"description": "The cause as one word for programs."},
    "status.conditions[].message": {"description": "The cause as a sentence for people."},
}
"""What `status.conditions` says; the same for every kind."""


@dataclass(frozen=True, slots=True)
class Version:
    """One served version: what the overlay says there, and which paths it does not have."""

    name: str
    overlay: Overlay
    without: frozenset[str] = frozenset()
    deprecation: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """All that a CustomResourceDefinition holds besides schemas. Columns are (name, type, JSON path, description)."""

    resource: Resource[Any]
    singular: str
    short_names: tuple[str, ...]
    columns: tuple[tuple[str, str, str, str], ...]
    versions: tuple[Version, ...]


def rules(*pairs: tuple[str, str]) -> Schema:
    """What an overlay says for CEL rules that must hold, each with the message of its refusal."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def render(definition: Definition) -> Schema:
    """The CustomResourceDefinition as a plain object, in a fixed order of keys. The resource's version is stored."""
    resource = definition.resource
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": definition.singular,
                "shortNames": list(definition.short_names),
            },
            "versions": [_version(definition, version) for version in definition.versions],
        },
    }


def schema_of(definition: Definition, version: str) -> Schema:
    """The schema of one version. Raises KeyError for a version that is not served."""
    for item in definition.versions:
        if item.name == version:
            return _root(definition, item)
    raise KeyError(version)


def _version(definition: Definition, version: Version) -> Schema:
    rendered: Schema = {"name": version.name, "served": True, "storage": version.name == definition.resource.version}
    if version.deprecation:
        rendered |= {"deprecated": True, "deprecationWarning": version.deprecation}
    return rendered | {
        "schema": {"openAPIV3Schema": _root(definition, version)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "description": text, "jsonPath": path}
            for name, kind, path, text in definition.columns
        ],
    }


def _root(definition: Definition, version: Version) -> Schema:
    schema = _node(inspect.type_info(definition.resource.type), "", version)
    fields: Schema = schema["properties"]
    order = ["apiVersion", "kind", "metadata", "spec", "status"]
    schema["properties"] = {name: {"type": "object"} if name == "metadata" else fields[name] for name in order}
    return schema


def _node(kind: inspect.Type, path: str, version: Version) -> Schema:
    extra = dict(version.overlay.get(path) or _ROOT.get(path) or {})
    schema: Schema = {}
    if text := extra.pop("description", ""):
        schema["description"] = text
    schema |= _shape(kind, path, version)
    return schema | extra


def _shape(kind: inspect.Type, path: str, version: Version) -> Schema:
    match kind:
        case inspect.StructType(fields=fields):
            return {"type": "object", "properties": _properties(fields, path, version)}
        case inspect.DictType(value_type=inspect.AnyType()):
            return {"type": "object", **_OPEN}
        case inspect.DictType():
            return {"type": "object", "additionalProperties": _node(kind.value_type, f"{path}{{}}", version)}
        case inspect.VarTupleType(item_type=item):
            return {"type": "array", "items": _node(item, f"{path}[]", version)}
        case inspect.UnionType(types=types):
            given = [part for part in types if not isinstance(part, inspect.NoneType)]
            if {type(part) for part in given} == {inspect.IntType, inspect.StrType}:
                return {"x-kubernetes-int-or-string": True}
            (item,) = given
            return _shape(item, path, version)
        case inspect.StrType():
            return {"type": "string"}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType():
            return {"type": "integer"}
        case _:
            raise TypeError(f"no schema for {kind} at {path}")


def _properties(fields: Sequence[inspect.Field], path: str, version: Version) -> Schema:
    found: Schema = {}
    for item in fields:
        below = f"{path}.{item.encode_name}" if path else item.encode_name
        if below == "metadata":
            found[below] = {"type": "object"}
        elif below not in version.without:
            found[item.encode_name] = _node(item.type, below, version)
    return found
