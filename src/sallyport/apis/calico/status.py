"""What is written into the statuses of Calico's kinds: what the planner decided, and what the nodes see.

Upstream says that a gateway is available as soon as its objects are applied. Here the conditions speak of the data
plane: pods that carry traffic, networks that are joined.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from sallyport.apis.calico.annotations import GATEWAY_LABEL
from sallyport.apis.calico.bgp import ESTABLISHED, BGPPeer, BGPPeerStatus, PeerSession
from sallyport.apis.calico.pods import GatewayPod
from sallyport.apis.calico.types import (
    AVAILABLE,
    DEGRADED,
    READY,
    EgressGateway,
    EgressGatewayPolicy,
    EgressGatewayPolicyStatus,
    EgressGatewayStatus,
    ExternalNetwork,
    ExternalNetworkStatus,
    IPPool,
    IPPoolStatus,
    IPPoolUsage,
    NetworkNode,
)
from sallyport.apis.calico.types import GatewayPod as PodStatus
from sallyport.apis.conditions import Wanted, with_condition
from sallyport.model.plan import ClusterPlan, Conflict, RoutingReport
from sallyport.model.state import FAMILIES, ClusterState, Exit, Peering, Problem

PROGRESSING = "Progressing"
NETWORKS = "ExternalNetworksJoined"
"""Condition of EgressGateway: every gateway's node has a route in each of its networks."""
CONFLICT = "PrefixConflict"
"""Condition of EgressGateway: two of its networks lead to the same addresses."""
UP = "Established"
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """What statuses are made of: the state, the plan, and what the nodes' agents have reported last. `foreign` says by
    node and table who else uses it."""

    state: ClusterState
    plan: ClusterPlan
    reports: Mapping[str, RoutingReport] = field(default_factory=dict)
    foreign: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    def problems(self, kind: str, name: str, namespace: str = "") -> list[Problem]:
        """What was found wrong with one object, in order."""
        wanted = (kind, name, namespace)
        return [item for item in self.plan.problems if (item.ref.kind, item.ref.name, item.ref.namespace) == wanted]

    def gave(self, exit_: Exit) -> bool:
        """Whether the address that an exit's record names is its own: the plan may have given it to an older one."""
        assignment = self.plan.assignments.get(exit_.key)
        return assignment is None or assignment.address == exit_.requested

    def peerings(self, network: str) -> list[Peering]:
        """The peers of a network."""
        return [item for item in self.state.peerings if item.network == network]

    def joined(self, network: str, node: str) -> bool:
        """Whether the node has a session or a route of the network."""
        report = self.reports.get(node)
        return report is not None and (
            bool(report.counts.get(network))
            or any(report.sessions.get(item.ref.name, "") == UP for item in self.peerings(network))
        )


def network_status(network: ExternalNetwork, seen: Seen, now: str) -> ExternalNetworkStatus:
    """Whether its table is filled, node by node."""
    name = network.metadata.name
    peers = seen.peerings(name)
    nodes = sorted({node for item in peers for node in item.nodes if node in seen.state.nodes})
    rows = tuple(_network_node(node, name, peers, seen) for node in nodes)
    wanted = _network_fault(name, seen) or _network_state(rows)
    conditions = with_condition(network.status.conditions, READY, wanted, now)
    return ExternalNetworkStatus(conditions=conditions, nodes=rows)


def _network_node(node: str, name: str, peers: Iterable[Peering], seen: Seen) -> NetworkNode:
    report = seen.reports.get(node, RoutingReport())
    here = [item for item in peers if node in item.nodes]
    up = sum(report.sessions.get(item.ref.name, "") == UP for item in here)
    return NetworkNode(node, len(here), up, report.counts.get(name, 0))


def _network_fault(name: str, seen: Seen) -> Wanted | None:
    problems = seen.problems("ExternalNetwork", name)
    if problems:
        return ("False", problems[0].reason, problems[0].message)
    if not seen.state.routing.enabled:
        return ("False", "Disabled", "externalNetworkSupport is not Enabled in FelixConfiguration default")
    found = seen.state.external.get(name)
    table = found.table if found else None
    used = {
        node: tables[table] for node, tables in sorted(seen.foreign.items()) if table is not None and table in tables
    }
    if used:
        node, who = next(iter(used.items()))
        more = f" (and on {len(used) - 1} more)" if len(used) > 1 else ""
        return ("False", "TableIndexInUse", f"table {table} is in use on Node {node}{more}: {who}")
    return None


