"""An agent's look at its node's networks, and what it tells of it."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from tests.unit.kube.server import until
from tests.unit.plan.gateways import a_gateway

from sallyport.model.plan import RoutingReport
from sallyport.model.state import Exit
from sallyport.processes import networks
from sallyport.processes.networks import Networks, by_pod


@dataclass
class Scene:
    """What BIRD has, and all that was asked of it and told to others."""

    report: RoutingReport = RoutingReport()  # noqa: RUF009  (frozen)
    looks: list[tuple[list[str], list[tuple[str, ...]]]] = field(default_factory=list)
    told: list[Mapping[str, str]] = field(default_factory=list)
    published: list[RoutingReport] = field(default_factory=list)
    losses: list[None] = field(default_factory=list)
    networks: Networks = field(init=False)

    def __post_init__(self) -> None:
        self.networks = Networks(self.look, self.told.append, self.published.append, lambda: self.losses.append(None))

    def look(self, names: Iterable[str], lists: Iterable[tuple[str, ...]]) -> RoutingReport:
        self.looks.append((list(names), list(lists)))
        return self.report

    def follow(self, *exits: Exit, standing: Mapping[str, str] | None = None, filled: Iterable[str] = ()) -> None:
        """Networks red and yellow are served; every exit stands unless told otherwise."""
        stands = {item.key: "" for item in exits} if standing is None else standing
        self.networks.follow({"yellow": 600, "red": 500}, {item.key: item for item in exits}, stands, frozenset(filled))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.networks.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def after(self) -> Mapping[str, str]:
        """What gateways are told once the next look is over."""
        seen = len(self.told)
        async with self.running():
            await until(lambda: len(self.told) > seen)
        return self.told[-1]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "INTERVAL", 0.0)


def counted(**counts: int) -> RoutingReport:
    return RoutingReport(counts=counts)


async def test_before_the_first_round_nothing_is_asked_and_nothing_told() -> None:
    scene = Scene()
    async with scene.running():
        for _ in range(5):
            await asyncio.sleep(0)
    assert (scene.looks, scene.told, scene.published) == ([], [], [])


async def test_bird_is_asked_for_the_networks_and_for_the_lists_that_share_a_table() -> None:
    scene = Scene(counted(red=1, yellow=1))
    two, one = a_gateway("two", networks=("red", "yellow")), a_gateway("one", networks=("red",))
    scene.follow(two, a_gateway("three", networks=("red", "yellow")), one, a_gateway("none"))
    await scene.after()
    assert scene.looks[0] == (["red", "yellow"], [("red", "yellow")])


async def test_without_networks_bird_is_not_asked() -> None:
    scene = Scene()
    scene.networks.follow({}, {"gw/x/v4": a_gateway("x")}, {"gw/x/v4": ""}, frozenset())
    assert await scene.after() == {"gw/x": ""}
    assert scene.looks == []


@pytest.mark.parametrize(
    ("leads", "counts", "filled", "reason"),
    [
        (("red",), {"red": 1}, [], ""),
        (("red",), {"red": 0}, [], "no route is known in external network red"),
        (("red",), {}, ["red"], ""),
        (("red", "yellow"), {"yellow": 1}, [], ""),
        (("red", "yellow"), {}, [], "no route is known in external network red or yellow"),
        ((), {}, [], ""),
    ],
)
async def test_a_gateway_stands_as_long_as_one_of_its_networks_leads_anywhere(
    leads: tuple[str, ...], counts: dict[str, int], filled: list[str], reason: str
) -> None:
    scene = Scene(counted(**counts))
    scene.follow(a_gateway("x", networks=leads), filled=filled)
    assert await scene.after() == {"gw/x": reason}
    assert scene.published[-1].standing == {"gw/x/v4": reason}
    assert scene.published[-1].counts == counts


async def test_what_the_last_round_says_goes_before_what_bird_has() -> None:
    scene = Scene(counted(red=1))
    scene.follow(a_gateway("x", networks=("red",)), standing={"gw/x/v4": "it has no address yet"})
    assert await scene.after() == {"gw/x": "it has no address yet"}


async def test_a_lost_route_is_told_at_the_next_look() -> None:
    scene = Scene(counted(red=1))
    scene.follow(a_gateway("x", networks=("red",)))
    assert await scene.after() == {"gw/x": ""}
    scene.report = counted(red=0)
    assert await scene.after() == {"gw/x": "no route is known in external network red"}


async def test_sessions_that_are_gone_all_at_once_are_looked_after() -> None:
    """BIRD has ended: the agent starts it again at once. Where there never was a session there is nothing to do."""
    scene = Scene(RoutingReport())
    scene.follow(a_gateway("x", networks=("red",)))
    await scene.after()
    scene.report = RoutingReport(sessions={"red-4": "Established", "red-6": "Active"})
    await scene.after()
    assert scene.losses == []
    scene.report = RoutingReport()
    await scene.after()
    await scene.after()
    assert scene.losses == [None]


def test_a_gateway_of_both_families_stands_when_both_do() -> None:
    assert by_pod({"gw/x/v4": "", "gw/x/v6": "", "gw/y/v4": ""}) == {"gw/x": "", "gw/y": ""}
    assert by_pod({"gw/x/v4": "", "gw/x/v6": "no"}) == by_pod({"gw/x/v6": "", "gw/x/v4": "no"}) == {"gw/x": "no"}
