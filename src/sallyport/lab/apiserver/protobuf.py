"""The few objects that kubectl's generators (``kubectl create namespace`` and the like) send as protobuf.

Field numbers are those of the ``generated.proto`` files of k8s.io/api and k8s.io/apimachinery. The rest is refused.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sallyport.lab.apiserver.errors import Object, bad_request, unsupported

MEDIA = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    kind: str  # text, bytes, number, truth, time, texts, map, bytesmap, or the name of a message
    repeated: bool = False


def _fields(*entries: tuple[int, str, str]) -> dict[int, _Field]:
    return {number: _Field(name, kind.removesuffix("*"), kind.endswith("*")) for number, name, kind in entries}


_ROLE = _fields((1, "metadata", "ObjectMeta"), (2, "rules", "PolicyRule*"))
_BINDING = _fields((1, "metadata", "ObjectMeta"), (2, "subjects", "Subject*"), (3, "roleRef", "RoleRef"))
_MESSAGES: dict[str, dict[int, _Field]] = {
    "ObjectMeta": _fields(
        (1, "name", "text"), (2, "generateName", "text"), (3, "namespace", "text"), (4, "selfLink", "text"),
        (5, "uid", "text"), (6, "resourceVersion", "text"), (7, "generation", "number"),
        (8, "creationTimestamp", "time"),
        (11, "labels", "map"), (12, "annotations", "map"), (13, "ownerReferences", "OwnerReference*"),
        (14, "finalizers", "text*"),
    ),
    "OwnerReference": _fields(
        (1, "kind", "text"), (3, "name", "text"), (4, "uid", "text"), (5, "apiVersion", "text"),
        (6, "controller", "truth"), (7, "blockOwnerDeletion", "truth"),
    ),
    "Namespace": _fields((1, "metadata", "ObjectMeta"), (2, "spec", "Empty"), (3, "status", "Empty")),
    "ConfigMap": _fields(
        (1, "metadata", "ObjectMeta"), (2, "data", "map"), (3, "binaryData", "bytesmap"), (4, "immutable", "truth")
    ),
    "Secret": _fields(
        (1, "metadata", "ObjectMeta"), (2, "data", "bytesmap"), (3, "type", "text"), (4, "stringData", "map"),
        (5, "immutable", "truth"),
    ),
    "ServiceAccount": _fields((1, "metadata", "ObjectMeta")),
    "Deployment": _fields((1, "metadata", "ObjectMeta"), (2, "spec", "DeploymentSpec"), (3, "status", "Empty")),
    "DeploymentSpec": _fields(
        (1, "replicas", "number"), (2, "selector", "LabelSelector"), (3, "template", "Template"),
        (4, "strategy", "Empty"),
    ),
    "LabelSelector": _fields((1, "matchLabels", "map")),
    "Template": _fields((1, "metadata", "ObjectMeta"), (2, "spec", "PodSpec")),
    "Pod": _fields((1, "metadata", "ObjectMeta"), (2, "spec", "PodSpec"), (3, "status", "Empty")),
    "PodSpec": _fields(
        (2, "containers", "Container*"), (3, "restartPolicy", "text"), (4, "terminationGracePeriodSeconds", "number"),
        (6, "dnsPolicy", "text"), (7, "nodeSelector", "map"), (8, "serviceAccountName", "text"),
        (10, "nodeName", "text"),
        (11, "hostNetwork", "truth"), (12, "hostPID", "truth"), (13, "hostIPC", "truth"), (16, "hostname", "text"),
        (17, "subdomain", "text"), (19, "schedulerName", "text"), (24, "priorityClassName", "text"),
    ),
    "Container": _fields(
        (1, "name", "text"), (2, "image", "text"), (3, "command", "text*"), (4, "args", "text*"),
        (5, "workingDir", "text"),
        (6, "ports", "Port*"), (8, "resources", "Empty"), (13, "terminationMessagePath", "text"),
        (14, "imagePullPolicy", "text"), (16, "stdin", "truth"), (17, "stdinOnce", "truth"), (18, "tty", "truth"),
        (20, "terminationMessagePolicy", "text"),
    ),
    "Port": _fields(
        (1, "name", "text"), (2, "hostPort", "number"), (3, "containerPort", "number"), (4, "protocol", "text"),
        (5, "hostIP", "text"),
    ),
    "DeleteOptions": _fields(
        (1, "gracePeriodSeconds", "number"), (4, "propagationPolicy", "text"), (5, "dryRun", "text*")
    ),
    "Role": _ROLE,
    "ClusterRole": _ROLE,
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "PolicyRule": _fields(
        (1, "verbs", "text*"), (2, "apiGroups", "text*"), (3, "resources", "text*"), (4, "resourceNames", "text*"),
        (5, "nonResourceURLs", "text*"),
    ),
    "Subject": _fields((1, "kind", "text"), (2, "apiGroup", "text"), (3, "name", "text"), (4, "namespace", "text")),
    "RoleRef": _fields((1, "apiGroup", "text"), (2, "kind", "text"), (3, "name", "text")),
    "Empty": {},
}  # fmt: skip


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _items(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and raw values of a message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            number, at = _varint(data, at)
            yield tag >> 3, number
        elif tag & 7 == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise IndexError("truncated")
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            raise ValueError(f"wire type {tag & 7}")


def _value(kind: str, raw: int | bytes) -> Any:
    if isinstance(raw, int):
        return bool(raw) if kind == "truth" else raw
    if kind == "text":
        return raw.decode()
    if kind == "bytes":
        return base64.b64encode(raw).decode()
    if kind == "time":
        seconds = dict(_items(raw)).get(1)
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(seconds, int) else None
    return _message(kind, raw)


def _message(kind: str, data: bytes) -> Object:
    known, found = _MESSAGES[kind], Object()
    for number, raw in _items(data):
        field = known.get(number)
        if field is None:
            if raw == b"" or raw == 0 or kind == "Empty":
                continue
            raise unsupported(f"field {number} of {kind} in protobuf", 415)
        if field.kind in ("map", "bytesmap") and isinstance(raw, bytes):
            entry = dict(_items(raw))
            kinds = "text" if field.kind == "map" else "bytes"
            found.setdefault(field.name, {})[_value("text", entry.get(1, b""))] = _value(kinds, entry.get(2, b""))
        elif field.repeated:
            found.setdefault(field.name, []).append(_value(field.kind, raw))
        elif raw not in (b"", 0):
            found[field.name] = _value(field.kind, raw)
    return found


def decode(data: bytes) -> Object:
    """The object in a ``runtime.Unknown`` envelope. Raises 400 for a broken one, 415 for an unknown kind."""
    if not data.startswith(_MAGIC):
        raise bad_request("the body of the request lacks the protobuf prefix")
    try:
        envelope = dict(_items(data[len(_MAGIC) :]))
        types, raw = envelope[1], envelope.get(2, b"")
        if not isinstance(types, bytes) or not isinstance(raw, bytes):
            raise ValueError("not an envelope")
        named = {number: value.decode() for number, value in _items(types) if isinstance(value, bytes)}
        kind = named.get(2, "")
        if kind not in _MESSAGES:
            raise unsupported(f"a {kind} in protobuf", 415)
        return {"apiVersion": named.get(1, ""), "kind": kind, **_message(kind, raw)}
    except (IndexError, KeyError, ValueError) as err:
        raise bad_request(f"the protobuf body of the request does not parse: {err}") from err
