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

    def __contains__(self, address: IPAddress) -> bool:
        return any(address in part for part in self.ranges)


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """A limit on what leaves through one exit: `rate` in bits per second, `burst` in bits."""

    rate: int
    burst: int


@dataclass(frozen=True, slots=True)
class Exit:
    """A way out of the cluster with a source address, and the clients that it is asked for.

    `requested` is the address the user wrote (or that an earlier allocation wrote back), `pool` the pool it must come
    from (None: static, held by whichever node has it on an interface). `allocated`: the controller itself chose
    `requested` (annotation `sallyport.io/allocated-ip` equals it), so it may choose again. History read back from
    status: `decided` (the address that the next two were decided for), `id` (0 if none yet), `nodes` (who may hold it,
    in order), `holder` (who says it does), `effective` (the address that one says it holds).
    """

    ref: ObjectRef
    created: str
    requested: IPAddress | None
    pool: str | None
    clients: tuple[PodKey, ...]
    bandwidth: Bandwidth | None = None
    allocated: bool = False
    decided: IPAddress | None = None
    id: int = 0
    nodes: tuple[str, ...] = ()
    holder: str = ""
    effective: IPAddress | None = None

    @property
    def settled(self) -> bool:
        """Whether its address is the one that it wants."""
        return self.requested is not None and self.requested == self.effective

    @property
    def age(self) -> tuple[str, str]:
        """Sort key: the older first, then by name. Decides who wins a pod, an address, a place on a node."""
        return (self.created, self.ref.name)


@dataclass(frozen=True, slots=True)
class Networks:
    """Destinations that are never governed: `pods` and `services` of this cluster, and `excepted` by the user."""

    pods: tuple[IPNetwork, ...] = ()
    services: tuple[IPNetwork, ...] = ()
    excepted: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterState:
    """All of it. An agent's holds its own node's clients only; the controller's holds everybody's."""

    nodes: Mapping[str, Node] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    exits: Mapping[str, Exit] = field(default_factory=dict)
    clients: Mapping[PodKey, Client] = field(default_factory=dict)
    networks: Networks = Networks()
    default_limit: int = 255
    enabled: bool = True
    problems: tuple[Problem, ...] = ()
