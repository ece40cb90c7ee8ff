"""Calico's kinds of BGP: BGPPeer, BGPConfiguration and BGPFilter of projectcalico.org/v3.

Fields: Calico 3.31 and Calico Enterprise 3.23 (api/pkg/apis/projectcalico/v3). AS numbers are integers or text, plain
or dotted, and durations text such as 1m30s; `values` reads both. Statuses are ours.
"""

from collections.abc import Mapping

from msgspec import Struct, field

from sallyport.apis.calico.types import GROUP, VERSION, ConditionsStatus
from sallyport.apis.core import Condition, ObjectMeta
from sallyport.apis.resource import Resource

ESTABLISHED = "Established"
"""Condition of BGPPeer: True where every node that it is for has a session."""

ASNumber = int | str
"""As written: 65000, "65000" or "1.10"; 0 and "" are none."""


class SecretKeyRef(Struct, frozen=True, gc=False, omit_defaults=True):
    """A key of a Secret in the namespace of Sallyport's agents."""

    name: str = ""
    key: str = ""


class BGPPassword(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Where the password is, of at most 80 characters (RFC 2385)."""

    secret_key_ref: SecretKeyRef | None = None


class BGPPeerSpec(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Which nodes have a session with whom. Durations are "" and numbers None where BIRD's default is meant."""

    node: str = ""
    node_selector: str = ""
    peer_ip: str = field(default="", name="peerIP")
    as_number: ASNumber = 0
    local_as_number: ASNumber = field(default=0, name="localASNumber")
    peer_selector: str = ""
    local_workload_selector: str = ""
    external_network: str = ""
    network: str = ""
    source_address: str = "UseNodeIP"
    keep_original_next_hop: bool = False
    next_hop_mode: str = ""
    password: BGPPassword | None = None
    failure_detection_mode: str = "None"
    restart_mode: str = "GracefulRestart"
    max_restart_time: str = ""
    bird_gateway_mode: str = "Recursive"
    keepalive_time: str = ""
    num_allowed_local_as_numbers: int = field(default=0, name="numAllowedLocalASNumbers")
    ttl_security: int | None = None
    filters: tuple[str, ...] = ()
    reachable_by: str = ""
    reverse_peering: str = "Auto"
    extensions: Mapping[str, str] = field(default_factory=dict)


class PeerSession(Struct, frozen=True, gc=False, omit_defaults=True):
    """A node's session; `state` is BGP's, such as Established or Active (RFC 4271, section 8.2.2)."""

    node: str = ""
    state: str = ""


class BGPPeerStatus(Struct, frozen=True, gc=False, omit_defaults=True):
    """Sessions in order of their nodes' names."""

    conditions: tuple[Condition, ...] = ()
    sessions: tuple[PeerSession, ...] = ()


class BGPPeer(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """A router that nodes speak BGP with."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: BGPPeerSpec = field(default_factory=BGPPeerSpec)
    status: BGPPeerStatus = field(default_factory=BGPPeerStatus)
    api_version: str = ""
    kind: str = ""


class PrefixLength(Struct, frozen=True, gc=False, omit_defaults=True):
    """Bounds of a prefix length, both included; None is the network's own, and the longest."""

    min: int | None = None
    max: int | None = None


class CommunityMatch(Struct, frozen=True, gc=False, omit_defaults=True):
    """One community, `AA:NN` (RFC 1997) or `AA:NN:MM` (RFC 8092)."""

    values: tuple[str, ...] = ()


class AddCommunity(Struct, frozen=True, gc=False, omit_defaults=True):
    """A community, `AA:NN` (RFC 1997) or `AA:NN:MM` (RFC 8092)."""

    value: str = ""


class PrependASPath(Struct, frozen=True, gc=False, omit_defaults=True):
    """AS numbers that the path begins with afterwards, in this order."""

    prefix: tuple[ASNumber, ...] = ()


class SetPriority(Struct, frozen=True, gc=False, omit_defaults=True):
    """The metric of the route in the kernel."""

    value: int = 0


class FilterOperation(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Exactly one of these."""

    add_community: AddCommunity | None = None
    prepend_as_path: PrependASPath | None = field(default=None, name="prependASPath")
    set_priority: SetPriority | None = None


class FilterRule(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Matches a route that fits all that is given here; `interface` may hold the wildcard *."""

    action: str = "Accept"
    cidr: str = ""
    prefix_length: PrefixLength | None = None
    match_operator: str = ""
    source: str = ""
    interface: str = ""
    peer_type: str = ""
    communities: CommunityMatch | None = None
    as_path_prefix: tuple[ASNumber, ...] = ()
    priority: int | None = None
    operations: tuple[FilterOperation, ...] = ()


class BGPFilterSpec(Struct, frozen=True, gc=False, omit_defaults=True):
    """Rules by direction and family. The first that matches decides; a route that none matches is accepted."""

    export_v4: tuple[FilterRule, ...] = field(default=(), name="exportV4")
    import_v4: tuple[FilterRule, ...] = field(default=(), name="importV4")
    export_v6: tuple[FilterRule, ...] = field(default=(), name="exportV6")
    import_v6: tuple[FilterRule, ...] = field(default=(), name="importV6")


class BGPFilter(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Which routes a peer is told and which of its routes are taken. Named by BGPPeers."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: BGPFilterSpec = field(default_factory=BGPFilterSpec)
    status: ConditionsStatus = field(default_factory=ConditionsStatus)
    api_version: str = ""
    kind: str = ""


class Community(Struct, frozen=True, gc=False, omit_defaults=True):
    """A name for a community."""

    name: str = ""
    value: str = ""


class PrefixAdvertisement(Struct, frozen=True, gc=False, omit_defaults=True):
    """Communities, by value or name, that routes within a network are told with."""

    cidr: str = ""
    communities: tuple[str, ...] = ()


class ServiceNetwork(Struct, frozen=True, gc=False, omit_defaults=True):
    """A network of addresses of Services."""

    cidr: str = ""


class BGPConfigurationSpec(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Options for all peers. Empty values and None are "not given", so that one object can override another."""

    as_number: ASNumber = 0
    listen_port: int | None = None
    node_to_node_mesh_enabled: bool | None = None
    bind_mode: str = ""
    ignored_interfaces: tuple[str, ...] = ()
    node_mesh_password: BGPPassword | None = None
    node_mesh_max_restart_time: str = ""
    communities: tuple[Community, ...] = ()
    prefix_advertisements: tuple[PrefixAdvertisement, ...] = ()
    service_cluster_ips: tuple[ServiceNetwork, ...] = field(default=(), name="serviceClusterIPs")
    service_external_ips: tuple[ServiceNetwork, ...] = field(default=(), name="serviceExternalIPs")
    service_load_balancer_ips: tuple[ServiceNetwork, ...] = field(default=(), name="serviceLoadBalancerIPs")
    log_severity_screen: str = ""


class BGPConfiguration(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """Options of BGP: `default` for all nodes, `node.<name>` for one."""

    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    spec: BGPConfigurationSpec = field(default_factory=BGPConfigurationSpec)
    status: ConditionsStatus = field(default_factory=ConditionsStatus)
    api_version: str = ""
    kind: str = ""


BGPPEERS = Resource(GROUP, VERSION, "bgppeers", "BGPPeer", False, BGPPeer)
BGPFILTERS = Resource(GROUP, VERSION, "bgpfilters", "BGPFilter", False, BGPFilter)
BGPCONFIGURATIONS = Resource(GROUP, VERSION, "bgpconfigurations", "BGPConfiguration", False, BGPConfiguration)
