"""A node's polls of the gateways on other nodes that its clients use (FelixConfiguration, egressGatewayPollInterval and
egressGatewayPollFailureCount)."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import structlog

from sallyport.drivers.web import Get, WebError
from sallyport.kube.clock import Clock, within
from sallyport.model.probes import PollCounts, Polled, count_polls

log = structlog.get_logger(__name__)

INTERVAL = 10.0
"""Seconds between two polls of a gateway."""
FAILURE_COUNT = 3
"""Failures in a row that make a gateway a failed one."""


@dataclass(slots=True, eq=False)
class _Gateway:
    """`begun` is the moment at which its last poll began, or would have begun for one that is new; `failure` says how
    that ended, "" for well."""

    url: str
    begun: float
    polled: Polled = field(default_factory=Polled)
    failure: str = ""
    busy: bool = False


class Poller:
    """Polls the gateways that it is told to watch. `on_change` is called whenever `failed` has become another set.
    `interval` and `failure_count` may be set at any time.

    A gateway's first poll comes at a random moment of the first interval, and the others an interval apart each: so
    neither all gateways are polled at once, nor one gateway by all nodes.
    """

    def __init__(
        self,
        get: Get,
        clock: Clock,
        random: Random,
        *,
        on_change: Callable[[], None],
        interval: float = INTERVAL,
        failure_count: int = FAILURE_COUNT,
    ) -> None:
        self._get, self._clock, self._random, self._on_change = get, clock, random, on_change
        self._interval, self._failure_count = interval, failure_count
        self._gateways: dict[str, _Gateway] = {}
        self._failed: frozenset[str] = frozenset()
        self._wake = asyncio.Event()

    @property
    def failed(self) -> frozenset[str]:
        """Keys of the watched gateways that have failed. One that is new has not; one success ends it."""
        return self._failed

    @property
    def counts(self) -> PollCounts:
        """How many gateways are watched, up, and failed: for metrics."""
        return count_polls((gateway.polled for gateway in self._gateways.values()), self._failure_count)

    @property
    def interval(self) -> float:
        """Seconds between two polls of a gateway. An answer is waited for half as long."""
        return self._interval

    @interval.setter
    def interval(self, seconds: float) -> None:
        if seconds != self._interval:
            self._interval = seconds
            self._wake.set()

    @property
    def failure_count(self) -> int:
        """Failures in a row that make a gateway a failed one; counts for failures that have been, too."""
        return self._failure_count

    @failure_count.setter
    def failure_count(self, count: int) -> None:
        self._failure_count = count
        self._judge()

    def watch(self, targets: Mapping[str, str]) -> None:
        """Poll these from now on, URLs by the gateway's key, and no others. A known key with another URL is new."""
        known = self._gateways
        self._gateways = {
            key: known[key] if key in known and known[key].url == url else self._newcomer(url)
            for key, url in targets.items()
        }
        self._judge()
        self._wake.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                now = self._clock.monotonic()
                for gateway in self._gateways.values():
                    if not gateway.busy and gateway.begun + self._interval <= now:
                        gateway.begun, gateway.busy = now, True
                        group.create_task(self._poll(gateway))
                await self._rest(now)

    def _newcomer(self, url: str) -> _Gateway:
        return _Gateway(url, self._clock.monotonic() - self._random.random() * self._interval)

    async def _rest(self, now: float) -> None:
        """Until the next poll is due, or something has changed."""
        due = [gateway.begun + self._interval for gateway in self._gateways.values() if not gateway.busy]
        if not due:
            await self._wake.wait()
            return
        with suppress(TimeoutError):
            await within(self._clock, min(due) - now, self._wake.wait())

    async def _poll(self, gateway: _Gateway) -> None:
        gateway.failure = await self._ask(gateway.url)
        gateway.polled = gateway.polled.after(not gateway.failure)
        gateway.busy = False
        self._judge()
        self._wake.set()

    async def _ask(self, url: str) -> str:
        """Why the gateway is not ready; "" when it is."""
        patience = self._interval / 2
        try:
            answer = await within(self._clock, patience, self._get(url))
        except WebError as error:
            return str(error)
        except TimeoutError:
            return f"no answer within {patience:g} s"
        return "" if answer.status == 200 else f"{answer.status} {' '.join(answer.text.split())}"

    def _judge(self) -> None:
        failed = frozenset(key for key, gateway in self._gateways.items() if gateway.polled.failed(self._failure_count))
        for key in sorted(failed - self._failed):
            log.warning("agent.gateway_failed", gateway=key, reason=self._gateways[key].failure)
        for key in sorted(self._failed - failed):
            log.info("agent.gateway_failed_no_more", gateway=key, watched=key in self._gateways)
        if failed != self._failed:
            self._failed = failed
            self._on_change()
