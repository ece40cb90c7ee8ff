"""Pods that wait for a decision."""

from ipaddress import ip_address

from sallyport.model.kernel import ClientElement
from sallyport.model.plan import Decision, NodePlan
from sallyport.model.state import Client, ClusterState
from sallyport.processes.outcome import come_home
from sallyport.processes.undecided import Undecided, decided

POD = ip_address("10.244.1.5")
NOBODY = NodePlan("node-1")


def test_an_address_that_waits_too_long_is_told_of_once() -> None:
    undecided = Undecided(bound=10)
    assert undecided.late(frozenset({POD}), NOBODY, 0) == []
    assert undecided.late(frozenset({POD}), NOBODY, 9.9) == []
    assert undecided.late(frozenset({POD}), NOBODY, 10) == [POD]
    assert undecided.late(frozenset({POD}), NOBODY, 20) == []


def test_an_address_that_is_decided_about_in_time_is_not_told_of() -> None:
    undecided = Undecided(bound=10)
    undecided.late(frozenset({POD}), NOBODY, 0)
    plan = NodePlan("node-1", objects=(ClientElement("free4", str(POD)),))
    assert decided(plan) == {POD}
    assert undecided.late(frozenset({POD}), plan, 60) == []


def plan(state: str) -> NodePlan:
    return NodePlan("node-1", decisions=(Decision(("prod", "web"), 4, "e", state),))


def test_connections_are_forgotten_when_their_exit_comes_to_their_own_node() -> None:
    state = ClusterState(clients={("prod", "web"): Client("prod", "web", "node-1", (POD, ip_address("fd00::5")))})
    assert come_home(plan("free"), plan("local"), state) == [POD]
    assert come_home(plan("remote"), plan("local"), state) == [POD]
    assert come_home(plan("local"), plan("local"), state) == []
    assert come_home(plan("local"), plan("remote"), state) == []
    assert come_home(NOBODY, plan("local"), state) == [], "a new pod has no connections yet"
