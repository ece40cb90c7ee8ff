"""The worlds that the other properties are about hold everything that can become of a pod's traffic."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, find, settings
from tests.properties.agents import bare, planned
from tests.properties.worlds import NAMES, Snapshot, snapshots

from sallyport.model.kernel import Chain, Element, Fib, KernelObject

QUICK = settings(
    max_examples=300,
    phases=[Phase.generate],
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
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


def _shares(made: list[KernelObject]) -> bool:
    return any(isinstance(item, Chain) and len(item.fresh) > 1 for item in made)


def _keeps_those_of_one_that_is_leaving(made: list[KernelObject]) -> bool:
    return any(isinstance(item, Chain) and item.fresh and set(item.fresh) < set(item.kept) for item in made)


def _knows_ordinary_destinations(made: list[KernelObject]) -> bool:
    return any(isinstance(item, Element) and item.set.startswith("ordinary") for item in made)


def _merges_networks(made: list[KernelObject]) -> bool:
    wired = any(isinstance(item, Element) and item.set == "wires" for item in made)
    return wired and any(isinstance(item, Fib) and len(item.networks) > 1 for item in made)


@pytest.mark.parametrize(
    "found", [_shares, _keeps_those_of_one_that_is_leaving, _knows_ordinary_destinations, _merges_networks]
)
def test_gateways_do_all_that_they_can(found: Callable[[list[KernelObject]], bool]) -> None:
    """On some node, at once with a client that goes through the tunnel to one."""

    def manifold(world: Snapshot) -> bool:
        plans = [planned(world, name, bare()) for name in NAMES]
        remote = any(item.state in ("remote", "shared") and item.to for plan in plans for item in plan.decisions)
        return remote and any(found(list(plan.objects)) for plan in plans)

    assert find(snapshots(truly=True), manifold, settings=QUICK)
