"""What a node's BIRD has of its networks, put together, and how often it is asked for all of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from sallyport.drivers.routing import Router
from sallyport.model.plan import Learned
from sallyport.model.state import IPNetwork
from sallyport.processes.survey import PATIENCE, REREAD, SHOWN, Survey

SHARED = ip_network("105.8.10.0/24")
ROUTE = Learned(SHARED, ip_address("172.31.11.1"), "red0")


@dataclass
class Told(Router):
    """What a BIRD says, and how often it was asked for its routes."""

    states: dict[str, str] = field(default_factory=lambda: {"a": "Established", "b": "Active: Socket: no route"})
    numbers: dict[str, int] = field(default_factory=lambda: {"red": 1, "yellow": 1})
    asked: list[str] = field(default_factory=list)
    lost: bool = False

    def recovering(self) -> bool:
        return self.lost

    def sessions(self) -> Mapping[str, str]:
        return self.states

    def counts(self) -> Mapping[str, int]:
        return self.numbers

    def learned(self, network: str, limit: int) -> tuple[Learned, ...]:
        assert limit == SHOWN
        self.asked.append(network)
        return (ROUTE,)

    def prefixes(self, network: str) -> frozenset[IPNetwork]:
        return frozenset({SHARED})


class Clock:
    """Seconds, as told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_sessions_counts_routes_and_conflicts_are_told() -> None:
    found = Survey(Told(), Clock()).report(["red", "yellow", "blue"], [("red", "yellow")])
    assert found.sessions == {"a": "Established", "b": "Active"}
    assert found.counts == {"red": 1, "yellow": 1, "blue": 0}
    assert found.routes["red"] == (ROUTE,)
    ((winner, loser),) = [(item.winner, item.loser) for item in found.conflicts["red", "yellow"]]
    assert (winner, loser) == ("red", "yellow")
    assert found.standing == {}


def test_routes_are_read_again_only_when_their_number_or_a_session_has_changed() -> None:
    """A table may be large; sessions and numbers are told each time."""
    router = Told()
    survey = Survey(router, Clock())
    survey.report(["red"], [])
    router.states["a"] = "Established: seen before"
    assert survey.report(["red"], []).routes == {"red": (ROUTE,)}
    assert router.asked == ["red"]
    router.numbers["red"] = 2
    assert survey.report(["red"], []).counts == {"red": 2}
    router.states["a"] = "Idle"
    assert survey.report(["red"], []).sessions["a"] == "Idle"
    assert router.asked == ["red"] * 3


def test_routes_are_read_again_for_other_networks_and_other_lists() -> None:
    router = Told()
    survey = Survey(router, Clock())
    survey.report(["red"], [])
    assert set(survey.report(["red", "yellow"], []).routes) == {"red", "yellow"}
    assert ("red", "yellow") in survey.report(["red", "yellow"], [("red", "yellow")]).conflicts
    assert router.asked == ["red", "red", "yellow", "red", "yellow"]


def test_routes_are_read_again_after_some_time_in_any_case() -> None:
    """One may have gone and another one come."""
    router, clock = Told(), Clock()
    survey = Survey(router, clock)
    for later in (0.0, REREAD, REREAD + 0.1):
        clock.now = 100.0 + later
        survey.report(["red"], [])
    assert router.asked == ["red"] * 2


def test_while_bird_comes_back_a_network_has_what_it_had_and_no_longer() -> None:
    """Its routes are in the kernel meanwhile. What it knows already counts, and a BIRD that stays away has none."""
    router, clock = Told(), Clock()
    survey = Survey(router, clock)
    survey.report(["red", "yellow"], [])
    router.numbers, router.lost = {"yellow": 3}, True
    clock.now += PATIENCE - 1
    assert survey.report(["red", "yellow"], []).counts == {"red": 1, "yellow": 3}
    clock.now += 2
    assert survey.report(["red", "yellow"], []).counts == {"red": 0, "yellow": 3}
    router.lost = False
    assert survey.report(["red", "yellow"], []).counts == {"red": 0, "yellow": 3}
