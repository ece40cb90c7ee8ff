"""What a ReplicaSet wants done: pods made, pods deleted, its status. Pure.

Source: pkg/controller/replicaset of Kubernetes; which pods go first is its ActivePodsWithRanks.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from sallyport.lab.pods import LAB_PODS, LabPod
from sallyport.lab.podstatus import stamp
from sallyport.lab.workloads.kinds import (
    REPLICA_SETS,
    Action,
    Create,
    Decision,
    Delete,
    Object,
    Patch,
    ReplicaSet,
    ReplicaSetStatus,
    WorkloadCondition,
    moment,
    owner,
)

COST = "controller.kubernetes.io/pod-deletion-cost"
"""Annotation of a pod: those with a lower number go first; 0 without it."""


def decide(replica_set: ReplicaSet, pods: Iterable[LabPod], now: datetime, failure: str = "") -> Decision:
    """What to do for one ReplicaSet. `pods` are those that it controls; `failure` is why the last one was not made."""
    meta = replica_set.metadata
    if meta.deletion_timestamp:
        return Decision()
    active = [pod for pod in pods if not pod.finished and not pod.metadata.deletion_timestamp]
    missing = replica_set.spec.replicas - len(active)
    actions: list[Action] = [Create(LAB_PODS, meta.namespace, _pod(replica_set)) for _ in range(missing)]
    actions += [
        Delete(LAB_PODS, meta.namespace, pod.metadata.name, pod.metadata.uid)
        for pod in in_order_of_deletion(active)[: max(-missing, 0)]
    ]
    status, again = _status(replica_set, active, now, failure)
    if status != replica_set.status:
        body = {"metadata": {"uid": meta.uid}, "status": msgspec.to_builtins(status)}
        actions.append(Patch(REPLICA_SETS, meta.namespace, meta.name, body, status=True))
    return Decision(tuple(actions), again)


def _pod(replica_set: ReplicaSet) -> Object:
    template = replica_set.spec.template
    meta: Object = dict(template.get("metadata") or {})
    kept = {key: meta[key] for key in ("labels", "annotations", "finalizers") if meta.get(key)}
    named = {"generateName": f"{replica_set.metadata.name}-", "namespace": replica_set.metadata.namespace}
    owners = owner(REPLICA_SETS, replica_set.metadata)
    return {"metadata": {**named, **kept, "ownerReferences": owners}, "spec": template.get("spec") or {}}


def in_order_of_deletion(pods: Sequence[LabPod]) -> list[LabPod]:
    """Those that are missed least first: not placed, not running, not ready, cheap, crowded on a node, youngest."""
    crowd = Counter(pod.spec.node_name for pod in pods)
    phases = {"Pending": 0, "Unknown": 1, "Running": 2}

    def rank(pod: LabPod) -> tuple[Any, ...]:
        since = ready_since(pod)
        return (
            pod.spec.node_name != "",
            phases.get(pod.status.phase, 0),
            since is not None,
            _cost(pod),
            -crowd[pod.spec.node_name],
            -since.timestamp() if since is not None else 0.0,
            -sum(item.restart_count for item in pod.status.container_statuses),
            -(moment(pod.metadata.creation_timestamp) or _NEVER).timestamp(),
            pod.metadata.name,
        )

    return sorted(pods, key=rank)


_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def _cost(pod: LabPod) -> int:
    text = pod.metadata.annotations.get(COST, "0")
    return int(text) if text.removeprefix("-").isdecimal() else 0


def ready_since(pod: LabPod) -> datetime | None:
    """When a pod became ready, None if it is not."""
    ready = pod.condition("Ready")
    return (moment(ready.last_transition_time) or _NEVER) if ready is not None and ready.status == "True" else None


def _status(
    replica_set: ReplicaSet, active: Sequence[LabPod], now: datetime, failure: str
) -> tuple[ReplicaSetStatus, float | None]:
    """The status, and in how many seconds the next pod becomes available by itself."""
    wait = timedelta(seconds=replica_set.spec.min_ready_seconds)
    ready = [since for pod in active if (since := ready_since(pod)) is not None]
    later = [left for since in ready if (left := (since + wait - now).total_seconds()) > 0] if wait else []
    wanted: Object = (replica_set.spec.template.get("metadata") or {}).get("labels") or {}
    labelled = sum(wanted.items() <= dict(pod.metadata.labels).items() for pod in active)
    status = ReplicaSetStatus(
        replicas=len(active),
        fully_labeled_replicas=labelled,
        ready_replicas=len(ready),
        available_replicas=len(ready) - len(later),
        observed_generation=replica_set.metadata.generation,
        conditions=_failed(replica_set, now, failure),
    )
    return status, min(later, default=None)


def _failed(replica_set: ReplicaSet, now: datetime, failure: str) -> tuple[WorkloadCondition, ...]:
    if not failure:
        return ()
    old = next((item for item in replica_set.status.conditions if item.type == "ReplicaFailure"), None)
    since = old.last_transition_time if old is not None else stamp(now)
    return (WorkloadCondition("ReplicaFailure", "True", since, reason="FailedCreate", message=failure),)
