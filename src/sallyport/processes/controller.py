"""The controller: plans the whole cluster and writes what it decided into the objects."""

import asyncio
import dataclasses
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import structlog

from sallyport.apis.antrea.status import from_controller, unfound
from sallyport.apis.antrea.translate import ALLOCATED_ANNOTATION
from sallyport.apis.antrea.types import EGRESSES, POOLS, Egress, ExternalIPPool, ExternalIPPoolStatus, IPPoolUsage
from sallyport.apis.calico.annotations import GATEWAY_LABEL
from sallyport.apis.calico.status import Seen
from sallyport.apis.calico.types import EGRESSGATEWAYS
from sallyport.apis.conditions import changes
from sallyport.apis.core import LEASES, PODS, Lease
from sallyport.apis.facts import FACTS_ANNOTATION, ROUTING_ANNOTATION, decode, decode_report
from sallyport.apis.translate import translate
from sallyport.kube.client import Client
from sallyport.kube.events import Recorder
from sallyport.model.plan import ClusterPlan, RoutingReport
from sallyport.model.settings import Settings
from sallyport.model.state import ClusterState, Problem
from sallyport.plan.cluster import plan_cluster
from sallyport.processes.gateways import DEPLOYMENTS, Gateways
from sallyport.processes.renewals import Renewals
from sallyport.processes.settings import LEASE_PREFIX, NAMESPACE
from sallyport.processes.watches import Watches
from sallyport.processes.writes import Write, Writer

log = structlog.get_logger(__name__)


GATHER = 0.005
"""Seconds for which a burst of changes is gathered before planning."""
RECHECK = 5.0
"""Seconds after which the plan is made anew without a change: leases run out silently."""


def ranked(egresses: Iterable[Egress]) -> frozenset[str]:
    """Nodes that lived as far as anybody knew who has written statuses."""
    return frozenset(node for item in egresses for node in (*item.status.nodes, item.status.egress_node) if node)


def reported(
    leases: Iterable[Lease], alive: frozenset[str]
) -> tuple[dict[str, RoutingReport], dict[str, dict[int, str]]]:
    """What living agents report of their nodes' external networks, and which tables others use there, by node."""
    reports: dict[str, RoutingReport] = {}
    foreign: dict[str, dict[int, str]] = {}
    for lease in leases:
        node, annotations = lease.metadata.name.removeprefix(LEASE_PREFIX), lease.metadata.annotations
        if node not in alive:
            continue
        try:
            if ROUTING_ANNOTATION in annotations:
                reports[node] = decode_report(annotations[ROUTING_ANNOTATION])
            if FACTS_ANNOTATION in annotations:
                foreign[node] = dict(decode(annotations[FACTS_ANNOTATION]).foreign)
        except ValueError as error:
            log.warning("controller.unreadable_lease", node=node, error=str(error))
    return reports, foreign


def with_living(state: ClusterState, alive: frozenset[str]) -> ClusterState:
    """The state with only those nodes alive whose agents are."""
    nodes = {name: dataclasses.replace(node, alive=name in alive) for name, node in state.nodes.items()}
    return dataclasses.replace(state, nodes=nodes)


