"""The controller's plan as a whole, and what agents read of it."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from tests.unit.plan.build import SETTINGS, a_client, a_pool, a_state, an_exit

from sallyport.model.plan import Assignment, ClusterPlan
from sallyport.model.state import ClusterState, ObjectRef, Problem
from sallyport.plan.cluster import decided_alike, plan_cluster, recorded

POOL = a_pool("pool", "10.0.0.50-10.0.0.59")
STATE = a_state(
    [an_exit("web", "", "a", "gone", created="1"), an_exit("db", "", "a", created="2")],
    [a_client("a", "10.244.1.2")],
    [POOL],
)


def written(state: ClusterState, plan: ClusterPlan) -> ClusterState:
    """The state as it reads once the controller has written its plan into the objects."""
    exits = {
        name: replace(
            exit_,
            requested=plan.assignments[name].address or exit_.requested,
            allocated=exit_.allocated or exit_.requested is None,
            decided=plan.assignments[name].address,
            id=plan.assignments[name].id if plan.assignments[name].address else 0,
            nodes=plan.assignments[name].nodes,
        )
        for name, exit_ in state.exits.items()
    }
    return replace(state, exits=exits)


def test_every_exit_gets_an_address_an_id_and_its_nodes() -> None:
    plan = plan_cluster(STATE, SETTINGS)
    assert [str(item.address) for item in plan.assignments.values()] == ["10.0.0.51", "10.0.0.50"]
    assert list(plan.assignments) == ["db", "web"]
    assert all(item.id and sorted(item.nodes) == ["node-1", "node-2", "node-3"] for item in plan.assignments.values())
    assert plan.usage["ExternalIPPool/pool"].used == 2
    assert plan.clients == {"db": 1, "web": 1}
    assert [(item.winner, item.loser) for item in plan.overlaps] == [("web", "db")]
    assert plan.problems == ()


def test_what_the_plan_wrote_down_is_planned_again_the_same() -> None:
    plan = plan_cluster(STATE, SETTINGS)
    again = plan_cluster(written(STATE, plan), SETTINGS)
    assert again == plan
    assert recorded(written(STATE, plan)) == plan.assignments


def test_problems_are_told_once_each_and_in_order() -> None:
    said = Problem(ObjectRef("Egress", "web"), "InvalidSpec", "said before")
    state = replace(STATE, pools={"ExternalIPPool/pool": a_pool("pool", "10.0.0.50", nodes=())}, problems=(said, said))
    found = [(item.ref.name, item.reason) for item in plan_cluster(state, SETTINGS).problems]
    assert found == [("db", "AllocationError"), ("web", "InvalidSpec"), ("web", "AssignmentError")]


def test_a_static_exit_is_planned_with_the_holder_that_said_so() -> None:
    state = a_state([an_exit("e", "10.0.0.9", pool=None, holder="node-2", id=7)])
    expected = {"e": Assignment(7, ip_address("10.0.0.9"), (), "node-2", static=True)}
    assert plan_cluster(state, SETTINGS).assignments == recorded(state) == expected


def test_without_an_id_no_agent_goes_by_an_address() -> None:
    """The controller writes the address first, and the id once it has been taken."""
    assert recorded(a_state([an_exit("e", "10.0.0.50")])) == {"e": Assignment(0, None)}


def test_a_record_of_another_address_is_none() -> None:
    """The nodes that may hold the old address are not those of the new one: none of them takes it on that ground."""
    edited = an_exit("e", "10.0.0.50", id=7, nodes=("node-3",), decided=ip_address("10.0.0.60"))
    assert recorded(a_state([edited]))["e"].address is None


def test_what_two_records_claim_is_the_older_ones_until_the_controller_has_spoken() -> None:
    old = an_exit("old", "10.0.0.50", created="1", id=7)
    same_address = an_exit("a", "10.0.0.50", created="2", id=8)
    same_id = an_exit("b", "10.0.0.51", created="2", id=7)
    found = recorded(a_state([same_id, same_address, old]))
    assert found == {"old": Assignment(7, ip_address("10.0.0.50")), "a": Assignment(0, None), "b": Assignment(0, None)}


def test_an_older_record_does_not_take_an_address_that_is_in_effect() -> None:
    """Agents and controller agree: what an older object is edited to ask for stays with the one that has it."""
    old = an_exit("old", "10.0.0.50", created="1", id=7)
    has = an_exit("has", "10.0.0.50", created="2", id=8, effective=ip_address("10.0.0.50"))
    state = a_state([old, has], pools=[POOL])
    assert recorded(state)["has"].address == plan_cluster(state, SETTINGS).assignments["has"].address == has.requested
    assert recorded(state)["old"].address is None
    assert plan_cluster(state, SETTINGS).assignments["old"].address is None


def test_static_exits_may_share_an_address() -> None:
    exits = [an_exit(name, "10.0.0.9", pool=None, id=number) for number, name in enumerate("ab", 1)]
    assert [item.address for item in recorded(a_state(exits)).values()] == [ip_address("10.0.0.9")] * 2


def test_what_is_on_record_does_not_depend_on_clients() -> None:
    """So that a pod that comes or goes has nobody read the records of all exits again."""
    exits = written(STATE, plan_cluster(STATE, SETTINGS)).exits
    others = {key: replace(item, clients=(("default", "late"),)) for key, item in exits.items()}
    assert decided_alike(others, exits)
    assert recorded(replace(STATE, exits=others)) == recorded(replace(STATE, exits=exits))


@pytest.mark.parametrize(
    "other",
    [{"id": 9}, {"holder": "node-9"}, {"nodes": ()}, {"requested": None}, {"effective": None}, {"created": "0"}],
)
def test_a_record_that_says_anything_else_is_read(other: dict[str, Any]) -> None:
    exits = written(STATE, plan_cluster(STATE, SETTINGS)).exits
    settled = {key: replace(item, effective=item.requested) for key, item in exits.items()}
    assert not decided_alike({**settled, "web": replace(settled["web"], **other)}, settled)
    assert not decided_alike({"web": settled["web"]}, settled)
