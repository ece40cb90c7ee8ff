"""The agent's hands: what `processes.agent.Hands` asks for, done by the drivers in this network namespace."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from sallyport.drivers.announce import announce
from sallyport.drivers.conntrack import forget
from sallyport.drivers.facts import TableUse, gather, table_use
from sallyport.drivers.kernel import Kernel
from sallyport.drivers.monitor import Monitor, TableMonitor
from sallyport.drivers.routing import Router
from sallyport.model.kernel import Element, KernelObject, Kind
from sallyport.model.plan import NodeFacts, RoutingReport
from sallyport.model.settings import Settings
from sallyport.model.state import ClusterState, IPAddress
from sallyport.plan.networks import matches
from sallyport.processes.survey import Survey
from sallyport.reconcile.diff import Actual
from sallyport.reconcile.sequence import Step

FORGETTING = 180
"""Seconds for which another node may still bring datagrams of a flow that was forgotten here: its own conntrack keeps
one for 120 after the last (nf_conntrack_udp_timeout_stream). TCP needs no such time, since its flags tell."""


SESSION_POLL = 0.1
"""Seconds between looks at BIRD's sessions; one look costs well under a millisecond."""
SESSIONS_TOLD = 0.5
"""Seconds after which sessions are told though they are the same: nobody waits longer for the agent to end."""
RESEEN = 4.5
"""Seconds after which the node's links are looked at anew, though nothing was heard: less than a round comes after."""
TABLES_RESEEN = 30.0
"""Seconds after which it is looked anew who else uses the tables of external networks, though nothing was heard."""


class KernelHands:
    """One node's kernel and BIRD."""

    def __init__(self, settings: Settings, runtime_dir: Path) -> None:
        self._settings = settings
        self._kernel = Kernel(settings, runtime_dir)
        self._news, self._used_at = True, 0.0
        self._used, self._used_tables = TableUse(), frozenset[int]()
        self._links: Monitor | None = None
        self._tables: TableMonitor | None = None
        self._changed = True
        self._seen: tuple[object, ...] = ()
        self._seen_at, self._stale = 0.0, True
        self._facts = NodeFacts("")
        self._survey = Survey(Router(self._kernel.bird), time.monotonic)

    def watch(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        """Call `wake` whenever the kernel tells of a change of links, addresses, routes or rules, or of our tables,
        though it was we who made it."""

        def changed() -> None:
            self._changed = True
            wake()

        def news() -> None:
            if links.foreign:
                self._news = self._stale = True
                links.foreign = False
            changed()

        links = Monitor(news, self._settings.route_protocol)
        self._links, self._tables = links, TableMonitor(changed, self._settings.table_name)
        self._links.attach(loop)
        self._tables.attach(loop)

    def changed(self) -> bool:
        if self._links is None or self._tables is None:
            return True
        self._links.hear()
        self._tables.hear()
        return self._changed

    def stale(self) -> bool:
        return self._stale

    def read(self) -> Actual:
        self.changed()  # what was said until now is in what is read now
        self._changed = False
        found = self._kernel.read()
        if self._links is not None:
            self._links.devices = self._kernel.devices
        return found

    def sysctls(self, paths: Iterable[str]) -> dict[object, KernelObject]:
        return self._kernel.sysctls(paths)

    def observe(self, state: ClusterState, node: str, actual: Actual) -> NodeFacts:
        own = state.nodes.get(node)
        held = frozenset(
            ip_address(item.member)
            for item in actual.get(Kind.EXIT_ELEMENT, {}).values()
            if isinstance(item, Element) and item.set.startswith("held")
        )
        others = (state.nodes[name] for name in sorted(state.nodes) if name != node)
        remote = next((other.pod_networks[:1] for other in others if other.pod_networks), ())
        patterns = state.routing.device_patterns
        used = self._table_use(state)
        asked = (self._kernel.interfaces, node, own and own.addresses, held, remote, patterns, used)
        old = time.monotonic() - self._seen_at > RESEEN
        if asked != self._seen or self._stale or old or self._links is None:
            self._stale, self._seen_at = False, time.monotonic()
            addresses, prefix = own.addresses if own else (), self._settings.device_prefix
            facts = gather(node, addresses, held, remote, prefix, used, self._kernel.interfaces)
            fitting = tuple(name for name in facts.devices if matches(name, patterns))
            self._seen, self._facts = asked, replace(facts, devices=fitting)
        return self._facts

    def _table_use(self, state: ClusterState) -> TableUse:
        """Asked anew when somebody else has changed a route or a rule, and now and then."""
        tables = frozenset(item.table for item in state.external.values() if item.table is not None)
        old = time.monotonic() - self._used_at > TABLES_RESEEN
        if self._news or old or tables != self._used_tables:
            self._news, self._used_at, self._used_tables = False, time.monotonic(), tables
            self._used = table_use(tables, self._settings.route_protocol)
        return self._used

    def apply(self, steps: Iterable[Step]) -> list[str]:
        return self._kernel.apply(steps)

    def forget_connections(self, addresses: Iterable[IPAddress]) -> list[str]:
        forgotten = list(addresses)
        failure = self._kernel.tables.note_forgotten(forgotten, FORGETTING)
        return [f"nft forgotten: {failure}"] if failure else forget(forgotten, self._settings.mark_mask)

    def routing(self, networks: Iterable[str], lists: Iterable[tuple[str, ...]]) -> RoutingReport:
        return self._survey.report(networks, lists)

    def undecided(self) -> frozenset[IPAddress]:
        return self._kernel.tables.undecided()

    def sessions(self) -> dict[str, str]:
        return self._kernel.bird.sessions()

    def sessions_after(self, known: dict[str, str]) -> dict[str, str]:
        began = time.monotonic()
        while (states := self.sessions()) == known and time.monotonic() - began < SESSIONS_TOLD:
            time.sleep(SESSION_POLL)
        return states

    def peers(self) -> dict[str, str]:
        return self._kernel.bird.peers()

    def renew(self) -> None:
        self._kernel.tables.renew(self._settings.dead_after)

    def prolong(self) -> bool:
        return self._kernel.tables.prolong(self._settings.dead_after)

    def announce(self, device: str, address: IPAddress) -> None:
        announce(device, address)
