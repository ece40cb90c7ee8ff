"""External networks and their BGP peers, as their statuses and the agents' reports tell of them."""

from collections.abc import Iterable, Iterator, Mapping

from sallyport.apis.calico.bgp import ESTABLISHED, BGPPeer
from sallyport.apis.calico.peering import DISABLED, DUPLICATE_TABLE, INVALID_TABLE, NO_PASSWORD, UNKNOWN_NETWORK
from sallyport.apis.calico.status import UP
from sallyport.apis.calico.types import READY, ExternalNetwork
from sallyport.apis.core import Condition
from sallyport.apis.overview.agents import Agent
from sallyport.apis.overview.rows import Joined, NetworkRow, PeerRow, Session, Trouble
from sallyport.model.state import ObjectRef

_OFF = frozenset({"Disabled", DISABLED})
"""Reasons that all networks have together; they are told once, on the option itself."""
_LOOK = "see whether the router answers there: its address and AS number, TCP port 179, the password"
_REMEDIES: Mapping[str, str] = {
    "NotEstablished": _LOOK,
    "NoPeers": "make a BGPPeer with its name in spec.externalNetwork, or let one select nodes that exist",
    "NoNodes": "let its nodeSelector choose nodes that exist (kubectl get nodes --show-labels)",
    "TableIndexInUse": "give the network another routeTableIndex, or end what else uses the table on that node",
    INVALID_TABLE: "give the network another routeTableIndex",
    DUPLICATE_TABLE: "give one of the two another routeTableIndex",
    NO_PASSWORD: "make the Secret, with that key, in the namespace of Sallyport's agents",
    UNKNOWN_NETWORK: "make the ExternalNetwork, or correct spec.externalNetwork",
}
"""What to do, by the reason of a condition."""


def network_rows(
    networks: Iterable[ExternalNetwork], peers: Iterable[BGPPeer], agents: Mapping[str, Agent]
) -> tuple[tuple[NetworkRow, ...], tuple[PeerRow, ...], list[Trouble]]:
    """Networks and peers, and what is wrong with them, once: that a network lacks sessions is told with its peers'
    states, and of a peer only where its network stands all the same."""
    of = _by_name(networks)
    rows, troubles, told = [], [], set()
    peering = sorted(peers, key=lambda item: item.metadata.name)
    conflicts = _conflicts(agents)
    for name, network in of.items():
        rows.append(_network_row(network, conflicts.get(name, ())))
        found = _false(network.status.conditions, READY)
        if found is not None and found.reason not in _OFF:
            own = [item for item in peering if item.spec.external_network == name]
            ref = ObjectRef("ExternalNetwork", name, uid=network.metadata.uid)
            message = f"{found.message}{_states(own) if found.reason == 'NotEstablished' else ''}"
            troubles.append(Trouble(ref, message, _remedy(found)))
            told |= {item.metadata.name for item in own} if found.reason == "NotEstablished" else set()
    for peer in peering:
        found = _false(peer.status.conditions, ESTABLISHED)
        if found is not None and found.reason not in _OFF and peer.metadata.name not in told:
            ref = ObjectRef("BGPPeer", peer.metadata.name, uid=peer.metadata.uid)
            message = f"{peer.spec.peer_ip}{_of_network(peer)}: {found.message}"
            troubles.append(Trouble(ref, message, _remedy(found)))
    return tuple(rows), tuple(_peer_row(item) for item in peering), troubles


def _by_name(networks: Iterable[ExternalNetwork]) -> dict[str, ExternalNetwork]:
    return {item.metadata.name: item for item in sorted(networks, key=lambda each: each.metadata.name)}


def _false(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of that type where it is False; one that says nothing yet where it is not there at all."""
    found = next((item for item in conditions if item.type == kind), None)
    if found is None:
        return Condition(kind, "Unknown", reason="Undecided", message="the controller has not looked at it")
    return found if found.status == "False" else None


def _remedy(found: Condition) -> str:
    return _REMEDIES.get(found.reason, "correct its spec: sallyport check names the field")


def _of_network(peer: BGPPeer) -> str:
    return f" of network {peer.spec.external_network}" if peer.spec.external_network else ""


def _states(peers: Iterable[BGPPeer]) -> str:
    """Peers that are not up everywhere, with their states, in brackets."""
    parts = []
    for peer in peers:
        down = [f"{item.state} on {item.node}" for item in peer.status.sessions if item.state != UP]
        parts += [f"{peer.metadata.name}, {peer.spec.peer_ip}: {', '.join(down)}"] if down else []
    return f" ({'; '.join(parts)})" if parts else ""


def _network_row(network: ExternalNetwork, conflicts: tuple[str, ...]) -> NetworkRow:
    nodes = network.status.nodes
    return NetworkRow(
        network=network.metadata.name,
        table=network.spec.route_table_index,
        established=sum(item.established for item in nodes),
        peers=sum(item.peers for item in nodes),
        nodes=tuple(Joined(item.node, item.established, item.peers, item.routes) for item in nodes),
        conflicts=conflicts,
    )


def _peer_row(peer: BGPPeer) -> PeerRow:
    sessions = tuple(Session(item.node, item.state) for item in peer.status.sessions)
    return PeerRow(peer.metadata.name, peer.spec.peer_ip, peer.spec.external_network, sessions)


def _conflicts(agents: Mapping[str, Agent]) -> dict[str, tuple[str, ...]]:
    """By network, the others that lead to some of its addresses, as living agents report."""
    found: dict[str, set[str]] = {}
    for one, other in _pairs(agents):
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {name: tuple(sorted(others)) for name, others in found.items()}


def _pairs(agents: Mapping[str, Agent]) -> Iterator[tuple[str, str]]:
    for agent in agents.values():
        if agent.alive and agent.report is not None:
            for conflicts in agent.report.conflicts.values():
                yield from ((item.winner, item.loser) for item in conflicts)
