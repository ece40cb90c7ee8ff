"""Structural schemas: pruning of unknown fields and defaulting, both in place."""

import copy
from typing import Any

from sallyport.lab.apiserver.errors import Object

_ROOT = ("apiVersion", "kind", "metadata")
_PRESERVE = "x-kubernetes-preserve-unknown-fields"


def prune(schema: Object, obj: Object) -> list[str]:
    """Remove fields that the schema does not know; answers their paths."""
    dropped: list[str] = []
    _prune(schema, obj, "", dropped, embedded=True)
    return dropped


def _prune(schema: Object, value: Any, path: str, dropped: list[str], embedded: bool = False) -> None:
    if isinstance(value, list):
        items = schema.get("items") or {}
        for place, item in enumerate(value):
            _prune(items, item, f"{path}[{place}]", dropped)
        return
    if not isinstance(value, dict):
        return
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    embedded = embedded or bool(schema.get("x-kubernetes-embedded-resource"))
    for key in list(value):
        here = f"{path}.{key}" if path else key
        if embedded and key in _ROOT:
            continue
        if key in properties:
            _prune(properties[key], value[key], here, dropped)
        elif isinstance(extra, dict):
            _prune(extra, value[key], here, dropped)
        elif not extra and not schema.get(_PRESERVE):
            del value[key]
            dropped.append(here)


def default(schema: Object, value: Any) -> None:
    """Fill in the defaults of absent fields, and of null ones that may not be null."""
    if isinstance(value, list):
        items = schema.get("items") or {}
        for item in value:
            default(items, item)
        return
    if not isinstance(value, dict):
        return
    properties = schema.get("properties") or {}
    for key, below in properties.items():
        if "default" in below and (key not in value or (value[key] is None and not below.get("nullable"))):
            value[key] = copy.deepcopy(below["default"])
        if key in value:
            default(below, value[key])
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for key in value.keys() - properties.keys():
            default(extra, value[key])
