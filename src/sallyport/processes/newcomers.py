"""Pods that are new while something is not heard of wait until everything is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sallyport.apis.core import Pod
from sallyport.kube.identity import Key

SETTLED = 1.0
"""Seconds for which everything has to be heard of: a watch that goes on tells at once what it has missed."""


@dataclass(slots=True)
class Newcomers:
    """What governs a pod may be just what is not heard of, as an Egress whose watch comes back later than that of pods:
    taken for one that nothing governs, the pod would leave with its node's address. One that is not decided about does
    not leave at all. Pods that are known go on changing, and those that are gone are."""

    waiting: dict[Key, Pod] = field(default_factory=dict)
    _known: dict[Key, str] = field(default_factory=dict)
    _unsettled: float = float("-inf")

    def admit(self, changed: Mapping[Key, Pod | None], whole: bool, now: float) -> dict[Key, Pod | None]:
        """What of these changes counts at monotonic second `now`, and of those that had to wait; `whole`: everything is
        heard of."""
        if not whole:
            self._unsettled = now
        settled = now - self._unsettled >= SETTLED
        counting: dict[Key, Pod | None] = {}
        for key, pod in {**self.waiting, **changed}.items():
            if pod is not None and self._known.get(key) != pod.metadata.uid and not settled:
                self.waiting[key] = pod
                pod = None  # who had its name before is gone
            else:
                self.waiting.pop(key, None)
            if pod is None:
                self._known.pop(key, None)
            else:
                self._known[key] = pod.metadata.uid
            counting[key] = pod
        return counting
