"""Antrea's Egress and ExternalIPPool, every field of crd.antrea.io/v1alpha2 and v1beta1 (Antrea 2.8).

Both versions decode into the same types: v1beta1 only added fields. What is written here is untrusted text; see
`validate` for what is refused and `translate` for what it means.
"""

from msgspec import Struct, field

from sallyport.apis.core import Condition, ObjectMeta
from sallyport.apis.resource import Resource
from sallyport.selectors.kubernetes import LabelSelector

GROUP = "crd.antrea.io"
STORED = "v1beta1"
VERSIONS = ("v1alpha2", "v1beta1")

LIMIT_ANNOTATION = "node.antrea.io/max-egress-ips"
"""On a Node: how many egress IPs it may hold, instead of the cluster's default; 0 means none."""

IP_ALLOCATED = "IPAllocated"
IP_ASSIGNED = "IPAssigned"


class AppliedTo(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Which pods. Neither selector: none. Only pods: in all namespaces. Only namespaces: all of their pods."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None


class BandwidthSpec(Struct, frozen=True, gc=False, omit_defaults=True):
    """Kubernetes quantities: `rate` in bits per second, `burst` in bits."""

    rate: str
    burst: str


class EgressSpec(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """What the user asks for."""

    applied_to: AppliedTo = field(default_factory=AppliedTo)
    egress_ip: str = field(default="", name="egressIP")
    external_ip_pool: str = field(default="", name="externalIPPool")
    egress_ips: tuple[str, ...] = field(default=(), name="egressIPs")
    external_ip_pools: tuple[str, ...] = field(default=(), name="externalIPPools")
    bandwidth: BandwidthSpec | None = None


class EgressStatus(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """What has become of it. `allocated_ip`, `id`, `nodes` and `clients` are ours, written by the controller.

    `allocated_ip` is the address that the next two were decided for; `id` the egress id (the mark), 0 for none yet;
    `nodes` who may hold the IP, in order; `clients` how many pods the Egress selects,
    those among them that an older one governs included.
    """

    egress_node: str = ""
    egress_ip: str = field(default="", name="egressIP")
    conditions: tuple[Condition, ...] = ()
    allocated_ip: str = field(default="", name="allocatedIP")
    id: int = 0
    nodes: tuple[str, ...] = ()
    clients: int = 0


class Egress(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Pods, and the source IP with which they leave the cluster."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: EgressSpec = field(default_factory=EgressSpec)
    status: EgressStatus = field(default_factory=EgressStatus)
    api_version: str = ""
    kind: str = ""


class IPRange(Struct, frozen=True, gc=False, omit_defaults=True):
    """Either `cidr`, or `start` and `end` (both belong to the range)."""

    cidr: str = ""
    start: str = ""
    end: str = ""

    def __str__(self) -> str:
        return self.cidr or f"{self.start}-{self.end}"


class SubnetInfo(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """The subnet that a pool's addresses belong to, where it is not the nodes' own. `vlan` 0 means untagged."""

    gateway: str = ""
    prefix_length: int = 0
    vlan: int = 0


class ExternalIPPoolSpec(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Addresses, and the nodes that may hold them."""

    ip_ranges: tuple[IPRange, ...] = field(default=(), name="ipRanges")
    node_selector: LabelSelector = field(default_factory=LabelSelector)
    subnet_info: SubnetInfo | None = None


class IPPoolUsage(Struct, frozen=True, gc=False):
    """Addresses that may be handed out, and those that are."""

    total: int = 0
    used: int = 0


class ExternalIPPoolStatus(Struct, frozen=True, gc=False, omit_defaults=True):
    """How full the pool is."""

    usage: IPPoolUsage = field(default_factory=IPPoolUsage)


class ExternalIPPool(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Addresses that Egresses may be given."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: ExternalIPPoolSpec = field(default_factory=ExternalIPPoolSpec)
    status: ExternalIPPoolStatus = field(default_factory=ExternalIPPoolStatus)
    api_version: str = ""
    kind: str = ""


EGRESSES = Resource(GROUP, STORED, "egresses", "Egress", False, Egress)
POOLS = Resource(GROUP, STORED, "externalippools", "ExternalIPPool", False, ExternalIPPool)
