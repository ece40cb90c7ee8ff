"""What the controller decides stays decided, wherever it dies, and means one thing only."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.properties.effort import examples
from tests.properties.worlds import NAMES, STATIC, states, written
from tests.unit.plan.build import SETTINGS, an_exit

from sallyport.model.plan import ClusterPlan
from sallyport.model.state import ClusterState, Exit
from sallyport.plan.cluster import plan_cluster, recorded

STATES = states()
PLACES = dict.fromkeys(STATIC[:2], 1)


def planned(state: ClusterState) -> ClusterPlan:
    return plan_cluster(state, SETTINGS)


def told(state: ClusterState) -> ClusterState:
    """The state once the controller has written and holders have answered."""
    return written(state, PLACES, frozenset(NAMES), "truly")


def remembered(before: ClusterState, after: ClusterState) -> ClusterState:
    """The objects of `after`, where those that were there before in the same pool still have what was written."""
    exits = {}
    for name, exit_ in after.exits.items():
        old = before.exits.get(name)
        alike = old is not None and (old.pools, old.node) == (exit_.pools, exit_.node)
        if old is not None and alike and exit_.requested is None:
            exit_ = replace(old, clients=exit_.clients)
        exits[name] = exit_
    return replace(after, exits=exits)


def is_sound(state: ClusterState, plan: ClusterPlan) -> bool:
    """No address of a pool and no id is given twice, and pools give only what is theirs."""
    pooled = {name: plan.assignments[name].address for name, exit_ in state.exits.items() if exit_.pools}
    addresses = Counter(address for address in pooled.values() if address is not None)
    ids = Counter(item.id for item in plan.assignments.values() if item.id)
    own = [
        address in state.pools[state.exits[name].pools[0]] for name, address in pooled.items() if address is not None
    ]
    return all(own) and {*addresses.values(), *ids.values()} <= {1}


@given(state=STATES)
@examples(50)
def test_what_was_written_is_planned_again_and_is_what_agents_go_by(state: ClusterState) -> None:
    plan, after = planned(state), told(state)
    again = planned(after)
    assert is_sound(state, plan)
    for name, assignment in plan.assignments.items():
        kept = replace(again.assignments[name], holder=assignment.holder)
        assert kept == assignment
        agents = recorded(after)[name]
        assert (agents.address, agents.nodes) == (assignment.address, assignment.nodes)
    assert (again.chosen, again.watchers) == (plan.chosen, plan.watchers)


@given(state=STATES, data=st.data())
@examples(50)
def test_a_controller_that_dies_between_two_writes_is_continued_by_the_next(
    state: ClusterState, data: st.DataObject
) -> None:
    """Each object is written twice, its address first: any of them may have got this far, or all the way."""
    whole = told(state)
    exits = dict(state.exits)
    for name in state.exits:
        done = data.draw(st.sampled_from(["nothing", "address", "all"]))
        if done == "address":
            new = whole.exits[name]
            exits[name] = replace(exits[name], requested=new.requested, allocated=new.allocated)
        elif done == "all":
            exits[name] = whole.exits[name]
    assert told(replace(state, exits=exits)) == whole


@given(first=STATES, second=STATES, data=st.data())
@examples(60)
def test_an_address_in_effect_is_kept_as_long_as_its_pool_has_it(
    first: ClusterState, second: ClusterState, data: st.DataObject
) -> None:
    """Whatever else comes, goes or asks for it by name, be that one older."""
    state = remembered(told(first), second)
    settled = [exit_ for exit_ in state.exits.values() if exit_.settled and _is_in_its_pool(exit_, state)]
    if settled:
        other = data.draw(st.sampled_from(settled))
        older = an_exit("older", str(other.requested), created="0", pool=other.pools[0].partition("/")[2])
        state = replace(state, exits={**state.exits, "older": older})
    plan = planned(state)
    assert is_sound(state, plan)
    assert all(plan.assignments[exit_.key].address == exit_.requested for exit_ in settled)


def _is_in_its_pool(exit_: Exit, state: ClusterState) -> bool:
    pool = state.pools.get(exit_.pools[0]) if exit_.pools else None
    return pool is not None and exit_.requested is not None and exit_.requested in pool


@given(first=STATES, second=STATES)
@examples(50)
def test_an_id_in_use_is_kept(first: ClusterState, second: ClusterState) -> None:
    state = remembered(told(first), second)
    assignments = planned(state).assignments
    assert all(assignments[name].id == exit_.id for name, exit_ in state.exits.items() if exit_.id)
