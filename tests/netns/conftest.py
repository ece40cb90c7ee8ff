"""Fixtures of the packet tests: a fresh world each, and an agent's hands on each of its nodes."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.netns.agents import Agent
from tests.netns.networks import Scene
from tests.netns.world import World, build, inside


def worlds(nodes: tuple[str, ...]) -> Iterator[World]:
    """One world, closed in the end; a test that has no right to it is skipped."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    world = build(nodes)
    try:
        yield world
    finally:
        world.close()


@pytest.fixture
def world() -> Iterator[World]:
    """Two nodes, a and b, and a server outside."""
    yield from worlds(("a", "b"))


@pytest.fixture
def wide_world() -> Iterator[World]:
    """Three nodes, a, b and c, and a server outside."""
    yield from worlds(("a", "b", "c"))


@contextmanager
def agent(node: str, folder: Path) -> Iterator[Agent]:
    """An agent's hands on a node. A BIRD that it started ends with it."""
    made = Agent(node, folder / node)
    yield made
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((made.runtime / "bird.pid").read_text()), signal.SIGTERM)


@pytest.fixture
def a(tmp_path: Path) -> Iterator[Agent]:
    """The agent of node a."""
    with agent("a", tmp_path) as made:
        yield made


@pytest.fixture
def b(tmp_path: Path) -> Iterator[Agent]:
    """The agent of node b."""
    with agent("b", tmp_path) as made:
        yield made


@pytest.fixture
def c(tmp_path: Path) -> Iterator[Agent]:
    """The agent of node c."""
    with agent("c", tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def outside() -> Iterator[World]:
    """Node a and the namespaces of its routers, for all tests of this module: each leaves them as they were."""
    yield from worlds(("a", "red", "yellow", "second"))


@pytest.fixture
def scene(outside: World, tmp_path: Path) -> Iterator[Scene]:
    """Nothing runs yet. What was started is ended."""
    made = Scene(outside, tmp_path)
    with made.ending:
        yield made
        with inside("a"):
            assert made.bird.stop() == []
