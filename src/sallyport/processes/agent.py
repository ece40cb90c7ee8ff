"""The agent keeps its node's kernel as the plan wants it. `sync` is the tour guide: every arrow of the design."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import ParamSpec, Protocol, TypeVar

import structlog

from sallyport.apis.antrea.objects import Objects
from sallyport.apis.antrea.status import changes, from_holder, released
from sallyport.apis.antrea.translate import translate
from sallyport.apis.antrea.types import EGRESSES, POOLS, Egress, EgressStatus
from sallyport.apis.core import CONFIGMAPS, NAMESPACES, NODES, PODS
from sallyport.drivers.command import DriverError
from sallyport.kube.client import Client
from sallyport.kube.errors import ApiError, Conflict, NotFound
from sallyport.kube.events import Recorder
from sallyport.kube.lease import renew_lease
from sallyport.model.kernel import KernelObject, Kind
from sallyport.model.plan import Assignment, Liveness, NodeFacts, NodePlan
from sallyport.model.settings import Settings
from sallyport.model.state import ClusterState, IPAddress, ObjectRef
from sallyport.plan.cluster import recorded
from sallyport.plan.node import plan_node
from sallyport.processes.controller import LEASE_PREFIX
from sallyport.processes.liveness import Sessions
from sallyport.processes.settings import NAMESPACE
from sallyport.processes.watches import Watches
from sallyport.reconcile.diff import Actual, Delta, diff
from sallyport.reconcile.sequence import Step, sequence

P = ParamSpec("P")
R = TypeVar("R")

log = structlog.get_logger(__name__)

GATHER = 0.005
"""Seconds for which a burst of changes is gathered before planning."""
RESYNC = 5.0
"""Seconds after which the kernel is read back and compared although nothing was heard."""
RENEWAL = 1.0
"""Seconds between renewals of the dead-man element."""
SESSION_POLL = 0.1
"""Seconds between looks at BIRD's sessions; one look costs well under a millisecond."""
SESSION_GRACE = 5.0
"""Seconds within which a session that never was up has to come up."""
RETRY = 1.0
"""Seconds after a failure until the next try."""
LEASE_SECONDS = 40
LEASE_RENEWAL = 10.0
ANNOUNCEMENTS = (0.0, 0.1, 0.5, 2.0, 5.0)
"""Seconds after taking an address at which it is announced: one lost frame must not cost a cache's lifetime."""


