"""The translated snapshot of a cluster: what the API objects mean, whatever API they came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
Family = Literal[4, 6]
FAMILIES: tuple[Family, Family] = (4, 6)

PodKey = tuple[str, str]
"""Namespace and name of a pod."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """An API object that conditions and events are written about; `namespace` is "" for cluster scope."""

    kind: str
    name: str
    namespace: str = ""
    uid: str = ""

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something a user wrote that cannot be honoured: it becomes a condition and a Warning event on `ref`.

    `reason` is CamelCase as Kubernetes conditions want it, `message` a sentence in the user's words, `field` the
    path inside the object where that helps.
    """

    ref: ObjectRef
    reason: str
    message: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """A pod whose traffic may be steered: it runs on `node` and has an address of its own per family at most."""

    namespace: str
    name: str
    node: str
    addresses: tuple[IPAddress, ...]

    @property
    def key(self) -> PodKey:
        """Namespace and name."""
        return (self.namespace, self.name)


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the planner sees it.

    `addresses` are all that the node is reachable by, its InternalIPs first; `limit` is how many egress IPs it may
    hold (None: the cluster's default); `alive` is false once its agent's lease has run out.
    """

    name: str
    addresses: tuple[IPAddress, ...]
    pod_networks: tuple[IPNetwork, ...] = ()
    limit: int | None = None
    alive: bool = True

    def address(self, family: Family) -> IPAddress | None:
        """The first address of the family, which tunnels use."""
        return next((address for address in self.addresses if address.version == family), None)


@dataclass(frozen=True, slots=True)
class AddressRange:
    """Inclusive range of addresses of one family that may be handed out."""

    first: IPAddress
    last: IPAddress

    def __contains__(self, address: IPAddress) -> bool:
        return address.version == self.first.version and int(self.first) <= int(address) <= int(self.last)

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of egress IPs: its ranges in the user's order with reserved addresses taken off, and its nodes."""

    ref: ObjectRef
    ranges: tuple[AddressRange, ...]
    nodes: frozenset[str]

    @property
    def key(self) -> str:
        """Kind and name: what exits call it by."""
        return str(self.ref)

    def __contains__(self, address: IPAddress) -> bool:
        return any(address in part for part in self.ranges)


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """A limit on what leaves through one exit: `rate` in bits per second, `burst` in bits."""

    rate: int
    burst: int


@dataclass(frozen=True, slots=True)
class Exit:
    """A way out of the cluster with a source address, and the clients whose whole traffic it is asked for.

    `requested` is the address the user wrote (or that an earlier allocation wrote back), `pools` those that it may come
    from, the first with a free one first (empty: static, held by whichever node has it on an interface). `allocated`:
    the controller itself chose `requested` (annotation `sallyport.io/allocated-ip` equals it), so it may choose again.
    History read back from status: `decided` (the address that the next two were decided for), `id` (0 if none yet),
    `nodes` (who may hold it, in order), `holder` (who says it does), `effective` (the address that one says it holds).

    `node` binds it to one node ("": its pools' nodes may hold it). `family` is that of the address it wants (None:
    whichever). `networks` are the external networks that it leads to, in the order in which they win equal prefixes;
    without any it leads where the node's own routes do. `ready` false: nobody may use it now; `leaving`: connections
    that it has go on, new ones do not begin. `carried`: its address is the pod's
    own, and on no interface of the node. `watchers` are the nodes whose clients may use it, and which therefore
    keep a BFD session with its node.
    """

    ref: ObjectRef
    created: str
    requested: IPAddress | None
    pools: tuple[str, ...]
    clients: tuple[PodKey, ...] = ()
    bandwidth: Bandwidth | None = None
    allocated: bool = False
    decided: IPAddress | None = None
    id: int = 0
    nodes: tuple[str, ...] = ()
    holder: str = ""
    effective: IPAddress | None = None
    node: str = ""
    family: Family | None = None
    networks: tuple[str, ...] = ()
    ready: bool = True
    leaving: bool = False
    carried: bool = False
    watchers: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Its name among all exits: the object's, with its namespace and the family where it has them."""
        named = f"{self.ref.namespace}/{self.ref.name}" if self.ref.namespace else self.ref.name
        return f"{named}/v{self.family}" if self.family else named

    @property
    def settled(self) -> bool:
        """Whether its address is the one that it wants."""
        return self.requested is not None and self.requested == self.effective

    @property
    def age(self) -> tuple[str, str]:
        """Sort key: the older first, then by name. Decides who wins a pod, an address, a place on a node."""
        return (self.created, self.key)


@dataclass(frozen=True, slots=True)
class Hops:
    """Exits that share what goes to one destination. `exits` are keys, of either family, in order; one client uses at
    most `limit` of them (0: all), those on its own node alone where there are any if `prefer_local`.

    `keep`: a connection stays with the exit that it began with while others come; false where it follows what its
    policy says. `own`: the exit is the client itself, which may use it before it is ready for others.
    """

    exits: tuple[str, ...]
    limit: int = 0
    prefer_local: bool = False
    keep: bool = True
    own: bool = False


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a policy's clients go to, and by what: None is the ordinary way, as if no policy were."""

    network: IPNetwork
    hops: Hops | None


@dataclass(frozen=True, slots=True)
class Policy:
    """Which exits some clients take to which destinations; the longest prefix decides. What none of them has is left
    to the client's next policy, and then to the ordinary way. `blocked` says why the clients may not leave at all, and
    `named_by` which object says that these are its clients, where that is another than the policy's own."""

    ref: ObjectRef
    created: str
    destinations: tuple[Destination, ...]
    clients: tuple[PodKey, ...]
    blocked: str = ""
    named_by: ObjectRef | None = None

    @property
    def age(self) -> tuple[str, str]:
        """Sort key: the older first, then by name."""
        return (self.created, str(self.ref))


@dataclass(frozen=True, slots=True)
class ExternalNetwork:
    """A network beyond some nodes' own links, with a routing table of its own. `table` is the kernel's number of it,
    None where the network cannot be honoured."""

    ref: ObjectRef
    table: int | None


@dataclass(frozen=True, slots=True)
class RouteRule:
    """One rule of a BGP filter, after upstream's BGPFilter. Empty fields match everything. `operator` is In, NotIn,
    Equal or NotEqual; `lengths` the least and greatest prefix length; `source` RemotePeers or ""; `peers` eBGP, iBGP
    or ""; `interface` a device's name or pattern. `add` are communities added, `prepend` AS numbers prepended, the
    first one outermost."""

    accept: bool
    network: IPNetwork | None = None
    operator: str = "In"
    lengths: tuple[int, int] | None = None
    source: str = ""
    interface: str = ""
    peers: str = ""
    communities: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    prepend: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteFilter:
    """The rules of a BGP filter by direction (`import`, `export`) and family; the first that matches decides, and what
    none matches is accepted."""

    name: str
    rules: Mapping[tuple[str, Family], tuple[RouteRule, ...]]


@dataclass(frozen=True, slots=True)
class Peering:
    """BGP sessions of `nodes` with one router (RFC 4271), for external network `network` ("": the main table).

    `own_asn` is ours to this peer. `use_node_ip`: the session's source is the node's address, else the interface's.
    `via`: the way to a peer that is on no link. `hops`: TTL security over so many (RFC 5082; 0: off). `restart_time`
    and `keepalive` in seconds (0: BIRD's). `next_hop` is auto, self or keep. `password` is the MD5 key (RFC 2385).
    `blocked` says why there is no session.
    """

    ref: ObjectRef
    network: str
    nodes: frozenset[str]
    address: IPAddress
    asn: int
    own_asn: int
    port: int = 179
    use_node_ip: bool = True
    via: IPAddress | None = None
    hops: int = 0
    bfd: bool = False
    long_lived: bool = False
    restart_time: int = 0
    keepalive: int = 0
    own_asn_in_path: int = 0
    next_hop: str = "auto"
    password: str = ""
    filters: tuple[RouteFilter, ...] = ()
    blocked: str = ""


@dataclass(frozen=True, slots=True)
class Routing:
    """What concerns all external networks. `enabled`: the switch for them as a whole. `device_patterns` name further
    devices that carry external traffic (names, or /regular expressions/). `unexported` are networks whose addresses are
    told to no peer."""

    enabled: bool = False
    device_patterns: tuple[str, ...] = ()
    unexported: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class Tuning:
    """Numbers that an administrator has set for the whole cluster in an object; None leaves the agent's own. `poll` is
    the interval in seconds and the count of polls of gateways."""

    vxlan_port: int | None = None
    vxlan_vni: int | None = None
    rule_priority: int | None = None
    network_rule_priority: int | None = None
    poll: tuple[float, int] = (10.0, 3)


@dataclass(frozen=True, slots=True)
class Networks:
    """Destinations that are never governed: `pods` and `services` of this cluster, and `excepted` by the user."""

    pods: tuple[IPNetwork, ...] = ()
    services: tuple[IPNetwork, ...] = ()
    excepted: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterState:
    """All of it. An agent's holds its own node's clients only; the controller's holds everybody's.

    `policies` come first for a pod, in their order, and then the exits that ask for its whole traffic. `chosen` are the
    exits that a client with limited hops was given, by destination, as recorded.
    """

    nodes: Mapping[str, Node] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    exits: Mapping[str, Exit] = field(default_factory=dict)
    clients: Mapping[PodKey, Client] = field(default_factory=dict)
    policies: tuple[Policy, ...] = ()
    chosen: Mapping[PodKey, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    external: Mapping[str, ExternalNetwork] = field(default_factory=dict)
    peerings: tuple[Peering, ...] = ()
    routing: Routing = Routing()
    tuning: Tuning = Tuning()
    networks: Networks = Networks()
    default_limit: int = 255
    enabled: bool = True
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class Touched:
    """Which parts of a state are others than before. `exits` differ by more than their clients, `counted` by these;
    `pods` are other clients, or those of other exits. All of them may be gone."""

    exits: set[str] = field(default_factory=set)
    counted: set[str] = field(default_factory=set)
    pods: set[PodKey] = field(default_factory=set)