def _network_state(rows: Sequence[NetworkNode]) -> Wanted:
    if not rows:
        return ("False", "NoPeers", "no BGPPeer names this network, or none selects a Node")
    lacking = [row.node for row in rows if not row.established]
    if lacking:
        return ("False", "NotEstablished", f"no session is established on {', '.join(lacking[:SHOWN])}")
    return ("True", "Joined", f"sessions are established on {len(rows)} Nodes")


def peer_status(peer: BGPPeer, seen: Seen, now: str) -> BGPPeerStatus:
    """The sessions of each node, or why there is none."""
    name = peer.metadata.name
    peering = next((item for item in seen.state.peerings if item.ref.name == name), None)
    if peering is None:
        return peer.status
    if peering.blocked:
        reason = next((item.reason for item in seen.problems("BGPPeer", name)), "Invalid")
        wanted: Wanted = ("False", reason, f"no session: {peering.blocked}")
        return BGPPeerStatus(with_condition(peer.status.conditions, ESTABLISHED, wanted, now))
    states = {node: _session(name, node, seen) for node in sorted(peering.nodes)}
    down = [f"{node} ({state})" for node, state in states.items() if state != UP]
    if not states:
        wanted = ("False", "NoNodes", "its nodeSelector selects no Node")
    elif down:
        wanted = ("False", "NotEstablished", f"no session on {', '.join(down[:SHOWN])}")
    else:
        wanted = ("True", UP, f"{len(states)} sessions are established")
    rows = tuple(PeerSession(node, state) for node, state in states.items())
    return BGPPeerStatus(with_condition(peer.status.conditions, ESTABLISHED, wanted, now), rows)


def _session(name: str, node: str, seen: Seen) -> str:
    return seen.reports.get(node, RoutingReport()).sessions.get(name, "Unknown")


def pool_status(pool: IPPool, seen: Seen) -> IPPoolStatus:
    """How full it is."""
    found = seen.plan.usage.get(f"IPPool/{pool.metadata.name}")
    usage = IPPoolUsage(found.total, found.used) if found else IPPoolUsage()
    return msgspec.structs.replace(pool.status, usage=usage)


def policy_status(policy: EgressGatewayPolicy, seen: Seen, now: str) -> EgressGatewayPolicyStatus:
    """How many pods go by it, and whether all of it is understood."""
    name = policy.metadata.name
    using = [item for item in seen.state.policies if (item.ref.kind, item.ref.name) == ("EgressGatewayPolicy", name)]
    problems = seen.problems("EgressGatewayPolicy", name)
    wanted: Wanted = ("True", "Accepted", "every rule is in force")
    if problems:
        wanted = ("False", problems[0].reason, problems[0].message)
    conditions = with_condition(policy.status.conditions, READY, wanted, now)
    return EgressGatewayPolicyStatus(conditions, len({pod for item in using for pod in item.clients}))


# Gateways


def gateway_status(
    gateway: EgressGateway, pods: Sequence[GatewayPod], refused: Sequence[Problem], seen: Seen, now: str
) -> EgressGatewayStatus:
    """What of the data plane stands. `refused` are the reasons for which its Deployment is not (any more) made as it
    reads."""
    own = [item for item in pods if _is_of(item, gateway)]
    rows = tuple(_pod_row(item, seen) for item in sorted(own, key=lambda each: each.metadata.name))
    ready = sum(row.ready for row in rows)
    conditions = gateway.status.conditions
    for kind, wanted in _conditions(gateway, own, rows, refused, seen).items():
        conditions = with_condition(conditions, kind, wanted, now)
    degraded = any(item.type == DEGRADED and item.status == "True" for item in conditions)
    state = "Degraded" if degraded else "Ready" if ready >= gateway.spec.replicas else "Progressing"
    return EgressGatewayStatus(state, conditions, len(rows), ready, rows)


def _is_of(pod: GatewayPod, gateway: EgressGateway) -> bool:
    same = pod.metadata.namespace == gateway.metadata.namespace
    return same and pod.metadata.labels.get(GATEWAY_LABEL) == gateway.metadata.name and not pod.finished


def _pod_row(pod: GatewayPod, seen: Seen) -> PodStatus:
    node, key = pod.spec.node_name, f"{pod.metadata.namespace}/{pod.metadata.name}"
    exits = [seen.state.exits[f"{key}/v{f}"] for f in FAMILIES if f"{key}/v{f}" in seen.state.exits]
    addresses = tuple(str(item.requested) for item in exits if item.requested is not None and seen.gave(item))
    networks = exits[0].networks if exits else ()
    joined = tuple(name for name in networks if seen.joined(name, node))
    message = _pod_trouble(pod, [item.key for item in exits], addresses, seen)
    return PodStatus(pod.metadata.name, node, addresses, pod.ready and not message, joined, message)


