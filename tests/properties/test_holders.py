"""No two nodes hold one address."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.fake_kernel import FakeKernel
from tests.properties.agents import fresh, observed, settle
from tests.properties.effort import examples
from tests.properties.worlds import NAMES, Snapshot, snapshots
from tests.unit.plan.build import SETTINGS

from sallyport.model.plan import Liveness, NodeFacts
from sallyport.model.state import IPAddress
from sallyport.plan.holding import holds
from sallyport.plan.node import plan_node

ANY = snapshots()


@st.composite
def views(draw: st.DrawFn, world: Snapshot) -> Mapping[str, Mapping[str, Liveness]]:
    """What each living node sees of the others: nobody takes a living node for dead or a dead one for living, but some
    have not found out yet."""
    return {
        name: {
            other: draw(st.sampled_from([Liveness.UP if other in world.up else Liveness.DOWN, Liveness.UNKNOWN]))
            for other in NAMES
            if other != name
        }
        for name in sorted(world.up)
    }


def held_by(world: Snapshot, facts: Mapping[str, NodeFacts]) -> dict[str, list[IPAddress]]:
    """The pooled addresses that each node is to hold."""
    pooled = [(item, item.address) for item in world.assignments.values() if not item.static and item.address]
    return {name: [address for item, address in pooled if holds(item, seen)] for name, seen in facts.items()}


@given(data=st.data(), world=ANY)
@examples(60)
def test_of_nodes_that_start_anew_at_most_one_takes_an_address(data: st.DataObject, world: Snapshot) -> None:
    seen = data.draw(views(world))
    held = held_by(world, {name: replace(world.facts(name), peers=seen[name]) for name in seen})
    counts = Counter(address for addresses in held.values() for address in addresses)
    assert all(count == 1 for count in counts.values())
    assert all(len(set(addresses)) == len(addresses) for addresses in held.values())


@given(before=ANY, world=ANY)
@examples(60)
def test_after_a_move_is_claimed_each_address_is_at_one_living_node(before: Snapshot, world: Snapshot) -> None:
    """Until its new holder has claimed it the old one keeps it, at most these two; then it is at the new one alone."""
    kernels = {name: fresh(before, name) for name in sorted(world.up)}
    facts = {name: observed(world, name, kernel) for name, kernel in kernels.items()}
    counts = Counter(address for addresses in held_by(world, facts).values() for address in addresses)
    assert all(count <= 2 for count in counts.values())
    claimed = _claimed(world)
    for name, kernel in kernels.items():
        settle(kernel, claimed, name)
    holders = Counter(address for name, kernel in kernels.items() for address in _put(claimed, name, kernel))
    assert all(count == 1 for count in holders.values())
    pooled = [item for item in claimed.assignments.values() if not item.static and item.address is not None]
    ranked = {item.address for item in pooled if set(item.nodes) & world.up}
    assert set(holders) == ranked if claimed.state.enabled else not holders


def _claimed(world: Snapshot) -> Snapshot:
    """The first living node in rank has said of each exit that it holds it."""
    exits = {
        name: replace(exit_, holder=next((node for node in exit_.nodes if node in world.up), ""))
        if exit_.pools
        else exit_
        for name, exit_ in world.state.exits.items()
    }
    return replace(world, state=replace(world.state, exits=exits))


def _put(world: Snapshot, name: str, kernel: FakeKernel) -> list[IPAddress]:
    """Addresses that the node announces, and those of its gateways, which are reached by routes."""
    plan = plan_node(world.state, world.assignments, observed(world, name, kernel), SETTINGS)
    bound = [key for key in plan.held if world.state.exits[key].node and not world.assignments[key].static]
    return [*(address for _, address in plan.announcements), *(plan.held[key] for key in bound)]
