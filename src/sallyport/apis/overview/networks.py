"""External networks and their BGP peers, as their statuses and the agents' reports tell of them."""

from collections.abc import Iterable, Iterator, Mapping

from sallyport.apis.calico.bgp import ESTABLISHED, BGPPeer
from sallyport.apis.calico.peering import DISABLED, DUPLICATE_TABLE, INVALID_TABLE, NO_PASSWORD, UNKNOWN_NETWORK
from sallyport.apis.calico.status import UP
from sallyport.apis.calico.types import READY, ExternalNetwork
from sallyport.apis.core import Condition
from sallyport.apis.overview.agents import Agent
from sallyport.apis.overview.rows import UNDECIDED, Joined, NetworkRow, PeerRow, Session, Trouble
from sallyport.model.state import ObjectRef

_OFF = frozenset({"Disabled", DISABLED})
"""Reasons that all networks have together; they are told once, on the option itself."""
_DOWN = "NotEstablished"
_REMEDIES: Mapping[str, str] = {
    _DOWN: "see whether the router answers there: its address and AS number, TCP port 179, the password",
    UNDECIDED: "see whether a controller leads, and what it logs",
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
    states, and of a peer only where its network stands all the same. What nodes lack whose agents are lost follows
    from that, and is not told again."""
    listed = sorted(networks, key=lambda item: item.metadata.name)
    peering = sorted(peers, key=lambda item: item.metadata.name)
    lost = {name for name, agent in agents.items() if not agent.alive}
    conflicts = _conflicts(agents)
    rows = tuple(_network_row(item, conflicts.get(item.metadata.name, ())) for item in listed)
    troubles: list[Trouble] = []
    told: set[str] = set()
    for network in listed:
        own = [item for item in peering if item.spec.external_network == network.metadata.name]
        found = list(_of_a_network(network, own, lost))
        if found and _is_down(network.status.conditions, READY):
            told.update(item.metadata.name for item in own if _is_down(item.status.conditions, ESTABLISHED))
        troubles += found
    troubles += [found for item in peering if item.metadata.name not in told for found in _of_a_peer(item, lost)]
    return rows, tuple(_peer_row(item) for item in peering), troubles


def _is_down(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether nothing else is wrong than that sessions are not established."""
    return any((item.type, item.status, item.reason) == (kind, "False", _DOWN) for item in conditions)


def _of_a_network(network: ExternalNetwork, own: Iterable[BGPPeer], lost: set[str]) -> Iterator[Trouble]:
    found = _false(network.status.conditions, READY)
    down = {item.node for item in network.status.nodes if not item.established}
    if found is not None and not _follows(found, down, lost):
        ref = ObjectRef("ExternalNetwork", network.metadata.name, uid=network.metadata.uid)
        states = _states(own) if found.reason == _DOWN else ""
        yield Trouble(ref, f"{found.message}{states}", _remedy(found))


def _of_a_peer(peer: BGPPeer, lost: set[str]) -> Iterator[Trouble]:
    found = _false(peer.status.conditions, ESTABLISHED)
    down = {item.node for item in peer.status.sessions if item.state != UP}
    if found is not None and not _follows(found, down, lost):
        ref = ObjectRef("BGPPeer", peer.metadata.name, uid=peer.metadata.uid)
        network = f" of network {peer.spec.external_network}" if peer.spec.external_network else ""
        yield Trouble(ref, f"{peer.spec.peer_ip}{network}: {found.message}", _remedy(found))


def _follows(found: Condition, down: set[str], lost: set[str]) -> bool:
    """Whether it follows from what is told elsewhere: an option that is off, or nodes that are lost."""
    return found.reason in _OFF or (found.reason == _DOWN and bool(down) and down <= lost)


def _false(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of that type where it is False; one that says nothing yet where it is not there at all."""
    found = next((item for item in conditions if item.type == kind), None)
    if found is None:
        return Condition(kind, "Unknown", reason=UNDECIDED, message="the controller has not looked at it")
    return found if found.status == "False" else None


def _remedy(found: Condition) -> str:
    return _REMEDIES.get(found.reason, "correct its spec: sallyport check names the field")


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
