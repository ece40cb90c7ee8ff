"""The controller and the nodes' agents, as their Leases tell of them."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sallyport.apis.core import Lease, Node
from sallyport.apis.facts import FACTS_ANNOTATION, ROUTING_ANNOTATION, UNHEARD_ANNOTATION, decode, decode_report
from sallyport.apis.leases import ahead, renewed
from sallyport.apis.overview.rows import ControllerRow, NodeRow, Trouble
from sallyport.model.plan import Liveness, NodeFacts, RoutingReport
from sallyport.model.state import ObjectRef

CONTROLLER = ObjectRef("Lease", "sallyport-controller", "sallyport-system")
"""The Lease for which controllers stand for election."""
SKEW = timedelta(seconds=30)
"""By how much a node's clock may be wrong without being told of: more than a slow write could explain."""


@dataclass(frozen=True, slots=True)
class Leases:
    """Agents' Leases by node, the controllers' one, and the moment by which they are judged, by the API server's clock.
    The moment is None where nothing is known of any Lease, as in manifests."""

    agents: Mapping[str, Lease] = field(default_factory=dict)
    controller: Lease | None = None
    moment: datetime | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """What a node's agent tells by its Lease. `renewed` says how long ago, `lasts` for how long a renewal counts.
    `facts` and `report` are None where it tells none, or what cannot be read: `fault` then says why not. `unheard` are
    kinds of which it hears nothing, each with the reason; its clock is `ahead` of the API server's."""

    renewed: timedelta | None
    lasts: timedelta
    facts: NodeFacts | None = None
    report: RoutingReport | None = None
    fault: str = ""
    unheard: tuple[str, ...] = ()
    ahead: timedelta = timedelta()

    @property
    def alive(self) -> bool:
        """Whether its last renewal still counts."""
        return self.renewed is not None and self.renewed <= self.lasts


def read_agents(leases: Leases) -> dict[str, Agent]:
    """All agents by node; none where nothing is known of Leases."""
    if leases.moment is None:
        return {}
    return {node: _agent(lease, leases.moment) for node, lease in leases.agents.items()}


def _agent(lease: Lease, now: datetime) -> Agent:
    age, lasts = _renewed(lease, now)
    annotations = lease.metadata.annotations
    try:
        facts = decode(annotations[FACTS_ANNOTATION]) if annotations.get(FACTS_ANNOTATION) else None
        report = decode_report(annotations[ROUTING_ANNOTATION]) if annotations.get(ROUTING_ANNOTATION) else None
    except ValueError as error:
        return Agent(age, lasts, fault=str(error))
    unheard = tuple(annotations.get(UNHEARD_ANNOTATION, "").splitlines())
    return Agent(age, lasts, facts, report, unheard=unheard, ahead=ahead(lease))


def _renewed(lease: Lease, now: datetime) -> tuple[timedelta | None, timedelta]:
    """How long ago a Lease was renewed (None: never, or nobody can tell), and for how long that counts."""
    moment = renewed(lease)
    lasts = timedelta(seconds=lease.spec.lease_duration_seconds or 0)
    return (None if moment is None else max(now - moment, timedelta())), lasts


def controller_row(leases: Leases) -> tuple[tuple[ControllerRow, ...], list[Trouble]]:
    """The leader; nothing where nothing is known of Leases."""
    if leases.moment is None:
        return (), []
    row = ControllerRow("", False)
    if leases.controller is not None:
        age, lasts = _renewed(leases.controller, leases.moment)
        running = age is not None and age <= lasts
        row = ControllerRow(leases.controller.spec.holder_identity or "", running, age)
    if row.running and row.controller:
        return (row,), []
    since = f": {row.controller} has not renewed its Lease for {_said(row.renewed)}" if row.controller else ""
    message = f"no controller leads{since}; nothing new is decided, and statuses may be old"
    return (row,), [Trouble(CONTROLLER, message, "see whether a controller runs, and what it logs")]


