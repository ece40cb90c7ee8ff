"""What a pod's spec gets filled in, what is wrong with it, and what the lab cannot do and says so."""

import re
from collections.abc import Iterator

import msgspec

from sallyport.lab.apiserver.errors import UNSUPPORTED, Cause, Object

FIELD_PATHS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "metadata.labels",
    "metadata.annotations",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
"""Fields that a pod can be told of itself, beside single labels and annotations."""
_KEYED = re.compile(r"metadata\.(labels|annotations)\['[^']+'\]")
_WHOLE = ("metadata.labels", "metadata.annotations")
_ELSEWHERE = ("spec.restartPolicy", "spec.schedulerName", "status.phase")
"""Labels of fields that Kubernetes knows, and takes neither for variables nor for files."""
_PROBES = ("readinessProbe", "livenessProbe")
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def required(field: str) -> Cause:
    """A field that is missing."""
    return Cause(field, "FieldValueRequired", "Required value")


def _unserved(field: str) -> Cause:
    return Cause(field, "FieldValueNotSupported", UNSUPPORTED)


def _invalid(field: str, value: object, text: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else value
    return Cause(field, "FieldValueInvalid", f"Invalid value: {shown}: {text}")


def fill(spec: Object) -> None:
    """Kubernetes' defaults of a pod's spec, in place."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if isinstance(container, dict):
            _fill_container(container)
    for volume in spec.get("volumes") or ():
        if isinstance(volume.get("downwardAPI"), dict):
            volume["downwardAPI"].setdefault("defaultMode", 0o644)


def _fill_container(container: Object) -> None:
    container.setdefault("imagePullPolicy", "IfNotPresent")
    container.setdefault("resources", {})
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for kind in _PROBES:
        if isinstance(probe := container.get(kind), dict):
            for field, value in _PROBE.items():
                probe.setdefault(field, value)
            if isinstance(get := probe.get("httpGet"), dict):
                get.setdefault("path", "/")
                get.setdefault("scheme", "HTTP")


def check(spec: Object, old: Object | None, path: str) -> list[Cause]:
    """What is wrong with a pod's spec at `path`; `old` is the one that it replaces."""
    causes: list[Cause] = [] if spec.get("containers") else [required(f"{path}.containers")]
    seen: set[str] = set()
    for kind in ("initContainers", "containers"):
        for place, container in enumerate(spec.get(kind) or ()):
            where = f"{path}.{kind}[{place}]"
            causes += [required(f"{where}.{need}") for need in ("name", "image") if not container.get(need)]
            name = container.get("name", "")
            if name in seen:
                causes.append(Cause(f"{where}.name", "FieldValueDuplicate", f'Duplicate value: "{name}"'))
            seen.add(name)
    changed = [] if old is None else sorted(_frozen(old).items() ^ _frozen(spec).items())
    if changed:
        names = ", ".join(dict.fromkeys(name for name, _ in changed))
        text = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.terminationGracePeriodSeconds`,"
            f"`spec.tolerations`: changed {names}"
        )
        causes.append(Cause(path, "FieldValueForbidden", text))
    return causes + list(_beyond(spec, path))


def _frozen(spec: Object) -> dict[str, bytes]:
    """The fields of a pod's spec that never change, encoded; a container's image may."""
    free = ("tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds")
    found = {key: value for key, value in spec.items() if key not in free}
    for key in ("containers", "initContainers"):
        if key in found:
            found[key] = [{k: v for k, v in container.items() if k != "image"} for container in found[key]]
    return {key: msgspec.json.encode(value, order="sorted") for key, value in found.items()}


# What the lab does not do


def _beyond(spec: Object, path: str) -> Iterator[Cause]:
    """Fields that would change what a pod does, and that the lab's kubelet and scheduler do not know."""
    for place, container in enumerate(spec.get("initContainers") or ()):
        if "restartPolicy" in container:
            yield _unserved(f"{path}.initContainers[{place}].restartPolicy")
    for kind in ("initContainers", "containers"):
        for place, container in enumerate(spec.get(kind) or ()):
            yield from _container(container, f"{path}.{kind}[{place}]")
    for place, volume in enumerate(spec.get("volumes") or ()):
        for item in (volume.get("downwardAPI") or {}).get("items") or ():
            yield from _volume_item(item, f"{path}.volumes[{place}].downwardAPI")  # upstream does not say which item
    yield from _affinity(spec.get("affinity") or {}, f"{path}.affinity")
    for place, spread in enumerate(spec.get("topologySpreadConstraints") or ()):
        where = f"{path}.topologySpreadConstraints[{place}]"
        yield from (required(f"{where}.{need}") for need in ("topologyKey", "whenUnsatisfiable") if need not in spread)
        for field, only in (("nodeAffinityPolicy", "Honor"), ("nodeTaintsPolicy", "Ignore")):
            if spread.get(field, only) != only:
                yield _unserved(f"{where}.{field}")


def _container(container: Object, path: str) -> Iterator[Cause]:
    if container.get("startupProbe"):
        yield _unserved(f"{path}.startupProbe")
    for kind in _PROBES:
        if probe := container.get(kind):
            yield from _probe(probe, f"{path}.{kind}")
    for place, variable in enumerate(container.get("env") or ()):
        source, where = variable.get("valueFrom") or {}, f"{path}.env[{place}].valueFrom"
        yield from (_unserved(f"{where}.{field}") for field in source if field != "fieldRef")
        if "fieldRef" in source:
            yield from _field_ref(source["fieldRef"], f"{where}.fieldRef", whole=False)


def _probe(probe: Object, path: str) -> Iterator[Cause]:
    for handler in ("exec", "grpc"):
        if handler in probe:
            yield _unserved(f"{path}.{handler}")
    handlers = [probe[handler] for handler in ("httpGet", "tcpSocket") if handler in probe]
    if not handlers and not {"exec", "grpc"} & probe.keys():
        yield Cause(path, "FieldValueRequired", "Required value: must specify a handler type")
    for handler in handlers:
        if not isinstance(handler.get("port"), int | str):
            yield required(f"{path}.{'httpGet' if 'httpGet' in probe else 'tcpSocket'}.port")
        if handler.get("scheme", "HTTP") != "HTTP":
            yield _unserved(f"{path}.httpGet.scheme")


def _volume_item(item: Object, path: str) -> Iterator[Cause]:
    name = str(item.get("path") or "")
    if not name:
        yield required(f"{path}.path")
    if name.startswith("/"):
        yield _invalid(f"{path}.path", name, "must be a relative path")
    if ".." in name.split("/"):
        yield _invalid(f"{path}.path", name, "must not contain '..'")
    if "fieldRef" in item:
        yield from _field_ref(item["fieldRef"], f"{path}.fieldRef", whole=True)
    else:
        yield _unserved(f"{path}.resourceFieldRef") if "resourceFieldRef" in item else required(f"{path}.fieldRef")


def _field_ref(ref: Object, path: str, *, whole: bool) -> Iterator[Cause]:
    """`whole` is whether all labels or all annotations at once may be asked for."""
    field = str(ref.get("fieldPath") or "")
    allowed = [name for name in FIELD_PATHS if whole or name not in _WHOLE]
    if field not in allowed and not _KEYED.fullmatch(field):
        where, values = f"{path}.fieldPath", ", ".join(f'"{name}"' for name in sorted(allowed))
        if field not in (*FIELD_PATHS, *_ELSEWHERE):
            yield _invalid(where, field, f"error converting fieldPath: field label not supported: {field}")
        else:
            yield Cause(where, "FieldValueNotSupported", f'Unsupported value: "{field}": supported values: {values}')


def _affinity(affinity: Object, path: str) -> Iterator[Cause]:
    required_now, preferred = (f"{word}DuringSchedulingIgnoredDuringExecution" for word in ("required", "preferred"))
    node = affinity.get("nodeAffinity") or {}
    terms = list((node.get(required_now) or {}).get("nodeSelectorTerms") or ())
    terms += [item.get("preference") or {} for item in node.get(preferred) or ()]
    for term in terms:
        if term.get("matchFields"):
            yield _unserved(f"{path}.nodeAffinity: matchFields")
        for item in term.get("matchExpressions") or ():
            if item.get("operator") in ("Gt", "Lt"):
                yield _unserved(f"{path}.nodeAffinity: the operator {item['operator']}")
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(kind) or {}
        terms = [*(pods.get(required_now) or ())]
        terms += [item.get("podAffinityTerm") or {} for item in pods.get(preferred) or ()]
        for term in terms:
            if not term.get("topologyKey"):
                yield required(f"{path}.{kind}.topologyKey")
            for field in ("namespaceSelector", "mismatchLabelKeys"):
                if term.get(field) is not None:
                    yield _unserved(f"{path}.{kind}.{field}")
