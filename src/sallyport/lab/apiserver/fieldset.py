"""Sets of field paths, as managedFields keeps them (FieldsV1), and how lists of a kind are keyed."""

from collections.abc import Iterator
from typing import Any

import msgspec

from sallyport.lab.apiserver import patch
from sallyport.lab.apiserver.errors import Object
from sallyport.lab.apiserver.kinds import Resource

Path = tuple[str, ...]  # elements "f:name", 'k:{"key":"value"}' and "v:value"

_HIDDEN = frozenset(("apiVersion", "kind"))  # and of metadata, what the server keeps
_META_SHOWN = ("labels", "annotations", "finalizers", "ownerReferences")


def schema_of(resource: Resource) -> Object | None:
    """The schema that says how lists are keyed; None for the built-in kinds, which are known by field name."""
    return resource.schema if resource.custom else None


def below(schema: Object | None, key: str) -> Object | None:
    """The schema of a field."""
    if schema is None:
        return None
    found = (schema.get("properties") or {}).get(key) or schema.get("additionalProperties")
    return found if isinstance(found, dict) else {}


def list_keys(schema: Object | None, field: str, items: list[Any]) -> tuple[str, ...] | None:
    """The keys of a list's items; () for a set of plain values, None for a list owned as a whole."""
    if schema is None:
        if field == "finalizers":
            return ()
        key = patch.merge_key(field, items)
        return (key,) if key else None
    kind = schema.get("x-kubernetes-list-type")
    if kind == "set":
        return ()
    return tuple(schema.get("x-kubernetes-list-map-keys") or ()) or None if kind == "map" else None


def item_schema(schema: Object | None) -> Object | None:
    """The schema of a list's items."""
    return None if schema is None else schema.get("items") or {}


def element(keys: tuple[str, ...], item: Any) -> str:
    """The path element of a list's item."""
    if keys:
        return "k:" + msgspec.json.encode({key: item.get(key) for key in keys}, order="sorted").decode()
    return "v:" + msgspec.json.encode(item).decode()


def leaves(schema: Object | None, value: Any, field: str, prefix: Path) -> Iterator[Path]:
    """The paths of every leaf of a value; an item of a keyed list is a leaf beside its fields."""
    if isinstance(value, dict) and value and (schema or {}).get("x-kubernetes-map-type") != "atomic":
        for key, item in value.items():
            yield from leaves(below(schema, key), item, key, (*prefix, f"f:{key}"))
        return
    keys = list_keys(schema, field, value) if isinstance(value, list) and value else None
    if keys is None:
        yield prefix
        return
    for item in value:
        here = (*prefix, element(keys, item))
        yield here
        if keys:
            yield from leaves(item_schema(schema), item, "", here)


def of(resource: Resource, obj: Object, subresource: str) -> frozenset[Path]:
    """The fields that a client's object sets, of what a request to this subresource can write."""
    schema = schema_of(resource)
    found: list[Path] = []
    for key, value in obj.items():
        if key in _HIDDEN or (subresource == "status" and key != "status"):
            continue
        if key == "status" and resource.has_status and subresource != "status":
            continue
        if key == "metadata":
            for name in _META_SHOWN:
                if value.get(name):
                    found += leaves(None, value[name], name, ("f:metadata", f"f:{name}"))
        else:
            found += leaves(below(schema, key), value, key, (f"f:{key}",))
    return frozenset(found)


def encode(paths: frozenset[Path]) -> Object:
    """FieldsV1."""
    tree: Object = {}
    for path in sorted(paths):
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node["."] = {}
    return _trim(tree)


def _trim(node: Object) -> Object:
    if list(node) == ["."]:
        return {}
    return {key: _trim(value) for key, value in node.items()}


def decode(tree: Object, prefix: Path = ()) -> Iterator[Path]:
    """The paths of FieldsV1."""
    if not tree and prefix:
        yield prefix
    for key, value in tree.items():
        if key == ".":
            yield prefix
        else:
            yield from decode(value, (*prefix, key))


def resolve(obj: Any, path: Path) -> tuple[bool, Any]:
    """Whether there is a value at a path, and the value."""
    for part in path:
        if part.startswith("f:"):
            if not isinstance(obj, dict) or part[2:] not in obj:
                return False, None
            obj = obj[part[2:]]
            continue
        place = find(obj, part)
        if place is None:
            return False, None
        obj = obj[place]
    return True, obj


def differ(one: Object, other: Object, path: Path) -> bool:
    """Whether two objects disagree on a leaf. Keyed items are only there or not: their fields are leaves too."""
    first, second = resolve(one, path), resolve(other, path)
    return first[0] != second[0] if path[-1].startswith("k:") else first != second


def find(items: Any, part: str) -> int | None:
    """The place of a list's item by its path element."""
    if not isinstance(items, list):
        return None
    wanted = msgspec.json.decode(part[2:])
    for place, item in enumerate(items):
        if part.startswith("v:") and item == wanted:
            return place
        if part.startswith("k:") and isinstance(item, dict) and all(item.get(k) == v for k, v in wanted.items()):
            return place
    return None


def remove(obj: Object, path: Path) -> None:
    """Remove what is at a path, and the maps that this leaves empty."""
    there, parent = resolve(obj, path[:-1])
    if not there:
        return
    part = path[-1]
    if part.startswith("f:"):
        if isinstance(parent, dict):
            parent.pop(part[2:], None)
    else:
        place = find(parent, part)
        if place is not None:
            del parent[place]
    if not parent and len(path) > 2:
        remove(obj, path[:-1])


def words(path: Path) -> str:
    """A path for people: ``.spec.ports[port=80].name``."""
    text = ""
    for part in path:
        if part.startswith("f:"):
            text += "." + part[2:]
        elif part.startswith("k:"):
            keys = msgspec.json.decode(part[2:])
            text += "[" + ",".join(f"{key}={msgspec.json.encode(value).decode()}" for key, value in keys.items()) + "]"
        else:
            text += f"[={part[2:]}]"
    return text
