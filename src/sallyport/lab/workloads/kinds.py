"""Deployments and ReplicaSets with the fields that their controllers read, and what these may do.

Source: k8s.io/api/apps/v1. Templates and selectors are passed on as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, field

from sallyport.apis.resource import Resource
from sallyport.lab.pods import OwnedMeta

HASH = "pod-template-hash"
"""Label of a Deployment's ReplicaSets and pods: which template they are of."""
REVISION = "deployment.kubernetes.io/revision"
"""Annotation: the how manyeth template of its Deployment a ReplicaSet has."""

Object = dict[str, Any]


class WorkloadCondition(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A condition. Times are RFC 3339 to the second; the update is of a Deployment's conditions only."""

    type: str
    status: str
    last_transition_time: str = ""
    last_update_time: str = ""
    reason: str = ""
    message: str = ""


class ReplicaSetSpec(Struct, frozen=True, rename="camel"):
    """How many pods (0 or more) of which template; one counts as available `min_ready_seconds` after it is ready."""

    replicas: int = 1
    min_ready_seconds: int = 0
    template: Mapping[str, Any] = field(default_factory=dict)


class ReplicaSetStatus(Struct, frozen=True, rename="camel"):
    """How many pods there are, and of which kind."""

    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    observed_generation: int = 0
    conditions: tuple[WorkloadCondition, ...] = ()


class ReplicaSet(Struct, frozen=True):
    """A number of pods that are all alike."""

    metadata: OwnedMeta
    spec: ReplicaSetSpec = field(default_factory=ReplicaSetSpec)
    status: ReplicaSetStatus = field(default_factory=ReplicaSetStatus)

    @property
    def revision(self) -> int:
        """Its number among its Deployment's templates, 0 where there is none."""
        text = self.metadata.annotations.get(REVISION, "")
        return int(text) if text.isdecimal() else 0


class RollingUpdate(Struct, frozen=True, rename="camel"):
    """How many pods more, and how many fewer available ones, than `replicas` there may be: a number or a percentage."""

    max_surge: int | str = "25%"
    max_unavailable: int | str = "25%"


class Strategy(Struct, frozen=True, rename="camel"):
    """How new pods replace old ones; `type` is RollingUpdate, or Recreate: all old ones go first."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate = field(default_factory=RollingUpdate)


class DeploymentSpec(Struct, frozen=True, rename="camel"):
    """Pods of the newest template. A rollout without any progress for `progress_deadline_seconds` is said to fail."""

    replicas: int = 1
    selector: Mapping[str, Any] = field(default_factory=dict)
    template: Mapping[str, Any] = field(default_factory=dict)
    strategy: Strategy = field(default_factory=Strategy)
    min_ready_seconds: int = 0
    revision_history_limit: int = 10
    progress_deadline_seconds: int = 600
    paused: bool = False


class DeploymentStatus(Struct, frozen=True, rename="camel"):
    """How many pods there are; `updated_replicas` of the newest template."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    conditions: tuple[WorkloadCondition, ...] = ()


class Deployment(Struct, frozen=True):
    """Pods whose template may change."""

    metadata: OwnedMeta
    spec: DeploymentSpec = field(default_factory=DeploymentSpec)
    status: DeploymentStatus = field(default_factory=DeploymentStatus)


DEPLOYMENTS: Resource[Deployment] = Resource("apps", "v1", "deployments", "Deployment", True, Deployment)
REPLICA_SETS: Resource[ReplicaSet] = Resource("apps", "v1", "replicasets", "ReplicaSet", True, ReplicaSet)


@dataclass(frozen=True, slots=True)
class Create:
    """An object to make."""

    resource: Resource[Any]
    namespace: str
    body: Object


@dataclass(frozen=True, slots=True)
class Delete:
    """An object to delete, if it still is the one with this uid."""

    resource: Resource[Any]
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Patch:
    """A merge patch of an object, or of its status."""

    resource: Resource[Any]
    namespace: str
    name: str
    body: Object
    status: bool = False


Action = Create | Delete | Patch


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done now, in order, and in how many seconds to decide again by itself (None: never)."""

    actions: tuple[Action, ...] = ()
    again: float | None = None


def owner(resource: Resource[Any], meta: OwnedMeta) -> list[Object]:
    """The ownerReferences of what an object controls."""
    reference = {"apiVersion": resource.api_version, "kind": resource.kind, "name": meta.name, "uid": meta.uid}
    return [{**reference, "controller": True, "blockOwnerDeletion": True}]


def moment(text: str | None) -> datetime | None:
    """The time that a metav1.Time tells, None for none."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
