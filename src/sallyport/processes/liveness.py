"""What BFD sessions say of other nodes, with the memory that a verdict needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sallyport.model.plan import Liveness
from sallyport.model.state import Node


def by_address(nodes: Mapping[str, Node]) -> dict[str, str]:
    """Names of nodes by each of their addresses, which are what BIRD knows its peers by."""
    return {str(address): node.name for node in nodes.values() for address in node.addresses}


@dataclass(slots=True)
class Sessions:
    """Verdicts per peer. A session that was up and is not any more means down at once; one that has never been up
    means down only after `grace` seconds, so that a starting cluster does not take addresses from nodes that are
    a moment slower."""

    grace: float
    _first_seen: dict[str, float] = field(default_factory=dict)
    _was_up: set[str] = field(default_factory=set)
    _vouched: set[str] = field(default_factory=set)

    def vouch(self, peer: str) -> None:
        """The peer has shown in another way that it lives, by claiming an address that we had taken over from it:
        it is only the path between us that is broken. That holds until its session comes up again."""
        self._vouched.add(peer)

    def judge(self, states: Mapping[str, str], now: float) -> dict[str, Liveness]:
        """Verdicts for BIRD's session states by peer at monotonic second `now`."""
        for gone in self._first_seen.keys() - states.keys():
            del self._first_seen[gone]
            self._was_up.discard(gone)
            self._vouched.discard(gone)
        verdicts: dict[str, Liveness] = {}
        for peer, state in states.items():
            since = self._first_seen.setdefault(peer, now)
            if state == "Up":
                self._was_up.add(peer)
                self._vouched.discard(peer)
                verdicts[peer] = Liveness.UP
            elif peer in self._vouched:
                verdicts[peer] = Liveness.UP
            elif peer in self._was_up or now - since >= self.grace:
                verdicts[peer] = Liveness.DOWN
            else:
                verdicts[peer] = Liveness.UNKNOWN
        return verdicts