def _pod_trouble(pod: GatewayPod, exits: Sequence[str], addresses: Sequence[str], seen: Seen) -> str:
    """Why a pod does not carry traffic, "" where it does."""
    if pod.metadata.deletion_timestamp:
        return "it is ending"
    if not pod.spec.node_name:
        waiting = (item.message for item in pod.status.conditions if item.type == "PodScheduled" and item.message)
        return f"it waits for a Node: {next(waiting, 'it is not scheduled yet')}"
    told = seen.problems("Pod", pod.metadata.name, pod.metadata.namespace)
    if len(addresses) < len(exits) or not exits:
        return next((item.message for item in told), "it waits for an address")
    report = seen.reports.get(pod.spec.node_name)
    if report is None:
        return f"the agent of Node {pod.spec.node_name} has not reported"
    standing = [report.standing.get(key, "its node has not made its way yet") for key in exits]
    return next((text for text in standing if text), "" if pod.ready else "it is not ready")


def _conditions(
    gateway: EgressGateway,
    pods: Sequence[GatewayPod],
    rows: Sequence[PodStatus],
    refused: Sequence[Problem],
    seen: Seen,
) -> dict[str, Wanted | None]:
    ready, wanted = sum(row.ready for row in rows), gateway.spec.replicas
    troubles = [f"{row.pod}: {row.message}" for row in rows if row.message and row.message != "it is ending"]
    told = "; ".join(troubles[:SHOWN]) or f"{ready} of {wanted} gateways are ready"
    found: dict[str, Wanted | None] = {
        AVAILABLE: ("True", "GatewaysReady", f"{ready} of {wanted} gateways carry traffic")
        if ready or not wanted
        else ("False", "NoGatewayReady", told),
        PROGRESSING: ("True", "GatewaysNotReady", told)
        if ready < wanted
        else ("False", "AllReady", "nothing to wait for"),
        DEGRADED: ("False", "AsExpected", "nothing is wrong with it"),
        NETWORKS: _joined(gateway, rows, seen),
        CONFLICT: _conflicts(gateway, pods, seen),
    }
    lacking = [item for row in rows for item in seen.problems("Pod", row.pod, gateway.metadata.namespace)]
    if refused:
        found[DEGRADED] = ("True", refused[0].reason, "; ".join(item.message for item in refused))
    elif lacking:
        found[DEGRADED] = ("True", lacking[0].reason, f"{len(lacking)} gateways have no address: {lacking[0].message}")
    return found


def _joined(gateway: EgressGateway, rows: Sequence[PodStatus], seen: Seen) -> Wanted | None:
    networks = gateway.spec.external_networks
    if not networks:
        return None
    if not seen.state.routing.enabled:
        message = "externalNetworkSupport is not Enabled: its externalNetworks have no effect on routing"
        return ("False", "Disabled", message)
    unknown = [name for name in networks if name not in seen.state.external]
    if unknown:
        return ("False", "UnknownNetwork", f"ExternalNetwork {unknown[0]} does not exist: its traffic is dropped")
    lacking = [f"{name} on {row.node}" for row in rows if row.node for name in networks if name not in row.networks]
    if lacking:
        return ("False", "NotJoined", f"not joined: {', '.join(lacking[:SHOWN])}")
    if not any(row.node for row in rows):
        return ("False", "NoGateway", "no gateway runs on any Node")
    return ("True", "Joined", f"joined: {', '.join(networks)}")


def _conflicts(gateway: EgressGateway, pods: Sequence[GatewayPod], seen: Seen) -> Wanted | None:
    networks = tuple(gateway.spec.external_networks)
    found: set[Conflict] = set()
    for node in sorted({item.spec.node_name for item in pods}):
        found.update(seen.reports.get(node, RoutingReport()).conflicts.get(networks, ()))
    if not found:
        return None
    ordered = sorted(found, key=lambda item: (item.hidden, item.winner, item.loser))
    return ("True", "SamePrefixes", "; ".join(_conflict(item) for item in ordered[:SHOWN]))


def _conflict(item: Conflict) -> str:
    shown = ", ".join(str(prefix) for prefix in item.prefixes[:SHOWN])
    more = f" and {len(item.prefixes) - SHOWN} more" if len(item.prefixes) > SHOWN else ""
    if item.hidden:
        return f"the default route of {item.winner} takes what {item.loser} has no longer prefix for ({shown}{more})"
    return f"{shown}{more} are announced in {item.winner} and {item.loser}: {item.winner} is used"
