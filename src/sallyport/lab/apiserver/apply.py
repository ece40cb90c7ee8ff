"""Server-side apply: who owns which field, conflicts between managers, and removal of fields no longer applied."""

import copy
from typing import Any

from sallyport.lab.apiserver import fieldset
from sallyport.lab.apiserver.errors import Object, StatusError
from sallyport.lab.apiserver.fieldset import Path
from sallyport.lab.apiserver.kinds import Resource

_Owner = tuple[str, str, str]  # manager, operation, subresource


class _Owners:
    """The managedFields of one object, decoded."""

    def __init__(self, metadata: Object) -> None:
        self._entries: dict[_Owner, Object] = {}
        self.fields: dict[_Owner, frozenset[Path]] = {}
        for entry in metadata.get("managedFields") or ():
            if entry.get("manager"):
                owner = (entry["manager"], entry.get("operation", "Update"), entry.get("subresource", ""))
                self._entries[owner] = entry
                self.fields[owner] = frozenset(fieldset.decode(entry.get("fieldsV1") or {}))

    def version(self, owner: _Owner) -> str:
        """The apiVersion in which an owner wrote."""
        return str(self._entries[owner].get("apiVersion", ""))

    def give(self, resource: Resource, owner: _Owner, fields: frozenset[Path], now: str, *, changed: bool) -> None:
        """Make the set of an owner this one, as of now if he has `changed` a value or has other fields than before."""
        if fields == self.fields.get(owner) and not changed:
            return
        self.fields[owner] = fields
        self._entries[owner] = {"apiVersion": resource.api_version, "time": now}

    def take(self, fields: frozenset[Path], besides: _Owner | None = None) -> None:
        """Take fields from every other owner."""
        for owner, owned in self.fields.items():
            if owner != besides:
                self.fields[owner] = owned - fields

    def encode(self) -> list[Object]:
        """``metadata.managedFields``; owners of nothing are left out."""
        found = []
        for owner, fields in self.fields.items():
            if not fields:
                continue
            manager, operation, subresource = owner
            entry: Object = {
                "manager": manager,
                "operation": operation,
                "apiVersion": self._entries[owner].get("apiVersion", ""),
                "time": self._entries[owner].get("time"),
                "fieldsType": "FieldsV1",
                "fieldsV1": fieldset.encode(fields),
            }
            if subresource:
                entry["subresource"] = subresource
            found.append(entry)
        return found


def fields_of(resource: Resource, wanted: Object) -> frozenset[Path]:
    """What an applied configuration sets, before defaults are filled in."""
    return fieldset.of(resource, wanted, "")


def own(resource: Resource, new: Object, fields: frozenset[Path], manager: str, subresource: str, now: str) -> None:
    """Record who created an object by apply."""
    owners = _Owners({})
    owners.give(resource, (manager, "Apply", subresource), fields, now, changed=True)
    new["metadata"]["managedFields"] = owners.encode()


def track(resource: Resource, old: Object | None, new: Object, manager: str, subresource: str, now: str) -> None:
    """Record an ordinary write: the manager owns what it changed, and nobody else does any more.

    A client may rewrite managedFields itself, as kubectl does on moving to server-side apply: that is then the base.
    """
    metadata = new["metadata"]
    base = metadata if "managedFields" in metadata else (old or {}).get("metadata", {})
    owners = _Owners(base)
    after = fieldset.of(resource, new, subresource)
    before = fieldset.of(resource, old, subresource) if old else frozenset()
    changed = after - before
    if old:
        changed |= {path for path in after & before if fieldset.differ(old, new, path)}
    gone = before - after
    if changed or gone:
        owner = (manager, "Update", subresource)
        owners.take(frozenset(changed) | gone, besides=owner)
        kept = owners.fields.get(owner, frozenset()) - gone
        owners.give(resource, owner, kept | changed, now, changed=True)
    metadata["managedFields"] = owners.encode()


def merge(
    resource: Resource, live: Object, wanted: Object, manager: str, force: bool, subresource: str, now: str
) -> Object:
    """The object after an apply. Raises 409 naming the fields that other managers hold at another value."""
    result = copy.deepcopy(live)
    owners = _Owners(live["metadata"])
    me: _Owner = (manager, "Apply", subresource)
    applied = fieldset.of(resource, wanted, subresource)
    conflicts: list[tuple[_Owner, Path]] = []
    for owner, owned in owners.fields.items():
        if owner != me:
            shared = sorted(applied & owned)
            conflicts += [(owner, p) for p in shared if fieldset.differ(live, wanted, p)]
    if conflicts and not force:
        raise _conflict(owners, conflicts)
    owners.take(frozenset(path for _, path in conflicts), besides=me)
    before = owners.fields.get(me, frozenset())
    others: frozenset[Path] = frozenset().union(*(owned for owner, owned in owners.fields.items() if owner != me))
    for path in sorted(before - applied - others, key=len):  # an item of a keyed list before its fields
        if not any(kept[: len(path)] == path for kept in others | applied):
            fieldset.remove(result, path)
    schema = fieldset.schema_of(resource)
    for key, value in wanted.items():
        if key == "metadata":
            shown = {
                name: item
                for name, item in value.items()
                if name in ("labels", "annotations", "finalizers", "ownerReferences")
            }
            result["metadata"] = _merge(None, result["metadata"], shown, "metadata")
            if value.get("resourceVersion"):
                result["metadata"]["resourceVersion"] = value["resourceVersion"]
        else:
            result[key] = _merge(fieldset.below(schema, key), result.get(key), value, key)
    changed = any(fieldset.differ(live, wanted, path) for path in applied)
    owners.give(resource, me, applied, now, changed=changed)
    result["metadata"]["managedFields"] = owners.encode()
    return result


def _merge(schema: Object | None, live: Any, wanted: Any, field: str) -> Any:
    if isinstance(wanted, dict) and isinstance(live, dict) and (schema or {}).get("x-kubernetes-map-type") != "atomic":
        result = dict(live)
        for key, item in wanted.items():
            result[key] = _merge(fieldset.below(schema, key), live.get(key), item, key)
        return result
    keys = fieldset.list_keys(schema, field, wanted) if isinstance(wanted, list) and isinstance(live, list) else None
    if keys is None:
        return copy.deepcopy(wanted)
    items = list(live)
    for item in wanted:
        place = fieldset.find(items, fieldset.element(keys, item))
        if place is None:
            items.append(copy.deepcopy(item))
        else:
            items[place] = _merge(fieldset.item_schema(schema), items[place], item, "")
    return items


def _conflict(owners: _Owners, conflicts: list[tuple[_Owner, Path]]) -> StatusError:
    by_owner: dict[_Owner, list[Path]] = {}
    for owner, path in conflicts:
        by_owner.setdefault(owner, []).append(path)
    causes: list[Object] = []
    lines: list[str] = []
    for owner, paths in by_owner.items():
        who = f'"{owner[0]}"' + (f' with subresource "{owner[2]}"' if owner[2] else "")
        if owner[1] == "Update":  # upstream names the version of those who do not apply
            who += f" using {owners.version(owner)}"
        causes += [
            {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": fieldset.words(path)}
            for path in paths
        ]
        if len(paths) == 1:
            lines.append(f"conflict with {who}: {fieldset.words(paths[0])}")
        else:
            lines.append(f"conflicts with {who}:\n" + "\n".join(f"- {fieldset.words(path)}" for path in paths))
    plural = "conflict" if len(conflicts) == 1 else "conflicts"
    message = f"Apply failed with {len(conflicts)} {plural}: " + "\n".join(lines)
    return StatusError(409, "Conflict", message, {"causes": causes})
