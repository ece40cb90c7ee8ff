"""Calico's kinds around egress gateways and external networks: projectcalico.org/v3 and operator.tigera.io/v1.

Fields: Calico Enterprise 3.23 (tigera/api, tigera/operator). Names and odd spellings are upstream's; defaults are what
an absent field means. Statuses are ours, except state and conditions of an EgressGateway. What is written here is
untrusted text; see `validate` for what is refused and `values` for how texts are read. The kinds of BGP are in `bgp`.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from sallyport.apis.core import Condition, ObjectMeta
from sallyport.apis.resource import Resource

GROUP = "projectcalico.org"
VERSION = "v3"
OPERATOR_GROUP = "operator.tigera.io"
OPERATOR_VERSION = "v1"

READY = "Ready"
"""Condition of ExternalNetwork: its routes are in the kernels of its nodes."""
AVAILABLE = "Available"
"""Condition of EgressGateway."""
DEGRADED = "Degraded"
"""Condition of EgressGateway: True with a reason where it cannot be honoured as it reads."""

DEFAULT_TABLES = (1, 250)
"""First and last kernel routing table of routeTableRanges where a FelixConfiguration gives none."""


class ConditionsStatus(Struct, frozen=True, gc=False, omit_defaults=True):
    """What has become of an object of a kind that has nothing else to tell."""

    conditions: tuple[Condition, ...] = ()


class ExternalNetworkSpec(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """The kernel's routing table of the network, 1 to 4294967295, on every node of it."""

    route_table_index: int = 0


class NetworkNode(Struct, frozen=True, gc=False, omit_defaults=True):
    """One node of a network: its BGP peers there, how many of them are established, and routes in the table."""

    node: str = ""
    peers: int = 0
    established: int = 0
    routes: int = 0


class ExternalNetworkStatus(Struct, frozen=True, gc=False, omit_defaults=True):
    """Nodes that have a peer in the network, in order of their names."""

    conditions: tuple[Condition, ...] = ()
    nodes: tuple[NetworkNode, ...] = ()


