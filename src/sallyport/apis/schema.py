"""Does a value fit a structural schema? The part of OpenAPI v3 that CustomResourceDefinitions use, without CEL.

Messages follow those of the Kubernetes API server, so that a refusal reads the same before and after applying.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sallyport.model.addresses import parse_address, parse_network

Schema = Mapping[str, Any]


class Fault(NamedTuple):
    """What is refused: the path of the field (`spec.ipRanges[0].cidr`, "" for the object) and why."""

    field: str
    reason: str


def check(schema: Schema, value: object, path: str = "") -> list[Fault]:
    """All that does not fit. Fields that the schema does not know are not faults: see `unknown`."""
    if value is None and schema.get("nullable"):
        return []
    if (kind := schema.get("type")) and not _TYPES[kind](value):
        return [Fault(path, f"Invalid value: {_name(value)}: must be of type {kind}")]
    if schema.get("x-kubernetes-int-or-string") and not (isinstance(value, str) or _TYPES["integer"](value)):
        return [Fault(path, f"Invalid value: {_name(value)}: must be of type integer or string")]
    found = [Fault(path, reason) for reason in _own_faults(schema, value)]
    if isinstance(value, dict):
        found += _object_faults(schema, value, path)
    elif isinstance(value, list) and isinstance(items := schema.get("items"), Mapping):
        for index, item in enumerate(value):
            found += check(items, item, f"{path}[{index}]")
    return found


def unknown(schema: Schema, value: object, path: str = "") -> list[str]:
    """Paths of fields that the schema does not have; the API server drops them silently unless asked to be strict."""
    found: list[str] = []
    if isinstance(value, dict) and isinstance(properties := schema.get("properties"), Mapping):
        for key, item in value.items():
            if key in properties:
                found += unknown(properties[key], item, _below(path, key))
            elif not schema.get("x-kubernetes-preserve-unknown-fields"):
                found.append(_below(path, key))
    elif isinstance(value, list) and isinstance(items := schema.get("items"), Mapping):
        for index, item in enumerate(value):
            found += unknown(items, item, f"{path}[{index}]")
    return found


def pruned(schema: Schema, value: Any) -> Any:
    """A copy as the API server stores it: without fields that the schema does not know, and without nulls."""
    if isinstance(value, dict):
        properties = schema.get("properties")
        closed = isinstance(properties, Mapping) and not schema.get("x-kubernetes-preserve-unknown-fields")
        others = schema.get("additionalProperties")
        return {
            key: pruned((properties or {}).get(key) or (others if isinstance(others, Mapping) else {}), item)
            for key, item in value.items()
            if item is not None and (not closed or key in (properties or {}))
        }
    if isinstance(value, list):
        items = schema.get("items")
        return [pruned(items if isinstance(items, Mapping) else {}, item) for item in value]
    return value


def _below(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _name(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _object_faults(schema: Schema, value: Mapping[str, Any], path: str) -> list[Fault]:
    found = [Fault(_below(path, key), "Required value") for key in schema.get("required", ()) if value.get(key) is None]
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties")
    for key, item in value.items():
        if key in properties:
            # The API server drops a null where the field has no default, which is the same as leaving it out.
            if item is not None:
                found += check(properties[key], item, _below(path, key))
        elif isinstance(others, Mapping):
            found += check(others, item, _below(path, key))
    return found


def _own_faults(schema: Schema, value: object) -> Iterator[str]:
    name = _name(value)
    if (allowed := schema.get("enum")) is not None and value not in allowed:
        yield f"Unsupported value: {name}: supported values: {', '.join(_name(item) for item in allowed)}"
    if isinstance(value, str):
        yield from _text_faults(schema, value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if (low := schema.get("minimum")) is not None and value < low:
            yield f"Invalid value: {name}: should be greater than or equal to {low}"
        if (high := schema.get("maximum")) is not None and value > high:
            yield f"Invalid value: {name}: should be less than or equal to {high}"
    elif isinstance(value, list):
        if (least := schema.get("minItems")) is not None and len(value) < least:
            yield f"Invalid value: should have at least {least} items"
        if (most := schema.get("maxItems")) is not None and len(value) > most:
            yield f"Too many: {len(value)}: must have at most {most} items"
    yield from _joined_faults(schema, value)


def _text_faults(schema: Schema, value: str) -> Iterator[str]:
    if (least := schema.get("minLength")) is not None and len(value) < least:
        yield f'Invalid value: "{value}": should be at least {least} chars long'
    if (most := schema.get("maxLength")) is not None and len(value) > most:
        yield f"Too long: may not be more than {most} bytes"
    if (pattern := schema.get("pattern")) is not None and not _compiled(pattern).search(value):
        yield f"Invalid value: \"{value}\": should match '{pattern}'"
    form = str(schema.get("format", ""))
    if form in FORMATS and not FORMATS[form](value):
        yield f'Invalid value: "{value}": must be of type {form}'


def _joined_faults(schema: Schema, value: object) -> Iterator[str]:
    if alternatives := schema.get("anyOf"):
        failed = [check(item, value) for item in alternatives]
        if all(failed):
            yield f"must fit one of: {_summary(alternatives)}"
    if alternatives := schema.get("oneOf"):
        fitting = sum(not check(item, value) for item in alternatives)
        if fitting == 0:
            yield f"Invalid value: {_shown(value)}: must fit one of: {_summary(alternatives)}"
        elif fitting > 1:
            yield f"Invalid value: {_shown(value)}: must fit only one of: {_summary(alternatives)}"
    for item in schema.get("allOf", ()):
        for fault in check(item, value):
            yield fault.reason
    if (excluded := schema.get("not")) is not None and not check(excluded, value):
        yield f"must not fit: {_summary([excluded])}"


def _shown(value: object) -> str:
    return f"with {', '.join(map(str, value)) or 'nothing'}" if isinstance(value, dict) else _name(value)


def _summary(alternatives: list[Schema]) -> str:
    """Alternatives in words, such as `cidr | start and end`."""
    return " | ".join(_phrase(item) for item in alternatives)


def _phrase(schema: Schema) -> str:
    if required := schema.get("required"):
        return " and ".join(required)
    if form := schema.get("format"):
        return str(form)
    if schema.get("maxLength") == 0:
        return "empty"
    if alternatives := schema.get("anyOf") or schema.get("oneOf"):
        return f"({' or '.join(_phrase(item) for item in alternatives)})"
    return str(dict(schema))


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _is_address(version: int) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            return parse_address(text).version == version
        except ValueError:
            return False

    return fits


def _is_network(text: str) -> bool:
    try:
        parse_network(text)
    except ValueError:
        return False
    return True


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None and "T" in text
    except ValueError:
        return False


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "ipv4": _is_address(4),
    "ipv6": _is_address(6),
    "cidr": _is_network,
    "date-time": _is_time,
}
_TYPES: Mapping[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
