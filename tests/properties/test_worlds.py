"""The worlds that the other properties are about hold everything that can become of a pod's traffic."""

import pytest
from hypothesis import HealthCheck, Phase, find, settings
from tests.properties.agents import bare, planned
from tests.properties.worlds import NAMES, Snapshot, snapshots

QUICK = settings(
    max_examples=300, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@pytest.mark.parametrize("state", ["local", "remote", "blocked", "free"])
@pytest.mark.parametrize("family", [4, 6])
def test_each_way_is_found_in_a_few_worlds(state: str, family: int) -> None:
    """Two pods go that way at once: a property that found none would hold without saying anything."""

    def often(world: Snapshot) -> bool:
        decisions = [decision for name in NAMES for decision in planned(world, name, bare()).decisions]
        return sum((decision.state, decision.family) == (state, family) for decision in decisions) > 1

    assert find(snapshots(truly=True), often, settings=QUICK)


def test_several_nodes_hold_egress_ips_that_can_move() -> None:
    def moves(world: Snapshot) -> bool:
        holders = {item.holder for item in world.assignments.values() if len(item.nodes) > 1}
        return len(holders - {""}) > 1

    assert find(snapshots(truly=True), moves, settings=QUICK)
