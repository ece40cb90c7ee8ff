"""Tables (``Accept: application/json;as=Table``): what ``kubectl get`` prints."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sallyport.lab.apiserver.errors import Object
from sallyport.lab.apiserver.kinds import Resource

Cells = Callable[[Object, datetime], list[Any]]


@dataclass(frozen=True, slots=True)
class Layout:
    """Column names (those with a leading ``+`` only under ``-o wide``) and the function that fills a row."""

    names: tuple[str, ...]
    cells: Cells


def wanted(accept: str) -> bool:
    """Whether a client prefers a Table to the objects."""
    first = accept.split(",")[0]
    return "as=Table" in first and "g=meta.k8s.io" in first


def parse_time(text: Any) -> datetime | None:
    """A metav1.Time or MicroTime; None if it is none."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).astimezone(UTC)
    except ValueError:
        return None


def age(text: Any, now: datetime) -> str:
    """How long ago, as kubectl's HumanDuration writes it."""
    then = parse_time(text)
    if then is None:
        return "<unknown>"
    seconds = int((now - then).total_seconds())
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < -1:
        return "<invalid>"
    if seconds < 120:
        return f"{max(seconds, 0)}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y{days % 365}d"


def look(obj: Any, path: str) -> Any:
    """The value at a dotted path, None if absent."""
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def _age_of(obj: Object, now: datetime) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


