"""One lab for most tests, with a standing pod on each of its nodes; a test begins and ends with the ordinary path."""

import os
from collections.abc import Iterator

import pytest
from tests.lab.labs import lab_of, scene_of
from tests.lab.scene import SIDES, Scene, Side

from sallyport.lab.driving import Lab


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


@pytest.fixture(params=SIDES.values(), ids=lambda side: f"ipv{side.family}")
def side(request: pytest.FixtureRequest) -> Side:
    """Each family in turn."""
    found: Side = request.param
    return found
