"""What the nodes' kernels know that is none of our doing: their own addresses and links, what BGP has brought them, and
the cluster's networks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sallyport.model.addresses import family_of
from sallyport.model.plan import NodeFacts, RoutingReport
from sallyport.model.state import ClusterState, Family, IPAddress, IPNetwork, Node


@dataclass(frozen=True, slots=True)
class Host:
    """One node: the addresses of its interfaces without egress IPs put there by us, and for each family in which it
    has a default route the address that its CNI's masquerade gives to what leaves by it.

    `devices` are those of the default routes, and `links` the other networks that the main table leads to directly, by
    device; both as far as they are known. `report` is what its agent has told of the routes of external networks.
    """

    addresses: frozenset[IPAddress] = frozenset()
    uplinks: Mapping[Family, IPAddress] = field(default_factory=dict)
    devices: Mapping[Family, str] = field(default_factory=dict)
    links: Mapping[IPNetwork, str] = field(default_factory=dict)
    report: RoutingReport | None = None

    def device(self, destination: IPAddress) -> str:
        """The device by which the main table leads there, "" where that is not known."""
        link = self._link(destination)
        return self.devices.get(family_of(destination), "") if link is None else self.links[link]

    def masquerade(self, neighbor: IPAddress) -> IPAddress | None:
        """The source that a masquerade gives to what goes by that neighbour: the node's address on the link to it, else
        that of the uplink."""
        link, usual = self._link(neighbor), self.uplinks.get(family_of(neighbor))
        near = [item for item in self.addresses if link is not None and item in link]
        return min(near, key=int) if near and usual not in near else usual

    def _link(self, destination: IPAddress) -> IPNetwork | None:
        return max((item for item in self.links if destination in item), key=lambda item: item.prefixlen, default=None)


@dataclass(frozen=True, slots=True)
class Underlay:
    """All nodes by name, and the networks within which a packet stays in the cluster."""

    hosts: Mapping[str, Host] = field(default_factory=dict)
    pods: tuple[IPNetwork, ...] = ()
    services: tuple[IPNetwork, ...] = ()


def underlay(
    state: ClusterState, facts: Iterable[NodeFacts], reports: Mapping[str, RoutingReport] | None = None
) -> Underlay:
    """As the agents have seen their nodes; a node without facts is taken to have its API addresses. Routes of external
    networks are known of the nodes that `reports` has."""
    seen, told = {item.node: item for item in facts}, reports or {}
    return Underlay(
        hosts={name: replace(_host(node, seen.get(name)), report=told.get(name)) for name, node in state.nodes.items()},
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
        devices={family: uplink.device for family, uplink in facts.uplinks.items()},
        links=facts.connected,
    )
