"""Which agents live: those whose Leases go on changing before our eyes.

Source: k8s.io/client-go/tools/leaderelection, which also goes by when it has seen a lease change, and by no
time that is written in it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sallyport.apis.core import Lease
from sallyport.apis.leases import renewed
from sallyport.processes.settings import LEASE_PREFIX

LONGEST_STEP = 10.0
"""Seconds by which our listening goes on at most from one word of the API server to the next. Agents renew as often, so
that more of silence says nothing of them: it is the server that is not heard."""


@dataclass(slots=True)
class Renewals:
    """Verdicts from Leases, with the memory that they need.

    What counts is how long *we have listened* since a Lease changed: neither the clock of another machine nor a time
    in which the API server said nothing goes into it. So nobody is called dead because the server was away. `trusted`
    are nodes that lived when statuses were written last: they have the whole duration from our first look on.
    """

    trusted: Collection[str] = ()
    _heard: float | None = None
    _listened: float = 0.0
    _changed: dict[str, tuple[str, float]] = field(default_factory=dict)
    _alive: frozenset[str] = frozenset()

    def judge(self, leases: Iterable[Lease], heard: float, now: datetime) -> frozenset[str]:
        """Nodes whose agents live. `heard` is the monotonic second at which the server last said anything of Leases;
        of a Lease that is new to us, `now` by the server's clock says how old it is.

        Where all fall silent, those that did so last stay: more likely it is they who cannot reach the server, and
        there is nobody else to serve in their place.
        """
        if self._heard is not None:
            self._listened += min(max(heard - self._heard, 0.0), LONGEST_STEP)
        self._heard = heard
        ours = _of_agents(leases)
        for node in self._changed.keys() - ours.keys():
            del self._changed[node]
        for node, lease in ours.items():
            self._note(node, lease, 0.0 if node in self.trusted else _age(lease, now))
        alive = frozenset(node for node, lease in ours.items() if self._lives(node, lease))
        self._alive = alive or self._alive & ours.keys()
        return self._alive

    def _note(self, node: str, lease: Lease, age: float) -> None:
        stamp = lease.spec.renew_time or ""
        if node not in self._changed:
            self._changed[node] = (stamp, self._listened - age)
        elif self._changed[node][0] != stamp:
            self._changed[node] = (stamp, self._listened)

    def _lives(self, node: str, lease: Lease) -> bool:
        return self._listened - self._changed[node][1] <= (lease.spec.lease_duration_seconds or 0)


def _age(lease: Lease, now: datetime) -> float:
    """Seconds, at least 0; what nobody can tell is taken for old."""
    moment = renewed(lease)
    return float("inf") if moment is None else max(0.0, (now - moment).total_seconds())


def living_agents(leases: Iterable[Lease], now: datetime) -> frozenset[str]:
    """Nodes whose agents live, for who sees their Leases only once: at `now`, by the API server's clock."""
    return frozenset(
        node
        for node, lease in _of_agents(leases).items()
        if _age(lease, now) <= (lease.spec.lease_duration_seconds or 0)
    )


def _of_agents(leases: Iterable[Lease]) -> dict[str, Lease]:
    return {
        item.metadata.name.removeprefix(LEASE_PREFIX): item
        for item in leases
        if item.metadata.name.startswith(LEASE_PREFIX) and item.spec.renew_time and item.spec.lease_duration_seconds
    }