def _pod(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    containers = status.get("containerStatuses") or ()
    ready = sum(bool(container.get("ready")) for container in containers)
    restarts = sum(int(container.get("restartCount", 0)) for container in containers)
    state = status.get("reason") or status.get("phase") or "Unknown"
    for container in containers:
        waiting = look(container, "state.waiting.reason") or look(container, "state.terminated.reason")
        state = waiting or state
    if obj["metadata"].get("deletionTimestamp"):
        state = "Terminating"
    total = len(spec.get("containers") or ())
    return [
        f"{ready}/{total}", state, str(restarts), _age_of(obj, now), status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>", status.get("nominatedNodeName") or "<none>", "<none>",
    ]  # fmt: skip


def _node(obj: Object, now: datetime) -> list[Any]:
    spec, status, labels = obj.get("spec") or {}, obj.get("status") or {}, obj["metadata"].get("labels") or {}
    found = [c for c in status.get("conditions") or () if c.get("type") == "Ready"]
    state = "Unknown" if not found else "Ready" if found[0].get("status") == "True" else "NotReady"
    if spec.get("unschedulable"):
        state += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    roles = ",".join(sorted(label.removeprefix(prefix) for label in labels if label.startswith(prefix))) or "<none>"

    def address(kind: str) -> str:
        return next((a["address"] for a in status.get("addresses") or () if a.get("type") == kind), "<none>")

    info = status.get("nodeInfo") or {}
    return [
        state, roles, _age_of(obj, now), info.get("kubeletVersion", ""), address("InternalIP"), address("ExternalIP"),
        info.get("osImage") or "<unknown>", info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]  # fmt: skip


def _event(obj: Object, now: datetime) -> list[Any]:
    last = obj.get("lastTimestamp") or look(obj, "series.lastObservedTime") or obj.get("eventTime")
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    target = obj.get("involvedObject") or obj.get("regarding") or {}
    source = look(obj, "source.component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    return [
        age(last or obj["metadata"].get("creationTimestamp"), now), obj.get("type", ""), obj.get("reason", ""),
        f"{str(target.get('kind', '')).lower()}/{target.get('name', '')}", target.get("fieldPath", ""), source,
        str(obj.get("message") or obj.get("note") or "").strip(), age(first, now),
        int(look(obj, "series.count") or obj.get("count") or obj.get("deprecatedCount") or 1), obj["metadata"]["name"],
    ]  # fmt: skip


def _workload(obj: Object) -> list[Any]:
    containers = look(obj, "spec.template.spec.containers") or ()
    labels = (look(obj, "spec.selector.matchLabels") or {}).items()
    selector = ",".join(f"{key}={value}" for key, value in sorted(labels)) or "<none>"
    return [",".join(c.get("name", "") for c in containers), ",".join(c.get("image", "") for c in containers), selector]


def _deployment(obj: Object, now: datetime) -> list[Any]:
    status, want = obj.get("status") or {}, look(obj, "spec.replicas") or 0
    ready, updated, there = (int(status.get(f, 0)) for f in ("readyReplicas", "updatedReplicas", "availableReplicas"))
    return [f"{ready}/{want}", updated, there, _age_of(obj, now), *_workload(obj)]


def _replicaset(obj: Object, now: datetime) -> list[Any]:
    status = obj.get("status") or {}
    counts = [look(obj, "spec.replicas") or 0, status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [*counts, _age_of(obj, now), *_workload(obj)]


def _daemonset(obj: Object, now: datetime) -> list[Any]:
    status = obj.get("status") or {}
    names = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    nodes = (look(obj, "spec.template.spec.nodeSelector") or {}).items()
    selector = ",".join(f"{key}={value}" for key, value in sorted(nodes)) or "<none>"
    return [*[int(status.get(name, 0)) for name in names], selector, _age_of(obj, now), *_workload(obj)]


def _service(obj: Object, now: datetime) -> list[Any]:
    spec = obj.get("spec") or {}
    ports = ",".join(f"{port.get('port')}/{port.get('protocol', 'TCP')}" for port in spec.get("ports") or ())
    outside = ",".join(spec.get("externalIPs") or ()) or "<none>"
    selector = ",".join(f"{key}={value}" for key, value in sorted((spec.get("selector") or {}).items())) or "<none>"
    address = spec.get("clusterIP") or "<none>"
    return [spec.get("type", ""), address, outside, ports or "<none>", _age_of(obj, now), selector]


def _endpoint_list(obj: Object, now: datetime) -> list[Any]:
    found = [a.get("ip", "") for subset in obj.get("subsets") or () for a in subset.get("addresses") or ()]
    return [",".join(found) or "<none>", _age_of(obj, now)]


def _slice(obj: Object, now: datetime) -> list[Any]:
    ports = ",".join(str(port.get("port")) for port in obj.get("ports") or ()) or "<unset>"
    found = [address for endpoint in obj.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return [obj.get("addressType", ""), ports, ",".join(sorted(found, key=_by_address)) or "<unset>", _age_of(obj, now)]


def _configmap(obj: Object, now: datetime) -> list[Any]:
    return [sum(len(obj.get(part) or ()) for part in ("data", "binaryData")), _age_of(obj, now)]


def _by_address(text: str) -> tuple[int, int, str]:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return 9, 0, text
    return parsed.version, int(parsed), text


_WORKLOAD = ("+Containers", "+Images", "+Selector")
_EVENT = Layout(
    ("Last Seen", "Type", "Reason", "Object", "+Subobject", "+Source", "Message", "+First Seen", "+Count", "+Name"),
    _event,
)
_LAYOUTS: dict[str, Layout] = {
    "pods": Layout(
        ("Ready", "Status", "Restarts", "Age", "+IP", "+Node", "+Nominated Node", "+Readiness Gates"), _pod
    ),
    "nodes": Layout(
        ("Status", "Roles", "Age", "Version", "+Internal-IP", "+External-IP", "+OS-Image", "+Kernel-Version",
         "+Container-Runtime"), _node,
    ),
    "namespaces": Layout(("Status", "Age"), lambda obj, now: [look(obj, "status.phase") or "", _age_of(obj, now)]),
    "events": _EVENT,
    "services": Layout(("Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "+Selector"), _service),
    "endpoints": Layout(("Endpoints", "Age"), _endpoint_list),
    "endpointslices.discovery.k8s.io": Layout(("AddressType", "Ports", "Endpoints", "Age"), _slice),
    "configmaps": Layout(("Data", "Age"), _configmap),
    "secrets": Layout(
        ("Type", "Data", "Age"), lambda obj, now: [obj.get("type", ""), len(obj.get("data") or ()), _age_of(obj, now)]
    ),
    "serviceaccounts": Layout(("Secrets", "Age"), lambda obj, now: [len(obj.get("secrets") or ()), _age_of(obj, now)]),
    "leases.coordination.k8s.io": Layout(
        ("Holder", "Age"), lambda obj, now: [look(obj, "spec.holderIdentity") or "", _age_of(obj, now)]
    ),
    "servicecidrs.networking.k8s.io": Layout(
        ("CIDRs", "Age"), lambda obj, now: [",".join(look(obj, "spec.cidrs") or ()), _age_of(obj, now)]
    ),
    "deployments.apps": Layout(("Ready", "Up-to-date", "Available", "Age", *_WORKLOAD), _deployment),
    "replicasets.apps": Layout(("Desired", "Current", "Ready", "Age", *_WORKLOAD), _replicaset),
    "daemonsets.apps": Layout(
        ("Desired", "Current", "Ready", "Up-to-date", "Available", "Node Selector", "Age", *_WORKLOAD), _daemonset
    ),
    "customresourcedefinitions.apiextensions.k8s.io": Layout(
        ("Created At",), lambda obj, _now: [obj["metadata"].get("creationTimestamp", "")]
    ),
}  # fmt: skip
_PLAIN = Layout(("Age",), lambda obj, now: [_age_of(obj, now)])
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\*|-?\d+)\]|\[\?\(@\.([\w.-]+)\s*==\s*[\"']([^\"']*)[\"']\)\]|\['([^']+)'\]")


def json_path(obj: Any, path: str) -> list[Any]:
    """The values a printer column's JSONPath finds: fields, indexes, ``[*]`` and ``[?(@.a=="b")]``."""
    found = [obj]
    for match in _STEP.finditer(path.strip().removeprefix("$").replace(r"\.", "\x00")):
        name, index, field, value, quoted = match.groups()
        name = (name or quoted or "").replace("\x00", ".")
        if name:
            found = [item[name] for item in found if isinstance(item, dict) and name in item]
        elif index == "*":
            found = [below for item in found for below in (item.values() if isinstance(item, dict) else item or ())]
        elif index:
            place = int(index)
            found = [item[place] for item in found if isinstance(item, list) and -len(item) <= place < len(item)]
        else:
            found = [below for item in found for below in item or () if look(below, field) == value]
    return found


def _cell(column: Object, obj: Object, now: datetime) -> Any:
    found = json_path(obj, column["jsonPath"])
    if not found or found[0] is None:
        return None
    value, kind = found[0], column.get("type")
    if kind == "date":
        return age(value, now)
    if kind in ("integer", "number", "boolean") and isinstance(value, int | float | bool):
        return value
    if len(found) > 1:
        return ",".join(_text(item) for item in found)
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ",".join(_json_text(item) for item in value) + "]"
    return str(value)


def _json_text(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else _text(value)


def _definition(name: str, kind: str = "string", wide: bool = False, text: str = "", form: str = "") -> Object:
    return {"name": name, "type": kind, "format": form, "description": text, "priority": int(wide)}


def of(resource: Resource, obj: Object, now: datetime, include: str = "Metadata") -> Object:
    """An object or a list as a Table. ``include`` is what a row carries of its object: None, Metadata or Object."""
    listed = "items" in obj and obj.get("kind") == resource.kind + "List"
    items = obj["items"] if listed else [obj]
    definitions = [_definition("Name", text="Name must be unique within a namespace.", form="name")]
    fill: Cells
    if resource.custom:
        columns = resource.columns or ({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},)
        for column in columns:
            text = column.get("description", "")
            wide = column.get("priority", 0) > 0
            definitions.append(_definition(column["name"], column["type"], wide, text, column.get("format", "")))

        def fill(item: Object, at: datetime) -> list[Any]:
            return [_cell(column, item, at) for column in columns]

    else:
        layout = _LAYOUTS.get(resource.store, _PLAIN)
        fill = layout.cells
        definitions += [_definition(name.lstrip("+"), wide=name.startswith("+")) for name in layout.names]
        if layout is _EVENT:
            definitions.pop(0)
    bare = len(definitions) == len(_EVENT.names) and resource.store == "events"
    rows = []
    for item in items:
        cells = fill(item, now) if item["metadata"].get("name") else [None] * (len(definitions) - 1)
        row: Object = {"cells": cells if bare else [item["metadata"].get("name", ""), *cells]}
        if include == "Object":
            row["object"] = item
        elif include == "Metadata":
            partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}
            row["object"] = partial
        rows.append(row)
    metadata = obj["metadata"] if listed else {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    answer: Object = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    return {**answer, "columnDefinitions": definitions, "rows": rows}
