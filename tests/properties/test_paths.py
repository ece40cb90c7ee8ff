"""A kernel's state depends on the last plan alone, not on how it came about."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fake_kernel import pieces
from tests.properties.agents import bare, fresh, lasting, settle, steps_to
from tests.properties.effort import examples
from tests.properties.worlds import EMPTY, NAMES, Snapshot, consistent, snapshots

from sallyport.model.kernel import Kind
from sallyport.reconcile.sequence import Step

History = list[Snapshot]

NODE = st.sampled_from(NAMES)
ANY = snapshots(renumbering=True, truly=True)


def squashed(history: History) -> History:
    """Only the last state is ever seen."""
    return history[-1:]


def as_they_come(history: History) -> History:
    return history


def with_keys_reversed(history: History) -> History:
    return [_reversed_keys(item) for item in history]


def with_states_reversed(history: History) -> History:
    """There and back: the former states in the opposite order first."""
    return [*reversed(history), *history]


def with_empties(history: History) -> History:
    return [state for item in history for state in (EMPTY, item)]


def split(history: History) -> History:
    """One object at a time: first those that go, then those that come or change."""
    return [
        state for before, after in zip([EMPTY, *history], history, strict=False) for state in _between(before, after)
    ]


EXPANDERS = (squashed, as_they_come, with_keys_reversed, with_states_reversed, with_empties, split)


def _reversed_keys(snapshot: Snapshot) -> Snapshot:
    state = snapshot.state
    return replace(
        snapshot,
        state=replace(
            state,
            nodes=dict(reversed(list(state.nodes.items()))),
            pools=dict(reversed(list(state.pools.items()))),
            exits=dict(reversed(list(state.exits.items()))),
            clients=dict(reversed(list(state.clients.items()))),
        ),
    )


def _between(before: Snapshot, after: Snapshot) -> Iterator[Snapshot]:
    state: Any = before.state
    for kind in ("exits", "clients", "pools", "nodes", "external", "chosen"):
        wanted, held = getattr(after.state, kind), dict(getattr(state, kind))
        for key in held.keys() - wanted.keys():
            del held[key]
            state = consistent(replace(state, **{kind: dict(held)}))
            yield replace(after, state=state)
        for key, value in wanted.items():
            held[key] = value
            state = consistent(replace(state, **{kind: dict(held)}))
            yield replace(after, state=state)
    yield after


@pytest.mark.parametrize("expand", EXPANDERS, ids=lambda expand: expand.__name__)
@given(history=st.lists(ANY, min_size=1, max_size=3), node=NODE)
@examples(20)
def test_every_history_ends_as_its_last_state_alone(
    expand: Callable[[History], History], history: History, node: str
) -> None:
    """Felix's law, with its expanders: whatever was seen before, and in which portions."""
    kernel = bare()
    for snapshot in expand(history):
        settle(kernel, snapshot, node)
    assert lasting(kernel) == lasting(fresh(history[-1], node))


@given(first=ANY, second=ANY, node=NODE)
@examples(30)
def test_going_back_to_a_state_brings_back_the_kernels_state(first: Snapshot, second: Snapshot, node: str) -> None:
    kernel = fresh(first, node)
    before = kernel.read()
    settle(settle(kernel, second, node), first, node)
    assert kernel.read() == before


@given(first=ANY, second=ANY, node=NODE)
@examples(30)
def test_what_is_applied_twice_is_applied_once(first: Snapshot, second: Snapshot, node: str) -> None:
    """The same steps again change nothing and are not refused."""
    kernel = fresh(first, node)
    steps = steps_to(second, node, kernel)
    assert kernel.apply(steps) == []
    once = kernel.read()
    assert kernel.apply(steps) == []
    settle(kernel, second, node)
    assert kernel.read() == once


@given(first=ANY, second=ANY, third=ANY, node=NODE, cuts=st.tuples(st.integers(0, 60), st.integers(0, 60)))
@examples(40)
def test_a_late_duplicate_agent_is_set_right_by_the_next_round(
    first: Snapshot, second: Snapshot, third: Snapshot, node: str, cuts: tuple[int, int]
) -> None:
    """A second agent works on an older plan; the first one's round falls between any two of its changes.

    All that an agent knows for its own is set right. An IPv6 address is known by the record of it alone, so one that
    the late agent puts on just after the other has removed the record stays (an IPv4 one has a label).
    """
    kernel = fresh(first, node)
    late = list(pieces(steps_to(second, node, kernel)))
    start, stop = sorted(cuts)
    kernel.apply(late[:start])
    settle(kernel, third, node)
    kernel.apply(late[start:stop])
    settle(kernel, third, node)
    assert kernel.read() == fresh(third, node).read()


@given(world=ANY, node=NODE)
@examples(20)
def test_a_flush_of_all_nftables_rules_is_made_good_by_the_next_round(world: Snapshot, node: str) -> None:
    """Firewall managers do that; an agent then knows its own addresses by their looks."""
    kernel = fresh(world, node)
    before = kernel.read()
    kernel.apply([Step(Kind.SKELETON, deletes=tuple(before[Kind.SKELETON].values()))])
    settle(kernel, world, node)
    assert kernel.read() == before
