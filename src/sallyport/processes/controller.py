"""The controller: plans the whole cluster and writes what it decided into the objects.

What an event costs goes by what it concerns: objects come as changes, and state, plan and writes are brought up to date
for these. `translate` and `plan_cluster` say what must come out.
"""

import asyncio
import dataclasses
import gc
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import structlog

from sallyport.apis.antrea.objects import Changes
from sallyport.apis.antrea.status import NOT_FOUND, unfound
from sallyport.apis.antrea.types import EGRESSES, Egress
from sallyport.apis.calico.annotations import GATEWAY_LABEL
from sallyport.apis.calico.status import Seen
from sallyport.apis.calico.types import EGRESSGATEWAYS
from sallyport.apis.core import LEASES, PODS, Lease
from sallyport.apis.facts import FACTS_ANNOTATION, ROUTING_ANNOTATION, decode, decode_report
from sallyport.apis.incremental import Translation
from sallyport.apis.objects import Objects
from sallyport.kube.client import Client
from sallyport.kube.events import Recorder
from sallyport.model.kept import Kept
from sallyport.model.plan import ClusterPlan, RoutingReport
from sallyport.model.settings import Settings
from sallyport.model.state import ClusterState, Node, ObjectRef, Problem
from sallyport.plan.incremental import Planning
from sallyport.processes.egresses import Egresses, static
from sallyport.processes.gateways import DEPLOYMENTS, Gateways
from sallyport.processes.renewals import Renewals
from sallyport.processes.settings import LEASE_PREFIX, NAMESPACE
from sallyport.processes.telling import Warnings
from sallyport.processes.watches import Watches
from sallyport.processes.writes import Write, Writer

log = structlog.get_logger(__name__)


GATHER = 0.002
"""Seconds from the end of one round to the next one at least: a burst of changes is gathered. After a quiet time, the
first change is acted upon at once."""
RECHECK = 5.0
"""Seconds after which the plan is made anew without a change: leases run out silently."""

Reports = tuple[Mapping[str, RoutingReport], Mapping[str, Mapping[int, str]]]

_report = lru_cache(maxsize=1024)(decode_report)
_facts = lru_cache(maxsize=1024)(decode)


def ranked(egresses: Iterable[Egress]) -> frozenset[str]:
    """Nodes that lived as far as anybody knew who has written statuses."""
    return frozenset(node for item in egresses for node in (*item.status.nodes, item.status.egress_node) if node)


def reported(leases: Iterable[Lease], alive: frozenset[str]) -> Reports:
    """What living agents report of their nodes' external networks, and which tables others use there, by node."""
    reports: dict[str, RoutingReport] = {}
    foreign: dict[str, Mapping[int, str]] = {}
    for lease in leases:
        node, annotations = lease.metadata.name.removeprefix(LEASE_PREFIX), lease.metadata.annotations
        if node not in alive:
            continue
        try:
            if ROUTING_ANNOTATION in annotations:
                reports[node] = _report(annotations[ROUTING_ANNOTATION])
            if FACTS_ANNOTATION in annotations:
                foreign[node] = _facts(annotations[FACTS_ANNOTATION]).foreign
        except ValueError as error:
            log.warning("controller.unreadable_lease", node=node, error=str(error))
    return reports, foreign


def with_living(nodes: Mapping[str, Node], alive: frozenset[str]) -> Mapping[str, Node]:
    """The nodes with only those alive whose agents are."""
    return {name: dataclasses.replace(node, alive=name in alive) for name, node in nodes.items()}


def _keep() -> None:
    """Take what there is out of Python's search for cycles: it goes on for as long as we lead, and to walk over it all
    would hold up an event now and then for a good part of a second in a large cluster."""
    gc.collect()
    gc.freeze()


