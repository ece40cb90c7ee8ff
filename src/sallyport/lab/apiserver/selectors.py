"""Label and field selectors of list and watch requests, in their query-string form."""

import re
from collections.abc import Callable, Sequence

from sallyport.lab.apiserver.errors import Object, bad_request
from sallyport.lab.apiserver.kinds import Resource

Predicate = Callable[[Object], bool]

_SET = re.compile(r"^\s*(\S+)\s+(in|notin)\s+\(([^()]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([^\s=!,]+)\s*(==|=|!=)\s*([^\s=!,]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([^\s=!,()]+)\s*$")

_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "events": (
        "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
        "reason", "reportingComponent", "source", "type",
    ),
}  # fmt: skip


def _split(text: str) -> list[str]:
    """Split at commas outside parentheses."""
    parts, depth, start = [], 0, 0
    for place, char in enumerate(text):
        if char == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
        depth += (char == "(") - (char == ")")
    return [*parts, text[start:]]


def _label_term(term: str) -> Predicate:
    if match := _SET.match(term):
        key, wanted = match[1], {value.strip() for value in match[3].split(",")}
        if match[2] == "in":
            return lambda labels: labels.get(key) in wanted
        return lambda labels: labels.get(key) not in wanted
    if match := _EQUAL.match(term):
        key, value = match[1], match[3]
        if match[2] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _EXISTS.match(term):
        key = match[2]
        if match[1]:
            return lambda labels: key not in labels
        return lambda labels: key in labels
    raise bad_request(f"unable to parse requirement: {term.strip()!r}")


def labels(text: str) -> Predicate | None:
    """The predicate of a ``labelSelector``; None selects all. Raises 400 for one that does not parse."""
    if not text.strip():
        return None
    terms = [_label_term(term) for term in _split(text)]

    def selects(obj: Object) -> bool:
        found = obj["metadata"].get("labels") or {}
        return all(term(found) for term in terms)

    return selects


def _value(obj: Object, path: str, parts: Sequence[str]) -> str:
    found: object = obj
    for part in parts:
        found = found.get(part) if isinstance(found, dict) else None
    if path == "source" and isinstance(found, dict):
        found = found.get("component")
    if isinstance(found, bool):
        return "true" if found else "false"
    if found is None:
        return "false" if path in ("spec.unschedulable", "spec.hostNetwork") else ""
    return str(found)


def fields(text: str, resource: Resource) -> Predicate | None:
    """The predicate of a ``fieldSelector``; None selects all. Raises 400 for a field that the kind does not offer."""
    if not text.strip():
        return None
    known = {"metadata.name", "metadata.namespace", *resource.selectable}
    known.update(_FIELDS.get(resource.store, ()))
    terms: list[tuple[str, list[str], bool, str]] = []
    for term in text.split(","):
        match = _EQUAL.match(term)
        if not match:
            raise bad_request(f"invalid field selector: {term!r}")
        if match[1] not in known:
            raise bad_request(f"field label not supported: {match[1]}")
        terms.append((match[1], match[1].split("."), match[2] != "!=", match[3]))
    return lambda obj: all((_value(obj, path, parts) == value) is equal for path, parts, equal, value in terms)


def both(first: Predicate | None, second: Predicate | None) -> Predicate | None:
    """The predicate that asks for both."""
    if first is None or second is None:
        return first or second
    one, two = first, second
    return lambda obj: one(obj) and two(obj)
