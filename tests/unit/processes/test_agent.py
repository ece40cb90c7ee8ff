"""What an agent takes for a fact."""

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from sallyport.drivers.web import Answer
from sallyport.model.plan import Assignment, Liveness, NodeFacts, NodePlan, RoutingReport
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


def agent_of(hands: Any) -> Agent:
    """The agent of node-1, which is not run."""
    client: Any = None

    async def get(url: str) -> Answer:
        raise AssertionError(f"no gateway is to be polled, and {url} was")

    return Agent(
        client,
        hands,
        node="node-1",
        settings=Settings(),
        service_networks=(),
        now=lambda: datetime.now(UTC),
        get=get,
    )


async def verdicts(hands: Any, rounds: int) -> list[Any]:
    """What node-1 says of its peers, round by round."""
    agent = agent_of(hands)
    return [(await agent._facts(STATE, {}, {})).peers for _ in range(rounds)]


async def test_a_session_that_was_ended_and_begun_anew_is_not_the_loss_of_its_peer() -> None:
    """An Egress deleted and made again at once: no poll saw the moment without a session, each round does."""
    hands = Seen({"10.0.0.2": "Up"}, {}, {"10.0.0.2": "Down"})
    assert await verdicts(hands, 3) == [{"node-2": Liveness.UP}, {}, {"node-2": Liveness.UNKNOWN}]


async def test_a_session_that_ends_is_the_loss_of_its_peer() -> None:
    hands = Seen({"10.0.0.2": "Up"}, {"10.0.0.2": "Down"})
    assert await verdicts(hands, 2) == [{"node-2": Liveness.UP}, {"node-2": Liveness.DOWN}]


class Told:
    """In place of the announcer: what is to be announced, and whether from its first moment on."""

    def __init__(self) -> None:
        self.heard: list[bool] = []

    def start(self, item: object, *, anew: bool = False) -> None:
        self.heard.append(anew)

    def stop_all_but(self, kept: object) -> None:
        assert kept


async def test_an_address_that_another_node_claimed_is_announced_anew_then_and_when_the_claim_is_gone() -> None:
    """A frozen agent goes on in the middle of its own announcements, which may all be out before the other's last.
    While the claim stands it is told again and again; when that is over, from the first moment on: the last word."""
    told, agent = Told(), agent_of(Seen())
    agent._announcer = told  # type: ignore[assignment]
    address = ip_address("10.0.0.5")
    plan = NodePlan("node-1", announcements=(("eth0", address),), held={"web": address})
    facts = NodeFacts("node-1", addresses={address: "eth0"}, held=frozenset({address}))
    for holder in ("node-1", "node-2", "node-2", "node-1", "node-1"):
        agent._announce(plan, plan, {"web": Assignment(7, address, holder=holder)}, facts)
    assert told.heard == [True, False, True]
