"""One lab for most tests, with a standing pod on each of its nodes; a test begins and ends with the ordinary path."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.gateways import ELSEWHERE, GatewayScene
from tests.lab.labs import lab_of, scene_of
from tests.lab.scene import SIDES, Scene, Side
from tests.lab.wires import BOTH, TOPOLOGY, Networks, networks_of
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from sallyport.lab.driving import Lab

SHARED = {
    "lab": ("client_ip", "commands", "disturbance", "kubectl", "limits", "migration", "owners", "pools", "rules"),
    "house": ("gateways", "health", "policies"),
    "gateways": ("links", "maintenance", "network_disturbance", "networks", "peers"),
}
"""The labs that many files share: those of the fixtures below, and the files test_NAME.py that use them."""


class ByLab(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Files that share a lab go to one process, so that none is built twice; any other file goes as a whole."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        name = Path(file).stem.removeprefix("test_")
        return next((lab for lab, names in SHARED.items() if name in names and "apiserver" not in file), file)


WAITING = ("api_server", "api_server_restart")
"""Files test_NAME.py that go by time and do little but wait."""


class ByNeed(LoadScopeScheduling):  # type: ignore[misc]
    """What only waits goes to one process and all else to another, which so has nearly the whole machine."""

    def _split_scope(self, nodeid: str) -> str:
        name = Path(nodeid.partition("::")[0]).stem.removeprefix("test_")
        return "waits" if name in WAITING else "works"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByLab | ByNeed | None:
    """In place of `--dist loadfile`, and of `--dist loadgroup`, which is for tests that go by time."""
    kinds: dict[object, type[ByLab | ByNeed]] = {"loadfile": ByLab, "loadgroup": ByNeed}
    kind = kinds.get(config.getoption("dist"))
    return kind(config, log) if kind else None


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three nodes of both families, a router and a server outside; node-2 and node-3 are labelled as gateways."""
    with lab_of("default", f"t{os.getpid()}") as running:
        yield running


@pytest.fixture(scope="session")
def standing(lab: Lab) -> Iterator[Scene]:
    """The lab's scene; tests use `scene`."""
    with scene_of(lab) as scene:
        yield scene


@pytest.fixture
def scene(standing: Scene) -> Iterator[Scene]:
    """The lab with nothing in it but the standing pods; what the test leaves behind is removed."""
    yield standing
    standing.clear()


@pytest.fixture(scope="session")
def house() -> Iterator[GatewayScene]:
    """A lab of its own with three gateways that stand; tests use `gates`."""
    with lab_of("default", f"t{os.getpid()}g") as running, scene_of(running, *ELSEWHERE.values()) as scene:
        found = GatewayScene(scene.lab, scene.capture)
        found.furnish()
        yield found


@pytest.fixture
def gates(house: GatewayScene) -> Iterator[GatewayScene]:
    """The lab with the standing gateways and pods, none of which uses a gateway; afterwards it is so again."""
    yield house
    house.clear()


@pytest.fixture(params=SIDES.values(), ids=lambda side: f"ipv{side.family}")
def side(request: pytest.FixtureRequest) -> Side:
    """Each family in turn."""
    found: Side = request.param
    return found


@pytest.fixture(scope="session")
def gateways() -> Iterator[Networks]:
    """Two external networks with the same addresses, and gateways to them; tests use `net`."""
    with lab_of(TOPOLOGY, f"t{os.getpid()}n") as running, networks_of(running) as found:
        yield found


@pytest.fixture
def net(gateways: Networks) -> Iterator[Networks]:
    """The lab with its standing gateways; what a test has changed is put back, and seen to be."""
    yield gateways
    gateways.restore()


@pytest.fixture(params=BOTH.values(), ids=lambda side: f"ipv{side.family}")
def both(request: pytest.FixtureRequest) -> Side:
    """Each family in turn; the server is the address that both external networks have."""
    found: Side = request.param
    return found
