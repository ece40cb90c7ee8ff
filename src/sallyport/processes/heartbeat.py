"""The agent's sign of life: its Lease, which also carries what it has seen of its node."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

import structlog

from sallyport.apis.facts import FACTS_ANNOTATION, ROUTING_ANNOTATION, UNHEARD_ANNOTATION, encode, encode_report
from sallyport.kube.client import Client
from sallyport.kube.clock import Backoff
from sallyport.kube.errors import ApiError
from sallyport.kube.lease import renew_lease
from sallyport.model.plan import NodeFacts, RoutingReport
from sallyport.processes.settings import LEASE_PREFIX, NAMESPACE

log = structlog.get_logger(__name__)

DURATION = timedelta(seconds=40)
"""After this long without a renewal the controller ranks the node no more."""
RENEWAL = 10.0
"""Seconds between renewals."""
PAUSE = 1.0
"""Seconds between two writes at least, also when facts change."""
LONGEST = 8.0
"""Seconds until a renewal is tried again that failed, at most: with the patience for it, two fit into the duration."""


class Heartbeat:
    """Renews the lease of one node's agent. `publish` the facts first. `unheard` says, a line for each kind, what the
    agent hears nothing of at present: that goes with each renewal, too."""

    def __init__(
        self,
        client: Client,
        node: str,
        now: Callable[[], datetime],
        unheard: Callable[[], list[str]],
        random: Random | None = None,
    ) -> None:
        self._client, self._node, self._now, self._unheard = client, node, now, unheard
        self._backoff = Backoff(random or Random(), first=PAUSE, cap=LONGEST)
        self._refused = ""
        self._annotations: dict[str, str] = {FACTS_ANNOTATION: ""}
        self._changed = asyncio.Event()

    def publish(self, facts: NodeFacts) -> None:
        """Have the next renewal carry these facts; soon, when they are news."""
        self._put(FACTS_ANNOTATION, encode(facts))

    def publish_routing(self, report: RoutingReport) -> None:
        """Have the next renewal carry this report of external networks; soon, when it is news."""
        self._put(ROUTING_ANNOTATION, encode_report(report))

    def _put(self, name: str, text: str) -> None:
        if text != self._annotations.get(name):
            self._annotations[name] = text
            self._changed.set()

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            self._changed.clear()
            if not await self._renewed():
                await asyncio.sleep(self._backoff.next())
                continue
            self._backoff.reset()
            await asyncio.sleep(PAUSE)
            try:
                await asyncio.wait_for(self._changed.wait(), RENEWAL - PAUSE)
            except TimeoutError:
                continue

    async def _renewed(self) -> bool:
        name = f"{LEASE_PREFIX}{self._node}"
        self._annotations[UNHEARD_ANNOTATION] = "\n".join(self._unheard())
        try:
            await renew_lease(
                self._client,
                NAMESPACE,
                name,
                self._node,
                duration=DURATION,
                now=self._now(),
                annotations=self._annotations,
            )
        except ApiError as error:
            if not self._client.reach.failed(name, error) and str(error) != self._refused:
                log.warning("agent.lease_refused", error=str(error))
            self._refused = str(error)
            return False
        self._client.reach.answered(name)
        self._refused = ""
        return True
