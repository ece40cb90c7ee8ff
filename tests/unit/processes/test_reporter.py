"""What an agent says of the egress IPs on its node."""

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from sallyport.apis.antrea.types import Egress, EgressStatus
from sallyport.apis.core import ObjectMeta
from sallyport.kube.clock import SystemClock
from sallyport.kube.errors import ApiError, Unavailable
from sallyport.kube.reach import Reach
from sallyport.model.kernel import Element, InterfaceAddress, KernelObject, Kind
from sallyport.model.plan import Assignment, NodePlan
from sallyport.model.state import ObjectRef
from sallyport.processes.outcome import not_held
from sallyport.processes.reporter import Reporter, Round

ADDRESS = ip_address("10.0.0.5")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Told:
    """Takes the place of the API: patches and events in the order in which they came."""

    def __init__(self) -> None:
        self.reach = Reach(SystemClock())
        self.trouble: ApiError | None = None
        self.patches: list[dict[str, Any]] = []
        self.events: list[tuple[str, str, str]] = []

    async def patch(self, resource: object, name: str, body: dict[str, Any], *, subresource: str) -> None:
        self.patches.append(body["status"])
        if self.trouble is not None:
            raise self.trouble

    def record(self, ref: ObjectRef, kind: str, reason: str, message: str) -> None:
        self.events.append((kind, reason, message))


async def told(done: Round) -> Told:
    """What is said about one round of a fresh agent on node-1."""
    api = Told()
    reporter = Reporter(api, api, "node-1", lambda: NOW)  # type: ignore[arg-type]
    reporter.report(done)
    await reporter._write_all(done)
    return api


def round_of(
    *, static: bool = False, status: EgressStatus | None = None, failed: dict[str, str] | None = None
) -> Round:
    """node-1 holds the address of Egress e."""
    egress = Egress(metadata=ObjectMeta(name="e"), status=status or EgressStatus())
    plan = NodePlan("node-1", held={"e": ADDRESS})
    return Round({"e": egress}, {"e": Assignment(1, ADDRESS, ("node-1",), "", static)}, plan, failed or {})


async def test_the_holder_writes_its_name_and_tells_of_the_assignment() -> None:
    api = await told(round_of())
    assert (api.patches[0]["egressNode"], api.patches[0]["egressIP"]) == ("node-1", "10.0.0.5")
    assert api.events == [("Normal", "IPAssigned", "Assigned Egress e with IP 10.0.0.5 on Node node-1")]


async def test_a_restarted_agent_tells_nothing_anew() -> None:
    api = await told(round_of(status=EgressStatus(egress_node="node-1", egress_ip="10.0.0.5")))
    assert api.events == []


async def test_of_two_nodes_with_one_static_address_the_second_claims_nothing_and_warns() -> None:
    api = await told(round_of(static=True, status=EgressStatus(egress_node="node-2", egress_ip="10.0.0.5")))
    assert api.patches == []
    assert [event[:2] for event in api.events] == [("Warning", "AssignmentError")]


async def test_a_node_whose_kernel_refuses_the_address_claims_nothing_and_says_why() -> None:
    api = await told(round_of(failed={"e": "ip address add: No space left"}))
    assert "egressNode" not in api.patches[0]
    condition = api.patches[0]["conditions"][0]
    assert (condition["type"], condition["status"]) == ("IPAssigned", "False")
    assert "No space left" in condition["message"]
    assert [event[:2] for event in api.events] == [("Warning", "AssignmentError")]


async def test_while_the_api_server_is_in_trouble_one_write_is_tried_and_not_one_for_each_egress() -> None:
    one = round_of()
    names = [f"e{number}" for number in range(20)]
    many = Round(
        {name: Egress(metadata=ObjectMeta(name=name)) for name in names},
        dict.fromkeys(names, one.assignments["e"]),
        NodePlan("node-1", held=dict.fromkeys(names, ADDRESS)),
    )
    api = Told()
    api.trouble = Unavailable(0, "Unavailable", "refused")
    reporter = Reporter(api, api, "node-1", lambda: NOW)  # type: ignore[arg-type]
    assert not await reporter._write_all(many)
    assert len(api.patches) == 1
    assert api.reach.since is not None
    api.trouble = None
    assert await reporter._write_all(many)
    assert len(api.patches) == 1 + len(names)
    assert api.reach.since is None


def test_an_exit_is_held_only_when_all_of_it_is_read_back_from_the_kernel() -> None:
    parts: tuple[KernelObject, KernelObject] = (
        InterfaceAddress("eth0", "10.0.0.5"),
        Element("exits4", "1", "10.0.0.5"),
    )
    plan = NodePlan("node-1", objects=parts, held={"e": ADDRESS})
    whole: dict[Kind, dict[object, KernelObject]] = {
        Kind.ADDRESS: {parts[0].key: parts[0]},
        Kind.EXIT_ELEMENT: {parts[1].key: parts[1]},
    }
    assert not_held(plan, whole, ["some failure"]) == {}
    lines = ["nft: other", "ip address replace 10.0.0.5/32: refused"]
    assert not_held(plan, {Kind.EXIT_ELEMENT: whole[Kind.EXIT_ELEMENT]}, lines) == {"e": lines[1]}
