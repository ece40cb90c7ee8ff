"""Pods as the lab runs them: the fields that its kubelet reads, and the statuses that it writes."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct, field

from sallyport.apis.core import ObjectMeta, PodStatus
from sallyport.apis.resource import Resource
from sallyport.model.state import IPAddress

Key = tuple[str, str]


class EnvVar(Struct, frozen=True):
    """A variable with a literal value; other sources are not served by the lab."""

    name: str
    value: str = ""


class Container(Struct, frozen=True):
    """What runs in a pod. The image is not looked at: the command is one of this machine's."""

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()


class LabPodSpec(Struct, frozen=True, rename="camel"):
    """Where and how a pod runs."""

    node_name: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    host_network: bool = False
    restart_policy: str = "Always"
    containers: tuple[Container, ...] = ()


class LabPodMeta(ObjectMeta, frozen=True, rename="camel"):
    """Metadata with the time that a pod has left to end, in seconds."""

    deletion_grace_period_seconds: int = 30


class LabPod(Struct, frozen=True):
    """A pod."""

    metadata: LabPodMeta
    spec: LabPodSpec = field(default_factory=LabPodSpec)
    status: PodStatus = field(default_factory=PodStatus)

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return (self.metadata.namespace, self.metadata.name)

    @property
    def finished(self) -> bool:
        """Whether its command has ended for good."""
        return self.status.phase in ("Succeeded", "Failed")


LAB_PODS: Resource[LabPod] = Resource("", "v1", "pods", "Pod", True, LabPod)

PAUSE = ("sleep", "infinity")
"""What runs in a pod that names no command: as Kubernetes' pause container, it only keeps the namespace."""


def argv(container: Container) -> tuple[str, ...]:
    """The command line of a container."""
    return (*container.command, *container.args) if container.command else PAUSE


def running(
    pod: LabPod, addresses: tuple[IPAddress, ...], host: str, restarts: int, now: datetime
) -> dict[str, object]:
    """The status of a pod whose command runs."""
    stamp = _stamp(now)
    states = [
        _container(item, {"running": {"startedAt": stamp}}, ready=True, restarts=restarts)
        for item in pod.spec.containers
    ]
    return {
        "phase": "Running",
        "hostIP": host,
        "podIP": str(addresses[0]) if addresses else "",
        "podIPs": [{"ip": str(address)} for address in addresses],
        "startTime": stamp,
        "containerStatuses": states,
        "conditions": [_condition(kind, "True", stamp) for kind in _CONDITIONS],
    }


def ended(pod: LabPod, code: int, restarts: int, now: datetime) -> dict[str, object]:
    """The status of a pod whose command has ended for good."""
    stamp = _stamp(now)
    state = {"terminated": {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "finishedAt": stamp}}
    ready = [
        {"type": kind, "status": "False", "reason": "PodCompleted", "lastTransitionTime": stamp}
        for kind in ("Ready", "ContainersReady")
    ]
    return {
        "phase": "Succeeded" if code == 0 else "Failed",
        "containerStatuses": [_container(item, state, ready=False, restarts=restarts) for item in pod.spec.containers],
        "conditions": [_condition("PodScheduled", "True", stamp), _condition("Initialized", "True", stamp), *ready],
    }


def failed_to_start(pod: LabPod, why: str) -> dict[str, object]:
    """The status of a pod whose command cannot be run."""
    state = {"waiting": {"reason": "RunContainerError", "message": why}}
    return {
        "phase": "Pending",
        "containerStatuses": [_container(item, state, ready=False, restarts=0) for item in pod.spec.containers],
    }


_CONDITIONS = ("PodScheduled", "Initialized", "ContainersReady", "Ready")


def _stamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _condition(kind: str, status: str, stamp: str) -> dict[str, object]:
    return {"type": kind, "status": status, "lastTransitionTime": stamp}


def _container(item: Container, state: Mapping[str, object], *, ready: bool, restarts: int) -> dict[str, object]:
    return {
        "name": item.name,
        "image": item.image,
        "imageID": "",
        "ready": ready,
        "started": ready,
        "restartCount": restarts,
        "state": state,
    }
