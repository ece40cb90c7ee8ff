"""An agent that is started while the API server does not answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from tests.unit.kube.server import until

from sallyport.drivers.command import DriverError
from sallyport.processes import vigil
from sallyport.processes.vigil import keep_vigil

ALL_UP = {"10.0.0.2": "Up", "10.0.0.3": "Up"}


@dataclass
class Node:
    """A node whose dead-man element lives or does not. `looks` counts how often its peers were asked for."""

    states: Mapping[str, str] = field(default_factory=lambda: dict(ALL_UP))
    lives: bool = True
    refuses: bool = False
    looks: int = 0
    renewals: int = 0

    def peers(self) -> Mapping[str, str]:
        self.looks += 1
        return self.states

    def prolong(self) -> bool:
        if self.refuses:
            raise DriverError("the kernel does not answer")
        self.renewals += self.lives
        return self.lives


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vigil, "PACE", 0.0)


@asynccontextmanager
async def keeping(node: Node, unanswered: Callable[[], bool] = lambda: True) -> AsyncIterator[None]:
    task = asyncio.create_task(keep_vigil(unanswered, node))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def looked(node: Node, times: int = 3) -> None:
    """Until the node was looked at so many times more, the last of which is over."""
    enough = node.looks + times + 1
    await until(lambda: node.looks >= enough)


async def test_what_outlived_the_agent_before_is_renewed_while_the_api_server_says_nothing() -> None:
    node = Node()
    async with keeping(node):
        await until(lambda: node.renewals >= 3)


async def test_a_node_without_peers_has_nobody_to_deceive() -> None:
    node = Node(states={})
    async with keeping(node):
        await until(lambda: node.renewals >= 3)


@pytest.mark.parametrize("state", ["Down", "Init", "AdminDown", ""])
async def test_when_one_peer_is_not_up_the_node_falls_silent(state: str) -> None:
    """Somebody has to take over from it, which only an agent that knows all objects could decide."""
    node = Node(states={**ALL_UP, "10.0.0.3": state})
    async with keeping(node):
        await looked(node)
        assert node.renewals == 0


async def test_when_the_peer_is_up_again_in_time_the_node_goes_on() -> None:
    node = Node(states={**ALL_UP, "10.0.0.3": "Down"})
    async with keeping(node):
        await looked(node)
        node.states = ALL_UP
        await until(lambda: node.renewals >= 3)


async def test_an_api_server_that_answers_ends_it() -> None:
    """Objects are on their way. An agent that dies with each first plan must not keep its node alive for ever."""
    asked: list[None] = []

    def answered() -> bool:
        asked.append(None)
        return False

    node = Node()
    async with keeping(node, answered):
        await until(lambda: len(asked) >= 3)
    assert node.looks == node.renewals == 0


async def test_an_element_that_has_run_out_is_left_alone_and_told_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    node = Node(lives=False)
    async with keeping(node):
        await looked(node)
    assert capsys.readouterr().out.count("the dead-man element has run out") == 1


async def test_a_kernel_that_does_not_answer_is_asked_again() -> None:
    node = Node(refuses=True)
    async with keeping(node):
        await looked(node)
        node.refuses = False
        await until(lambda: node.renewals >= 3)
