"""Gateway pods: what we read of them, and what the controller records on pods in annotations."""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct, field

from sallyport.apis.calico.annotations import EXITS, NEXT_HOPS
from sallyport.apis.core import Condition, ObjectMeta, PodIP
from sallyport.apis.resource import Resource
from sallyport.model.addresses import parse_address
from sallyport.model.state import FAMILIES, Family, IPAddress


class ContainerPort(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A named port of a container."""

    name: str = ""
    container_port: int = 0


class GatewayContainer(Struct, frozen=True, gc=False, omit_defaults=True):
    """A container, as far as its ports go."""

    name: str = ""
    ports: tuple[ContainerPort, ...] = ()


class GatewayPodSpec(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Where a gateway runs, and for how many seconds it goes on when it is told to end."""

    node_name: str = ""
    termination_grace_period_seconds: int = 30
    containers: tuple[GatewayContainer, ...] = ()


class GatewayPodStatus(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Phase, addresses and conditions."""

    phase: str = ""
    pod_ip: str = field(default="", name="podIP")
    pod_ips: tuple[PodIP, ...] = field(default=(), name="podIPs")
    conditions: tuple[Condition, ...] = ()


class GatewayPodMeta(ObjectMeta, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Metadata with the seconds that a pod which ends was given."""

    deletion_grace_period_seconds: int = 0


class GatewayPod(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A pod of an EgressGateway."""

    metadata: GatewayPodMeta = field(default_factory=GatewayPodMeta)
    spec: GatewayPodSpec = field(default_factory=GatewayPodSpec)
    status: GatewayPodStatus = field(default_factory=GatewayPodStatus)
    api_version: str = ""
    kind: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses as text, the primary one first; empty before it has any."""
        several = tuple(item.ip for item in self.status.pod_ips if item.ip)
        return several or ((self.status.pod_ip,) if self.status.pod_ip else ())

    @property
    def finished(self) -> bool:
        """Whether its containers have ended for good."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def ready(self) -> bool:
        """Whether its kubelet says so."""
        return any(item.type == "Ready" and item.status == "True" for item in self.status.conditions)

    @property
    def health_port(self) -> int:
        """The port named `health`, which is polled; 0 where it has none."""
        ports = [port for container in self.spec.containers for port in container.ports]
        return next((port.container_port for port in ports if port.name == "health"), 0)


GATEWAY_PODS = Resource("", "v1", "pods", "Pod", True, GatewayPod)


class _RecordedExit(Struct, frozen=True, omit_defaults=True):
    ip: str = ""
    id: int = 0


class Recorded(Struct, frozen=True, omit_defaults=True):
    """What the controller has decided for a gateway's pod: by family its address and egress id, and the nodes whose
    clients may use it."""

    exits: dict[str, _RecordedExit] = {}
    watchers: tuple[str, ...] = ()

    def of(self, family: Family) -> tuple[IPAddress | None, int]:
        """Address and id of a family; None and 0 where nothing is decided."""
        found = self.exits.get(str(family), _RecordedExit())
        try:
            address = parse_address(found.ip) if found.ip else None
        except ValueError:
            return None, 0
        return (address, found.id) if address is None or address.version == family else (None, 0)


def recorded(annotations: Mapping[str, str]) -> Recorded:
    """What a gateway's pod says; nothing where somebody else has written something else there."""
    try:
        return msgspec.json.decode(annotations.get(EXITS, "{}"), type=Recorded)
    except msgspec.DecodeError:
        return Recorded()


def record(exits: Mapping[Family, tuple[IPAddress, int]], watchers: Iterable[str]) -> str:
    """The annotation's text; the same for equal decisions."""
    written = {
        str(family): _RecordedExit(str(exits[family][0]), exits[family][1]) for family in FAMILIES if family in exits
    }
    return msgspec.json.encode(Recorded(written, tuple(sorted(watchers)))).decode()


def next_hops(annotations: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Exits by destination that a client with limited next hops was given; nothing where the text is not ours."""
    try:
        return msgspec.json.decode(annotations.get(NEXT_HOPS, "{}"), type=dict[str, tuple[str, ...]])
    except msgspec.DecodeError:
        return {}


def record_next_hops(chosen: Mapping[str, tuple[str, ...]]) -> str:
    """The annotation's text; the same for equal decisions."""
    return msgspec.json.encode({key: chosen[key] for key in sorted(chosen)}).decode()
