"""What an agent takes for a fact."""

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from sallyport.drivers.web import Answer
from sallyport.model.plan import Liveness, NodeFacts, RoutingReport
from sallyport.model.settings import Settings
from sallyport.model.state import ClusterState, Node
from sallyport.processes.agent import Agent

STATE = ClusterState(nodes={"node-2": Node("node-2", (ip_address("10.0.0.2"),))})


class Seen:
    """A node whose BIRD answers with one list of sessions after the other."""

    def __init__(self, *sessions: dict[str, str]) -> None:
        self._sessions = iter(sessions)

    def observe(self, state: ClusterState, node: str, actual: object) -> NodeFacts:
        return NodeFacts(node)

    def sessions(self) -> dict[str, str]:
        return next(self._sessions)

    def routing(self, networks: object, lists: object) -> RoutingReport:
        return RoutingReport()

    def announce(self, device: str, address: object) -> None:
        raise AssertionError("nothing is held here")


async def verdicts(hands: Any, rounds: int) -> list[Any]:
    """What node-1 says of its peers, round by round."""
    client: Any = None

    async def get(url: str) -> Answer:
        raise AssertionError(f"no gateway is to be polled, and {url} was")

    agent = Agent(
        client,
        hands,
        node="node-1",
        settings=Settings(),
        service_networks=(),
        now=lambda: datetime.now(UTC),
        get=get,
    )
    return [(await agent._facts(STATE, {}, {})).peers for _ in range(rounds)]


async def test_a_session_that_was_ended_and_begun_anew_is_not_the_loss_of_its_peer() -> None:
    """An Egress deleted and made again at once: no poll saw the moment without a session, each round does."""
    hands = Seen({"10.0.0.2": "Up"}, {}, {"10.0.0.2": "Down"})
    assert await verdicts(hands, 3) == [{"node-2": Liveness.UP}, {}, {"node-2": Liveness.UNKNOWN}]


async def test_a_session_that_ends_is_the_loss_of_its_peer() -> None:
    hands = Seen({"10.0.0.2": "Up"}, {"10.0.0.2": "Down"})
    assert await verdicts(hands, 2) == [{"node-2": Liveness.UP}, {"node-2": Liveness.DOWN}]
