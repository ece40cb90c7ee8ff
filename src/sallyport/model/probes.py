"""What probes, polls and an agent's word amount to. All moments are seconds of one monotonic clock."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of probing one target: the moment of its last success, and why it failed since then ("" for not)."""

    succeeded: float | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One way of probing the outside: `kind` is its name, `targets` are IP addresses (ICMP) or URLs (HTTP).

    `interval` is the number of seconds between the beginnings of two probes of a target, and how long an answer is
    waited for; `timeout` that after which a success counts no more (EgressGateway,
    spec.egressGatewayFailureDetection).
    """

    kind: str
    targets: tuple[str, ...]
    interval: float
    timeout: float

    def doubt(self, tried: Mapping[str, Tried], now: float) -> str:
        """Why the outside is not reached by this probe, one line; "" while one target at least is."""
        known = {target: tried.get(target, Tried()) for target in self.targets}
        if any(item.succeeded is not None and now - item.succeeded < self.timeout for item in known.values()):
            return ""
        if all(item.succeeded is None for item in known.values()):
            finding = f"no {self.kind} probe has succeeded yet"
        else:
            finding = f"no {self.kind} probe has succeeded for {self.timeout:g} s"
        failures = [f"{target}: {item.failure}" for target, item in known.items() if item.failure]
        return f"{finding} ({'; '.join(failures)})" if failures else finding


@dataclass(frozen=True, slots=True)
class Word:
    """What a node's agent has said of a gateway's way.

    `verdict` is "" when the way stands, else the reason why not, and None before the first answer; `at` the moment of
    the last answer; `silence` why none has come since then.
    """

    verdict: str | None = None
    at: float = 0.0
    silence: str = ""

    def silent(self, reason: str) -> "Word":
        """No answer was to be had, for that reason. What was said before stands for a while."""
        return replace(self, silence=reason)

    def doubt(self, now: float, patience: float) -> str:
        """Why the agent does not vouch for the way, one line; "" while it does. The last answer holds for `patience`
        seconds (spec.egressGatewayFailureDetection.healthTimeoutDataStoreSeconds)."""
        because = f": {self.silence}" if self.silence else ""
        if self.verdict is None:
            return f"the node's agent has not answered yet{because}"
        if self.verdict:
            return f"the node's agent: {self.verdict}"
        if now - self.at >= patience:
            return f"the node's agent has not answered for {patience:g} s{because}"
        return ""


@dataclass(frozen=True, slots=True)
class Health:
    """All that a gateway's readiness depends on. `tried` is by kind of probe and target."""

    probes: tuple[Probe, ...]
    patience: float
    word: Word = Word()
    tried: Mapping[tuple[str, str], Tried] = field(default_factory=dict)

    def heard(self, word: Word) -> "Health":
        """The node's agent was asked, and this is what is known now."""
        return replace(self, word=word)

    def succeeded(self, kind: str, target: str, now: float) -> "Health":
        """A probe was answered at `now`."""
        return replace(self, tried={**self.tried, (kind, target): Tried(now)})

    def failed(self, kind: str, target: str, reason: str) -> "Health":
        """A probe was not answered. Earlier successes hold for their time."""
        before = self.tried.get((kind, target), Tried())
        return replace(self, tried={**self.tried, (kind, target): replace(before, failure=reason)})

    def doubts(self, now: float) -> tuple[str, ...]:
        """Why the gateway is not ready, a line each; none when it is. Of each kind of probe one success is enough."""
        said = [self.word.doubt(now, self.patience)]
        said += [probe.doubt(self._of(probe), now) for probe in self.probes]
        return tuple(line for line in said if line)

    def _of(self, probe: Probe) -> dict[str, Tried]:
        return {target: item for (kind, target), item in self.tried.items() if kind == probe.kind}


@dataclass(frozen=True, slots=True)
class Polled:
    """How the polls of one remote gateway ended: failures since the last success, and whether the last one succeeded
    (None before the first)."""

    failures: int = 0
    up: bool | None = None

    def after(self, success: bool) -> "Polled":
        """One poll later."""
        return Polled(0 if success else self.failures + 1, success)

    def failed(self, count: int) -> bool:
        """Whether the gateway has failed: `count` polls in a row (FelixConfiguration, egressGatewayPollFailureCount).
        One success ends that; one that is new has not failed."""
        return self.failures >= count


@dataclass(frozen=True, slots=True)
class PollCounts:
    """Remote gateways that are polled, those whose last poll succeeded, and those that have failed: the statuses of
    Calico's metric felix_egress_gateway_remote_polls. One that is new, or on its way to failing, is in neither."""

    total: int = 0
    up: int = 0
    probe_failed: int = 0


def count_polls(gateways: Iterable[Polled], failure_count: int) -> PollCounts:
    """How many of the gateways are in each status."""
    known = list(gateways)
    return PollCounts(
        total=len(known),
        up=sum(item.up is True for item in known),
        probe_failed=sum(item.failed(failure_count) for item in known),
    )
