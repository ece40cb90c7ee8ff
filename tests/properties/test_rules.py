"""The tree of policy rules: every packet finds its table in it, in few steps, and at every moment of a change."""

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fake_kernel import pieces
from tests.properties.effort import examples
from tests.properties.fib_rules import FibRules

from sallyport.model.kernel import ClientElement, Kind, Rule
from sallyport.model.settings import Settings
from sallyport.plan.rules import arranged, first, span
from sallyport.reconcile.diff import diff
from sallyport.reconcile.sequence import Step, sequence

SMALL = Settings(mark_mask=0x7E0)
"""Six bits, somewhere in the mark: 62 exits, a tree that is full at once."""
WIDE = Settings()
PRIORITIES = (20_000, 100, 20_040, 31_000)
"""Of which the second stands far before the tree, the others in the midst of it and behind it."""


def flat(ids: Iterable[int], settings: Settings) -> list[Rule]:
    """What is wanted: a rule for each exit."""
    mask = settings.mark_mask
    return [Rule(4, first(settings), settings.table(item), mark=settings.mark(item), mask=mask) for item in ids]


def planned(ids: Iterable[int], settings: Settings) -> list[Rule]:
    return [item for item in arranged(flat(ids, settings), settings) if isinstance(item, Rule)]


def steps(wanted: Iterable[Rule], kernel: FibRules) -> tuple[Step, ...]:
    return sequence(diff(wanted, kernel.read()))


def at(priority: int) -> Settings:
    return Settings(mark_mask=SMALL.mark_mask, rule_priority=priority)


def marked_in(drawn: tuple[bytes, bytes, bool]) -> frozenset[int]:
    """Ids whose bit is set: in one of the two, which most are, or in both."""
    one, two = (int.from_bytes(item, "big") for item in drawn[:2])
    bits = one | two if drawn[2] else one & two
    return frozenset(item for item in range(1, SMALL.nowhere_id + 1) if bits >> item & 1)


_BITS = st.binary(min_size=8, max_size=8)
SETS = st.tuples(_BITS, _BITS, st.booleans()).map(marked_in) | st.frozensets(
    st.integers(1, SMALL.nowhere_id), max_size=12
)
TUNED = st.sampled_from(PRIORITIES).map(at)


@given(ids=SETS, settings=TUNED)
@examples(100)
def test_every_exit_finds_its_table_and_nobody_else_finds_any(ids: frozenset[int], settings: Settings) -> None:
    """In whatever order those of one priority were written, and whatever others have in the mark's other bits."""
    for rules in (planned(ids, settings), planned(ids, settings)[::-1]):
        kernel = FibRules(rules)
        for item in range(settings.nowhere_id + 1):
            expected = [settings.table(item)] if item in ids else []
            assert kernel.tables(settings.mark(item) | 0xFFFF0000) == expected


@given(before=SETS, after=SETS, later=SETS, tuned=st.tuples(TUNED, TUNED, TUNED), progress=st.floats(0, 1))
@examples(150)
def test_at_no_moment_does_a_packet_miss_its_table(
    before: frozenset[int],
    after: frozenset[int],
    later: frozenset[int],
    tuned: tuple[Settings, Settings, Settings],
    progress: float,
) -> None:
    """From one set of exits towards another, where the agent is killed, and on to a third, whatever priorities an
    administrator has set meanwhile. Then nothing is left to do."""
    kernel = FibRules(planned(before, tuned[0]))
    todo = list(pieces(steps(planned(after, tuned[1]), kernel)))
    for piece in todo[: round(len(todo) * progress)]:
        kernel.carry_out(piece)
        found_by(before & after, kernel)
    for piece in pieces(steps(planned(later, tuned[2]), kernel)):
        kernel.carry_out(piece)
        found_by(before & after & later, kernel)
    assert steps(planned(later, tuned[2]), kernel) == ()


@given(before=SETS, after=SETS, settings=TUNED)
@examples(150)
def test_an_exit_finds_its_table_from_its_first_client_to_its_last(
    before: frozenset[int], after: frozenset[int], settings: Settings
) -> None:
    """Clients are led to new exits between two changes of rules, and then away from those that go: until then all that
    was there finds its table, and from then on all that is to be there."""
    kernel = FibRules(planned(before, settings))
    turn = [ClientElement("clients4", "10.0.0.1", "1")]
    served = before
    for piece in pieces(sequence(diff([*planned(after, settings), *turn], kernel.read()))):
        if piece.kind is Kind.CLIENT_ELEMENT:
            found_by(before | after, kernel)
            served = after
        else:
            kernel.carry_out(piece)
            found_by(served, kernel)
    found_by(after, kernel)


def found_by(ids: Iterable[int], kernel: FibRules) -> None:
    """Each finds its own table, and no other; who has no mark finds none."""
    for item in ids:
        assert set(kernel.tables(SMALL.mark(item))) == {SMALL.table(item)}
    assert kernel.tables(0) == []


@given(before=SETS, after=SETS, progress=st.floats(0, 1))
@examples(50)
def test_the_rules_of_earlier_agents_give_way_without_a_gap(
    before: frozenset[int], after: frozenset[int], progress: float
) -> None:
    kernel = FibRules(flat(before, SMALL))
    for piece in pieces(steps(planned(after, SMALL), kernel)):
        kernel.carry_out(piece)
        found_by(before & after, kernel)


@given(before=SETS, after=SETS, base=st.integers(256, 2_000_000))
@examples(50)
def test_an_exit_whose_table_gets_another_number_finds_the_one_or_the_other(
    before: frozenset[int], after: frozenset[int], base: int
) -> None:
    """As when an agent follows one that numbered tables in another way: at no moment does it find none."""
    earlier = replace(SMALL, table_base=base)
    kernel = FibRules(planned(before, earlier))
    for piece in pieces(steps(planned(after, SMALL), kernel)):
        kernel.carry_out(piece)
        for item in before & after:
            found = kernel.tables(SMALL.mark(item))
            assert found
            assert set(found) <= {earlier.table(item), SMALL.table(item)}
        assert kernel.tables(0) == []
    found_by(after, kernel)


@pytest.mark.parametrize(("count", "most"), [(1, 2), (4, 5), (100, 15), (1_000, 18), (10_000, 22), (16_382, 22)])
def test_few_rules_are_asked_however_many_exits_there_are(count: int, most: int) -> None:
    """Those that are asked before and after a packet's table is found, of 8 ns each; two of a packet without mark."""
    ids = random.Random(7).sample(range(1, WIDE.nowhere_id), count)
    kernel = FibRules(planned(ids, WIDE))
    assert len(list(kernel.asked(0))) == 2
    for item in random.Random(8).sample(ids, min(count, 50)):
        asked = list(kernel.asked(WIDE.mark(item)))
        assert [rule.table for rule in asked].index(WIDE.table(item)) < most
        assert len(asked) <= most + 8


def test_an_exit_more_changes_the_rules_of_its_group_only() -> None:
    ids = random.Random(9).sample(range(1, WIDE.nowhere_id), 3_050)
    have = planned(ids[:3_000], WIDE)
    costs = []
    for place in range(3_000, 3_050):
        want = planned(ids[: place + 1], WIDE)
        costs.append(len(set(want) ^ set(have)))
        have = want
    assert sum(costs) / len(costs) < 8
    assert max(costs) < 30


def test_the_tree_keeps_to_its_place() -> None:
    every = planned(range(1, WIDE.nowhere_id + 1), WIDE)
    assert {item.priority for item in every} <= set(span(WIDE))
    assert (span(WIDE)[0], span(WIDE)[-1]) == (20_001, 26_145)
