"""The agent's look at its node's external networks: sessions, routes, conflicts, and whether gateways' ways stand."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import structlog

from sallyport.model.plan import RoutingReport
from sallyport.model.state import Exit

log = structlog.get_logger(__name__)

INTERVAL = 0.5
"""Seconds between two looks at BIRD."""

Look = Callable[[Iterable[str], Iterable[tuple[str, ...]]], RoutingReport]


class Networks:
    """Looks, and tells: gateways of this node, by `tell`, whether their ways stand, and everybody, by `publish`, what
    the node has of each network. Looking is `look`'s, which blocks and may fail with OSError. `lost` is called when all
    sessions are gone at once: BIRD has ended, which is to be started again before its peers have given it up."""

    def __init__(
        self,
        look: Look,
        tell: Callable[[Mapping[str, str]], None],
        publish: Callable[[RoutingReport], None],
        lost: Callable[[], None],
    ) -> None:
        self._look, self._tell, self._publish, self._lost = look, tell, publish, lost
        self._tables: Mapping[str, int] = {}
        self._exits: Mapping[str, Exit] = {}
        self._standing: Mapping[str, str] | None = None
        self._filled: frozenset[str] = frozenset()
        self._states: Mapping[str, str] = {}

    def follow(
        self,
        tables: Mapping[str, int],
        exits: Mapping[str, Exit],
        standing: Mapping[str, str],
        filled: frozenset[str],
    ) -> None:
        """From now on: the networks that are served here, the exits that are bound to this node, what the last round
        says of each of these, and the networks to which a user has put routes himself."""
        self._tables, self._exits, self._standing, self._filled = tables, exits, standing, filled

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            if self._standing is not None:
                await self._once(self._standing)
            await asyncio.sleep(INTERVAL)

    async def _once(self, standing: Mapping[str, str]) -> None:
        lists = {item.networks for item in self._exits.values() if len(item.networks) > 1}
        report = RoutingReport()
        if self._tables:
            report = await asyncio.to_thread(self._look, sorted(self._tables), sorted(lists))
        told = {key: standing.get(key, "") or self._lacking(item, report) for key, item in self._exits.items()}
        self._publish(replace(report, standing=told))
        self._tell(by_pod(told))
        if report.sessions != self._states:
            log.info("agent.bgp_sessions", sessions=dict(report.sessions))
            self._states = report.sessions
            if not report.sessions:
                self._lost()

    def _lacking(self, exit_: Exit, report: RoutingReport) -> str:
        """An exit whose networks all lack routes leads nowhere."""
        lacking = [name for name in exit_.networks if not report.counts.get(name) and name not in self._filled]
        if not lacking or len(lacking) < len(exit_.networks):
            return ""
        return f"no route is known in external network {' or '.join(lacking)}"


def by_pod(told: Mapping[str, str]) -> dict[str, str]:
    """What is wrong with each gateway, by NAMESPACE/POD: with any of its exits, of which it has one per family."""
    found: dict[str, str] = {}
    for key in sorted(told):
        pod = key.rpartition("/")[0]
        found[pod] = found.get(pod, "") or told[key]
    return found
