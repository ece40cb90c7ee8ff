"""What the planners decide: for the cluster, and for one node."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sallyport.model.kernel import KernelObject, Kind
from sallyport.model.state import Family, IPAddress, IPNetwork, ObjectRef, PodKey, Problem


@dataclass(frozen=True, slots=True)
class Assignment:
    """What all nodes must agree on about one exit: its mark, its address, who may hold it (in order), who does."""

    id: int
    address: IPAddress | None
    nodes: tuple[str, ...] = ()
    holder: str = ""
    static: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Addresses of a pool: in all, and handed out."""

    total: int
    used: int


@dataclass(frozen=True, slots=True)
class Overlap:
    """Pods that `winner` governs although `loser` selects them too, in one family."""

    winner: str
    loser: str
    family: Family
    pods: tuple[PodKey, ...]


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """The controller's decisions. `clients` counts the pods that each exit selects. `chosen` are the exits of clients
    with limited hops, by destination; `watchers` the nodes with clients of an exit that is bound to a node."""

    assignments: Mapping[str, Assignment] = field(default_factory=dict)
    usage: Mapping[str, Usage] = field(default_factory=dict)
    clients: Mapping[str, int] = field(default_factory=dict)
    overlaps: tuple[Overlap, ...] = ()
    chosen: Mapping[PodKey, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    watchers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


class Liveness(StrEnum):
    """What a node knows of a peer. `unknown` (no session yet) is treated as up: nothing is taken on a guess."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Uplink:
    """The device that leads to the other nodes in one family: its own address there, its subnets, its MTU."""

    device: str
    address: IPAddress
    subnets: tuple[IPNetwork, ...]
    mtu: int


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What an agent has seen on its own node. `addresses` are all of its interfaces', `held` those it put there.

    `connected` are the directly connected networks of the main table with their devices, `devices` those
    interfaces that an administrator's patterns name.
    `table_devices` are those by which routes go that a user has put into the tables of external networks, and
    `foreign` says of such a table what else on the node uses it. `failed` are the exits, by key, whose gateways do
    not answer this node's polls.
    """

    node: str
    uplinks: Mapping[Family, Uplink] = field(default_factory=dict)
    addresses: Mapping[IPAddress, str] = field(default_factory=dict)
    held: frozenset[IPAddress] = frozenset()
    peers: Mapping[str, Liveness] = field(default_factory=dict)
    reply_devices: tuple[str, ...] = ()
    connected: Mapping[IPNetwork, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    table_devices: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    foreign: Mapping[int, str] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Learned:
    """A route as BIRD has it: where to, by which router (None: on the link) and device."""

    destination: IPNetwork
    via: IPAddress | None
    device: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Prefixes that two networks of one gateway both lead to. `winner` comes first in its list. `hidden`: the winner's
    prefix is a default route that hides what the loser has no longer prefix for."""

    winner: str
    loser: str
    prefixes: tuple[IPNetwork, ...]
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class RoutingReport:
    """What an agent sees of its node's external networks, for statuses and for traces; no plan depends on it.

    `sessions` is the state of each peering by name, `counts` the number of routes by network, `routes` the first of
    them, `conflicts` by gateway's networks. `standing` says of each exit of this node, by key, why its way does not
    stand; "" where it does.
    """

    sessions: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    routes: Mapping[str, tuple[Learned, ...]] = field(default_factory=dict)
    conflicts: Mapping[tuple[str, ...], tuple[Conflict, ...]] = field(default_factory=dict)
    standing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a pod's traffic of one family goes as it goes; `exit` is "" for a pod that is free, and for one whose
    destinations differ: `to` then says by destination which exits there are, "" for the ordinary way."""

    pod: PodKey
    family: Family
    exit: str
    state: str
    reason: str = ""
    to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodePlan:
    """Everything one node's kernel is to hold for us, and why. Whole and printable."""

    node: str
    objects: tuple[KernelObject, ...] = ()
    announcements: tuple[tuple[str, IPAddress], ...] = ()
    held: Mapping[str, IPAddress] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    problems: tuple[Problem, ...] = ()

    def by_kind(self, kind: Kind) -> tuple[KernelObject, ...]:
        """The objects of one kind."""
        return tuple(item for item in self.objects if item.kind == kind)


__all__ = [
    "Assignment",
    "ClusterPlan",
    "Decision",
    "Liveness",
    "NodeFacts",
    "NodePlan",
    "ObjectRef",
    "Overlap",
    "Uplink",
    "Usage",
]
