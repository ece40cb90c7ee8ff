"""The status of a pod as the lab's kubelet writes it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sallyport.lab.pods import Container, LabPod
from sallyport.model.state import IPAddress

KINDS = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
"""The conditions of a pod that a kubelet writes; those of others stay as they are."""


def stamp(now: datetime) -> str:
    """A metav1.Time: whole seconds, UTC."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What a container does: `what` is waiting, running or terminated, with the API's fields of it."""

    what: str = "waiting"
    detail: Mapping[str, object] = field(default_factory=lambda: {"reason": "PodInitializing"})

    def shown(self) -> dict[str, object]:
        """As `state` of a containerStatus."""
        return {self.what: dict(self.detail)}


def started(now: datetime) -> ContainerState:
    """A container that runs since now."""
    return ContainerState("running", {"startedAt": stamp(now)})


def waiting(reason: str, message: str = "") -> ContainerState:
    """A container that is to run, and does not for a reason."""
    return ContainerState("waiting", {"reason": reason, **({"message": message} if message else {})})


def ended(code: int, now: datetime) -> ContainerState:
    """A container that has ended now; a `code` below zero is the signal that ended it, as of Python's subprocess."""
    shown = 128 - code if code < 0 else code
    reason = "Completed" if code == 0 else "Error"
    return ContainerState("terminated", {"exitCode": shown, "reason": reason, "finishedAt": stamp(now)})


@dataclass(frozen=True, slots=True)
class PodState:
    """What a kubelet knows of a pod: `main` is its container, `ended_before` how that ended last (None: it did not)."""

    since: datetime
    hosts: tuple[IPAddress, ...] = ()
    addresses: tuple[IPAddress, ...] = ()
    phase: str = "Pending"
    initialized: bool = False
    ready: bool = False
    restarts: int = 0
    main: ContainerState = field(default_factory=ContainerState)
    ended_before: ContainerState | None = None
    inits: tuple[ContainerState, ...] = ()


Since = Mapping[str, tuple[str, str]]
"""A condition's status and since when (metav1.Time) it has it, by type."""


def turned(state: PodState, since: Since, now: datetime) -> dict[str, tuple[str, str]]:
    """The conditions of a state; one that is as it was keeps its time."""
    wanted = {
        "PodScheduled": True,
        "Initialized": state.initialized,
        "ContainersReady": state.ready,
        "Ready": state.ready,
    }
    found: dict[str, tuple[str, str]] = {}
    for kind, holds in wanted.items():
        status = "True" if holds else "False"
        old = since.get(kind)
        found[kind] = old if old is not None and old[0] == status else (status, stamp(now))
    return found


def status(pod: LabPod, state: PodState, since: Since) -> dict[str, object]:
    """The whole status; `since` are the conditions as of `turned`."""
    finished = state.phase in ("Succeeded", "Failed")
    conditions: list[object] = [item for item in pod.status.conditions if item.type not in KINDS]
    for kind in KINDS:
        entry: dict[str, object] = {"type": kind, "status": since[kind][0], "lastTransitionTime": since[kind][1]}
        if entry["status"] == "False":
            entry |= _why(kind, pod, finished=finished)
        conditions.append(entry)
    shown = [_container(item, state.main, state) for item in pod.spec.containers]
    inits = zip(pod.spec.init_containers, state.inits, strict=True)
    found: dict[str, object] = {
        "phase": state.phase,
        "hostIP": str(state.hosts[0]) if state.hosts else "",
        "hostIPs": [{"ip": str(address)} for address in state.hosts],
        "podIP": str(state.addresses[0]) if state.addresses else "",
        "podIPs": [{"ip": str(address)} for address in state.addresses],
        "startTime": stamp(state.since),
        "conditions": conditions,
        "containerStatuses": shown,
    }
    if pod.spec.init_containers:
        found["initContainerStatuses"] = [_init(container, init) for container, init in inits]
    return found


def _why(kind: str, pod: LabPod, *, finished: bool) -> dict[str, object]:
    if finished:
        return {"reason": "PodCompleted"}
    names = " ".join(item.name for item in (pod.spec.init_containers if kind == "Initialized" else pod.spec.containers))
    if kind == "Initialized":
        return {"reason": "ContainersNotInitialized", "message": f"containers with incomplete status: [{names}]"}
    return {"reason": "ContainersNotReady", "message": f"containers with unready status: [{names}]"}


def _container(item: Container, main: ContainerState, state: PodState) -> dict[str, object]:
    return {
        "name": item.name,
        "image": item.image,
        "imageID": "",
        "ready": state.ready,
        "started": main.what == "running",
        "restartCount": state.restarts,
        "state": main.shown(),
        "lastState": state.ended_before.shown() if state.ended_before is not None else {},
    }


def _init(item: Container, state: ContainerState) -> dict[str, object]:
    done = state.what == "terminated" and state.detail.get("exitCode") == 0
    return {
        "name": item.name,
        "image": item.image,
        "imageID": "",
        "ready": done,
        "started": state.what == "running",
        "restartCount": 0,
        "state": state.shown(),
    }
