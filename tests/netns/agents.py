"""One round of an agent, done by hand in a node's namespace: observe, plan, read, apply."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.netns.world import EGRESS, EVERYTHING, World, inside, pod

from sallyport.model.kernel import Kind
from sallyport.model.plan import Assignment, Liveness, NodePlan
from sallyport.model.settings import Settings
from sallyport.model.state import Bandwidth, Client, ClusterState, Exit, Family, IPAddress, ObjectRef, PodKey
from sallyport.plan.cluster import recorded
from sallyport.plan.node import plan_node
from sallyport.processes.hands import KernelHands
from sallyport.reconcile.diff import Delta, diff
from sallyport.reconcile.sequence import sequence

CREATED = "2026-01-01T00:00:00Z"
EXIT_ID = 5


def client(world: World, node: str) -> Client:
    """The pod on that node."""
    return Client("default", f"pod-{node}", node, tuple(pod(world.number(node)).values()))


def exit_(
    name: str,
    address: IPAddress | None,
    *nodes: str,
    clients: Iterable[Client],
    number: int,
    holder: str | None = None,
    bandwidth: Bandwidth | None = None,
) -> Exit:
    """A pooled exit with that id, held by the first of `nodes` unless `holder` says otherwise."""
    keys: tuple[PodKey, ...] = tuple(item.key for item in clients)
    return Exit(
        ref=ObjectRef("Egress", name),
        created=CREATED,
        requested=address,
        pools=("ExternalIPPool/pool",),
        clients=keys,
        bandwidth=bandwidth,
        decided=address,
        id=number,
        nodes=nodes,
        holder=(nodes[0] if nodes else "") if holder is None else holder,
    )


def state(world: World, *exits: Exit, clients: Iterable[Client]) -> ClusterState:
    """A cluster with these exits and pods."""
    return ClusterState(
        nodes=world.members(),
        exits={item.ref.name: item for item in exits},
        clients={item.key: item for item in clients},
        networks=EVERYTHING,
    )


def steered(world: World, family: Family, *, by: str = "b", nodes: Iterable[str] = ("a",)) -> ClusterState:
    """A cluster in which the pods of `nodes` leave in that family by the egress IP that node `by` holds."""
    pods = [client(world, node) for node in nodes]
    return state(world, exit_("out", EGRESS[family], by, clients=pods, number=EXIT_ID), clients=pods)


def everything(world: World) -> ClusterState:
    """Exits of both families on both nodes, one with a limit; both pods are clients of the exits of node b."""
    pods = [client(world, "a"), client(world, "b")]
    return state(
        world,
        exit_("four", EGRESS[4], "b", "a", clients=pods, number=4, bandwidth=Bandwidth(100_000_001, 7)),
        exit_("six", EGRESS[6], "b", "a", clients=pods, number=6),
        exit_("more", EGRESS[4] + 1, "a", "b", clients=[], number=7),
        clients=pods,
    )


@dataclass
class Agent:
    """A node and what an agent keeps in memory: nothing but what it was started with and its peers' state."""

    node: str
    runtime: Path
    settings: Settings = field(default_factory=Settings)
    peers: Mapping[str, Liveness] = field(default_factory=dict)

    @property
    def hands(self) -> KernelHands:
        """New hands each time, as after a restart."""
        return KernelHands(self.settings, self.runtime)

    def plan(self, cluster: ClusterState) -> NodePlan:
        """This node's plan; an agent knows its own pods only."""
        own = {key: item for key, item in cluster.clients.items() if item.node == self.node}
        seen = replace(cluster, clients=own)
        with inside(self.node):
            facts = replace(self.hands.observe(seen, self.node, self.hands.read()), peers=self.peers)
        assignments: dict[str, Assignment] = recorded(seen)
        return plan_node(seen, assignments, facts, self.settings)

    def differences(self, plan: NodePlan) -> dict[Kind, Delta]:
        """What the kernel lacks, has wrong, or has too much."""
        with inside(self.node):
            settings = self.hands.sysctls(str(item.key) for item in plan.by_kind(Kind.SYSCTL))
            return diff(plan.objects, {**self.hands.read(), Kind.SYSCTL: settings})

    def apply(self, plan: NodePlan) -> list[str]:
        """Make the kernel as planned; what failed."""
        steps = sequence(self.differences(plan))
        with inside(self.node):
            return self.hands.apply(steps)

    def sync(self, cluster: ClusterState) -> NodePlan:
        """A whole round, in which nothing may fail."""
        plan = self.plan(cluster)
        failures = self.apply(plan)
        assert not failures, failures
        return plan
