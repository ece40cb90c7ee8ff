"""Pods as the lab runs them: the fields that its kubelet, its scheduler and its controllers read."""

from collections.abc import Mapping

from msgspec import Struct, field

from sallyport.apis.core import Condition, ObjectMeta, PodIP
from sallyport.apis.resource import Resource
from sallyport.lab.affinity import Affinity, Spread, Toleration

Key = tuple[str, str]


class FieldRef(Struct, frozen=True, rename="camel"):
    """A field of the pod itself, as `metadata.name` or `metadata.annotations['key']`."""

    field_path: str = ""


class EnvSource(Struct, frozen=True, rename="camel"):
    """Where a variable's value comes from; other sources are refused by the API server."""

    field_ref: FieldRef | None = None


class EnvVar(Struct, frozen=True, rename="camel"):
    """A variable with a literal value, or with that of a field."""

    name: str
    value: str = ""
    value_from: EnvSource | None = None


class ContainerPort(Struct, frozen=True, rename="camel"):
    """A port with a name that a probe may use."""

    name: str = ""
    container_port: int = 0


class HttpHeader(Struct, frozen=True):
    """A header of a probe's request."""

    name: str
    value: str = ""


class HttpGet(Struct, frozen=True, rename="camel"):
    """A request that a healthy container answers with 200 to 399; `host` is "" for the pod's address."""

    port: int | str
    path: str = "/"
    host: str = ""
    http_headers: tuple[HttpHeader, ...] = ()


class TcpSocket(Struct, frozen=True):
    """A port that a healthy container accepts connections on; `host` is "" for the pod's address."""

    port: int | str
    host: str = ""


class Probe(Struct, frozen=True, rename="camel"):
    """How a container is asked for its health. Times are whole seconds, thresholds are answers of one kind in a row."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3


class Container(Struct, frozen=True, rename="camel"):
    """What runs in a pod. The image is not looked at: the command is one of this machine's."""

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None


class VolumeItem(Struct, frozen=True, rename="camel"):
    """A file of a downward API volume: its path below the volume and the field that it holds."""

    path: str
    field_ref: FieldRef = field(default_factory=FieldRef)


class DownwardAPI(Struct, frozen=True):
    """Files with fields of the pod."""

    items: tuple[VolumeItem, ...] = ()


class Volume(Struct, frozen=True):
    """A volume; of its kinds only the downward API is served, as pods share the machine's files."""

    name: str
    downward_api: DownwardAPI | None = field(default=None, name="downwardAPI")


class LabPodSpec(Struct, frozen=True, rename="camel"):
    """Where and how a pod runs."""

    node_name: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    affinity: Affinity = field(default_factory=Affinity)
    tolerations: tuple[Toleration, ...] = ()
    topology_spread_constraints: tuple[Spread, ...] = ()
    host_network: bool = False
    restart_policy: str = "Always"
    service_account_name: str = ""
    termination_grace_period_seconds: int = 30
    init_containers: tuple[Container, ...] = ()
    containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()


class OwnerReference(Struct, frozen=True):
    """An object that another one belongs to; at most one owner is the `controller`."""

    uid: str
    kind: str = ""
    name: str = ""
    controller: bool = False


class OwnedMeta(ObjectMeta, frozen=True, rename="camel"):
    """Metadata with the owners of an object."""

    owner_references: tuple[OwnerReference, ...] = ()

    @property
    def controller(self) -> str:
        """The uid of the owner that controls it, "" for none."""
        return next((owner.uid for owner in self.owner_references if owner.controller), "")


class LabPodMeta(OwnedMeta, frozen=True, rename="camel"):
    """Metadata with the time that a pod has left to end, in seconds."""

    deletion_grace_period_seconds: int = 30


class ContainerStatus(Struct, frozen=True, rename="camel"):
    """How often a container was started again."""

    restart_count: int = 0


class LabPodStatus(Struct, frozen=True, rename="camel"):
    """Phase (Pending, Running, Succeeded, Failed), addresses and conditions of a pod."""

    phase: str = ""
    pod_ips: tuple[PodIP, ...] = field(default=(), name="podIPs")
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class LabPod(Struct, frozen=True):
    """A pod."""

    metadata: LabPodMeta
    spec: LabPodSpec = field(default_factory=LabPodSpec)
    status: LabPodStatus = field(default_factory=LabPodStatus)

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return (self.metadata.namespace, self.metadata.name)

    @property
    def finished(self) -> bool:
        """Whether its command has ended for good."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def main(self) -> Container:
        """The container whose command is the pod's: the first one; others are not run by the lab."""
        return self.spec.containers[0] if self.spec.containers else Container("pause")

    def condition(self, kind: str) -> Condition | None:
        """The condition of a type, if it has it."""
        return next((item for item in self.status.conditions if item.type == kind), None)


LAB_PODS: Resource[LabPod] = Resource("", "v1", "pods", "Pod", True, LabPod)

PAUSE = ("sleep", "infinity")
"""What runs in a pod that names no command: as Kubernetes' pause container, it only keeps the namespace."""


def argv(container: Container) -> tuple[str, ...]:
    """The command line of a container."""
    return (*container.command, *container.args) if container.command else PAUSE
