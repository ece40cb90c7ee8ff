"""A BIRD that ends and comes back, on either side of a session: how long the other one keeps its routes (RFC 4724 and
RFC 9494), and that ours takes none out of the kernel meanwhile.
"""

import signal
import time
from dataclasses import replace

import pytest
from tests.moments import moment
from tests.netns.networks import FIBS, LINKS, MERGED, RED, SHARED, YELLOW, Scene, both, monitored, since, soon, via
from tests.netns.routers import Outside, routes
from tests.netns.world import eventually

from sallyport.drivers.bird import Bird
from sallyport.drivers.birdconf import BirdObject
from sallyport.model.kernel import Announced, Kind
from sallyport.model.state import FAMILIES

pytestmark = pytest.mark.root

RESTARTING = "graceful restart on; graceful restart time 4;"
"""A router that has four seconds to come back."""
OWN = Announced("red", "203.0.113.7/32")


def test_a_killed_bird_comes_back_without_a_gap(scene: Scene) -> None:
    """Nothing that a peer has told leaves the kernel between its death and the end of its recovery, when it learns
    anew. Links of IPv6 are put there again: BIRD deletes an IPv6 route before it writes it in its place."""
    red, yellow = scene.red(), scene.yellow()
    objects = both(red, yellow)
    scene.have(*objects)
    assert soon(lambda: all(len(routes(MERGED, family)) == 4 for family in FAMILIES))
    with monitored(scene.folder / "changes") as heard:
        scene.kill(signal.SIGKILL)
        assert scene.change(*[item for item in objects if item.kind is Kind.FIB]) == []
        assert scene.change(*[item for item in objects if item.kind is Kind.SESSION]) == []
        red.announce(*red.prefixes, "10.51.0.0/16")
        assert soon(lambda: "10.51.0.0/16" in routes(MERGED))
        assert soon(lambda: any(line.startswith("10.51.0.0/16") for line in heard()))
    links = [f"Deleted {item.destination} dev eth0 table " for item in LINKS if ":" in item.destination]
    deleted = [line for line in heard() if line.startswith("Deleted")]
    assert [line for line in deleted if not line.startswith(tuple(links))] == []


def test_routes_outlive_a_bird_that_is_ended_and_not_one_that_has_nothing_left_to_do(scene: Scene) -> None:
    """Somebody else's SIGTERM takes no route away. When the last object goes, all routes go with the process."""
    red = scene.red()
    wanted: list[BirdObject] = [*FIBS, LINKS[0], red.session("red")]
    scene.have(*wanted)
    assert soon(lambda: SHARED[4] in routes(RED) and SHARED[4] in routes(MERGED))
    scene.kill(signal.SIGTERM)
    assert SHARED[4] in routes(RED)
    assert SHARED[4] in routes(MERGED)
    scene.have(*wanted)
    assert soon(lambda: scene.sessions.get("red.4") == "Established")
    scene.have()
    assert routes(RED) == routes(MERGED) == {}
    assert not (scene.folder / "a" / "bird.pid").exists()


def test_a_router_that_restarts_in_its_time_keeps_its_routes_in_the_kernel(scene: Scene) -> None:
    """A router that told of graceful restart is killed and is back before its time is over: no route of it leaves any
    table, and what it has no more is gone when it has told the rest."""
    red, yellow = scene.red("10.53.0.0/16", options=RESTARTING), scene.yellow()
    scene.have(*both(red, yellow))
    assert soon(lambda: all("10.53.0.0/16" in routes(table) for table in (RED, MERGED)))
    assert soon(lambda: all(SHARED[family] in routes(RED, family) for family in FAMILIES))
    began = since(scene, yellow)
    with monitored(scene.folder / "changes") as heard:
        red.stop()
        assert soon(lambda: scene.sessions["red.4"] != "Established")
        assert routes(RED)[SHARED[4]] == routes(MERGED)[SHARED[4]] == via(red)
        red.prefixes = [item for item in red.prefixes if item != "10.53.0.0/16"]
        red.start(recover=True)
        assert soon(lambda: "10.53.0.0/16" not in routes(RED) and "10.53.0.0/16" not in routes(MERGED))
    assert scene.sessions["red.4"] == "Established"
    gone = {line.split()[1] for line in heard() if line.startswith("Deleted")}
    assert gone == {"10.53.0.0/16"}
    assert since(scene, yellow) == moment(began)


@pytest.mark.parametrize("long_lived", [False, True])
def test_a_router_that_does_not_come_back_in_its_time_loses_its_routes(scene: Scene, long_lived: bool) -> None:
    """They stay for the seconds that it told of, be they four, or one and three more of a long-lived restart; then they
    go from each table, and the next network's take their place in the merged one."""
    more = "graceful restart on; graceful restart time 1; long lived graceful restart on; long lived stale time 3;"
    red, yellow = scene.red(options=more if long_lived else RESTARTING), scene.yellow()
    scene.have(*both(red, yellow))
    assert soon(lambda: routes(MERGED).get(SHARED[4]) == via(red) and SHARED[4] in routes(YELLOW))
    ended = time.monotonic()
    red.stop()
    assert soon(lambda: scene.sessions["red.4"] != "Established")
    assert SHARED[4] in routes(RED)
    assert eventually(lambda: SHARED[4] not in routes(RED), 10)
    assert 3.5 < time.monotonic() - ended < 8
    assert soon(lambda: routes(MERGED).get(SHARED[4]) == via(yellow))


def test_our_addresses_are_kept_by_a_router_for_as_long_as_we_asked(scene: Scene) -> None:
    """maxRestartTime is what a router hears of us. When our BIRD is killed and nobody starts it, the router drops the
    address of a gateway after that time and not before; started in time, it never lets it go."""
    red = scene.red()
    wanted: list[BirdObject] = [FIBS[0], LINKS[0], OWN, red.session("red", restart_time=4)]
    scene.have(*wanted)
    assert soon(lambda: red.heard() == {str(OWN.destination)})
    scene.kill(signal.SIGKILL)
    assert red.heard() == {str(OWN.destination)}
    scene.have(*wanted)
    assert soon(lambda: scene.sessions.get("red.4") == "Established" and not waits(red))
    assert red.heard() == {str(OWN.destination)}
    ended = time.monotonic()
    scene.kill(signal.SIGKILL)
    assert red.heard() == {str(OWN.destination)}
    assert eventually(lambda: not red.heard(), 10)
    assert 3.5 < time.monotonic() - ended < 8


def test_a_router_hears_the_times_of_both_kinds_of_restart(scene: Scene) -> None:
    """The long-lived kind has the time that was asked for after the 120 s of the plain one."""
    red = scene.red()
    plain = red.session("red", restart_time=7)
    scene.have(FIBS[0], LINKS[0], plain)
    assert soon(lambda: {"Restart time: 7"} <= capabilities(red.bird))
    scene.have(FIBS[0], LINKS[0], replace(plain, long_lived=True))
    assert soon(lambda: {"Restart time: 120", "LL stale time: 7"} <= capabilities(red.bird))


def waits(red: Outside) -> bool:
    """Whether a router still keeps what the node told it before a restart (a second one would cost it that)."""
    return any("graceful restart active" in line for line in red.bird.ask("show protocols all b4"))


def capabilities(bird: Bird) -> set[str]:
    """What the other side of a router's IPv4 session is able to do, as its BIRD prints it."""
    lines = [line.strip() for line in bird.ask("show protocols all b4")]
    there = "Neighbor capabilities"
    return set(lines[lines.index(there) :]) if there in lines else set()
