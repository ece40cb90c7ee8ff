"""What an overview is made of: troubles, and a row per object. Rows are for people and for programs alike."""

from dataclasses import dataclass
from datetime import timedelta

from sallyport.model.state import ObjectRef

UNDECIDED = "Undecided"
"""Reason of what no controller has looked at."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong: on which object, what, and what to do about it. Both are sentences without a period."""

    ref: ObjectRef
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ControllerRow:
    """The controller that leads: its name in the election ("": none), and how long ago it renewed its Lease."""

    controller: str
    running: bool
    renewed: timedelta | None = None


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node and its agent, which is `running`, `lost` (its Lease ran out), `absent` (there never was one), or
    `unknown` (nobody says). `synced`: it has programmed the node, and hears of every change. `holds` are the egress IPs
    that it has put there, `down` the nodes that BFD calls down from here."""

    node: str
    agent: str
    synced: bool = False
    renewed: timedelta | None = None
    holds: tuple[str, ...] = ()
    down: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EgressRow:
    """An Egress, its address ("": none), the node that holds it ("": none), how many pods it selects, and what keeps
    it from its work."""

    egress: str
    ip: str
    node: str
    clients: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A pool of either API by kind and name, with addresses given out and all of them."""

    pool: str
    used: int
    total: int


@dataclass(frozen=True, slots=True)
class GatewayRow:
    """A pod of an EgressGateway; `pod` is "" where it has none. `networks` are those that it is joined to."""

    gateway: str
    pod: str
    node: str
    addresses: tuple[str, ...]
    ready: bool
    networks: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Joined:
    """A node's part in an external network: sessions established, of how many, and routes in its table."""

    node: str
    established: int
    peers: int
    routes: int

    def __str__(self) -> str:
        return f"{self.node} ({self.established}/{self.peers}, {self.routes} route{'' if self.routes == 1 else 's'})"


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """An external network, the number of its routing table, and sessions over all nodes. `conflicts` are the networks
    that lead to some of the same addresses, where one gateway has both."""

    network: str
    table: int
    established: int
    peers: int
    nodes: tuple[Joined, ...]
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """A node's session with a router, and its state in BGP's words (RFC 4271, section 8.2.2)."""

    node: str
    state: str

    def __str__(self) -> str:
        return f"{self.node} {self.state}"


@dataclass(frozen=True, slots=True)
class PeerRow:
    """A BGPPeer: its router's address, the external network ("": none), and its sessions."""

    peer: str
    router: str
    network: str
    sessions: tuple[Session, ...]


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """An EgressGatewayPolicy, or a namespace or pod with a selector of its own: pods that go by it, and the gateways
    that they may use, in all and ready ones."""

    policy: str
    clients: int
    ready: int
    gateways: int


@dataclass(frozen=True, slots=True)
class SwitchRow:
    """An option that is off, and the object that holds it."""

    off: str
    object: str


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole at a glance. Troubles come with causes before what follows from them: controller and nodes, options,
    networks and their peers, gateways, egress IPs, pools, clients."""

    problems: tuple[Trouble, ...] = ()
    controller: tuple[ControllerRow, ...] = ()
    nodes: tuple[NodeRow, ...] = ()
    egresses: tuple[EgressRow, ...] = ()
    gateways: tuple[GatewayRow, ...] = ()
    networks: tuple[NetworkRow, ...] = ()
    peers: tuple[PeerRow, ...] = ()
    policies: tuple[PolicyRow, ...] = ()
    pools: tuple[PoolRow, ...] = ()
    switches: tuple[SwitchRow, ...] = ()
