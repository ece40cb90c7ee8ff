"""What every object says of itself, whatever fields its type declares."""

from typing import Any

import msgspec

Key = tuple[str, str]
"""Namespace ("" where the kind has none) and name."""


def key_of(obj: Any) -> Key:
    """The key under which `obj` is kept."""
    return (obj.metadata.namespace or "", obj.metadata.name)


def uid_of(obj: Any) -> str:
    """The uid; "" if the type does not declare one."""
    return getattr(obj.metadata, "uid", None) or ""


def revision_of(obj: Any) -> str:
    """The resourceVersion; "" if the type does not declare one."""
    meta = obj.metadata
    return getattr(meta, "resource_version", None) or getattr(meta, "resourceVersion", None) or ""


def to_body(obj: Any) -> Any:
    """The JSON values of `obj`. A Struct's None means "not set" and is left out; a dict is taken as it stands."""
    if isinstance(obj, msgspec.Struct):
        return _without_none(msgspec.to_builtins(obj))
    return obj


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value
