"""The kinds of Kubernetes itself that we read, with only the fields that we read; unknown fields are skipped.

Attributes are the API's names in snake case; encoded, they are the API's names again. Members that are lists or
objects are never None, so that callers need no checks.
"""

from collections.abc import Mapping

from msgspec import Struct, field

from sallyport.apis.resource import Resource


class ObjectMeta(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Identity and labels of an object. Times are RFC 3339 text as the API server writes them."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


class PodSpec(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Where a pod runs; `node_name` is "" until it is scheduled."""

    node_name: str = ""
    host_network: bool = False


class PodIP(Struct, frozen=True, gc=False, omit_defaults=True):
    """One address of a pod, as text."""

    ip: str = ""


class PodStatus(Struct, frozen=True, gc=False, omit_defaults=True):
    """Phase (Pending, Running, Succeeded, Failed, Unknown) and addresses of a pod."""

    phase: str = ""
    pod_ip: str = field(default="", name="podIP")
    pod_ips: tuple[PodIP, ...] = field(default=(), name="podIPs")


class Pod(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A pod."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)
    api_version: str = ""
    kind: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses as text, the primary one first; empty before it has any."""
        several = tuple(item.ip for item in self.status.pod_ips if item.ip)
        return several or ((self.status.pod_ip,) if self.status.pod_ip else ())

    @property
    def finished(self) -> bool:
        """True when its containers have ended for good, so that its address may belong to another pod already."""
        return self.status.phase in ("Succeeded", "Failed")


class Taint(Struct, frozen=True, gc=False, omit_defaults=True):
    """What keeps pods off a node; `effect` is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(Struct, frozen=True, gc=False, omit_defaults=True):
    """Pod networks of a node, what keeps pods off it, and whether it is cordoned."""

    pod_cidr: str = field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] = field(default=(), name="podCIDRs")
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeAddress(Struct, frozen=True, gc=False, omit_defaults=True):
    """`type` is InternalIP, ExternalIP, Hostname, InternalDNS or ExternalDNS."""

    type: str = ""
    address: str = ""


class NodeCondition(Struct, frozen=True, gc=False, omit_defaults=True):
    """A condition of a node; of `type` Ready, `status` True means that its kubelet is alive and well."""

    type: str = ""
    status: str = ""
    reason: str = ""


class NodeStatus(Struct, frozen=True, gc=False, omit_defaults=True):
    """Addresses and conditions of a node."""

    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[NodeCondition, ...] = ()


class Node(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A node."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: NodeSpec = field(default_factory=NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)
    api_version: str = ""
    kind: str = ""

    @property
    def pod_networks(self) -> tuple[str, ...]:
        """Its pod networks as text, one per family at most."""
        return self.spec.pod_cidrs or ((self.spec.pod_cidr,) if self.spec.pod_cidr else ())


class Namespace(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A namespace."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    api_version: str = ""
    kind: str = ""


class ConfigMap(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A config map."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    data: Mapping[str, str] = field(default_factory=dict)
    api_version: str = ""
    kind: str = ""


class Secret(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A secret; the values are in base64."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    data: Mapping[str, str] = field(default_factory=dict)
    api_version: str = ""
    kind: str = ""


class LeaseSpec(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Who holds a lease, for how many seconds after `renew_time` (RFC 3339 with microseconds)."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Written(Struct, frozen=True, gc=False, omit_defaults=True):
    """When somebody wrote to an object last, by the API server's clock (RFC 3339): an entry of its managedFields."""

    time: str | None = None


class LeaseMeta(ObjectMeta, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Of a Lease it is also read when it was written."""

    managed_fields: tuple[Written, ...] = ()


class Lease(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A lease: leader election, and the sign of life of an agent."""

    metadata: LeaseMeta = field(default_factory=LeaseMeta)
    spec: LeaseSpec = field(default_factory=LeaseSpec)
    api_version: str = ""
    kind: str = ""


class ObjectReference(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """The object that an event is about."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class EventSeries(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """How often an event was seen again, and when last (RFC 3339 with microseconds)."""

    count: int
    last_observed_time: str


class Event(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """An event of events.k8s.io/v1; `type` is Normal or Warning."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    event_time: str | None = None
    series: EventSeries | None = None
    reporting_controller: str = ""
    reporting_instance: str = ""
    action: str = ""
    reason: str = ""
    regarding: ObjectReference = field(default_factory=ObjectReference)
    note: str = ""
    type: str = ""
    api_version: str = ""
    kind: str = ""


class Condition(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """One condition of a status. `status` is True, False or Unknown; the time is RFC 3339 to the second."""

    type: str
    status: str
    last_transition_time: str | None = None
    reason: str = ""
    message: str = ""


PODS = Resource("", "v1", "pods", "Pod", True, Pod)
NODES = Resource("", "v1", "nodes", "Node", False, Node)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", False, Namespace)
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap", True, ConfigMap)
SECRETS = Resource("", "v1", "secrets", "Secret", True, Secret)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", True, Lease)
EVENTS = Resource("events.k8s.io", "v1", "events", "Event", True, Event)