class Controller:
    """One planning loop. Run it only while leading."""

    def __init__(self, client: Client, settings: Settings, now: Callable[[], datetime], image: str) -> None:
        self._client = client
        self._now = now
        self._changed = asyncio.Event()
        self._watches = Watches(client, self._changed)
        self._watches.follow_shared(NAMESPACE)
        for resource in (PODS, EGRESSGATEWAYS):
            self._watches.follow(resource)
        self._watches.follow(DEPLOYMENTS, label_selector=GATEWAY_LABEL)
        self._watches.follow(LEASES, namespace=NAMESPACE)
        self._translation = Translation()
        self._planning = Planning(settings)
        self._egresses = Egresses(self._translation, self._planning)
        self._gateways = Gateways(image)
        self._writer = Writer(client, self._changed.set)
        self._events = Recorder(client, "sallyport-controller")
        self._warnings = Warnings(self._events)
        self._renewals: Renewals | None = None
        self._alive: frozenset[str] = frozenset()
        self._nodes = Kept(with_living)
        self._reported = Kept(reported)
        self._faults = Kept(self._gateways.problems)
        self._state = ClusterState()
        self._lost: set[str] = set()
        self._looked_at: tuple[Any, ...] = ()
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        """Plan and write until cancelled."""
        loop = asyncio.get_running_loop()
        async with self._group as group:
            group.create_task(self._watches.run())
            group.create_task(self._events.run())
            await self._watches.synced()
            log.info("controller.synced")
            await self.sync()
            _keep()
            while True:
                ended = loop.time()
                try:
                    await asyncio.wait_for(self._changed.wait(), RECHECK)
                except TimeoutError:
                    pass
                else:
                    await asyncio.sleep(max(0.0, ended + GATHER - loop.time()))
                self._changed.clear()
                await self.sync()

    async def sync(self) -> None:
        """Changes to state, state to plan, plan to writes: only where the objects do not say it yet."""
        now = self._now()
        few = self._watches.few()
        changes = self._egresses.amended(self._watches.changes(), self._watches.known(EGRESSES))
        touched = self._translation.take(few, changes)
        before = self._state
        self._state = self._with_living(self._translation.state, now)
        told = self._planning.take(self._state, touched, self._translation.selected)
        stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        names = told | changes.egresses.keys() | self._wrong()
        if before.nodes is not self._state.nodes:
            names |= static(self._planning.assignments)
        writes = self._egresses.writes(names, few.pools, self._state, stamp)
        others = self._of_gateways(few, changes, touched.exits | told, stamp)
        if writes:
            self._group.create_task(self._write(writes))
        if others or not writes:
            await self._writer.carry_out(others)
        self._tell(few, changes, now)

    def _with_living(self, state: ClusterState, now: datetime) -> ClusterState:
        if self._renewals is None:
            self._renewals = Renewals(ranked(self._translation.egresses.values()))
        servers = now + timedelta(seconds=self._client.ahead)
        alive = self._renewals.judge(self._watches.objects(LEASES), self._watches.heard(LEASES), servers)
        if alive != self._alive:
            self._alive = alive
        return dataclasses.replace(state, nodes=self._nodes(state.nodes, self._alive))

    def _wrong(self) -> set[str]:
        """Egresses of which something else is wrong than the last time, or nothing any more."""
        translated = {source for source in self._translation.findings.touched if isinstance(source, tuple)}
        refs = {source[1] if isinstance(source, tuple) else source for source in self._planning.decided.touched}
        return {name for kind, name, *_ in translated if kind == "Egress"} | {
            ref.name for ref in refs if isinstance(ref, ObjectRef) and ref.kind == "Egress"
        }

    async def _write(self, writes: list[Write]) -> None:
        """Beside the loop: one event does not wait for what another one has to be written for."""
        self._egresses.failed(await self._writer.carry_out(writes))

    def _of_gateways(self, few: Objects, changes: Changes, exits: set[str], stamp: str) -> list[Write]:
        """What is to be written for gateways: looked for only where something that they go by has changed."""
        planning, state = self._planning, self._state
        owned, reports = self._watches.objects(DEPLOYMENTS), self._reported(self._watches.objects(LEASES), self._alive)
        parts = (few.calico, few.nodes, owned, reports, state.nodes, state.policies, state.chosen)
        looked_at = (*parts, planning.chosen, planning.watchers, planning.usage)
        same = all(now is before for now, before in zip(looked_at, self._looked_at, strict=False))
        if (
            self._looked_at
            and same
            and not (any("/" in name for name in exits) or not planning.asking.isdisjoint(changes.pods))
        ):
            return []
        plan = ClusterPlan(
            assignments=planning.assignments,
            usage=planning.usage,
            chosen=planning.chosen,
            watchers=planning.watchers,
            problems=tuple(sorted(self._problems_of_others())),
        )
        deployments = {(item.metadata.namespace, item.metadata.name): item for item in owned}
        seen = Seen(state, plan, *reports)
        writes = self._gateways.writes(few.calico, few.nodes, self._translation.pods, deployments, seen, stamp)
        self._looked_at = () if writes else looked_at  # what was not taken is found again
        return writes

    def _problems_of_others(self) -> set[Problem]:
        """What is wrong with other objects than Egresses."""
        findings = (self._translation.findings, self._planning.decided, self._planning.found)
        found = (problem for item in findings for told in item.by_source.values() for problem in told)
        return {problem for problem in found if problem.ref.kind != "Egress"}

    def _tell(self, few: Objects, changes: Changes, now: datetime) -> None:
        """A Warning event per problem that was not there the last time."""
        for name, egress in changes.egresses.items():
            self._lost.discard(name)
            if egress is not None and any(item.reason == NOT_FOUND for item in egress.status.conditions):
                self._lost.add(name)
        for findings in (self._translation.findings, self._planning.decided, self._planning.found):
            self._warnings.tell_all(findings)
        self._warnings.tell("unfound", unfound((self._translation.egresses[name] for name in self._lost), now))
        self._warnings.tell("gateways", self._faults(few.calico))
