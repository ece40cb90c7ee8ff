"""What an agent writes to the API: status and events of the egress IPs that its node holds.

It works beside the agent's loop and never holds it up: an address moves without the API server's help.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

import structlog

from sallyport.apis.antrea.status import failed, from_holder, released
from sallyport.apis.antrea.types import EGRESSES, Egress, EgressStatus
from sallyport.apis.conditions import changes
from sallyport.kube.client import Client
from sallyport.kube.clock import Backoff
from sallyport.kube.errors import ApiError, Conflict, NotFound, Outage
from sallyport.kube.events import Recorder
from sallyport.model.plan import Assignment, NodePlan
from sallyport.model.state import IPAddress, ObjectRef

log = structlog.get_logger(__name__)

RETRY = 1.0
"""Seconds until a write is tried again that the API server did not take; doubled each time, to at most the next one."""
LONGEST = 10.0
_ASKER = "statuses"


@dataclass(frozen=True, slots=True)
class Round:
    """One round of the agent: the objects that it saw, and what it made of them. `failed` says, by Egress, why the
    kernel did not take what the plan wanted it to hold."""

    egresses: Mapping[str, Egress]
    assignments: Mapping[str, Assignment]
    plan: NodePlan
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def addresses(self) -> dict[str, IPAddress]:
        """What the plan wants its node to hold for these objects; other exits are not theirs to tell of."""
        return {name: address for name, address in self.plan.held.items() if name in self.egresses}

    def held(self, node: str) -> dict[str, IPAddress]:
        """What the node holds and may claim: not a static address that another node has claimed."""
        return {
            name: address
            for name, address in self.addresses.items()
            if name not in self.failed and not self.claimed_elsewhere(name, node)
        }

    def claimed_elsewhere(self, name: str, node: str) -> bool:
        """Whether another node says that it has this static address: somebody has put it on both."""
        status = self.egresses[name].status
        same = status.egress_ip == str(self.plan.held[name])
        return self.assignments[name].static and same and status.egress_node not in ("", node)


class Reporter:
    """Writes for one node. Only the newest round counts."""

    def __init__(
        self,
        client: Client,
        events: Recorder,
        node: str,
        now: Callable[[], datetime],
        random: Random | None = None,
    ) -> None:
        self._client, self._events, self._node, self._now = client, events, node, now
        self._backoff = Backoff(random or Random(), first=RETRY, cap=LONGEST)
        self._refused: dict[str, str] = {}
        self._round: Round | None = None
        self._wake = asyncio.Event()
        self._held: dict[str, IPAddress] | None = None
        self._told: dict[str, str] = {}

    def report(self, done: Round) -> None:
        """Take note of a round that was carried out."""
        self._tell_moves(done)
        self._round = done
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._round is None or await self._write_all(self._round):
                self._backoff.reset()
            else:
                await asyncio.sleep(self._backoff.next())
                self._wake.set()

    async def _write_all(self, done: Round) -> bool:
        """Whether all is written that this round has to say. What the API server cannot take now ends the round."""
        stamp = self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        complete = True
        for egress in done.egresses.values():
            wanted = self._wanted(egress, done, stamp)
            if wanted == egress.status:
                continue
            try:
                complete = await self._write(egress, wanted) and complete
            except Outage as error:
                self._client.reach.failed(_ASKER, error)
                return False
        self._client.reach.answered(_ASKER)
        return complete

    def _wanted(self, egress: Egress, done: Round, stamp: str) -> EgressStatus:
        name, status = egress.metadata.name, egress.status
        if name in done.failed:
            mine = status.egress_node in ("", self._node)
            return failed(status, self._node, done.failed[name], stamp) if mine else status
        if (address := done.plan.held.get(name)) is not None:
            return from_holder(status, self._node, address, stamp, static=done.assignments[name].static)
        assignment = done.assignments[name]
        if status.egress_node == self._node and assignment.static:
            return released(status, assignment.address, stamp)
        return status  # a pooled address that moved: its new holder says so, and until then nothing is unsaid

    async def _write(self, egress: Egress, status: EgressStatus) -> bool:
        body = {
            "metadata": {"resourceVersion": egress.metadata.resource_version},
            "status": changes(egress.status, status),
        }
        try:
            await self._client.patch(EGRESSES, egress.metadata.name, body, subresource="status")
        except (Conflict, NotFound) as error:
            log.debug("agent.stale", error=str(error))  # the watch brings the newer object, and a new round
        except Outage:
            raise
        except ApiError as error:
            if self._refused.get(egress.metadata.name) != str(error):
                log.warning("agent.status_failed", egress=egress.metadata.name, error=str(error))
            self._refused[egress.metadata.name] = str(error)
            return False
        self._refused.pop(egress.metadata.name, None)
        return True

    def _tell_moves(self, done: Round) -> None:
        """An event for each address that is held now and was not, and the other way round."""
        held = done.held(self._node)
        before = self._known(done) if self._held is None else self._held
        self._held = held
        for name, address in held.items():
            if before.get(name) != address:
                message = f"Assigned Egress {name} with IP {address} on Node {self._node}"
                self._tell(done, name, "IPAssigned", message)
        for name, address in before.items():
            if held.get(name) != address:
                message = f"Unassigned Egress {name} with IP {address} from Node {self._node}"
                self._tell(done, name, "IPUnassigned", message)
        for name, reason in self._troubles(done).items():
            if self._told.get(name) != reason:
                self._warn(done, name, reason)
        self._told = self._troubles(done)

    def _troubles(self, done: Round) -> dict[str, str]:
        """What keeps this node from holding an address that it is to hold, by Egress."""
        twice = {
            name: f"IP {address} is on an interface here too, but is that of {done.egresses[name].status.egress_node}"
            for name, address in done.addresses.items()
            if done.claimed_elsewhere(name, self._node)
        }
        return twice | {name: why for name, why in done.failed.items() if name in done.egresses}

    def _warn(self, done: Round, name: str, reason: str) -> None:
        log.warning("agent.not_holding", egress=name, reason=reason)
        ref = ObjectRef("Egress", name, uid=done.egresses[name].metadata.uid)
        self._events.record(ref, "Warning", "AssignmentError", f"Node {self._node}: {reason}")

    def _known(self, done: Round) -> dict[str, IPAddress]:
        """What the statuses say that this node holds: a restarted agent has assigned nothing anew."""
        return {
            name: address
            for name, address in done.addresses.items()
            if (status := done.egresses[name].status).egress_node == self._node and status.egress_ip == str(address)
        }

    def _tell(self, done: Round, name: str, reason: str, message: str) -> None:
        log.info("agent.holding", reason=reason, message=message)
        egress = done.egresses.get(name)
        self._events.record(
            ObjectRef("Egress", name, uid=egress.metadata.uid if egress else ""), "Normal", reason, message
        )
