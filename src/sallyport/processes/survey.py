"""What BIRD has of a node's external networks, put together for a report."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from sallyport.drivers.routing import Router
from sallyport.model.plan import Conflict, RoutingReport
from sallyport.model.state import IPNetwork
from sallyport.plan.conflicts import conflicts

SHOWN = 256
"""Routes of a network that a report names."""
REREAD = 5.0
"""Seconds after which routes are read again although their number is the same: a table may have 100,000."""


PATIENCE = 40.0
"""Seconds for which a BIRD that was lost is taken to come back: its recovery has 30, of which its start is no part."""


class Survey:
    """Looks at BIRD. Sessions and counts are asked for each time; the routes themselves only when one of these has
    changed, or some time has passed. Where BIRD has just been lost, a network has what it had: its routes outlive BIRD
    in the kernel, and gateways lead on."""

    def __init__(self, router: Router, clock: Callable[[], float]) -> None:
        self._router, self._clock = router, clock
        self._last = RoutingReport()
        self._read_for: tuple[object, ...] = ()
        self._read_at = 0.0
        self._whole_at = clock()

    def report(self, networks: Iterable[str], lists: Iterable[tuple[str, ...]]) -> RoutingReport:
        """The report, without `standing`, of these networks and of conflicts within each list of them."""
        names, wanted = tuple(networks), tuple(lists)
        sessions, counts = dict(self._router.sessions()), dict(self._router.counts())
        sessions = {name: state.partition(":")[0] for name, state in sessions.items()}
        kept = self._kept()
        counts = {name: counts.get(name) or kept.get(name, 0) for name in names}
        fresh = replace(self._last, sessions=sessions, counts=counts)
        reason = (names, wanted, tuple(counts.items()), tuple(sorted(sessions.items())))
        if reason != self._read_for or self._clock() - self._read_at > REREAD:
            self._read_for, self._read_at = reason, self._clock()
            fresh = replace(fresh, routes={name: self._router.learned(name, SHOWN) for name in names})
            fresh = replace(fresh, conflicts={item: self._conflicts(item) for item in wanted})
        self._last = fresh
        return fresh

    def _kept(self) -> Mapping[str, int]:
        """Numbers of routes that stand for those that BIRD does not know yet."""
        now = self._clock()
        if not self._router.recovering():
            self._whole_at = now
            return {}
        return self._last.counts if now - self._whole_at < PATIENCE else {}

    def _conflicts(self, networks: tuple[str, ...]) -> tuple[Conflict, ...]:
        prefixes: Mapping[str, frozenset[IPNetwork]] = {name: self._router.prefixes(name) for name in networks}
        return conflicts(networks, prefixes)
