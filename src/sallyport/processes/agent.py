"""The agent keeps its node's kernel as the plan wants it. `sync` is the tour guide: every arrow of the design."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from operator import ne
from random import Random
from typing import ParamSpec, Protocol, TypeVar

import structlog

from sallyport.apis.antrea.objects import Changes
from sallyport.apis.calico.remote import polled
from sallyport.apis.core import PODS
from sallyport.apis.incremental import Translation
from sallyport.apis.objects import Objects
from sallyport.drivers.command import DriverError
from sallyport.drivers.web import Get
from sallyport.kube.client import Client
from sallyport.kube.clock import SystemClock
from sallyport.kube.events import Recorder
from sallyport.model.kept import Kept
from sallyport.model.kernel import KernelObject, Kind
from sallyport.model.plan import Assignment, NodeFacts, NodePlan, RoutingReport
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, ClusterState, IPAddress, ObjectRef
from sallyport.plan.cluster import decided_alike, recorded
from sallyport.plan.networks import honoured, standing
from sallyport.plan.node import located, plan_node
from sallyport.processes.announcer import Announcement, Announcer
from sallyport.processes.doorstep import Doorstep
from sallyport.processes.garbage import spare_what_stays
from sallyport.processes.heartbeat import Heartbeat
from sallyport.processes.liveness import Sessions, by_address
from sallyport.processes.networks import Networks
from sallyport.processes.newcomers import SETTLED, Newcomers
from sallyport.processes.outcome import come_home, not_held
from sallyport.processes.poller import Poller
from sallyport.processes.reporter import Reporter, Round
from sallyport.processes.settings import NAMESPACE
from sallyport.processes.undecided import Undecided
from sallyport.processes.vigil import Witness, keep_vigil
from sallyport.processes.watches import Watches
from sallyport.reconcile.diff import Actual, Delta, diff
from sallyport.reconcile.sequence import Step, sequence

P = ParamSpec("P")
R = TypeVar("R")

log = structlog.get_logger(__name__)

GATHER = 0.005
"""Seconds between two rounds at least, so that a burst of changes is gathered. The first one is acted upon at once.
Rounds that took longer wait for as long as the last one took, so that a burst leaves the core to others, too."""
LONGEST = 0.02
"""Seconds that a change waits so at most."""
RESYNC = 5.0
"""Seconds after which the kernel is read back and compared although nothing was heard."""
RENEWAL = 1.0
"""Seconds between renewals of the dead-man element."""
SESSION_GRACE = 5.0
"""Seconds within which a session that never was up has to come up."""
RETRY = 1.0
"""Seconds after a failure until the next try."""


class Hands(Witness, Protocol):
    """What an agent does to its node and sees of it; drivers provide it. All calls block and run on one worker."""

    def changed(self) -> bool:
        """Whether the kernel has told of a change, be it our own, since the last `read` began; does not block."""

    def stale(self) -> bool:
        """Whether it has told of one to links, addresses or routes that is not ours since the last `observe` began, be
        it that it was read since; does not block."""

    def read(self) -> Actual:
        """What the kernel and BIRD hold of ours."""

    def observe(self, state: ClusterState, node: str, actual: Actual) -> NodeFacts:
        """Interfaces, addresses and routes, and of what was read the egress IPs; `peers` is left empty."""

    def sysctls(self, paths: Iterable[str]) -> Mapping[object, KernelObject]:
        """The values of settings."""

    def apply(self, steps: Iterable[Step]) -> list[str]:
        """Carry the steps out; a line for each failure."""

    def forget_connections(self, addresses: Iterable[IPAddress]) -> list[str]:
        """Forget the translations of connections that these addresses have opened; a line for each failure."""

    def routing(self, networks: Iterable[str], lists: Iterable[tuple[str, ...]]) -> RoutingReport:
        """What BIRD has of these networks, and what the networks of each list have in common."""

    def undecided(self) -> frozenset[IPAddress]:
        """Pod addresses of this node that tried to leave the cluster before they were decided about."""

    def sessions(self) -> dict[str, str]:
        """BFD session state by peer address."""

    def sessions_after(self, known: dict[str, str]) -> dict[str, str]:
        """The same, as soon as it is other than what is known, or after a while."""

    def renew(self) -> None:
        """Say that the agent lives (the dead-man element)."""

    def announce(self, device: str, address: IPAddress) -> None:
        """Tell the link where the address is."""


class Agent:
    """One node's loop."""

    def __init__(
        self,
        client: Client,
        hands: Hands,
        *,
        node: str,
        settings: Settings,
        service_networks: tuple[str, ...],
        now: Callable[[], datetime],
        get: Get,
    ) -> None:
        self._hands, self._node, self._settings = hands, node, settings
        self._service_networks = service_networks
        self._changed = asyncio.Event()
        self._watches = Watches(client, self._changed)
        self._watches.follow_shared(NAMESPACE)
        self._watches.follow(PODS, field_selector=f"spec.nodeName={node}")
        self._translation = Translation(node)
        self._events = Recorder(client, "sallyport-agent")
        self._sessions = Sessions(SESSION_GRACE)
        self._newcomers = Newcomers()
        self._states: dict[str, str] = {}
        self._claimed: set[str] = set()
        self._contested: set[Announcement] = set()
        self._recorded = Kept(recorded, lambda now, before: not decided_alike(now.exits, before.exits))
        self._planned = Kept(plan_node, ne)
        self._named = Kept(by_address)
        self._last: NodePlan | None = None
        self._seen: Actual = {}
        self._read_at = float("-inf")
        self._busy = self._amiss = False
        self._worker = asyncio.Lock()
        self._announcer = Announcer(hands.announce)
        self._heartbeat = Heartbeat(client, node, now, self._watches.troubles)
        self._reporter = Reporter(client, self._events, node, now)
        self._doorstep = Doorstep(SystemClock())
        self._poller = Poller(get, SystemClock(), Random(), on_change=self.wake)
        self._networks = Networks(hands.routing, self._doorstep.tell, self._heartbeat.publish_routing, self.wake)

    async def run(self) -> None:
        """Plan and program until cancelled. The kernel is left as it is when this ends."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watches.run())
            group.create_task(self._events.run())
            group.create_task(self._reporter.run())
            vigil = group.create_task(keep_vigil(self._watches.unanswered, self._hands))
            await self._watches.synced()
            vigil.cancel()
            log.info("agent.synced", node=self._node)
            while not await self._synced():  # noqa: ASYNC110  (a failed round has no event to wait for)
                await asyncio.sleep(RETRY)
            spare_what_stays()
            # Only now may others count on this node: it is programmed, and its BFD may be heard.
            group.create_task(self._heartbeat.run())
            group.create_task(self._renewing())
            group.create_task(self._watching_peers())
            group.create_task(self._watching_undecided())
            group.create_task(self._poller.run())
            group.create_task(self._networks.run())
            group.create_task(self._doorstep.serve([""]))
            loop = asyncio.get_running_loop()
            while True:
                self._changed.clear()
                began = loop.time()
                if not await self._synced():
                    loop.call_later(RETRY, self.wake)
                ended = loop.time()
                try:
                    await asyncio.wait_for(self._changed.wait(), RESYNC)
                except TimeoutError:
                    continue
                await asyncio.sleep(ended + min(max(GATHER, ended - began), LONGEST) - loop.time())

    async def _synced(self) -> bool:
        """One round; False where a tool could not be asked, which is logged and tried again: the loop goes on."""
        self._busy = True
        try:
            await self.sync()
        except DriverError as error:
            log.error("agent.sync_failed", error=str(error))
            self._read_at = float("-inf")
            return False
        finally:
            self._busy = False
        if self._hands.changed() or self._hands.stale():
            self.wake()
        return True

    def wake(self) -> None:
        """Something changed: look and plan again."""
        self._changed.set()

    def heard(self) -> None:
        """The kernel tells of a change. A round reads back what it changes itself, and looks at its end for more."""
        if not self._busy:
            self.wake()

    async def sync(self) -> None:
        """One round: objects to state, kernel to facts, both to a plan, plan and actual to steps, steps to kernel."""
        objects = self._watches.few(self._service_networks)
        self._translation.take(objects, self._heard())
        state = self._translation.state
        assignments = self._recorded(state)
        self._poll(objects, state)
        seen = await self._known()
        facts = await self._facts(state, assignments, seen)
        plan = self._planned(state, assignments, facts, self._settings)
        wanted = [str(item.key) for item in plan.by_kind(Kind.SYSCTL)]
        actual = {**seen, Kind.SYSCTL: await self._do(self._hands.sysctls, wanted)}
        deltas = diff(plan.objects, actual)
        steps = sequence(deltas)
        failures = await self._do(self._hands.apply, steps) if steps else []
        previous, self._last = self._last, plan
        if previous is not None and (moved := come_home(previous, plan, state)):
            failures += await self._do(self._hands.forget_connections, moved)
        self._announce(previous, plan, assignments, facts)
        failed = await self._read_back(plan, wanted, failures) if steps or failures else {}
        egresses = {name: item for name in state.exits if (item := self._translation.egresses.get(name)) is not None}
        self._reporter.report(Round(egresses, assignments, plan, failed))
        self._heartbeat.publish(facts)
        self._stand(state, assignments, facts, failed)
        self._tell(previous, plan, deltas, steps, failures)

    async def _known(self) -> Actual:
        """What the kernel holds, as it was last read: anew when it has told of a change since, and now and then."""
        if self._hands.changed() or asyncio.get_running_loop().time() - self._read_at >= RESYNC:
            await self._read()
        return self._seen

    async def _read(self) -> None:
        began = asyncio.get_running_loop().time()
        self._seen = await self._do(self._hands.read)
        self._read_at = began

    async def _read_back(self, plan: NodePlan, sysctls: list[str], failures: list[str]) -> dict[str, str]:
        """Nothing counts as done because we wrote it. Why exits of the plan are not held, by name; what else is not as
        planned is seen to by another round."""
        await self._read()
        actual = {**self._seen, Kind.SYSCTL: await self._do(self._hands.sysctls, sysctls)}
        left = {} if failures else diff(plan.objects, actual)
        if left:
            # Somebody's hand was in it, which is mended at once; what is never as it was written is not tried for ever.
            log.warning("agent.not_as_written", kinds=[kind.name for kind in left])
            asyncio.get_running_loop().call_later(RETRY if self._amiss else 0.0, self.wake)
        self._amiss = bool(left)
        return not_held(plan, actual, failures) if failures else {}

    def _heard(self) -> Changes:
        """What has changed, but for pods that have to wait."""
        changes, loop = self._watches.changes(), asyncio.get_running_loop()
        pods = self._newcomers.admit(changes.pods, not self._watches.troubles(), loop.time())
        if self._newcomers.waiting:
            loop.call_later(SETTLED, self.wake)
        return replace(changes, pods=pods)

    def _poll(self, objects: Objects, state: ClusterState) -> None:
        """Ask the gateways on other nodes that clients here use."""
        self._poller.interval, self._poller.failure_count = state.tuning.poll
        self._poller.watch(polled(objects.calico.pods, state, self._node))

    def _stand(
        self,
        state: ClusterState,
        assignments: Mapping[str, Assignment],
        facts: NodeFacts,
        failed: Mapping[str, str],
    ) -> None:
        """What gateways of this node are told, and which networks are watched for it."""
        here = located(state, assignments, facts, self._settings)
        tables = honoured(here)
        filled = frozenset(name for name, table in tables.items() if facts.table_devices.get(table))
        self._networks.follow(
            tables, {key: state.exits[key] for key in standing(here)}, {**standing(here), **failed}, filled
        )

    def _tell(
        self,
        previous: NodePlan | None,
        plan: NodePlan,
        deltas: Mapping[Kind, Delta],
        steps: tuple[Step, ...],
        failures: list[str],
    ) -> None:
        self._report_drift(previous, plan, deltas)
        for failure in failures:
            log.error("agent.apply_failed", failure=failure)
        if failures:
            asyncio.get_running_loop().call_later(RETRY, self.wake)
        if steps:
            done = [f"{step.kind.name}+{len(step.upserts)}-{len(step.deletes)}" for step in steps]
            log.info("agent.applied", steps=done)

    async def _facts(self, state: ClusterState, assignments: Mapping[str, Assignment], actual: Actual) -> NodeFacts:
        seen, sessions = await self._do(self._look, state, actual)
        names = self._named(state.nodes)
        states = {names[peer]: session for peer, session in sessions.items() if peer in names}
        self._note_claims(assignments)
        peers = self._sessions.judge(states, asyncio.get_running_loop().time())
        failed = frozenset(f"{gateway}/v{family}" for gateway in self._poller.failed for family in FAMILIES)
        return replace(seen, peers=peers, failed=failed)

    def _look(self, state: ClusterState, actual: Actual) -> tuple[NodeFacts, dict[str, str]]:
        """The node, and its sessions: anew and not as last polled, since one that was ended and begun between two polls
        would pass for the old one, and its first Down for the loss of a peer."""
        return self._hands.observe(state, self._node, actual), self._hands.sessions()

    def _note_claims(self, assignments: Mapping[str, Assignment]) -> None:
        """A node that claims an address after us lives, whatever its session says. Two nodes that are cut from each
        other only would else take the address from each other for ever."""
        for name, assignment in assignments.items():
            if assignment.holder == self._node:
                self._claimed.add(name)
            elif name in self._claimed and assignment.holder:
                self._claimed.discard(name)
                self._sessions.vouch(assignment.holder)
        self._claimed &= assignments.keys()

    async def _do(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Blocking work, one at a time: two nft transactions at once would trip over each other."""
        async with self._worker:
            return await asyncio.to_thread(work, *args, **kwargs)

    def _report_drift(self, previous: NodePlan | None, plan: NodePlan, deltas: Mapping[Kind, Delta]) -> None:
        """The plan is the same as last time and yet something differed: somebody changed the kernel by hand."""
        if previous is None or previous.objects != plan.objects or not deltas:
            return
        items = (item for delta in deltas.values() for item in (*delta.create, *delta.replace, *delta.delete))
        lines = [f"{item.kind.name.lower()} {item.key}" for item in items]
        shown = "; ".join(lines[:5]) + (f"; and {len(lines) - 5} more" if len(lines) > 5 else "")
        log.warning("agent.drift_repaired", objects=lines)
        ref = ObjectRef("Node", self._node, uid=self._node)
        message = f"Kernel state was changed by somebody else; repaired: {shown}"
        self._events.record(ref, "Warning", "DriftRepaired", message)

    def _announce(
        self, previous: NodePlan | None, plan: NodePlan, assignments: Mapping[str, Assignment], facts: NodeFacts
    ) -> None:
        """Announce what was just taken, and what another node has claimed and announced while it was ours: an agent
        that was frozen has kept its addresses and yet lost its neighbours. It begins anew when the other one's claim is
        seen, as what was left of its own announcements may have gone out before the other's, and when that claim is
        gone, since the other one goes on until it has seen ours."""
        here = {item for item in plan.announcements if item[1] in facts.held and item[1] in facts.addresses}
        known = set(previous.announcements) if previous else here
        others = {plan.held[name] for name in plan.held if assignments[name].holder not in ("", self._node)}
        contested = {item for item in plan.announcements if item[1] in others}
        for item in plan.announcements:
            turned = (item in contested) != (item in self._contested)
            if turned or item not in known or item in contested:
                self._announcer.start(item, anew=turned)
        self._contested = contested
        self._announcer.stop_all_but(frozenset(plan.announcements))

    async def _renewing(self) -> None:
        while True:
            try:
                await self._do(self._hands.renew)
            except DriverError as error:
                log.error("agent.renewal_failed", error=str(error))
            await asyncio.sleep(RENEWAL)

    async def _watching_peers(self) -> None:
        while True:
            states = await asyncio.to_thread(self._hands.sessions_after, self._states)
            if states != self._states:
                log.info("agent.sessions", sessions=states)
                self._states = states
                if not states:
                    self._read_at = float("-inf")  # BIRD has ended, maybe, and has to be begun
                self.wake()

    async def _watching_undecided(self) -> None:
        undecided = Undecided()
        while True:
            await asyncio.sleep(RESYNC)
            try:
                stopped = await self._do(self._hands.undecided)
            except DriverError as error:
                log.error("agent.undecided_failed", error=str(error))
                continue
            if self._last is None:
                continue
            for address in undecided.late(stopped, self._last, asyncio.get_running_loop().time()):
                log.warning("agent.undecided", address=str(address))
                ref = ObjectRef("Node", self._node, uid=self._node)
                message = f"{address} sends to the outside, but no pod of the API has that address; it is not let out"
                self._events.record(ref, "Warning", "UndecidedPod", message)