class Controller:
    """One planning loop. Run it only while leading."""

    def __init__(self, client: Client, settings: Settings, now: Callable[[], datetime], image: str) -> None:
        self._client = client
        self._settings = settings
        self._now = now
        self._changed = asyncio.Event()
        self._watches = Watches(client, self._changed)
        self._watches.follow_shared(NAMESPACE)
        for resource in (PODS, EGRESSGATEWAYS):
            self._watches.follow(resource)
        self._watches.follow(DEPLOYMENTS, label_selector=GATEWAY_LABEL)
        self._watches.follow(LEASES, namespace=NAMESPACE)
        self._gateways = Gateways(image)
        self._writer = Writer(client, self._changed.set)
        self._events = Recorder(client, "sallyport-controller")
        self._told: frozenset[Problem] = frozenset()
        self._renewals: Renewals | None = None

    async def run(self) -> None:
        """Plan and write until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watches.run())
            group.create_task(self._events.run())
            await self._watches.synced()
            log.info("controller.synced")
            while True:
                self._changed.clear()
                await self.sync()
                try:
                    await asyncio.wait_for(self._changed.wait(), RECHECK)
                except TimeoutError:
                    continue
                await asyncio.sleep(GATHER)

    async def sync(self) -> None:
        """Objects to state, state to plan, plan to writes: only where the objects do not say it yet."""
        now = self._now()
        objects = dataclasses.replace(
            self._watches.few(), egresses=self._watches.objects(EGRESSES), pods=self._watches.objects(PODS)
        )
        leases = list(self._watches.objects(LEASES))
        alive = self._living(leases, objects.egresses, now)
        state = with_living(translate(objects), alive)
        plan = plan_cluster(state, self._settings)
        stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        writes = [write for egress in objects.egresses for write in self._egress_writes(egress, state, plan, stamp)]
        writes += [write for pool in objects.pools for write in self._pool_writes(pool, plan)]
        seen = Seen(state, plan, *reported(leases, alive))
        owned = {(item.metadata.namespace, item.metadata.name): item for item in self._watches.objects(DEPLOYMENTS)}
        writes += self._gateways.writes(objects.calico, objects.nodes, objects.pods, owned, seen, stamp)
        await self._writer.carry_out(writes)
        problems = [*plan.problems, *unfound(objects.egresses, now), *self._gateways.problems(objects.calico)]
        self._tell(problems)

    def _living(self, leases: Iterable[Lease], egresses: Iterable[Egress], now: datetime) -> frozenset[str]:
        if self._renewals is None:
            self._renewals = Renewals(ranked(egresses))
        servers = now + timedelta(seconds=self._client.ahead)
        return self._renewals.judge(leases, self._watches.heard(LEASES), servers)

    def _egress_writes(self, egress: Egress, state: ClusterState, plan: ClusterPlan, stamp: str) -> Iterable[Write]:
        name = egress.metadata.name
        assignment = plan.assignments.get(name)
        if assignment is None:
            return
        if assignment.address is not None and assignment.address != state.exits[name].requested:
            body = {
                "metadata": {
                    "resourceVersion": egress.metadata.resource_version,
                    "annotations": {ALLOCATED_ANNOTATION: str(assignment.address)},
                },
                "spec": {"egressIP": str(assignment.address)},
            }
            # The write comes back as a change of the object, and the status is written then: agents must not see
            # an id before the address that it stands for.
            yield Write(EGRESSES, name, body)
            return
        holder = state.nodes.get(egress.status.egress_node)
        status = from_controller(
            egress.status,
            assignment,
            clients=plan.clients.get(name, 0),
            problems=[
                problem for problem in plan.problems if problem.ref.name == name and problem.ref.kind == "Egress"
            ],
            overlaps=[overlap for overlap in plan.overlaps if name in (overlap.winner, overlap.loser)],
            name=name,
            holder_gone=self._holder_gone(assignment.static, assignment.nodes, holder is not None and holder.alive),
            now=stamp,
        )
        if status != egress.status:
            patch = {
                "metadata": {"resourceVersion": egress.metadata.resource_version},
                "status": changes(egress.status, status),
            }
            yield Write(EGRESSES, name, patch, subresource="status")

    @staticmethod
    def _holder_gone(static: bool, ranked: tuple[str, ...], holder_alive: bool) -> bool:
        """Whether nobody holds the address: no node may (pooled), or the one that did is gone (static)."""
        return not holder_alive if static else not ranked

    def _pool_writes(self, pool: ExternalIPPool, plan: ClusterPlan) -> Iterable[Write]:
        usage = plan.usage.get(f"ExternalIPPool/{pool.metadata.name}")
        if usage is None:
            return
        status = ExternalIPPoolStatus(usage=IPPoolUsage(total=usage.total, used=usage.used))
        if status != pool.status:
            body = {"status": {"usage": {"total": usage.total, "used": usage.used}}}
            yield Write(POOLS, pool.metadata.name, body, subresource="status")

    def _tell(self, found: Iterable[Problem]) -> None:
        """A Warning event per problem that was not there the last time."""
        problems = frozenset(found)
        for problem in sorted(problems - self._told):
            log.warning("controller.problem", object=str(problem.ref), reason=problem.reason, message=problem.message)
            self._events.record(problem.ref, "Warning", problem.reason, problem.message)
        self._told = problems
