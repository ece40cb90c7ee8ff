"""The status of an Egress: who is named, and which conditions there are."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import msgspec
from tests.unit.antrea.cluster import DROPPED, labelled, ready

from sallyport.apis.antrea.status import from_controller, unfound
from sallyport.apis.antrea.types import Egress, EgressStatus
from sallyport.apis.core import Condition, ObjectMeta
from sallyport.model.plan import Assignment, Overlap
from sallyport.model.state import ObjectRef, Problem


def test_the_status_names_the_holder_and_the_address_that_it_holds() -> None:
    cluster = ready()
    cluster.node("node-2", role="gate")
    cluster.pool("p", "10.0.0.0/28", selector=labelled(role="gate"))
    cluster.egress("e", externalIPPool="p")
    cluster.settle()
    assert cluster.holder("e") == ("node-2", "10.0.0.1")
    assert cluster.addresses_on("node-2") == ["10.0.0.1"]


def test_an_egress_that_is_served_says_allocated_and_assigned_in_upstreams_words() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.0/28")
    cluster.egress("e", externalIPPool="p")
    cluster.settle()
    assert cluster.conditions("e") == {"IPAllocated": ("True", "Allocated"), "IPAssigned": ("True", "Assigned")}
    assert cluster.message("e", "IPAllocated") == "EgressIP is successfully allocated"
    assert cluster.message("e", "IPAssigned") == "EgressIP is successfully assigned to EgressNode"


def test_static_egresses_have_the_condition_of_assignment_too() -> None:
    cluster = ready()
    cluster.egress("e", egressIP="10.0.0.102")
    cluster.settle()
    assert cluster.conditions("e") == {"IPAssigned": ("True", "Assigned")}


def test_the_status_is_cleared_as_soon_as_no_node_may_hold_the_address() -> None:
    cluster = ready()
    cluster.pool("p", "10.0.0.0/28")
    cluster.egress("e", externalIPPool="p")
    cluster.settle()
    cluster.pool("p", "10.0.0.0/28", selector=labelled(role="gate"))
    cluster.settle()
    assert (cluster.holder("e"), cluster.way("web")) == (("", ""), DROPPED)


def overlapping(*overlaps: Overlap) -> Condition:
    """The condition that the Egress e gets by these."""
    assignment = Assignment(id=1, address=ip_address("10.0.0.9"), nodes=("node-1",))
    more: dict[str, Any] = {"clients": 0, "problems": (), "name": "e", "holder_gone": False, "now": "now"}
    status = from_controller(EgressStatus(), assignment, overlaps=overlaps, **more)
    return next(item for item in status.conditions if item.type == "Overlapping")


def pods(count: int, first: int = 0) -> tuple[tuple[str, str], ...]:
    return tuple(("prod", f"p{number}") for number in range(first, first + count))


def test_what_is_shared_is_counted_and_only_the_first_names_are_told() -> None:
    """A pod that is shared with several, or in both families, is one pod."""
    yielded = [Overlap(f"old{number}", "e", 4, pods(2, number)) for number in range(5)]
    found = overlapping(*yielded, Overlap("EgressGatewayPolicy/x", "e", 4, pods(1)), Overlap("e", "young", 6, pods(3)))
    assert (found.status, found.reason) == ("True", "YieldsPods")
    assert found.message == (
        "of what it selects, 6 pods (prod/p0, prod/p1, prod/p2 and 3 more) go by Egress old0, Egress old1, Egress old2"
        " and 2 more, being older; of what it selects, 1 pod (prod/p0) goes by EgressGatewayPolicy/x, where that has"
        " gateways; 3 pods (prod/p0, prod/p1, prod/p2) go by this Egress, being older, and not by Egress young"
    )


def test_the_message_grows_neither_with_pods_nor_with_other_egresses() -> None:
    many = overlapping(*(Overlap("e", f"young{number:05}", 4, pods(100, number)) for number in range(2000)))
    assert many.reason == "WinsPods"
    assert len(many.message) < 250


def test_an_egress_without_an_egress_id_says_so_and_names_no_holder() -> None:
    """More than 16,382 Egresses: those without a mark must not look as if they were served."""
    problem = Problem(ObjectRef("Egress", "e"), "NoMarkLeft", "all 16382 egress ids of the cluster are in use")
    status = from_controller(
        EgressStatus(egress_node="node-1", egress_ip="10.0.0.9"),
        Assignment(id=0, address=ip_address("10.0.0.9"), nodes=("node-1",)),
        clients=0,
        problems=[problem],
        overlaps=[],
        name="e",
        holder_gone=False,
        now="2026-01-01T00:00:00Z",
    )
    assert (status.egress_node, status.egress_ip) == ("", "")
    (assigned,) = (item for item in status.conditions if item.type == "IPAssigned")
    assert (assigned.status, assigned.reason, assigned.message) == ("False", "NoMarkLeft", problem.message)


def test_the_time_of_a_condition_moves_only_with_its_status() -> None:
    cluster = ready()
    cluster.egress("e", externalIPPool="p")
    cluster.settle()
    status = cluster.status("e")
    again = from_controller(
        status,
        cluster.plan.assignments["e"],
        clients=0,
        problems=[Problem(ObjectRef("Egress", "e"), "AllocationError", "another sentence")],
        overlaps=[],
        name="e",
        holder_gone=True,
        now="2030-01-01T00:00:00Z",
    )
    before = {item.type: item.last_transition_time for item in status.conditions}
    assert {item.type: item.last_transition_time for item in again.conditions} == before
    assert "another sentence" in [item.message for item in again.conditions]


def test_the_status_counts_the_pods_that_are_selected() -> None:
    cluster = ready()
    cluster.egress("e", egressIP="10.0.0.102", applied={"podSelector": labelled(app="web")})
    assert cluster.settle().status("e").clients == 1


def test_a_static_address_that_stays_on_no_node_is_told_of_in_a_warning() -> None:
    gone = Condition("IPAssigned", "False", "2026-01-01T00:00:00Z", "IPNotFound", "No Node has IP 10.0.0.9")
    egress = Egress(metadata=ObjectMeta(name="e", uid="u"), status=EgressStatus(conditions=(gone,)))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert unfound([egress], start + timedelta(seconds=1)) == []
    assert unfound([egress], start + timedelta(seconds=3)) == [
        Problem(ObjectRef("Egress", "e", uid="u"), "IPNotFound", "No Node has IP 10.0.0.9")
    ]
    held = msgspec.structs.replace(gone, status="True", reason="Assigned")
    assert unfound([Egress(status=EgressStatus(conditions=(held,)))], start + timedelta(days=1)) == []
