"""The patch types of the API: JSON patch (RFC 6902), merge patch (RFC 7386) and strategic merge."""

import copy
from typing import Any

from sallyport.lab.apiserver.errors import Object, bad_request

# Merge keys of the core lists (patchMergeKey in k8s.io/api/core/v1/types.go), by the name of the list's field.
MERGE_KEYS: dict[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "addresses": ("type",),
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "podIPs": ("ip",),
    "ports": ("containerPort", "port"),
    "ownerReferences": ("uid",),
    "secrets": ("name",),
    "topologySpreadConstraints": ("topologyKey",),
    "schedulingGates": ("name",),
    "resourceClaims": ("name",),
}
_SETS = ("finalizers", "podCIDRs")  # patchStrategy=merge on lists of plain values


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: maps are merged, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def merge_key(field: str, items: list[Any]) -> str | None:
    """The key that identifies the items of a core list, None for a list that is replaced as a whole."""
    for key in MERGE_KEYS.get(field, ()):
        if items and all(isinstance(item, dict) and (key in item or "$patch" in item) for item in items):
            return key
    return None


def strategic(target: Any, patch: Any, field: str = "") -> Any:
    """Kubernetes' strategic merge patch for the built-in kinds, by the list keys of ``MERGE_KEYS``."""
    if isinstance(patch, list):
        return _strategic_list(target if isinstance(target, list) else [], patch, field)
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    if directive == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    result = dict(target) if isinstance(target, dict) else {}
    keep = patch.get("$retainKeys")
    if isinstance(keep, list):
        result = {key: value for key, value in result.items() if key in keep}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.split("/", 1)[1]
            result[name] = [item for item in result.get(name) or [] if item not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = strategic(result.get(key), value, key)
    _put_in_order(result, patch, target)
    return result


def _put_in_order(result: Object, patch: Object, target: Any) -> None:
    """Arrange lists as the patch asks, in place."""
    for key, order in patch.items():
        if key.startswith("$setElementOrder/"):
            field = key.split("/", 1)[1]
            before = target.get(field) if isinstance(target, dict) else None
            if isinstance(items := result.get(field), list):
                result[field] = _arranged(items, order, before or [], merge_key(field, order))


def _strategic_list(target: list[Any], patch: list[Any], field: str) -> list[Any]:
    if field in _SETS:
        return _arranged([*target, *[item for item in patch if item not in target]], patch, target, None)
    key = merge_key(field, patch)
    if key is None:
        return copy.deepcopy(patch)
    if any(item.get("$patch") == "replace" for item in patch):
        return [copy.deepcopy(item) for item in patch if "$patch" not in item]
    result = list(target)
    for item in patch:
        place = next((n for n, old in enumerate(result) if old.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            if place is not None:
                del result[place]
        elif place is None:
            result.append(strategic({}, item))
        else:
            result[place] = strategic(result[place], item)
    return _arranged(result, patch, target, key)


def _arranged(items: list[Any], order: list[Any], before: list[Any], key: str | None) -> list[Any]:
    """Items in upstream's order (strategicpatch, mergeSortedSlice): those of `order` so, all others as `before`; an
    item that is not in `order` comes first where it did so before."""

    def name(item: Any) -> Any:
        return item.get(key) if key else item

    wanted, places = [name(item) for item in order], [name(item) for item in before]
    mine = sorted((item for item in items if name(item) in wanted), key=lambda item: wanted.index(name(item)))
    others = [item for item in items if name(item) not in wanted]
    result = []
    while mine and others:
        first, other = name(mine[0]), name(others[0])
        earlier = {first, other} <= set(places) and places.index(other) < places.index(first)
        result.append(others.pop(0) if earlier else mine.pop(0))
    return [*result, *mine, *others]


def json_patch(target: Object, operations: Any) -> Object:
    """RFC 6902. Raises 400 for an operation that is malformed or whose path or test does not hold."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    document: Any = copy.deepcopy(target)
    for operation in operations:
        try:
            document = _operate(document, operation)
        except (KeyError, IndexError, TypeError, ValueError) as err:
            raise bad_request(f"the JSON patch operation {operation} cannot be applied: {err}") from err
    if not isinstance(document, dict):
        raise bad_request("the JSON patch does not leave an object")
    return document


def _parts(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is no JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _look(document: Any, parts: list[str]) -> Any:
    for part in parts:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _operate(document: Any, operation: Object) -> Any:
    kind, parts = operation["op"], _parts(operation["path"])
    if kind == "test":
        if _look(document, parts) != operation.get("value"):
            raise ValueError("the test failed")
        return document
    if kind in ("move", "copy"):
        source = _parts(operation["from"])
        value = copy.deepcopy(_look(document, source))
        if kind == "move":
            _drop(document, source)
        return _add(document, parts, value)
    if kind == "remove":
        _drop(document, parts)
        return document
    if kind == "replace":
        if parts:
            _look(document, parts)
            _drop(document, parts)
        return _add(document, parts, operation["value"])
    if kind == "add":
        return _add(document, parts, operation["value"])
    raise ValueError(f"unknown operation {kind!r}")


def _drop(document: Any, parts: list[str]) -> None:
    parent = _look(document, parts[:-1])
    if isinstance(parent, list):
        del parent[int(parts[-1])]
    else:
        del parent[parts[-1]]


def _add(document: Any, parts: list[str], value: Any) -> Any:
    if not parts:
        return value
    parent = _look(document, parts[:-1])
    if not isinstance(parent, list):
        parent[parts[-1]] = value
        return document
    place = len(parent) if parts[-1] == "-" else int(parts[-1])
    if not 0 <= place <= len(parent):
        raise IndexError("list index out of range")
    parent.insert(place, value)
    return document
