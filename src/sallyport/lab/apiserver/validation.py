"""Validation of custom resources by their structural schema, with the messages of a real API server."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from sallyport.lab.apiserver import rules
from sallyport.lab.apiserver.errors import Cause, Object
from sallyport.lab.apiserver.formats import FORMATS
from sallyport.lab.apiserver.kinds import Resource

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def validate(resource: Resource, obj: Object, old: Object | None) -> list[Cause]:
    """Every refused field of an object. CEL rules run only over an object of the right shape, as upstream."""
    causes = check(resource.schema, obj, "")
    if causes:
        return causes
    return rules.evaluate(resource.schema, obj, old, "")


def shown(value: Any) -> str:
    """A value as messages show it: maps and lists as JSON, as Go's ``%#v`` of unstructured content reads."""
    if isinstance(value, str | bool | int | float) or value is None:
        return msgspec.json.encode(value).decode()
    return msgspec.json.encode(value, order="sorted").decode()


def kind_of(value: Any) -> str:
    """The JSON type of a value, as messages name it."""
    if value is None:
        return "null"
    return next((name for name, holds in _TYPES.items() if holds(value)), "null")


def _body(path: str) -> str:
    return f"{path} in body"


def _bad(path: str, value: Any, text: str) -> Cause:
    return Cause(path, "FieldValueInvalid", f"Invalid value: {shown(value)}: {text}")


def check(schema: Object, value: Any, path: str) -> list[Cause]:
    """What the schema, without its CEL rules, refuses in a value at a path."""
    if value is None and schema.get("nullable"):
        return []
    wanted = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        if not (_TYPES["integer"](value) or isinstance(value, str)):
            text = f'{_body(path)} must be of type integer,string: "{kind_of(value)}"'
            return [Cause(path, "FieldValueTypeInvalid", f'Invalid value: "{kind_of(value)}": {text}')]
    elif wanted and not _TYPES[wanted](value):
        text = f'{_body(path)} must be of type {wanted}: "{kind_of(value)}"'
        return [Cause(path, "FieldValueTypeInvalid", f'Invalid value: "{kind_of(value)}": {text}')]
    causes: list[Cause] = []
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(shown(entry) for entry in schema["enum"])
        text = f"Unsupported value: {shown(value)}: supported values: {supported}"
        causes.append(Cause(path, "FieldValueNotSupported", text))
    if isinstance(value, str):
        causes += _check_string(schema, value, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        causes += _check_number(schema, value, path)
    elif isinstance(value, list):
        causes += _check_list(schema, value, path)
    elif isinstance(value, dict):
        causes += _check_map(schema, value, path)
    return causes + _check_junctors(schema, value, path)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    # Go's \z is Python's \Z; Python's $ also matches before a final newline, Go's does not.
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", text.replace(r"\z", r"\Z")))


def _check_string(schema: Object, value: str, path: str) -> list[Cause]:
    causes: list[Cause] = []
    most, least = schema.get("maxLength"), schema.get("minLength")
    if most is not None and len(value) > most:
        causes.append(Cause(path, "FieldValueTooLong", f"Too long: may not be more than {most} bytes"))
    if least is not None and len(value) < least:
        causes.append(_bad(path, value, f"{_body(path)} should be at least {least} chars long"))
    pattern = schema.get("pattern")
    if pattern and not _pattern(pattern).search(value):
        causes.append(_bad(path, value, f"{_body(path)} should match '{pattern}'"))
    holds = FORMATS.get(schema.get("format", ""))
    if holds and not holds(value):
        causes.append(_bad(path, value, f"{_body(path)} must be of type {schema['format']}: {shown(value)}"))
    return causes


def _check_number(schema: Object, value: float, path: str) -> list[Cause]:
    causes: list[Cause] = []
    least, most, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    if least is not None and (value < least or (schema.get("exclusiveMinimum") and value == least)):
        relation = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        causes.append(_bad(path, value, f"{_body(path)} should be {relation} {least}"))
    if most is not None and (value > most or (schema.get("exclusiveMaximum") and value == most)):
        relation = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        causes.append(_bad(path, value, f"{_body(path)} should be {relation} {most}"))
    if step and value % step:
        causes.append(_bad(path, value, f"{_body(path)} should be a multiple of {step}"))
    limit = {"int32": 31, "int64": 63}.get(schema.get("format", ""))
    if limit and not -(1 << limit) <= value < 1 << limit:
        causes.append(_bad(path, value, f"{_body(path)} must be of type {schema['format']}: {shown(value)}"))
    return causes


def _check_list(schema: Object, value: list[Any], path: str) -> list[Cause]:
    causes: list[Cause] = []
    most, least = schema.get("maxItems"), schema.get("minItems")
    if most is not None and len(value) > most:
        text = f"Too many: {len(value)}: must have at most {most} items"
        causes.append(Cause(path, "FieldValueTooMany", text))
    if least is not None and len(value) < least:
        causes.append(_bad(path, len(value), f"{_body(path)} should have at least {least} items"))
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    sort = schema.get("x-kubernetes-list-type")
    seen: list[Any] = []
    for place, item in enumerate(value):
        here = f"{path}[{place}]"
        causes += check(schema.get("items") or {}, item, here)
        if sort not in ("map", "set"):
            continue
        identity = {key: item.get(key) for key in keys} if sort == "map" and isinstance(item, dict) else item
        if identity in seen:
            causes.append(Cause(here, "FieldValueDuplicate", f"Duplicate value: {shown(identity)}"))
        seen.append(identity)
    return causes


def _check_map(schema: Object, value: Object, path: str) -> list[Cause]:
    causes: list[Cause] = []
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    if most is not None and len(value) > most:
        text = f"Too many: {len(value)}: must have at most {most} items"
        causes.append(Cause(path, "FieldValueTooMany", text))
    if least is not None and len(value) < least:
        causes.append(_bad(path, len(value), f"{_body(path)} should have at least {least} properties"))
    absent = [key for key in schema.get("required") or () if key not in value]
    causes += [Cause(join(path, key), "FieldValueRequired", "Required value") for key in absent]
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for key, item in value.items():
        if not path and key == "metadata":
            continue
        below = properties.get(key, extra)
        if isinstance(below, dict):
            causes += check(below, item, join(path, key))
    return causes


def _check_junctors(schema: Object, value: Any, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for below in schema.get("allOf") or ():
        causes += check(below, value, path)
    name = f'"{path}"' if path else '"<nil>"'
    if "anyOf" in schema and not any(not check(below, value, path) for below in schema["anyOf"]):
        causes.append(_bad(path, _simple(value), f"{name} must validate at least one schema (anyOf)"))
    if "oneOf" in schema:
        valid = sum(not check(below, value, path) for below in schema["oneOf"])
        if valid != 1:
            found = "none valid" if valid == 0 else f"{valid} valid alternatives"
            text = f"{name} must validate one and only one schema (oneOf). Found {found}"
            causes.append(_bad(path, _simple(value), text))
    if "not" in schema and not check(schema["not"], value, path):
        causes.append(_bad(path, _simple(value), f"{name} must not validate the schema (not)"))
    return causes


def _simple(value: Any) -> Any:
    """A whole map in a message says nothing: upstream shows its type there."""
    return kind_of(value) if isinstance(value, dict | list) else value


def join(path: str, key: str) -> str:
    """The path of a field below a path."""
    return f"{path}.{key}" if path else key
