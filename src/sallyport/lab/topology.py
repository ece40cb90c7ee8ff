"""A lab as its topology file describes it: frozen values, no effects.

Names tell the owner: a node, router or outside host is known by its name everywhere, from `lab exec` to namespaces.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sallyport.model.state import IPAddress, IPNetwork


@dataclass(frozen=True, slots=True)
class Attachment:
    """An address of a machine on one of the lab's subnets. `address` and its subnet's length, e.g. 10.10.0.101/16."""

    subnet: str
    address: IPAddress
    length: int

    def __str__(self) -> str:
        return f"{self.address}/{self.length}"


@dataclass(frozen=True, slots=True)
class Subnet:
    """One layer-2 segment with at most one network per family. `outside` are those that lie beyond a router."""

    name: str
    networks: tuple[IPNetwork, ...]
    outside: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """Anything with a network namespace of its own: node, router, outside host, control plane."""

    name: str
    attachments: tuple[Attachment, ...]

    def subnets(self) -> tuple[str, ...]:
        """The subnets that it is attached to, in the order of its addresses."""
        return tuple(dict.fromkeys(item.subnet for item in self.attachments))

    def home(self) -> tuple[Attachment, ...]:
        """Its addresses on the first of its subnets, where its default route leads, too. A node's are those of its
        Node object: a link to a network of somebody else gives it none."""
        return tuple(item for item in self.attachments if item.subnet == self.attachments[0].subnet)


@dataclass(frozen=True, slots=True)
class Bgp:
    """BGP-4 (RFC 4271) on a router: its AS number, the networks that it tells nodes of, and those that it accepts
    sessions from. `password` is that of TCP MD5 (RFC 2385), "" for none; `bfd`: it answers a node's BFD (RFC 5880)."""

    asn: int
    announces: tuple[IPNetwork, ...]
    peers: tuple[IPNetwork, ...]
    password: str = ""
    bfd: bool = False


@dataclass(frozen=True, slots=True)
class Router(Machine):
    """A router between subnets and outside networks. Without `bgp` it has the routes of the topology only."""

    bgp: Bgp | None = None


@dataclass(frozen=True, slots=True)
class NodeMachine(Machine):
    """A node: labels and annotations of its Node object, and the networks its pods get addresses from."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    pod_networks: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """The whole lab. `control` is where the control plane's processes run and the nodes reach the API."""

    name: str
    subnets: tuple[Subnet, ...]
    nodes: tuple[NodeMachine, ...]
    control: Machine
    routers: tuple[Router, ...] = ()
    hosts: tuple[Machine, ...] = ()
    service_networks: tuple[IPNetwork, ...] = ()

    def machines(self) -> Iterator[Machine]:
        """Every machine, the control plane first."""
        yield self.control
        yield from self.routers
        yield from self.hosts
        yield from self.nodes

    def machine(self, name: str) -> Machine | None:
        """The machine of that name."""
        return next((item for item in self.machines() if item.name == name), None)
