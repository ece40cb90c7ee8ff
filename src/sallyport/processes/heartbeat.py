"""The agent's sign of life: its Lease, which also carries what it has seen of its node."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from sallyport.apis.facts import FACTS_ANNOTATION, ROUTING_ANNOTATION, encode, encode_report
from sallyport.kube.client import Client
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
"""Seconds between two writes at least, also when facts change or a write fails."""


class Heartbeat:
    """Renews the lease of one node's agent. `publish` the facts first."""

    def __init__(self, client: Client, node: str, now: Callable[[], datetime]) -> None:
        self._client, self._node, self._now = client, node, now
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
            try:
                await renew_lease(
                    self._client,
                    NAMESPACE,
                    f"{LEASE_PREFIX}{self._node}",
                    self._node,
                    duration=DURATION,
                    now=self._now(),
                    annotations=self._annotations,
                )
            except ApiError as error:
                log.warning("agent.lease_failed", error=str(error))
                self._changed.set()
            await asyncio.sleep(PAUSE)
            try:
                await asyncio.wait_for(self._changed.wait(), RENEWAL - PAUSE)
            except TimeoutError:
                continue
