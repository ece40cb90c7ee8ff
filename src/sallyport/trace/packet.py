"""What is traced, and what comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from sallyport.model.state import IPAddress

Protocol = Literal["tcp", "udp", "icmp"]


@dataclass(frozen=True, slots=True)
class Translation:
    """What conntrack remembers of a connection at a node: the source it leaves with, by a label of ours whether it
    began with a mark, and a mark of its own, which keeps the egress id where exits share a destination (0: none)."""

    source: IPAddress
    labelled: bool = False
    mark: int = 0


Translations = Mapping[tuple[str, IPAddress], Translation]
"""By node and the source that a packet comes with."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet that a pod sends: it enters the kernel of `node` by the pod's own interface.

    `destination` is what a service has been translated to already. `original` is false for a reply to a connection
    that somebody else opened to the pod. `translated` is `Trace.translated` of an earlier packet of the same
    connection, empty for its first one: a connection that has its NAT keeps it, whatever the rules say later.
    """

    source: IPAddress
    node: str
    destination: IPAddress
    protocol: Protocol = "tcp"
    port: int = 0
    original: bool = True
    translated: Translations = field(default_factory=dict)


class Verdict(StrEnum):
    """LEFT the cluster, was DROPPED on the way, or was DELIVERED to a pod, a service or a node."""

    LEFT = "left"
    DROPPED = "dropped"
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class Hop:
    """One decision: what on `node` decided, to what effect, and the packet's mark (0: none) after it."""

    node: str
    decided: str
    effect: str
    mark: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole walk; the last hop tells why it ended as it did.

    `node` is where it ended: the exit's node for a packet that left. `source` is the address that the receiver sees;
    None where no receiver sees the packet, and for a reply, which goes by the connection that it answers.
    `governed` is true when it left with the source that the node's map of exits has for its mark.

    For a packet that left, `device` is the one it left by, where that is known; for one that left for an external
    network `network` is its name, `route` the prefix that led it there ("" where routes are not known) and `router` the
    next router's address ("" on the link itself). Several that are possible are joined by "or". `table` is the number
    of the routing table that led it out, 0 for the main one.
    """

    hops: tuple[Hop, ...]
    verdict: Verdict
    node: str
    source: IPAddress | None = None
    governed: bool = False
    translated: Translations = field(default_factory=dict)
    network: str = ""
    route: str = ""
    router: str = ""
    device: str = ""
    table: int = 0
