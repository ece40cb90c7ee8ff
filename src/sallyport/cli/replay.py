"""The plans that the processes make of a snapshot: the controller's decisions, and each node's plan by its facts."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface
from typing import TypeVar

from sallyport.apis.core import Node
from sallyport.apis.facts import FACTS_ANNOTATION, ROUTING_ANNOTATION, decode, decode_report
from sallyport.apis.translate import translate
from sallyport.cli.snapshot import Snapshot
from sallyport.model.addresses import family_of
from sallyport.model.plan import Assignment, ClusterPlan, Liveness, NodeFacts, NodePlan, RoutingReport, Uplink
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, ClusterState, Family, IPAddress, Problem
from sallyport.plan.cluster import plan_cluster, recorded
from sallyport.plan.node import plan_node
from sallyport.processes.controller import with_living
from sallyport.processes.renewals import living_agents
from sallyport.processes.settings import LEASE_PREFIX

T = TypeVar("T")

ASSUMED_DEVICE = "eth0"
ASSUMED_MTU = 1500
ASSUMED_LENGTHS: Mapping[Family, int] = {4: 24, 6: 64}


@dataclass(frozen=True, slots=True)
class Replay:
    """Everything that the plans are made of. `problems` are the controller's, `remarks` lines about what is only
    assumed or was left out. `reports` are what agents tell of external networks, by node: no plan depends on them."""

    state: ClusterState
    assignments: Mapping[str, Assignment]
    facts: Mapping[str, NodeFacts]
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]
    settings: Settings
    reports: Mapping[str, RoutingReport] = field(default_factory=dict)

    def plan(self, node: str) -> NodePlan:
        """What that node's agent plans."""
        return plan_node(self.state, self.assignments, self.facts[node], self.settings)


def replay(snapshot: Snapshot, settings: Settings) -> Replay:
    """A living cluster's agents go by what its controller has recorded. For files, the controller's part is played
    too, where an object has no record yet: an address, an id, nodes in their order, and the first of them holds."""
    state = _with_lost_nodes(translate(snapshot.objects), snapshot)
    facts, remarks = _facts(snapshot, state)
    cluster = plan_cluster(state, settings)
    assignments = recorded(state)
    if not snapshot.recorded:
        planned = {name: _held(item, facts.values(), state) for name, item in cluster.assignments.items()}
        assignments = {name: item if _is_whole(item) else planned[name] for name, item in assignments.items()}
        state = _with_decisions(state, cluster)
    reports = _published(snapshot, ROUTING_ANNOTATION, decode_report, remarks)
    said = (*snapshot.remarks, *remarks)
    return Replay(state, assignments, facts, cluster.problems, said, settings, reports)


def _with_decisions(state: ClusterState, cluster: ClusterPlan) -> ClusterState:
    """With what the controller would record of gateways: who may use which, and which nodes watch them."""
    watched = {key: replace(state.exits[key], watchers=nodes) for key, nodes in cluster.watchers.items()}
    return replace(state, chosen=cluster.chosen, exits={**state.exits, **watched})


def _is_whole(assignment: Assignment) -> bool:
    """Whether the controller has decided all that it decides about an exit."""
    return assignment.id > 0 and assignment.address is not None and (assignment.static or bool(assignment.nodes))


def _held(assignment: Assignment, facts: Iterable[NodeFacts], state: ClusterState) -> Assignment:
    """With the holder that there will be: the first in order, or the node on which a static address is configured."""
    having = [item.node for item in facts if assignment.static and assignment.address in item.addresses]
    nodes = [name for name in sorted(having) if state.nodes[name].alive] if assignment.static else assignment.nodes
    return replace(assignment, holder=nodes[0] if nodes else "")


def _with_lost_nodes(state: ClusterState, snapshot: Snapshot) -> ClusterState:
    """Nodes live unless their agent's lease had run out at the moment of the snapshot."""
    if snapshot.moment is None:
        return state
    leased = {item.metadata.name.removeprefix(LEASE_PREFIX) for item in snapshot.leases}
    lost = leased - living_agents(snapshot.leases, snapshot.moment)
    return replace(state, nodes=with_living(state.nodes, frozenset(state.nodes.keys() - lost)))


def _facts(snapshot: Snapshot, state: ClusterState) -> tuple[dict[str, NodeFacts], list[str]]:
    """Facts by node as published, or as assumed where there are none; and what is to be said of that."""
    remarks: list[str] = []
    published = {item.node: item for item in _published(snapshot, FACTS_ANNOTATION, decode, remarks).values()}
    nodes = {item.metadata.name: item for item in snapshot.objects.nodes}
    assumed = sorted(nodes.keys() - published.keys())
    if assumed:
        remarks.append(
            f"no facts of {', '.join(assumed)}: assumed are uplink {ASSUMED_DEVICE} with MTU {ASSUMED_MTU} and, around"
            f" each InternalIP, a subnet of length {ASSUMED_LENGTHS[4]} (IPv4) or {ASSUMED_LENGTHS[6]} (IPv6)"
        )
    known = {name: item for name, item in published.items() if name in nodes}
    return {**known, **{name: assumed_facts(nodes[name], state) for name in assumed}}, remarks


def _published(snapshot: Snapshot, annotation: str, read: Callable[[str], T], remarks: list[str]) -> dict[str, T]:
    """What agents tell in an annotation of their leases, by node; a remark where it cannot be read."""
    found: dict[str, T] = {}
    for lease in snapshot.leases:
        text = lease.metadata.annotations.get(annotation)
        try:
            if text is not None:
                found[lease.metadata.name.removeprefix(LEASE_PREFIX)] = read(text)
        except ValueError as error:
            remarks.append(f"Lease/{lease.metadata.name}: annotation {annotation}: {error}")
    return found


def assumed_facts(node: Node, state: ClusterState) -> NodeFacts:
    """What a node with one device would tell; nodes whose agents are lost are down to it."""
    internal = {item.address for item in node.status.addresses if item.type == "InternalIP"}
    own = [item for item in state.nodes[node.metadata.name].addresses if str(item) in internal]
    first = {family: [item for item in own if item.version == family][:1] for family in FAMILIES}
    return NodeFacts(
        node=node.metadata.name,
        uplinks={family: _assumed_uplink(item, own) for family in FAMILIES for item in first[family]},
        addresses=dict.fromkeys(own, ASSUMED_DEVICE),
        peers={name: Liveness.DOWN for name, item in sorted(state.nodes.items()) if not item.alive},
    )


def _assumed_uplink(address: IPAddress, own: Iterable[IPAddress]) -> Uplink:
    family = family_of(address)
    subnets = dict.fromkeys(
        ip_interface(f"{item}/{ASSUMED_LENGTHS[family]}").network for item in own if item.version == family
    )
    return Uplink(ASSUMED_DEVICE, address, tuple(subnets), ASSUMED_MTU)