class Hands(Protocol):
    """What an agent does to its node and sees of it; drivers provide it. All calls block and run on one worker."""

    def observe(self, state: ClusterState, node: str) -> NodeFacts:
        """Interfaces, addresses and routes; `peers` is left empty."""

    def read(self, sysctls: Iterable[str]) -> Actual:
        """What the kernel and BIRD hold of ours, and the values of those settings."""

    def apply(self, steps: Iterable[Step]) -> list[str]:
        """Carry the steps out; a line for each failure."""

    def sessions(self) -> dict[str, str]:
        """BFD session state by peer address."""

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
    ) -> None:
        self._client, self._hands, self._node, self._settings, self._now = client, hands, node, settings, now
        self._service_networks = service_networks
        self._changed = asyncio.Event()
        self._watches = Watches(client, self._changed)
        for resource in (EGRESSES, POOLS, NODES, NAMESPACES, CONFIGMAPS):
            self._watches.follow(resource)
        self._watches.follow(PODS, field_selector=f"spec.nodeName={node}")
        self._events = Recorder(client, "sallyport-agent")
        self._sessions = Sessions(SESSION_GRACE)
        self._states: dict[str, str] = {}
        self._last: NodePlan | None = None
        self._worker = asyncio.Lock()
        self._announcing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Plan and program until cancelled. The kernel is left as it is when this ends."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watches.run())
            group.create_task(self._events.run())
            await self._watches.synced()
            log.info("agent.synced", node=self._node)
            while not await self._synced():  # noqa: ASYNC110  (a failed round has no event to wait for)
                await asyncio.sleep(RETRY)
            # Only now may others count on this node: it is programmed, and its BFD may be heard.
            group.create_task(self._heartbeat())
            group.create_task(self._renewing())
            group.create_task(self._watching_peers())
            while True:
                self._changed.clear()
                if not await self._synced():
                    asyncio.get_running_loop().call_later(RETRY, self.wake)
                try:
                    await asyncio.wait_for(self._changed.wait(), RESYNC)
                except TimeoutError:
                    continue
                await asyncio.sleep(GATHER)

    async def _synced(self) -> bool:
        """One round; False where a tool could not be asked, which is logged and tried again: the loop goes on."""
        try:
            await self.sync()
        except DriverError as error:
            log.error("agent.sync_failed", error=str(error))
            return False
        return True

    def wake(self) -> None:
        """Something changed on the node: look and plan again."""
        self._changed.set()

    async def sync(self) -> None:
        """One round: objects to state, kernel to facts, both to a plan, plan and actual to steps, steps to kernel."""
        objects = self._objects()
        state = translate(objects)
        assignments = recorded(state)
        facts = await self._facts(state)
        plan = plan_node(state, assignments, facts, self._settings)
        sysctls = [str(item.key) for item in plan.by_kind(Kind.SYSCTL)]
        actual = await self._do(self._hands.read, sysctls)
        deltas = diff(plan.objects, actual)
        steps = sequence(deltas)
        failures = await self._do(self._hands.apply, steps) if steps else []
        previous, self._last = self._last, plan
        self._report_drift(previous, plan, deltas)
        for failure in failures:
            log.error("agent.apply_failed", failure=failure)
        if failures:
            asyncio.get_running_loop().call_later(RETRY, self.wake)
        self._announce(previous, plan, facts)
        await self._report(objects, previous, plan, assignments)
        if steps:
            log.info(
                "agent.applied", steps=[f"{step.kind.name}+{len(step.upserts)}-{len(step.deletes)}" for step in steps]
            )

    def _objects(self) -> Objects:
        watched = self._watches.objects
        return Objects(
            egresses=tuple(watched(EGRESSES)),
            pools=tuple(watched(POOLS)),
            nodes=tuple(watched(NODES)),
            namespaces=tuple(watched(NAMESPACES)),
            pods=tuple(watched(PODS)),
            configmaps=tuple(watched(CONFIGMAPS)),
            service_networks=self._service_networks,
        )

    async def _facts(self, state: ClusterState) -> NodeFacts:
        seen: NodeFacts = await self._do(self._hands.observe, state, self._node)
        verdicts = self._sessions.judge(self._states, asyncio.get_running_loop().time())
        names = {str(address): node.name for node in state.nodes.values() for address in node.addresses}
        peers: dict[str, Liveness] = {names[peer]: verdict for peer, verdict in verdicts.items() if peer in names}
        return NodeFacts(seen.node, seen.uplinks, seen.addresses, seen.held, peers, seen.reply_devices)

    async def _do(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Blocking work, one at a time: two nft transactions at once would trip over each other."""
        async with self._worker:
            return await asyncio.to_thread(work, *args, **kwargs)

    def _report_drift(self, previous: NodePlan | None, plan: NodePlan, deltas: dict[Kind, Delta]) -> None:
        """The plan is the same as last time and yet something differed: somebody changed the kernel by hand."""
        if previous is None or previous.objects != plan.objects or not deltas:
            return
        lines = [
            _describe(item) for delta in deltas.values() for item in (*delta.create, *delta.replace, *delta.delete)
        ]
        shown = "; ".join(lines[:5]) + (f"; and {len(lines) - 5} more" if len(lines) > 5 else "")
        log.warning("agent.drift_repaired", objects=lines)
        ref = ObjectRef("Node", self._node, uid=self._node)
        self._events.record(
            ref, "Warning", "DriftRepaired", f"Kernel state was changed by somebody else; repaired: {shown}"
        )

    def _announce(self, previous: NodePlan | None, plan: NodePlan, facts: NodeFacts) -> None:
        before = (
            set(previous.announcements)
            if previous
            else {item for item in plan.announcements if item[1] in facts.held and item[1] in facts.addresses}
        )
        for device, address in plan.announcements:
            if (device, address) not in before:
                task = asyncio.create_task(self._announcing_for_a_while(device, address))
                self._announcing.add(task)
                task.add_done_callback(self._announcing.discard)

    async def _announcing_for_a_while(self, device: str, address: IPAddress) -> None:
        started = asyncio.get_running_loop().time()
        for moment in ANNOUNCEMENTS:
            await asyncio.sleep(max(0.0, started + moment - asyncio.get_running_loop().time()))
            if self._last is not None and (device, address) not in self._last.announcements:
                return
            await asyncio.to_thread(self._hands.announce, device, address)

    async def _report(
        self, objects: Objects, previous: NodePlan | None, plan: NodePlan, assignments: dict[str, Assignment]
    ) -> None:
        """Status of the exits that this node holds or has lost, and an event for each change of holding."""
        stamp = self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        egresses = {egress.metadata.name: egress for egress in objects.egresses}
        for egress in egresses.values():
            wanted = self._wanted_status(egress, plan, assignments, stamp)
            if wanted != egress.status:
                await self._write(egress, wanted)
        before = dict(previous.held) if previous else {}
        for name, address in plan.held.items():
            if before.get(name) != address and not self._known(egresses[name].status, address):
                message = f"Assigned Egress {name} with IP {address} on Node {self._node}"
                self._tell(egresses.get(name), name, "IPAssigned", message)
        for name, address in before.items():
            if plan.held.get(name) != address:
                message = f"Unassigned Egress {name} with IP {address} from Node {self._node}"
                self._tell(egresses.get(name), name, "IPUnassigned", message)

    def _known(self, status: EgressStatus, address: IPAddress) -> bool:
        """Whether the status says already that we hold it: a restarted agent has assigned nothing anew."""
        return (status.egress_node, status.egress_ip) == (self._node, str(address))

    def _wanted_status(
        self, egress: Egress, plan: NodePlan, assignments: dict[str, Assignment], stamp: str
    ) -> EgressStatus:
        name, status = egress.metadata.name, egress.status
        if (address := plan.held.get(name)) is not None:
            return from_holder(status, self._node, address, stamp)
        assignment = assignments[name]
        if status.egress_node == self._node and assignment.static:
            return released(status, assignment.address, stamp)
        return status  # a pooled address that moved: its new holder says so, and until then nothing is unsaid

    async def _write(self, egress: Egress, status: EgressStatus) -> None:
        body = {
            "metadata": {"resourceVersion": egress.metadata.resource_version},
            "status": changes(egress.status, status),
        }
        try:
            await self._client.patch(EGRESSES, egress.metadata.name, body, subresource="status")
        except (Conflict, NotFound) as error:
            log.debug("agent.stale", error=str(error))  # the watch brings the newer object, and a new round
        except ApiError as error:
            log.warning("agent.status_failed", egress=egress.metadata.name, error=str(error))

    def _tell(self, egress: Egress | None, name: str, reason: str, message: str) -> None:
        log.info("agent.holding", reason=reason, message=message)
        ref = ObjectRef("Egress", name, uid=egress.metadata.uid if egress else "")
        self._events.record(ref, "Normal", reason, message)

    async def _heartbeat(self) -> None:
        while True:
            try:
                await renew_lease(
                    self._client,
                    NAMESPACE,
                    f"{LEASE_PREFIX}{self._node}",
                    self._node,
                    duration=timedelta(seconds=LEASE_SECONDS),
                    now=self._now(),
                )
            except ApiError as error:
                log.warning("agent.lease_failed", error=str(error))
                await asyncio.sleep(1.0)
                continue
            await asyncio.sleep(LEASE_RENEWAL)

    async def _renewing(self) -> None:
        while True:
            await self._do(self._hands.renew)
            await asyncio.sleep(RENEWAL)

    async def _watching_peers(self) -> None:
        while True:
            states = await asyncio.to_thread(self._hands.sessions)
            if states != self._states:
                log.info("agent.sessions", sessions=states)
                self._states = states
                self.wake()
            await asyncio.sleep(SESSION_POLL)


def _describe(item: KernelObject) -> str:
    return f"{item.kind.name.lower()} {item.key}"
