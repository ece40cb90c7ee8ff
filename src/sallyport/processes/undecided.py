"""Pods that wait for a decision: the guard keeps them in the cluster, and somebody has to be told when that lasts."""

from dataclasses import dataclass, field
from ipaddress import ip_address

from sallyport.model.kernel import ClientElement
from sallyport.model.plan import NodePlan
from sallyport.model.state import IPAddress

BOUND = 10.0
"""Seconds that a decision may take; from a pod's first packet to its address in the API it is well below one."""


@dataclass(slots=True)
class Undecided:
    """Since when each address has been waiting, in monotonic seconds, and which of them were told of."""

    bound: float = BOUND
    _since: dict[IPAddress, float] = field(default_factory=dict)
    _told: set[IPAddress] = field(default_factory=set)

    def late(self, stopped: frozenset[IPAddress], plan: NodePlan, now: float) -> list[IPAddress]:
        """Those of the addresses that the guard has stopped that wait for longer than the bound, each told once."""
        waiting = stopped - decided(plan)
        self._since = {address: self._since.get(address, now) for address in waiting}
        self._told &= waiting
        found = [address for address, since in self._since.items() if now - since >= self.bound]
        news = sorted(set(found) - self._told, key=lambda item: (item.version, int(item)))
        self._told.update(news)
        return news


def decided(plan: NodePlan) -> frozenset[IPAddress]:
    """Pod addresses that the plan lets go or governs."""
    return frozenset(
        ip_address(item.member)
        for item in plan.objects
        if isinstance(item, ClientElement) and item.set[:-1] in ("free", "governed")
    )
