"""What a Deployment wants done: ReplicaSets made, sized and forgotten, its status. Pure.

Source: pkg/controller/deployment of Kubernetes, whose rolling.go and sync.go decide the sizes. There is no scaling in
proportion while a rollout is under way: a new number of replicas goes to the newest template.
"""

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sallyport.lab.workloads.kinds import (
    DEPLOYMENTS,
    HASH,
    REPLICA_SETS,
    REVISION,
    Action,
    Create,
    Decision,
    Delete,
    Deployment,
    Object,
    Patch,
    ReplicaSet,
    owner,
)
from sallyport.lab.workloads.rollout import status

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Letters of a hash, without those that make words (k8s.io/apimachinery/pkg/util/rand)."""
_NOT_COPIED = ("kubectl.kubernetes.io/last-applied-configuration", REVISION)


def decide(
    deployment: Deployment, replica_sets: Sequence[ReplicaSet], now: datetime, held: Collection[str] = ()
) -> Decision:
    """What to do for one Deployment. `replica_sets` are those that it controls; of those whose uid is in `held` there
    are still pods, be it that they are about to end."""
    meta, spec = deployment.metadata, deployment.spec
    if meta.deletion_timestamp:
        return Decision()
    stage = _stage(deployment, replica_sets)
    sizes = _sizes(deployment, stage, held)
    revision = max((item.revision for item in stage.old), default=0) + 1
    actions: list[Action] = []
    if stage.new is None and not spec.paused:
        body = _replica_set(deployment, stage.hash, sizes[stage.name], revision)
        actions.append(Create(REPLICA_SETS, meta.namespace, body))
    elif stage.new is not None:
        revision = max(revision, stage.new.revision)
    for item in replica_sets:
        newest = item is stage.new
        if wanted := _change(item, sizes[item.metadata.name], spec.min_ready_seconds, revision if newest else 0):
            actions.append(Patch(REPLICA_SETS, meta.namespace, item.metadata.name, wanted))
    if not spec.paused and meta.annotations.get(REVISION) != str(revision):
        patch = {"metadata": {"annotations": {REVISION: str(revision)}}}
        actions.append(Patch(DEPLOYMENTS, meta.namespace, meta.name, patch))
    minimum = spec.replicas - bounds(deployment)[1]
    change, again, through = status(deployment, stage.new, stage.old, stage.name, minimum, now)
    if through:
        actions += [
            Delete(REPLICA_SETS, meta.namespace, item.metadata.name, item.metadata.uid)
            for item in _forgotten(stage.old, spec.revision_history_limit)
        ]
    if change:
        body = {"metadata": {"uid": meta.uid}, "status": change}
        actions.append(Patch(DEPLOYMENTS, meta.namespace, meta.name, body, status=True))
    return Decision(tuple(actions), again)


@dataclass(frozen=True, slots=True)
class _Stage:
    """The ReplicaSet of the present template (None: not made yet), its hash and name, and all others, oldest first."""

    hash: str
    name: str
    new: ReplicaSet | None
    old: Sequence[ReplicaSet]


def _stage(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> _Stage:
    digest = template_hash(deployment.spec.template)
    new = next((item for item in replica_sets if item.metadata.labels.get(HASH) == digest), None)
    old = sorted(
        (item for item in replica_sets if item is not new), key=lambda item: (item.revision, item.metadata.name)
    )
    return _Stage(digest, f"{deployment.metadata.name}-{digest}", new, old)


def template_hash(template: Mapping[str, Any]) -> str:
    """Ten letters that stand for a pod template; fields that are null count as absent."""
    text = json.dumps(_without_null(template), sort_keys=True)
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    letters = []
    for _ in range(10):
        number, place = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[place])
    return "".join(letters)


def _without_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_without_null(item) for item in value]
    return value


# Sizes


def _sizes(deployment: Deployment, stage: _Stage, held: Collection[str]) -> dict[str, int]:
    """How many pods each ReplicaSet is to have, by name, also the one that is not made yet."""
    sizes = {item.metadata.name: item.spec.replicas for item in stage.old}
    sizes[stage.name] = stage.new.spec.replicas if stage.new is not None else 0
    if deployment.spec.paused:
        active = [name for name, size in sizes.items() if size] or [stage.name]
        if len(active) == 1:
            sizes[active[0]] = deployment.spec.replicas
        return sizes
    if deployment.spec.strategy.type == "Recreate":
        gone = not any(item.spec.replicas or item.metadata.uid in held for item in stage.old)
        return {**dict.fromkeys(sizes, 0), stage.name: deployment.spec.replicas if gone else 0}
    return _rolled(deployment, stage, sizes)


def _rolled(deployment: Deployment, stage: _Stage, sizes: dict[str, int]) -> dict[str, int]:
    """A step of a rolling update: the new one up as far as the surge allows, then old ones down, unhealthy first."""
    wanted = deployment.spec.replicas
    surge, unavailable = bounds(deployment)
    size = sizes[stage.name]
    room = max(wanted + surge - sum(sizes.values()), 0)
    sizes[stage.name] = wanted if size > wanted else size + min(room, wanted - size)
    ready = stage.new.status.available_replicas if stage.new is not None else 0
    not_yet = max(sizes[stage.name] - ready, 0)
    spare = sum(sizes.values()) - (wanted - unavailable) - not_yet
    for item in stage.old:
        unhealthy = sizes[item.metadata.name] - item.status.available_replicas
        step = max(min(unhealthy, spare), 0)
        sizes[item.metadata.name] -= step
        spare -= step
    for item in stage.old:
        step = max(min(sizes[item.metadata.name], spare), 0)
        sizes[item.metadata.name] -= step
        spare -= step
    return sizes


def bounds(deployment: Deployment) -> tuple[int, int]:
    """maxSurge and maxUnavailable as numbers: the first rounded up, the second down, and not both zero."""
    spec = deployment.spec
    if spec.strategy.type == "Recreate":
        return 0, spec.replicas
    rolling = spec.strategy.rolling_update
    surge = _number(rolling.max_surge, spec.replicas, up=True)
    unavailable = min(_number(rolling.max_unavailable, spec.replicas, up=False), spec.replicas)
    return surge, 1 if surge == unavailable == 0 else unavailable


def _number(value: int | str, whole: int, *, up: bool) -> int:
    if isinstance(value, int):
        return value
    part = int(value.removesuffix("%")) * whole / 100
    return math.ceil(part) if up else math.floor(part)


# Objects


def _replica_set(deployment: Deployment, digest: str, size: int, revision: int) -> Object:
    meta, template = deployment.metadata, dict(deployment.spec.template)
    pod_meta: Object = dict(template.get("metadata") or {})
    labels = {**(pod_meta.get("labels") or {}), HASH: digest}
    selector = dict(deployment.spec.selector)
    copied = {key: text for key, text in meta.annotations.items() if key not in _NOT_COPIED}
    return {
        "metadata": {
            "name": f"{meta.name}-{digest}",
            "namespace": meta.namespace,
            "labels": labels,
            "annotations": {**copied, REVISION: str(revision)},
            "ownerReferences": owner(DEPLOYMENTS, meta),
        },
        "spec": {
            "replicas": size,
            "minReadySeconds": deployment.spec.min_ready_seconds,
            "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH: digest}},
            "template": {**template, "metadata": {**pod_meta, "labels": labels}},
        },
    }


def _change(item: ReplicaSet, size: int, min_ready: int, revision: int) -> Object:
    """What differs in a ReplicaSet from what it is to be; `revision` 0 is any. Empty for nothing."""
    spec: Object = {}
    if item.spec.replicas != size:
        spec["replicas"] = size
    if item.spec.min_ready_seconds != min_ready:
        spec["minReadySeconds"] = min_ready
    change: Object = {"spec": spec} if spec else {}
    if revision and item.revision != revision:
        change["metadata"] = {"annotations": {REVISION: str(revision)}}
    return change


def _forgotten(old: Sequence[ReplicaSet], limit: int) -> Sequence[ReplicaSet]:
    """Old ones that have no pods any more and are beyond the limit, the oldest ones."""
    empty = [item for item in old if not item.spec.replicas and not item.status.replicas]
    return empty[: max(len(old) - limit, 0)]
