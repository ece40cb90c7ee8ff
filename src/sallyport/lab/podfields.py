"""The downward API: what a pod is told of itself, in variables and in files. Pure.

Source: https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sallyport.lab.pods import Container, LabPod
from sallyport.model.state import IPAddress

_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a pod runs: its addresses and its node's, the cluster's main family first."""

    addresses: tuple[IPAddress, ...]
    hosts: tuple[IPAddress, ...]


def value(pod: LabPod, placed: Placed, path: str) -> str:
    """The value of a field, "" where the pod does not have it. The API server lets no other paths pass."""
    meta = pod.metadata
    if (keyed := _KEYED.fullmatch(path)) is not None:
        return (meta.labels if keyed[1] == "labels" else meta.annotations).get(keyed[2], "")
    fields = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "metadata.labels": _lines(meta.labels),
        "metadata.annotations": _lines(meta.annotations),
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name or "default",
        "status.hostIP": str(placed.hosts[0]) if placed.hosts else "",
        "status.hostIPs": ",".join(str(address) for address in placed.hosts),
        "status.podIP": str(placed.addresses[0]) if placed.addresses else "",
        "status.podIPs": ",".join(str(address) for address in placed.addresses),
    }
    return fields.get(path, "")


def _lines(pairs: Mapping[str, str]) -> str:
    """All labels or annotations as Kubernetes writes them into one file: key="value", escaped, a line each."""
    return "\n".join(f"{key}={json.dumps(text, ensure_ascii=False)}" for key, text in sorted(pairs.items()))


def variables(pod: LabPod, placed: Placed, container: Container) -> dict[str, str]:
    """The environment that a container asks for."""
    found: dict[str, str] = {}
    for item in container.env:
        field = item.value_from.field_ref if item.value_from is not None else None
        found[item.name] = item.value if field is None else value(pod, placed, field.field_path)
    return found


def files(pod: LabPod, placed: Placed) -> dict[str, dict[str, str]]:
    """The contents of the files of each downward API volume, by the volume's name and the path in it."""
    return {
        volume.name: {item.path: value(pod, placed, item.field_ref.field_path) for item in volume.downward_api.items}
        for volume in pod.spec.volumes
        if volume.downward_api is not None
    }


def volume_variable(name: str) -> str:
    """The variable that tells a pod's command where the files of a volume are."""
    return "SALLYPORT_LAB_VOLUME_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
