"""What a node's kernel and its BIRD are to hold: one frozen value per object, keyed as the kernel keys it.

Every class has `kind` (which driver reads and writes it) and `key` (the kernel's identity: two values with one key
are one object that is replaced in place). Addresses and prefixes are text in the kernel's own canonical form, so
that what is read back compares equal to what was planned.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar, Literal

from sallyport.model.state import Family


class Kind(IntEnum):
    """Kinds in the order in which they are made; they are removed in the opposite order (make before break).

    Exits come after routes and rules: what comes out of the tunnel is let out only when it can go nowhere but by its
    own way. Clients come last: a packet is marked only when the whole way behind the mark stands.
    """

    LINK = 1
    SYSCTL = 2
    SKELETON = 3
    NEIGHBOR = 4
    FDB = 5
    NEXT_HOP = 6
    ROUTE = 7
    FIB = 8
    RULE = 9
    EXIT_ELEMENT = 10
    ADDRESS = 11
    CHAIN = 12
    CLIENT_ELEMENT = 13
    PEER = 14
    SESSION = 15


@dataclass(frozen=True, slots=True)
class Link:
    """A VXLAN device with the group policy extension (kernel: Documentation/networking/vxlan.rst).

    `local` is the outer source address, `port` UDP, `mtu` in bytes of the inner packet.
    """

    kind: ClassVar[Kind] = Kind.LINK
    name: str
    vni: int
    port: int
    local: str
    mtu: int

    @property
    def key(self) -> str:
        return self.name

    @property
    def identity(self) -> tuple[int, int]:
        """What cannot be changed on a living device: with another identity it is made anew."""
        return (self.vni, self.port)


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A setting under /proc/sys, `path` with slashes: `net/ipv4/conf/sp-vx4/rp_filter`."""

    kind: ClassVar[Kind] = Kind.SYSCTL
    path: str
    value: str

    @property
    def key(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class Skeleton:
    """One nftables table with its chains, rules and empty sets, as text for `nft -f`.

    `digest` of the text is kept as the comment of its first rule, so that it can be read back and compared.
    """

    kind: ClassVar[Kind] = Kind.SKELETON
    family: Literal["inet", "netdev", "arp"]
    name: str
    digest: str
    text: str = field(default="", compare=False)

    @property
    def key(self) -> tuple[str, str]:
        return (self.family, self.name)


@dataclass(frozen=True, slots=True)
class Element:
    """A member of a set or map of our inet table; `value` is "" for sets.

    `set` names one of the sets of the skeleton. For `clients4`/`clients6` the value is the egress id as a decimal (the
    driver writes it as a jump to the chain that sets that mark and keeps those chains) or the name of a `Chain`.
    """

    kind: ClassVar[Kind] = Kind.EXIT_ELEMENT
    set: str
    member: str
    value: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return (self.set, self.member)


@dataclass(frozen=True, slots=True)
class ClientElement(Element):
    """An element that starts to steer packets, so it is written last and removed first."""

    kind: ClassVar[Kind] = Kind.CLIENT_ELEMENT


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that chooses among exits, with the leaves that it alone jumps to, as text for `nft -f`.

    The name tells what it says: `way_` and `spread_` chains end with a digest of their text, so that one is never
    changed, and another takes its place. `rules` is how many it has, its leaves' included. The rest is what the text
    says. A way: `destinations` are networks, none inside another, each with what decides there: the name of a spread,
    an egress id in decimal, or "" for the ordinary way. A spread: a connection whose mark is among `kept` stays with
    it, another one gets one of `fresh` by the hash of its addresses and ports, or nothing when there is none.
    """

    kind: ClassVar[Kind] = Kind.CHAIN
    name: str
    rules: int
    text: str = field(default="", compare=False)
    family: Family = field(default=4, compare=False)
    destinations: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    fresh: tuple[int, ...] = field(default=(), compare=False)
    kept: tuple[int, ...] = field(default=(), compare=False)

    @property
    def key(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An egress IP on an interface as /32 or /128. IPv6 is added `nodad` and with preferred lifetime 0 so that the
    node never chooses it as the source of its own traffic (RFC 6724 rule 3)."""

    kind: ClassVar[Kind] = Kind.ADDRESS
    device: str
    address: str

    @property
    def key(self) -> tuple[str, str]:
        return (self.device, self.address)


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A permanent neighbour entry: next-hop `address` on `device` has MAC `lladdr`."""

    kind: ClassVar[Kind] = Kind.NEIGHBOR
    device: str
    address: str
    lladdr: str

    @property
    def key(self) -> tuple[str, str]:
        return (self.device, self.address)


@dataclass(frozen=True, slots=True)
class Fdb:
    """A VXLAN forwarding entry: frames to `lladdr` go to outer address `destination`."""

    kind: ClassVar[Kind] = Kind.FDB
    device: str
    lladdr: str
    destination: str

    @property
    def key(self) -> tuple[str, str]:
        return (self.device, self.lladdr)


@dataclass(frozen=True, slots=True)
class NextHop:
    """A next-hop object (`ip nexthop`): `gateway` on-link over `device`."""

    kind: ClassVar[Kind] = Kind.NEXT_HOP
    id: int
    gateway: str
    device: str

    @property
    def key(self) -> int:
        return self.id


@dataclass(frozen=True, slots=True)
class Route:
    """A route of one of our tables. `type` unicast uses `next_hop` (an object's id); the others have none."""

    kind: ClassVar[Kind] = Kind.ROUTE
    family: Family
    table: int
    destination: str
    metric: int
    type: Literal["unicast", "unreachable", "throw"]
    next_hop: int = 0

    @property
    def key(self) -> tuple[Family, int, str, int]:
        return (self.family, self.table, self.destination, self.metric)


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy rule. A rule's identity is its whole value: the same selector with another table is another rule.

    One of `mark`/`mask`, `iif` (what comes in by that device), `udp_port` and `to` (what this node itself sends to that
    UDP port, or that address) selects, or everything is selected; `inverted` selects what is not. It is looked up in
    `table`, or goes on with the first rule of the priority `goto`, or, with neither of them, with the next rule.
    """

    kind: ClassVar[Kind] = Kind.RULE
    family: Family
    priority: int
    table: int
    mark: int = 0
    mask: int = 0
    udp_port: int = 0
    iif: str = ""
    to: str = ""
    goto: int = 0
    inverted: bool = False

    @property
    def key(self) -> "Rule":
        return self


@dataclass(frozen=True, slots=True)
class Fib:
    """A kernel routing table that BIRD fills with the routes of `networks`, of which the first wins equal prefixes."""

    kind: ClassVar[Kind] = Kind.FIB
    table: int
    networks: tuple[str, ...]

    @property
    def key(self) -> tuple[str, int]:
        return ("fib", self.table)


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A directly connected network by whose device the peers of an external network are reached."""

    kind: ClassVar[Kind] = Kind.FIB
    network: str
    destination: str
    device: str
    via: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return ("bootstrap", self.network, self.destination)


@dataclass(frozen=True, slots=True)
class Announced:
    """A host route to an egress IP of this node that BIRD exports to the peers of `network` ("": those of main)."""

    kind: ClassVar[Kind] = Kind.SESSION
    network: str
    destination: str

    @property
    def key(self) -> tuple[str, str, str]:
        return ("announced", self.network, self.destination)


@dataclass(frozen=True, slots=True)
class Session:
    """A BGP session as BIRD is to keep it; see `state.Peering` for what the fields mean.

    The password itself is not compared and not printed; its `digest` tells that it changed. `filters` are as in the
    peering, in BIRD's own language, by direction and family.
    """

    kind: ClassVar[Kind] = Kind.SESSION
    name: str
    network: str
    address: str
    asn: int
    own_asn: int
    port: int = 179
    source: str = ""
    via: str = ""
    device: str = ""
    hops: int = 0
    bfd: bool = False
    long_lived: bool = False
    restart_time: int = 0
    keepalive: int = 0
    own_asn_in_path: int = 0
    next_hop: str = "auto"
    digest: str = ""
    filters: tuple[tuple[str, Family, str], ...] = ()
    password: str = field(default="", compare=False, repr=False)

    @property
    def key(self) -> tuple[str, str]:
        return ("session", self.name)


@dataclass(frozen=True, slots=True)
class Peer:
    """A BFD session (RFC 5880, 5881) that BIRD keeps with another node that may hold the same egress IPs.

    Intervals in milliseconds; the peer counts as down after `multiplier` missed packets.
    """

    kind: ClassVar[Kind] = Kind.PEER
    address: str
    local: str
    device: str
    interval: int = 100
    multiplier: int = 3

    @property
    def key(self) -> str:
        return self.address


KernelObject = (
    Link
    | Sysctl
    | Skeleton
    | Element
    | ClientElement
    | InterfaceAddress
    | Neighbor
    | Fdb
    | NextHop
    | Route
    | Rule
    | Chain
    | Fib
    | Bootstrap
    | Announced
    | Session
    | Peer
)