def node_rows(
    nodes: Iterable[Node], agents: Mapping[str, Agent], ready: Collection[str], *, known: bool
) -> tuple[tuple[NodeRow, ...], list[Trouble]]:
    """Every Linux node. `ready` are gateways' pods, NAMESPACE/NAME, that are: only of these is it news that polls get
    no answer. `known`: there are Leases to judge by, so that a node without one has no agent."""
    rows: list[NodeRow] = []
    troubles: list[Trouble] = []
    for node in sorted(nodes, key=lambda item: item.metadata.name):
        if node.metadata.labels.get("kubernetes.io/os", "linux") != "linux":
            continue
        name, agent = node.metadata.name, agents.get(node.metadata.name)
        rows.append(_node_row(name, agent, known))
        if known:
            ref = ObjectRef("Node", name, uid=node.metadata.uid)
            troubles += [Trouble(ref, *said) for said in _node_troubles(name, agent, agents, ready)]
    return tuple(rows), troubles


def _node_row(name: str, agent: Agent | None, known: bool) -> NodeRow:
    if agent is None:
        return NodeRow(name, "absent" if known else "unknown")
    facts = agent.facts or NodeFacts(name)
    return NodeRow(
        node=name,
        agent="running" if agent.alive else "lost",
        synced=agent.alive and agent.facts is not None and not agent.unheard,
        renewed=agent.renewed,
        holds=tuple(str(item) for item in sorted(facts.held, key=lambda item: (item.version, int(item)))),
        down=_down(facts),
    )


def _down(facts: NodeFacts) -> tuple[str, ...]:
    return tuple(sorted(name for name, state in facts.peers.items() if state is Liveness.DOWN))


def _node_troubles(
    name: str, agent: Agent | None, agents: Mapping[str, Agent], ready: Collection[str]
) -> Iterator[tuple[str, str]]:
    """What is wrong on a node and what to do. What a lost agent told last is not gone by."""
    if agent is None:
        message = "no agent has ever been in step here: its pods are not governed, and it holds no egress IP"
        yield message, f"start an agent on {name}; if one runs, its log says what keeps it"
    elif not agent.alive:
        message = (
            f"its agent has not renewed its Lease for {_said(agent.renewed)} ({_said(agent.lasts)} are allowed): no"
            " change reaches this node, and other nodes take its egress IPs over"
        )
        yield message, f"see whether {name} is up (kubectl get node {name}), then its agent and what that logs"
    elif agent.facts is None:
        why = agent.fault or "they are empty"
        yield f"its agent's facts cannot be read: {why}", "run agents, controller and this command of one version"
    else:
        mute = [item for item in _down(agent.facts) if item in agents and agents[item].alive]
        if mute:
            message = f"BFD has no answer from {', '.join(mute)}, whose agents run: no new connection goes there"
            yield message, "see whether UDP port 3784 passes between the nodes, in both directions"
        silent = sorted({item.rpartition("/")[0] for item in agent.facts.failed}.intersection(ready))
        if silent:
            message = f"polls from here get no answer from gateways {', '.join(silent)}: no new connection uses them"
            yield message, f"see whether {name} reaches these pods on their port `health`: NetworkPolicies, the CNI"
    if agent is not None and agent.alive:
        yield from _behind(name, agent)


def _behind(name: str, agent: Agent) -> Iterator[tuple[str, str]]:
    """What a living agent does not hear, and how wrong its clock is."""
    if agent.unheard:
        count = len(agent.unheard)
        more = f" (and {count - 1} more kind{'' if count == 2 else 's'})" if count > 1 else ""
        message = f"its agent hears of no change of {agent.unheard[0]}{more}: existing egress goes on, changes wait"
        yield message, "see what the API server says of these requests, and whether deploy/rbac is applied"
    if abs(agent.ahead) > SKEW:
        way = "ahead of" if agent.ahead > timedelta() else "behind"
        message = (
            f"its clock is {_said(abs(agent.ahead))} {way} the API server's: no time in its logs and events is right"
        )
        yield message, f"set the clock of {name}, as by NTP: tokens and certificates go by it, too"


def _said(span: timedelta | None) -> str:
    return "an unknown time" if span is None else f"{int(span.total_seconds())} s"
