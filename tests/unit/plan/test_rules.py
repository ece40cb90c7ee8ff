"""Where the rules of marks stand: side by side at one priority, or in a tree."""

from collections.abc import Iterable

import pytest

from sallyport.model.kernel import KernelObject, Rule
from sallyport.model.settings import Settings
from sallyport.plan.rules import arranged

END = 26145
MASK = 0x3FFF
DEFAULTS = Settings()


def marks(*ids: int, priority: int = 20001) -> list[Rule]:
    return [Rule(4, priority, 830_000 + item, mark=item, mask=MASK) for item in ids]


def tree(ids: Iterable[int], settings: Settings = DEFAULTS) -> set[KernelObject]:
    made = arranged(marks(*ids, priority=settings.rule_priority + 1), settings)
    assert len(made) == len(set(made))
    return set(made)


AROUND = {Rule(4, 20001, 0, mask=MASK, goto=END), Rule(4, END, 0)}
"""What leads packets without a mark past the rules of all that have one."""


def test_a_few_exits_stand_side_by_side_behind_one_rule_for_packets_without_a_mark() -> None:
    assert tree([1, 2, 3, 0x3FFF]) == {*AROUND, *marks(1, 2, 3, 0x3FFF, priority=20002)}


def test_more_of_them_stand_in_groups_by_their_lowest_bits_each_with_an_end() -> None:
    assert tree([1, 2, 3, 4, 5]) == {
        *AROUND,
        Rule(4, 20002, 0, mark=1, mask=1, goto=23074),
        *marks(2, 4, priority=20003),
        Rule(4, 20004, 0, mark=0, mask=1, goto=END),
        *marks(1, 3, 5, priority=23074),
        Rule(4, 23075, 0, mark=1, mask=1, goto=END),
    }


def test_where_there_are_none_for_some_bits_there_is_an_end_at_once() -> None:
    """Packets of others' exits, which come by the tunnel, are not asked about all that are left."""
    assert tree([2, 4, 6, 8, 10]) - tree([4, 8]) - set(marks(2, 6, 10, priority=21539)) == {
        Rule(4, 20002, 0, mark=1, mask=1, goto=23074),
        Rule(4, 20003, 0, mark=2, mask=3, goto=21539),
        *marks(4, 8, priority=20004),
        Rule(4, 20005, 0, mark=0, mask=3, goto=END),
        Rule(4, 21540, 0, mark=2, mask=3, goto=END),
        Rule(4, 23074, 0, mark=1, mask=1, goto=END),
    }


def test_a_priority_before_the_trees_place_has_one_rule_that_leads_marks_there() -> None:
    """What others have in between is asked by all who have no mark, as if we were not there."""
    entry = Rule(4, 101, 0, mask=MASK, goto=20001, inverted=True)
    assert tree([7], Settings(rule_priority=100)) == {entry, *AROUND, *marks(7, priority=20002)}


def test_a_priority_behind_the_trees_place_is_kept_side_by_side() -> None:
    assert tree(range(1, 9), Settings(rule_priority=20_001)) == set(marks(*range(1, 9), priority=20002))


@pytest.mark.parametrize(("priority", "flat"), [(20000, False), (20002, True), (END, True), (END + 1, False)])
def test_rules_of_networks_that_the_tree_would_lead_past_keep_it_from_being_made(priority: int, flat: bool) -> None:
    network = Rule(4, priority, 500, mark=99, mask=MASK)
    made = arranged([*marks(1, 2), network], DEFAULTS)
    assert network in made
    assert (set(made) == {*marks(1, 2), network}) == flat


def test_all_that_is_no_rule_of_a_mark_stays_as_it_is() -> None:
    others = [Rule(4, 20000, 254, udp_port=4790), Rule(4, 20000, 254, iif="eth1"), Rule(6, 20000, 500, to="fd66::2")]
    assert arranged(others, DEFAULTS) == others


def test_each_family_has_a_tree_of_its_own() -> None:
    six = [Rule(6, 20001, 830_001, mark=1, mask=MASK)]
    assert set(arranged(six, DEFAULTS)) == {
        Rule(6, 20001, 0, mask=MASK, goto=END),
        Rule(6, 20002, 830_001, mark=1, mask=MASK),
        Rule(6, END, 0),
    }
