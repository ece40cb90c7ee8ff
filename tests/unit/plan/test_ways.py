"""What becomes of each destination of a client: every address has one answer."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from itertools import pairwise

import pytest
from tests.unit.plan.gateways import a_policy, by

from sallyport.model.state import FAMILIES, Family, Hops, Policy
from sallyport.plan.ways import EVERYTHING, NOWHERE, Part, divide

RED, BLUE, SIX = by("red"), by("blue"), by("six", family=6)
FOUR_ONLY: dict[Family, frozenset[str]] = {4: frozenset({*RED.exits, *BLUE.exits}), 6: frozenset(SIX.exits)}
WHOLE = Hops(("web",), keep=False)


def parts(policies: Iterable[Policy], rest: Hops | None = None, family: Family = 4) -> tuple[Part, ...]:
    """The parts, which are seen to cover all addresses, each once."""
    found = divide(tuple(policies), rest, family, FOUR_ONLY[family])
    assert sum(part.network.num_addresses for part in found) == EVERYTHING[family].num_addresses
    ends = [(int(part.network.network_address), int(part.network.broadcast_address)) for part in found]
    assert all(last < first for (_, last), (first, _) in pairwise(ends))
    return found


def answers(found: Iterable[Part], *addresses: str) -> list[Hops | None]:
    return [next(part.hops for part in found if ip_address(text) in part.network) for text in addresses]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rest", [None, NOWHERE, WHOLE])
def test_without_policies_everything_is_as_the_rest_says(rest: Hops | None, family: Family) -> None:
    assert parts([], rest, family) == (Part(EVERYTHING[family], rest),)


@pytest.mark.parametrize("turned", [False, True])
def test_the_longest_prefix_decides_whatever_the_order(turned: bool) -> None:
    rules: dict[str, Hops | None] = {"0.0.0.0/0": RED, "11.0.0.0/8": BLUE, "11.1.0.0/16": None, "11.1.1.0/24": RED}
    given = dict(reversed(rules.items())) if turned else rules
    found = parts([a_policy("p", given)])
    wanted = [RED, BLUE, None, RED, RED]
    assert answers(found, "10.255.255.255", "11.255.255.255", "11.1.0.255", "11.1.1.1", "12.0.0.0") == wanted


def test_what_a_policy_does_not_have_is_left_to_the_next_one_and_then_to_the_rest() -> None:
    first = a_policy("first", {"11.0.0.0/8": RED})
    second = a_policy("second", {"10.0.0.0/7": BLUE, "11.1.0.0/16": BLUE})
    found = parts([first, second], WHOLE)
    assert answers(found, "11.1.0.1", "10.0.0.1", "12.0.0.1") == [RED, BLUE, WHOLE]


def test_an_ordinary_destination_takes_its_addresses_out_of_a_shorter_one() -> None:
    found = parts([a_policy("p", {"0.0.0.0/0": RED, "10.0.0.0/8": None})])
    assert answers(found, "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0") == [RED, None, None, RED]


def test_a_blocked_policy_stops_everything_that_none_before_it_has() -> None:
    first = a_policy("first", {"11.0.0.0/8": RED})
    blocked = a_policy("blocked", {}, blocked="it does not exist")
    found = parts([first, blocked, a_policy("last", {"12.0.0.0/8": BLUE})], WHOLE)
    assert answers(found, "11.0.0.1", "12.0.0.1", "13.0.0.1") == [RED, NOWHERE, NOWHERE]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_policy_decides_about_its_own_family_alone(family: Family) -> None:
    other = {4: "::/0", 6: "0.0.0.0/0"}[family]
    assert parts([a_policy("p", {other: RED})], WHOLE, family) == (Part(EVERYTHING[family], WHOLE),)


def test_gateways_that_are_all_of_the_other_family_block_what_nothing_else_governs() -> None:
    """They leave to an exit of the family what it is asked for, and let nothing out that would be ordinary."""
    policy = a_policy("p", {"0.0.0.0/0": SIX})
    assert answers(parts([policy]), "11.0.0.1") == [SIX]
    assert answers(parts([policy], WHOLE), "11.0.0.1") == [WHOLE]


def test_a_destination_without_any_gateway_is_not_left_to_another() -> None:
    """That no pod matches is no question of families."""
    assert answers(parts([a_policy("p", {"0.0.0.0/0": Hops(())})], WHOLE), "11.0.0.1") == [Hops(())]


def test_parts_tell_the_destination_as_its_policy_writes_it() -> None:
    """A limited choice is recorded for that, of which there may be several parts."""
    found = parts([a_policy("p", {"0.0.0.0/0": RED, "10.0.0.0/8": None})])
    assert {part.wanted for part in found if part.hops is RED} == {"0.0.0.0/0"}
    assert {part.wanted for part in found if part.hops is None} == {"10.0.0.0/8"}


def test_two_destinations_with_equal_gateways_are_not_one() -> None:
    limited = by("red", "blue", limit=1)
    found = parts([a_policy("p", {"10.0.0.0/8": limited, "11.0.0.0/8": limited})])
    assert [(str(part.network), part.wanted) for part in found if part.hops] == [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("11.0.0.0/8", "11.0.0.0/8"),
    ]


def test_the_first_and_the_last_address_belong_to_some_part() -> None:
    found = parts([a_policy("p", {"0.0.0.0/32": RED, "255.255.255.255/32": BLUE})])
    assert answers(found, "0.0.0.0", "0.0.0.1", "255.255.255.254", "255.255.255.255") == [RED, None, None, BLUE]
    six = parts([a_policy("p", {"ffff::/16": SIX})], None, 6)
    assert six[-1].network == ip_network("ffff::/16")
