"""The agent's hands: what `processes.agent.Hands` asks for, done by the drivers in this network namespace."""

import asyncio
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from pathlib import Path

from sallyport.drivers.announce import announce
from sallyport.drivers.conntrack import forget
from sallyport.drivers.facts import gather
from sallyport.drivers.kernel import Kernel
from sallyport.drivers.monitor import Monitor, TableMonitor
from sallyport.drivers.routing import Router
from sallyport.model.kernel import Element, KernelObject, Kind
from sallyport.model.plan import NodeFacts, RoutingReport
from sallyport.model.settings import Settings
from sallyport.model.state import ClusterState, IPAddress
from sallyport.processes.survey import Survey
from sallyport.reconcile.diff import Actual
from sallyport.reconcile.sequence import Step

FORGETTING = 180
"""Seconds for which another node may still bring datagrams of a flow that was forgotten here: its own conntrack keeps
one for 120 after the last (nf_conntrack_udp_timeout_stream). TCP needs no such time, since its flags tell."""


class KernelHands:
    """One node's kernel and BIRD."""

    def __init__(self, settings: Settings, runtime_dir: Path) -> None:
        self._settings = settings
        self._kernel = Kernel(settings, runtime_dir)
        self._survey = Survey(Router(self._kernel.bird), time.monotonic)

    def watch(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        """Call `wake` whenever the kernel tells of a change of links, addresses, routes or rules, or of something that
        was removed from our table."""
        Monitor(wake).attach(loop)
        TableMonitor(wake, self._settings.table_name).attach(loop)

    def read(self) -> Actual:
        return self._kernel.read()

    def sysctls(self, paths: Iterable[str]) -> dict[object, KernelObject]:
        return self._kernel.sysctls(paths)

    def observe(self, state: ClusterState, node: str, actual: Actual) -> NodeFacts:
        own = state.nodes.get(node)
        held = frozenset(
            ip_address(item.member)
            for item in actual.get(Kind.EXIT_ELEMENT, {}).values()
            if isinstance(item, Element) and item.set.startswith("held")
        )
        remote = [
            network for name, other in sorted(state.nodes.items()) if name != node for network in other.pod_networks
        ]
        settings = self._settings
        return gather(
            node,
            own.addresses if own else (),
            held,
            remote[:1],
            settings.device_prefix,
            tables=[item.table for item in state.external.values() if item.table is not None],
            route_protocol=settings.route_protocol,
        )

    def apply(self, steps: Iterable[Step]) -> list[str]:
        return self._kernel.apply(steps)

    def forget_connections(self, addresses: Iterable[IPAddress]) -> list[str]:
        forgotten = list(addresses)
        failure = self._kernel.tables.note_forgotten(forgotten, FORGETTING)
        return [f"nft forgotten: {failure}"] if failure else forget(forgotten)

    def routing(self, networks: Iterable[str], lists: Iterable[tuple[str, ...]]) -> RoutingReport:
        return self._survey.report(networks, lists)

    def undecided(self) -> frozenset[IPAddress]:
        return self._kernel.tables.undecided()

    def sessions(self) -> dict[str, str]:
        return self._kernel.bird.sessions()

    def renew(self) -> None:
        self._kernel.tables.renew(self._settings.dead_after)

    def announce(self, device: str, address: IPAddress) -> None:
        announce(device, address)
