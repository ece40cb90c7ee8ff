"""What an agent takes for a fact, and when it plans by them."""

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest

from sallyport.drivers.web import Answer
from sallyport.model.kernel import Element, KernelObject
from sallyport.model.plan import Assignment, Liveness, NodeFacts, NodePlan, RoutingReport
from sallyport.model.settings import Settings
from sallyport.model.state import ClusterState, Node
from sallyport.processes import agent as module
from sallyport.processes.agent import Agent

STATE = ClusterState(nodes={"node-2": Node("node-2", (ip_address("10.0.0.2"),))})


class Seen:
    """A node whose BIRD answers with one list of sessions after the other."""

    def __init__(self, *sessions: dict[str, str]) -> None:
        self._sessions = iter(sessions)
        self.devices: tuple[str, ...] = ()
        self.news, self.reads = True, 0

    def observe(self, state: ClusterState, node: str, actual: object) -> NodeFacts:
        return NodeFacts(node, devices=self.devices)

    def sessions(self) -> dict[str, str]:
        return next(self._sessions)

    def routing(self, networks: object, lists: object) -> RoutingReport:
        return RoutingReport()

    def announce(self, device: str, address: object) -> None:
        raise AssertionError("nothing is held here")

    def changed(self) -> bool:
        return self.news

    def read(self) -> dict[object, object]:
        self.reads += 1
        return {}

    def apply(self, steps: object) -> list[str]:
        return []

    def sysctls(self, paths: object) -> dict[object, object]:
        return {}


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


async def test_a_round_plans_only_when_something_that_a_plan_goes_by_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel is read and compared each time all the same."""
    planned: list[NodeFacts] = []

    def noted(state: object, assignments: object, facts: NodeFacts, settings: object) -> NodePlan:
        planned.append(facts)
        return NodePlan(facts.node)

    monkeypatch.setattr(module, "plan_node", noted)
    hands = Seen({}, {}, {}, {})
    agent = agent_of(hands)
    for _ in range(3):
        await agent.sync()
    assert len(planned) == 1
    hands.devices = ("eth7",)
    await agent.sync()
    assert [facts.devices for facts in planned] == [(), ("eth7",)]


async def test_a_round_that_writes_reads_the_kernel_once_and_one_that_does_not_reads_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As long as the kernel tells of nothing: what was read holds, and what was written is read back."""
    wanted = list[KernelObject]()
    monkeypatch.setattr(module, "plan_node", lambda *_: NodePlan("node-1", tuple(wanted)))
    hands = Seen({}, {}, {}, {})
    hands.news = False
    agent = agent_of(hands)
    await agent.sync()
    counts = [hands.reads]
    for devices in ("eth7",), ("eth8",):
        hands.devices = devices
        await agent.sync()
        counts.append(hands.reads)
        wanted.append(Element("marks4", "1"))
    assert counts == [1, 1, 2]
