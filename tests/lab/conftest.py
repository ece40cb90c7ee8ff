"""One lab for most tests, with a standing pod on each of its nodes; a test begins and ends with the ordinary path."""

import contextlib
import os
from collections.abc import Iterator

import pytest
from tests.lab.scene import NAMESPACE, NODES, SIDES, Scene, Side, pod_object

from sallyport.drivers.command import DriverError
from sallyport.drivers.requirements import require
from sallyport.lab.driving import Lab
from sallyport.lab.record import Record
from sallyport.lab.supervisor import take_down


@contextlib.contextmanager
def lab_of(topology: str, name: str) -> Iterator[Lab]:
    """A lab that is there while the block runs, whatever happens. Skips where this machine cannot run one."""
    try:
        require("ip", "nft", "bird", "tcpdump", "kubectl")
    except DriverError as error:
        pytest.skip(f"a lab cannot be run: {error}")
    try:
        yield Lab.up(topology, name)
    finally:
        take_down(Record(name))


@contextlib.contextmanager
def scene_of(lab: Lab) -> Iterator[Scene]:
    """The lab with its standing pods, watched before its router."""
    lab.kubectl("create", "namespace", NAMESPACE)
    servers = " or ".join(f"dst host {side.server}" for side in SIDES.values())
    with lab.capture("router", servers) as capture:
        scene = Scene(lab, capture)
        labels = {number: {"app": "web", "on": f"node-{number}", "standing": "yes"} for number in NODES}
        scene.run(*(pod_object(f"on-{number}", number, labels[number]) for number in NODES))
        yield scene


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
