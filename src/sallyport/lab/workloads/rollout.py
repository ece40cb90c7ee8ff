"""The status of a Deployment: its counts, and the conditions that `kubectl rollout status` reads. Pure.

Source: pkg/controller/deployment/sync.go and progress.go of Kubernetes.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from sallyport.lab.podstatus import stamp
from sallyport.lab.workloads.kinds import (
    Deployment,
    DeploymentStatus,
    Object,
    ReplicaSet,
    WorkloadCondition,
    moment,
)

DONE = "NewReplicaSetAvailable"
"""Reason of the condition Progressing once a rollout is through; what fails later is no failure of the rollout."""
TOO_LATE = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"


def status(
    deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet], name: str, minimum: int, now: datetime
) -> tuple[Object, float | None, bool]:
    """The status if it differs from the present one, else nothing; seconds until it is too late; whether it is through.

    `name` is that of the newest ReplicaSet, also where `new` is not made yet; with `minimum` pods available, the
    Deployment is.
    """
    counts = _counts(deployment, new, old)
    through = counts.updated_replicas == counts.replicas == counts.available_replicas == deployment.spec.replicas
    through = through and new is not None
    known = {item.type: item for item in deployment.status.conditions}
    progress, again = _progress(deployment, counts, name, now, made=new is not None, through=through)
    conditions = [_kept(item, known.get(item.type)) for item in (_available(counts, minimum, now), progress)]
    conditions += [item for each in (*old, new) if each is not None for item in each.status.conditions][:1]
    found = msgspec.structs.replace(counts, conditions=tuple(conditions))
    return (msgspec.to_builtins(found) if found != deployment.status else {}), again, through


def _counts(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> DeploymentStatus:
    each = [*old, new] if new is not None else list(old)
    available = sum(item.status.available_replicas for item in each)
    return DeploymentStatus(
        observed_generation=deployment.metadata.generation,
        replicas=sum(item.status.replicas for item in each),
        updated_replicas=new.status.replicas if new is not None else 0,
        ready_replicas=sum(item.status.ready_replicas for item in each),
        available_replicas=available,
        unavailable_replicas=max(sum(item.spec.replicas for item in each) - available, 0),
    )


def _condition(kind: str, status: str, reason: str, message: str, now: datetime) -> WorkloadCondition:
    return WorkloadCondition(kind, status, stamp(now), stamp(now), reason, message)


def _available(counts: DeploymentStatus, minimum: int, now: datetime) -> WorkloadCondition:
    if counts.available_replicas >= minimum:
        text = "Deployment has minimum availability."
        return _condition("Available", "True", "MinimumReplicasAvailable", text, now)
    text = "Deployment does not have minimum availability."
    return _condition("Available", "False", "MinimumReplicasUnavailable", text, now)


def _progress(
    deployment: Deployment, counts: DeploymentStatus, name: str, now: datetime, *, made: bool, through: bool
) -> tuple[WorkloadCondition, float | None]:
    """The condition Progressing, and in how many seconds it turns false by itself."""
    old = next((item for item in deployment.status.conditions if item.type == "Progressing"), None)
    patience = float(deployment.spec.progress_deadline_seconds)

    def said(reason: str, message: str, status: str = "True") -> WorkloadCondition:
        return _condition("Progressing", status, reason, message, now)

    if deployment.spec.paused:
        return said(PAUSED, "Deployment is paused", "Unknown"), None
    if not made:
        return said("NewReplicaSetCreated", f'Created new replica set "{name}"'), patience
    if through:
        return said(DONE, f'ReplicaSet "{name}" has successfully progressed.'), None
    if old is not None and old.reason == DONE:
        if f'"{name}"' in old.message:
            return old, None
        return said("FoundNewReplicaSet", f'Found new replica set "{name}"'), patience
    if old is None or old.reason == PAUSED or _moved(counts, deployment.status):
        return said("ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.'), patience
    left = ((moment(old.last_update_time) or now) + timedelta(seconds=patience) - now).total_seconds()
    if left > 0:
        return old, left
    return said(TOO_LATE, f'ReplicaSet "{name}" has timed out progressing.', "False"), None


def _moved(counts: DeploymentStatus, before: DeploymentStatus) -> bool:
    """Whether more pods are new or well, or fewer are old, than at the time of the last status."""
    return (
        counts.updated_replicas > before.updated_replicas
        or counts.ready_replicas > before.ready_replicas
        or counts.available_replicas > before.available_replicas
        or counts.replicas - counts.updated_replicas < before.replicas - before.updated_replicas
    )


def _kept(item: WorkloadCondition, old: WorkloadCondition | None) -> WorkloadCondition:
    """The condition with its times: one that says the same as before is the one of before, unless it tells progress."""
    if old is None or item == old or item.status != old.status:
        return item
    progressing = item.reason == "ReplicaSetUpdated"
    if (item.reason, item.message) == (old.reason, old.message) and not progressing:
        return old
    return msgspec.structs.replace(item, last_transition_time=old.last_transition_time)
