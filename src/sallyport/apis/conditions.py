"""Conditions of statuses, and how one status becomes another."""

from collections.abc import Iterable

import msgspec

from sallyport.apis.core import Condition

Wanted = tuple[str, str, str]
"""Status (True, False, Unknown), reason and message of a condition."""


def with_condition(
    conditions: Iterable[Condition], kind: str, wanted: Wanted | None, now: str
) -> tuple[Condition, ...]:
    """Conditions with that of type `kind` set to (status, reason, message), or removed for None.

    `lastTransitionTime` moves only when the status does (Kubernetes API conventions).
    """
    kept = {item.type: item for item in conditions}
    before = kept.pop(kind, None)
    if wanted is not None:
        status, reason, message = wanted
        since = before.last_transition_time if before and before.status == status else now
        kept[kind] = Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=since)
    return tuple(kept[name] for name in sorted(kept))


def changes(before: msgspec.Struct, after: msgspec.Struct) -> dict[str, object]:
    """A merge patch (RFC 7396) from one status to the other: changed members only, null for those that are gone."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    changed: dict[str, object] = {name: value for name, value in new.items() if old.get(name) != value}
    changed.update({name: None for name in old if name not in new})
    return changed
