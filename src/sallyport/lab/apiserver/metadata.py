"""The metadata that every object has: its checks, and what the server itself fills in."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sallyport.lab.apiserver.errors import Cause, Object, bad_request
from sallyport.lab.apiserver.kinds import Resource

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_KEY_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")

SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


@dataclass(frozen=True, slots=True)
class Source:
    """What a write takes from outside: the time and fresh identities."""

    now: Callable[[], datetime]
    uid: Callable[[], str]
    suffix: Callable[[], str]

    def stamp(self) -> str:
        """The time now as metav1.Time: whole seconds, UTC."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _invalid(field: str, value: Any, text: str) -> Cause:
    return Cause(field, "FieldValueInvalid", f"Invalid value: {_quoted(value)}: {text}")


def _key_fault(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if slash and not (_SUBDOMAIN.fullmatch(prefix) and len(prefix) <= 253):
        return f"prefix part {SUBDOMAIN_TEXT}"
    if not _KEY_NAME.fullmatch(name):
        return (
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        )
    return "name part must be no more than 63 characters" if len(name) > 63 else ""


_KNOWN = frozenset(
    [
        "name",
        "generateName",
        "namespace",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
        "managedFields",
    ]
)


def prune(metadata: Object) -> list[str]:
    """Drop what is no field of ObjectMeta; answers the paths dropped."""
    unknown = [key for key in metadata if key not in _KNOWN]
    for key in unknown:
        del metadata[key]
    return [f"metadata.{key}" for key in unknown]


def check_types(metadata: Any) -> None:
    """Raise 400 unless the metadata has the shape of an ObjectMeta."""
    if not isinstance(metadata, dict):
        raise bad_request("metadata is not an object")
    shapes = {"labels": dict, "annotations": dict, "finalizers": list, "ownerReferences": list, "managedFields": list}
    shapes |= {"name": str, "generateName": str, "namespace": str, "resourceVersion": str, "uid": str}
    for field, shape in shapes.items():
        if metadata.get(field) is None:
            metadata.pop(field, None)
        elif not isinstance(metadata[field], shape):
            raise bad_request(f"metadata.{field} is a {type(metadata[field]).__name__}, expected a {shape.__name__}")
    for field in ("ownerReferences", "managedFields"):
        if not all(isinstance(entry, dict) for entry in metadata.get(field, ())):
            raise bad_request(f"metadata.{field} holds something other than objects")


def check(resource: Resource, obj: Object) -> list[Cause]:
    """What is wrong with the name, labels, annotations and owners (apimachinery's ValidateObjectMeta)."""
    metadata = obj["metadata"]
    causes = _check_name(resource, metadata.get("name", ""))
    causes += _check_labels(metadata.get("labels") or {})
    for key, value in (metadata.get("annotations") or {}).items():
        if fault := _key_fault(key.lower()):
            causes.append(_invalid("metadata.annotations", key, fault))
        if not isinstance(value, str):
            causes.append(_invalid("metadata.annotations", value, "must be a string"))
    for place, owner in enumerate(metadata.get("ownerReferences") or ()):
        absent = [need for need in ("apiVersion", "kind", "name", "uid") if not owner.get(need)]
        path = f"metadata.ownerReferences[{place}]"
        causes += [_invalid(f"{path}.{need}", "", "must not be empty") for need in absent]
    return causes


def _check_name(resource: Resource, name: str) -> list[Cause]:
    if resource.group.startswith("rbac."):
        return []
    label = resource.store in ("namespaces", "services")
    pattern, text, most = (_LABEL, LABEL_TEXT, 63) if label else (_SUBDOMAIN, SUBDOMAIN_TEXT, 253)
    if not pattern.fullmatch(name):
        return [_invalid("metadata.name", name, text)]
    if len(name) > most:
        return [_invalid("metadata.name", name, f"must be no more than {most} characters")]
    return []


def _check_labels(labels: Object) -> list[Cause]:
    causes: list[Cause] = []
    for key, value in labels.items():
        if fault := _key_fault(key):
            causes.append(_invalid("metadata.labels", key, fault))
        if not isinstance(value, str) or len(value) > 63 or (value and not _KEY_NAME.fullmatch(value)):
            causes.append(_invalid("metadata.labels", value, VALUE_TEXT))
    return causes


def begin(metadata: Object, resource: Resource, source: Source) -> None:
    """Fill in what a new object gets from the server."""
    for field in ("resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
        metadata.pop(field, None)
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + source.suffix()
    metadata["uid"] = source.uid()
    metadata["creationTimestamp"] = source.stamp()
    if resource.generation:
        metadata["generation"] = 1


def carry(new: Object, old: Object) -> None:
    """Put back the metadata that a client cannot change."""
    mine, kept = new["metadata"], old["metadata"]
    for field in (
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
    ):
        if field in kept:
            mine[field] = kept[field]
        else:
            mine.pop(field, None)
    mine.pop("selfLink", None)


def tidy(metadata: Object) -> None:
    """Drop empty maps and lists, which the API never shows."""
    for field in ("labels", "annotations", "finalizers", "ownerReferences", "managedFields", "namespace"):
        if field in metadata and not metadata[field]:
            del metadata[field]


def later(now: datetime, seconds: int) -> str:
    """A metav1.Time some seconds from now."""
    return (now + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
