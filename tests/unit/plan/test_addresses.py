"""Which egress IP each exit is given."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

import pytest
from tests.unit.plan.build import a_pool, an_exit

from sallyport.model.plan import Usage
from sallyport.model.state import Exit, Pool
from sallyport.plan.addresses import allocate, usage


def given(exits: Iterable[Exit], *pools: Pool) -> dict[str, str]:
    """Addresses by exit, "" where there is none."""
    addresses, _ = allocate(*_by_name(exits, pools))
    return {name: str(address or "") for name, address in sorted(addresses.items())}


def refused(exits: Iterable[Exit], *pools: Pool) -> dict[str, str]:
    """Messages by exit."""
    _, problems = allocate(*_by_name(exits, pools))
    assert {problem.reason for problem in problems} <= {"AllocationError"}
    return {
        problem.ref.name: problem.message.removeprefix("Cannot allocate EgressIP from ExternalIPPool: ")
        for problem in problems
    }


def _by_name(exits: Iterable[Exit], pools: Iterable[Pool]) -> tuple[dict[str, Exit], dict[str, Pool]]:
    return {item.ref.name: item for item in exits}, {item.key: item for item in pools}


POOL = a_pool("pool", "10.0.0.50-10.0.0.51", "10.0.0.60-10.0.0.61")


def test_free_addresses_go_to_the_older_exits_first_in_the_order_of_the_ranges() -> None:
    exits = [an_exit("c", created="2"), an_exit("b", created="1"), an_exit("a", created="2")]
    expected = {"a": "10.0.0.51", "b": "10.0.0.50", "c": "10.0.0.60"}
    assert given(exits, POOL) == given(reversed(exits), POOL) == expected


def test_an_address_that_was_given_is_kept_whatever_comes_before_it() -> None:
    """An exit that is older, but comes later, takes what is free."""
    kept = an_exit("kept", "10.0.0.50", created="2", allocated=True)
    assert given([kept, an_exit("older", created="1")], POOL) == {"kept": "10.0.0.50", "older": "10.0.0.51"}


def test_written_back_the_addresses_stay_the_same_when_exits_come_and_go() -> None:
    exits = [an_exit(name, created=name) for name in "abcd"]
    first = given(exits, POOL)
    recorded = [replace(item, requested=ip_address(first[item.ref.name]), allocated=True) for item in exits]
    assert given(recorded, POOL) == first
    without = given([*recorded[1:], an_exit("0", created="0")], POOL)
    assert without == {"0": first["a"], **{name: first[name] for name in "bcd"}}


def test_an_address_that_the_user_asks_for_is_given_where_the_pool_has_it() -> None:
    assert given([an_exit("a"), an_exit("b", "10.0.0.50")], POOL) == {"a": "10.0.0.51", "b": "10.0.0.50"}


def test_an_address_outside_of_the_pool_is_refused() -> None:
    exits = [an_exit("a", "10.0.0.52")]
    assert given(exits, POOL) == {"a": ""}
    assert refused(exits, POOL) == {"a": "IP 10.0.0.52 is not within the IP range of ExternalIPPool pool"}


def test_an_address_that_two_ask_for_is_the_older_ones() -> None:
    exits = [an_exit("new", "10.0.0.50", created="2"), an_exit("old", "10.0.0.50", created="1")]
    assert given(exits, POOL) == {"new": "", "old": "10.0.0.50"}
    assert refused(exits, POOL) == {"new": "IP 10.0.0.50 is already used by Egress old"}


def test_an_address_of_the_controllers_own_choice_gives_way_to_one_that_is_asked_for() -> None:
    chosen = an_exit("chosen", "10.0.0.50", created="2", allocated=True)
    asked = an_exit("asked", "10.0.0.50", created="1")
    assert given([chosen, asked], POOL) == {"asked": "10.0.0.50", "chosen": "10.0.0.51"}


def test_a_full_pool_leaves_the_youngest_without_an_address() -> None:
    exits = [an_exit(name, created=name) for name in "edcba"]
    assert given(exits, POOL)["e"] == ""
    assert refused(exits, POOL) == {"e": "cannot allocate IP in any range of ExternalIPPool pool"}


def test_an_exit_without_an_address_gets_one_when_one_becomes_free() -> None:
    exits = [an_exit(name, created=name) for name in "abcde"]
    assert given(exits[1:], POOL)["e"] == "10.0.0.61"


def test_a_pool_that_shrinks_moves_what_the_controller_chose_and_refuses_what_the_user_asked_for() -> None:
    small = a_pool("pool", "10.0.0.60-10.0.0.61")
    exits = [an_exit("chosen", "10.0.0.50", allocated=True), an_exit("asked", "10.0.0.51")]
    assert given(exits, POOL) == {"asked": "10.0.0.51", "chosen": "10.0.0.50"}
    assert given(exits, small) == {"asked": "", "chosen": "10.0.0.60"}


def test_without_its_pool_an_exit_has_no_address_and_with_it_again_the_same() -> None:
    exits = [an_exit("a", "10.0.0.51", allocated=True), an_exit("b", "10.0.0.50")]
    assert given(exits) == {"a": "", "b": ""}
    assert refused(exits) == dict.fromkeys("ab", "ExternalIPPool pool does not exist")
    assert given(exits, POOL) == {"a": "10.0.0.51", "b": "10.0.0.50"}


def test_static_addresses_need_no_pool_and_are_taken_from_none() -> None:
    exits = [an_exit("static", "10.0.0.50", pool=None), an_exit("pooled")]
    assert given(exits, POOL) == {"pooled": "10.0.0.50", "static": "10.0.0.50"}
    assert given([an_exit("none", pool=None)]) == {"none": ""}


def test_each_pool_gives_its_own_addresses() -> None:
    other = a_pool("other", "fd00::50-fd00::51")
    exits = [an_exit("a"), an_exit("b", pool="other"), an_exit("c", pool="other")]
    assert given(exits, POOL, other) == {"a": "10.0.0.50", "b": "fd00::50", "c": "fd00::51"}


def test_a_pool_of_both_families_gives_the_second_when_the_first_is_used_up() -> None:
    both = a_pool("pool", "10.0.0.50", "fd00::50-fd00::ffff")
    assert given([an_exit("a"), an_exit("b")], both) == {"a": "10.0.0.50", "b": "fd00::50"}


@pytest.mark.parametrize("count", [0, 1, 4, 5])
def test_usage_counts_what_is_given_out_of_a_pool(count: int) -> None:
    exits, pools = _by_name([an_exit(f"e{n}", created=str(n)) for n in range(count)], [POOL, a_pool("empty")])
    addresses, _ = allocate(exits, pools)
    assert usage(pools, exits, addresses) == {
        "ExternalIPPool/pool": Usage(total=4, used=min(count, 4)),
        "ExternalIPPool/empty": Usage(0, 0),
    }
