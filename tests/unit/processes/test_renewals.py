"""Whose agent lives, whatever clocks say and whatever the API server goes through."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from sallyport.apis.core import Lease, LeaseMeta, LeaseSpec, Written
from sallyport.apis.leases import ahead, renewed
from sallyport.processes.renewals import Renewals, living_agents

START = datetime(2030, 1, 1, 12, tzinfo=UTC)
SKEWS = [timedelta(minutes=-10), timedelta(), timedelta(minutes=10)]
NODES = ("node-1", "node-2", "node-3")
EVERY = 10


class World:
    """Agents that renew every ten seconds, each by its own clock, and a controller that listens.

    `seconds` is true time. `noted` says whether the API server notes when it takes a renewal.
    """

    def __init__(self, skews: Iterable[timedelta] = SKEWS, *, noted: bool = True) -> None:
        self.skews = dict(zip(NODES, skews, strict=True))
        self.noted = noted
        self.seconds = 0
        self.renewals = dict.fromkeys(NODES, 0)
        self.dead: set[str] = set()
        self.away = False
        self.heard = 0.0
        self.controller = Renewals()

    def restart(self, *trusted: str) -> None:
        """Another controller, whose monotonic clock begins anew. It lists, and so it hears."""
        self.controller = Renewals(frozenset(trusted))
        self.heard = float(self.seconds)

    def lease(self, node: str) -> Lease:
        true = START + timedelta(seconds=self.renewals[node])
        written = (Written(true.strftime("%Y-%m-%dT%H:%M:%SZ")),) if self.noted else ()
        stamp = (true + self.skews[node]).isoformat()
        meta = LeaseMeta(name=f"sallyport-agent-{node}", managed_fields=written)
        return Lease(meta, LeaseSpec(lease_duration_seconds=40, renew_time=stamp))

    def judged(self) -> set[str]:
        leases = [self.lease(node) for node in NODES]
        return set(self.controller.judge(leases, self.heard, START + timedelta(seconds=self.seconds)))

    def passes(self, seconds: int) -> list[set[str]]:
        """The verdicts of these seconds, one for each of them."""
        verdicts = []
        for _ in range(seconds):
            self.seconds += 1
            if not self.away:
                for place, node in enumerate(NODES):
                    if node not in self.dead and self.seconds % EVERY == place:
                        self.renewals[node] = self.seconds
                        self.heard = float(self.seconds)
            verdicts.append(self.judged())
        return verdicts


ALL = set(NODES)


@pytest.mark.parametrize("noted", [True, False])
def test_agents_live_whatever_their_clocks_say(noted: bool) -> None:
    """Where the server notes nothing, a controller that is new knows after one renewal."""
    world = World(noted=noted)
    verdicts = world.passes(120)
    assert all(verdict == ALL for verdict in verdicts[0 if noted else EVERY :])


@pytest.mark.parametrize("skew", SKEWS)
def test_an_agent_that_ends_is_noticed_as_soon_whatever_its_clock_says(skew: timedelta) -> None:
    """After its Lease's duration, when the next renewal of another agent shows that the server is heard."""
    world = World([timedelta(), timedelta(), skew])
    world.passes(60)
    world.dead = {"node-3"}
    last = world.renewals["node-3"]
    gone = next(60 + at + 1 for at, verdict in enumerate(world.passes(60)) if verdict != ALL)
    assert 40 <= gone - last <= 40 + EVERY
    assert world.judged() == {"node-1", "node-2"}


@pytest.mark.parametrize("skew", SKEWS)
def test_another_controller_keeps_the_dead_for_dead(skew: timedelta) -> None:
    """It has seen nothing change yet; the server's notes say how old a Lease is."""
    world = World([timedelta(), timedelta(), skew])
    world.passes(60)
    world.dead = {"node-3"}
    world.passes(200)
    world.restart("node-1", "node-2")
    assert world.passes(60) == [{"node-1", "node-2"}] * 60


@pytest.mark.parametrize("minutes", [1, 10, 300])
def test_nobody_is_dead_because_the_api_server_was_away(minutes: int) -> None:
    world = World()
    world.passes(60)
    world.away = True
    assert world.passes(60 * minutes) == [ALL] * 60 * minutes
    world.away = False
    assert world.passes(60) == [ALL] * 60


def test_nor_to_a_controller_that_begins_when_the_api_server_is_back() -> None:
    """Every Lease is old then, and renewed one after the other. Nodes that statuses name have time to do so."""
    world = World()
    world.passes(60)
    world.away = True
    world.passes(600)
    world.restart(*NODES)
    world.away = False
    assert world.passes(60) == [ALL] * 60


def test_who_has_died_while_the_api_server_was_away_is_noticed_afterwards() -> None:
    world = World()
    world.passes(60)
    world.away, world.dead = True, {"node-3"}
    world.passes(300)
    world.restart(*NODES)
    world.away = False
    verdicts = world.passes(60)
    assert verdicts[0] == ALL
    assert verdicts[-1] == {"node-1", "node-2"}


def test_where_all_fall_silent_the_last_ones_stay() -> None:
    """As where the agents cannot reach the API server and the controller can: it hears bookmarks only."""
    world = World()
    world.passes(60)
    world.dead = ALL
    for _ in range(600):
        world.heard += 10
        world.seconds += 10
        assert world.judged()
    world.dead = set()
    world.passes(EVERY)
    assert world.passes(60) == [ALL] * 60


def test_a_lease_that_is_deleted_is_no_sign_of_life() -> None:
    world = World()
    world.passes(60)
    moment = START + timedelta(seconds=60)
    assert world.controller.judge([world.lease("node-1")], world.heard, moment) == {"node-1"}
    assert world.controller.judge([], world.heard, moment) == frozenset()


def test_who_looks_once_goes_by_the_servers_clock() -> None:
    world = World()
    world.passes(60)
    world.dead = {"node-1"}
    world.passes(60)
    leases = [world.lease(node) for node in NODES]
    assert living_agents(leases, START + timedelta(seconds=120)) == {"node-2", "node-3"}
    assert [ahead(lease) for lease in leases] == SKEWS
    assert renewed(leases[2]) == START + timedelta(seconds=112)


def test_without_the_servers_notes_a_lease_is_as_old_as_its_holder_says() -> None:
    lease = Lease(LeaseMeta(name="l"), LeaseSpec(renew_time="2030-01-01T12:00:00Z"))
    assert (renewed(lease), ahead(lease)) == (START, timedelta())
    assert renewed(Lease(LeaseMeta(name="l"), LeaseSpec(renew_time="soon"))) is None