class ExternalNetwork(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A network outside of the cluster with addresses of its own, which may overlap those of other networks."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: ExternalNetworkSpec = field(default_factory=ExternalNetworkSpec)
    status: ExternalNetworkStatus = field(default_factory=ExternalNetworkStatus)
    api_version: str = ""
    kind: str = ""


class IPPoolSpec(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Addresses of gateways. `block_size` is a prefix length, 0 for upstream's default of 26 or 122."""

    cidr: str = ""
    block_size: int = 0
    node_selector: str = "all()"
    disabled: bool = False
    nat_outgoing: bool = False
    disable_bgp_export: bool = field(default=False, name="disableBGPExport")
    ipip_mode: str = "Never"
    vxlan_mode: str = "Never"
    allowed_uses: tuple[str, ...] = ()
    assignment_mode: str = ""
    aws_subnet_id: str = field(default="", name="awsSubnetID")


class IPPoolUsage(Struct, frozen=True, gc=False):
    """Addresses of the pool, and those that pods have."""

    total: int = 0
    used: int = 0


class IPPoolStatus(Struct, frozen=True, gc=False, omit_defaults=True):
    """How full the pool is."""

    usage: IPPoolUsage = field(default_factory=IPPoolUsage)
    conditions: tuple[Condition, ...] = ()


class IPPool(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A stock of addresses for pods; we give those of pools that an EgressGateway names."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: IPPoolSpec = field(default_factory=IPPoolSpec)
    status: IPPoolStatus = field(default_factory=IPPoolStatus)
    api_version: str = ""
    kind: str = ""


class PolicyDestination(Struct, frozen=True, gc=False, omit_defaults=True):
    """A network of either family."""

    cidr: str = ""


class PolicyGateway(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Gateway pods by Calico selectors over pods and namespaces; at most `max_next_hops` of them, 0 for all."""

    selector: str = ""
    namespace_selector: str = ""
    max_next_hops: int = 0


class PolicyRule(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Without a destination: every address that no other rule has. Without a gateway: the node's own way."""

    destination: PolicyDestination | None = None
    description: str = ""
    gateway: PolicyGateway | None = None
    gateway_preference: str = "None"


class EgressGatewayPolicySpec(Struct, frozen=True, gc=False, omit_defaults=True):
    """The rule with the longest prefix that has a destination decides, whatever their order."""

    rules: tuple[PolicyRule, ...] = ()


class EgressGatewayPolicyStatus(Struct, frozen=True, gc=False, omit_defaults=True):
    """`clients` counts the pods that are annotated with the policy, or are in a namespace that is."""

    conditions: tuple[Condition, ...] = ()
    clients: int = 0


class EgressGatewayPolicy(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Which gateways a client uses for which destination. Attached by annotation."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: EgressGatewayPolicySpec = field(default_factory=EgressGatewayPolicySpec)
    status: EgressGatewayPolicyStatus = field(default_factory=EgressGatewayPolicyStatus)
    api_version: str = ""
    kind: str = ""


class GatewayPool(Struct, frozen=True, gc=False, omit_defaults=True):
    """An IPPool by its name, by its network exactly as the pool writes it, or by both."""

    name: str = ""
    cidr: str = ""


class ICMPProbe(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Addresses that are pinged; one answer is enough."""

    ips: tuple[str, ...] = ()
    interval_seconds: int = 5
    timeout_seconds: int = 15


class HTTPProbe(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """URLs that are fetched; one answer is enough."""

    urls: tuple[str, ...] = ()
    interval_seconds: int = 10
    timeout_seconds: int = 30


class FailureDetection(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """When a gateway is not ready: each kind of probe that is given fails, or its node's agent is away for too long."""

    health_timeout_data_store_seconds: int = 90
    icmp_probe: ICMPProbe | None = None
    http_probe: HTTPProbe | None = None


class AWSGateway(Struct, frozen=True, gc=False, omit_defaults=True):
    """Addresses of a cloud; `native_ip` is Enabled or Disabled."""

    native_ip: str = field(default="Disabled", name="nativeIP")
    elastic_ips: tuple[str, ...] = field(default=(), name="elasticIPs")


class TemplateMetadata(Struct, frozen=True, gc=False, omit_defaults=True):
    """Labels and annotations of the gateway's pods."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


class TemplateContainer(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Settings of one container. Resources and probes are as in Kubernetes' Container; of probes only times count."""

    name: str = ""
    resources: Mapping[str, Any] = field(default_factory=dict)
    readiness_probe: Mapping[str, Any] = field(default_factory=dict)
    liveness_probe: Mapping[str, Any] = field(default_factory=dict)


class TemplateInitContainer(Struct, frozen=True, gc=False, omit_defaults=True):
    """Settings of the container that runs first. Resources are as in Kubernetes' Container."""

    name: str = ""
    resources: Mapping[str, Any] = field(default_factory=dict)


class TemplateSpec(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Parts of Kubernetes' PodSpec, as it defines them; `termination_grace_period_seconds` None is its default."""

    affinity: Mapping[str, Any] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    topology_spread_constraints: tuple[Mapping[str, Any], ...] = ()
    priority_class_name: str = ""
    termination_grace_period_seconds: int | None = None
    containers: tuple[TemplateContainer, ...] = ()
    init_containers: tuple[TemplateInitContainer, ...] = ()


class GatewayTemplate(Struct, frozen=True, gc=False, omit_defaults=True):
    """What the gateway's pods have besides what they need."""

    metadata: TemplateMetadata = field(default_factory=TemplateMetadata)
    spec: TemplateSpec = field(default_factory=TemplateSpec)


class EgressGatewaySpec(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """So many pods with addresses out of these pools, on these networks."""

    replicas: int = 1
    ip_pools: tuple[GatewayPool, ...] = ()
    external_networks: tuple[str, ...] = ()
    log_severity: str = "Info"
    egress_gateway_failure_detection: FailureDetection | None = None
    aws: AWSGateway | None = None
    template: GatewayTemplate = field(default_factory=GatewayTemplate)


class GatewayPod(Struct, frozen=True, gc=False, omit_defaults=True):
    """One pod of a gateway: its addresses as text, the networks it is joined to, and why it is not ready."""

    pod: str = ""
    node: str = ""
    addresses: tuple[str, ...] = ()
    ready: bool = False
    networks: tuple[str, ...] = ()
    message: str = ""


class EgressGatewayStatus(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """`state` is one word for people; `replicas` counts pods, `ready_replicas` those that carry traffic."""

    state: str = ""
    conditions: tuple[Condition, ...] = ()
    replicas: int = 0
    ready_replicas: int = 0
    gateways: tuple[GatewayPod, ...] = ()


class EgressGateway(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A group of pods through which clients leave the cluster, each with its own pod's address."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: EgressGatewaySpec = field(default_factory=EgressGatewaySpec)
    status: EgressGatewayStatus = field(default_factory=EgressGatewayStatus)
    api_version: str = ""
    kind: str = ""


class RouteTableRange(Struct, frozen=True, gc=False, omit_defaults=True):
    """Kernel routing tables from `min` to `max`, both included."""

    min: int = 0
    max: int = 0


class FelixConfigurationSpec(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Of Felix's many options those around egress. "", () and None are "not given"; names of modes are compared
    without case. Defaults are in the descriptions of the schema."""

    egress_ip_support: str = field(default="", name="egressIPSupport")
    egress_ip_vxlan_port: int | None = field(default=None, name="egressIPVXLANPort")
    egress_ip_vxlan_vni: int | None = field(default=None, name="egressIPVXLANVNI")
    egress_ip_routing_rule_priority: int | None = field(default=None, name="egressIPRoutingRulePriority")
    egress_gateway_poll_interval: str = ""
    egress_gateway_poll_failure_count: int | None = None
    egress_ip_host_iface_pattern: str = field(default="", name="egressIPHostIfacePattern")
    external_network_support: str = ""
    external_network_routing_rule_priority: int | None = None
    route_table_ranges: tuple[RouteTableRange, ...] = ()
    route_table_range: RouteTableRange | None = None
    policy_sync_path_prefix: str = ""
    iptables_backend: str = ""
    nat_outgoing_address: str = ""
    nat_outgoing_exclusions: str = ""
    aws_secondary_ip_support: str = field(default="", name="awsSecondaryIPSupport")
    aws_secondary_ip_routing_rule_priority: int | None = field(default=None, name="awsSecondaryIPRoutingRulePriority")
    local_subnet_l2_reachability: str = field(default="", name="localSubnetL2Reachability")


class FelixConfiguration(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Options of the nodes; only those of `default`, which are for all of them, have an effect."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: FelixConfigurationSpec = field(default_factory=FelixConfigurationSpec)
    status: ConditionsStatus = field(default_factory=ConditionsStatus)
    api_version: str = ""
    kind: str = ""


EXTERNALNETWORKS = Resource(GROUP, VERSION, "externalnetworks", "ExternalNetwork", False, ExternalNetwork)
IPPOOLS = Resource(GROUP, VERSION, "ippools", "IPPool", False, IPPool)
EGRESSGATEWAYPOLICIES = Resource(
    GROUP, VERSION, "egressgatewaypolicies", "EgressGatewayPolicy", False, EgressGatewayPolicy
)
FELIXCONFIGURATIONS = Resource(GROUP, VERSION, "felixconfigurations", "FelixConfiguration", False, FelixConfiguration)
EGRESSGATEWAYS = Resource(OPERATOR_GROUP, OPERATOR_VERSION, "egressgateways", "EgressGateway", True, EgressGateway)
