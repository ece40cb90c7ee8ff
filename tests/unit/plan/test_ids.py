"""Egress ids."""

from collections.abc import Iterable
from dataclasses import replace

from tests.unit.plan.build import SETTINGS, an_exit

from sallyport.model.state import Exit
from sallyport.plan.ids import assign_ids

HIGHEST = SETTINGS.highest_id


def ids_of(exits: Iterable[Exit], highest: int = HIGHEST) -> dict[str, int]:
    return assign_ids({item.ref.name: item for item in exits}, highest)[0]


def test_every_exit_has_an_id_of_its_own_within_the_marks_bits() -> None:
    ids = ids_of(an_exit(f"e{n}") for n in range(1000))
    assert len(set(ids.values())) == 1000
    assert all(1 <= number <= HIGHEST for number in ids.values())
    assert SETTINGS.nowhere_id not in ids.values()


def test_ids_depend_on_no_order() -> None:
    exits = [an_exit(f"e{n}", created=str(n % 7)) for n in range(100)]
    assert ids_of(exits) == ids_of(reversed(exits))


def test_an_id_in_use_is_kept() -> None:
    assert ids_of([an_exit("a", id=5), an_exit("b", id=HIGHEST), an_exit("c")])["a"] == 5
    exits = [an_exit(f"e{n}") for n in range(20)]
    ids = ids_of(exits)
    assert ids_of([an_exit("new"), *(replace(item, id=ids[item.ref.name]) for item in exits)]) == ids | ids_of(
        [an_exit("new")]
    )


def test_an_id_that_two_claim_is_the_older_ones() -> None:
    ids = ids_of([an_exit("new", created="2", id=5), an_exit("old", created="1", id=5)])
    assert ids["old"] == 5
    assert ids["new"] != 5


def test_an_id_beyond_the_marks_bits_is_not_kept() -> None:
    """The mask may have been made narrower, and the last id belongs to nobody."""
    for number in (HIGHEST + 1, -1):
        assert 1 <= ids_of([an_exit("a", id=number)])["a"] <= HIGHEST


def test_an_id_just_given_up_does_not_go_to_the_next_exit() -> None:
    before = ids_of([an_exit("gone"), an_exit("stays")])
    after = ids_of([an_exit("stays", id=before["stays"]), an_exit("new")])
    assert after["new"] not in before.values()


def test_when_ids_run_out_the_youngest_go_without() -> None:
    exits = [an_exit(f"e{n}", created=str(n)) for n in range(5)]
    ids, problems = assign_ids({item.ref.name: item for item in exits}, 3)
    assert sorted(ids.values()) == [0, 0, 1, 2, 3]
    assert ids["e3"] == ids["e4"] == 0
    assert [(item.ref.name, item.reason) for item in problems] == [("e3", "NoMarkLeft"), ("e4", "NoMarkLeft")]
    assert problems[0].message == "all 3 egress ids of the cluster are in use"


def test_those_that_have_an_id_come_before_those_that_are_older_and_have_none() -> None:
    exits = [an_exit("old", created="1"), an_exit("young", created="2", id=2), an_exit("younger", created="3", id=1)]
    assert ids_of(exits, 2) == {"old": 0, "young": 2, "younger": 1}
