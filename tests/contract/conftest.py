"""One node to write to: a namespace with an uplink, a kernel of its own and nothing else of ours."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.netns.world import build, inside

from sallyport.drivers.kernel import Kernel
from sallyport.model.settings import Settings


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """The kernel of a node; the test runs inside that node's namespace."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    world = build(("a",))
    try:
        with inside("a"):
            made = Kernel(Settings(), tmp_path)
            yield made
            made.bird.stop()
    finally:
        world.close()
