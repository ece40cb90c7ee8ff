"""What the nodes' kernels know that is none of our doing: their own addresses, uplinks, and the cluster's networks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sallyport.model.plan import NodeFacts
from sallyport.model.state import ClusterState, Family, IPAddress, IPNetwork, Node


@dataclass(frozen=True, slots=True)
class Host:
    """One node: the addresses of its interfaces without egress IPs put there by us, and for each family in which it
    has a default route the address that its CNI's masquerade gives to what leaves by it."""

    addresses: frozenset[IPAddress] = frozenset()
    uplinks: Mapping[Family, IPAddress] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Underlay:
    """All nodes by name, and the networks within which a packet stays in the cluster."""

    hosts: Mapping[str, Host] = field(default_factory=dict)
    pods: tuple[IPNetwork, ...] = ()
    services: tuple[IPNetwork, ...] = ()


def underlay(state: ClusterState, facts: Iterable[NodeFacts]) -> Underlay:
    """As the agents have seen their nodes; a node without facts is taken to have its API addresses."""
    seen = {item.node: item for item in facts}
    return Underlay(
        hosts={name: _host(node, seen.get(name)) for name, node in state.nodes.items()},
        pods=state.networks.pods,
        services=state.networks.services,
    )


def _host(node: Node, facts: NodeFacts | None) -> Host:
    if facts is None:
        uplinks: dict[Family, IPAddress] = {4 if item.version == 4 else 6: item for item in reversed(node.addresses)}
        return Host(frozenset(node.addresses), uplinks)
    return Host(
        addresses=frozenset(facts.addresses) - facts.held,
        uplinks={family: uplink.address for family, uplink in facts.uplinks.items()},
    )
