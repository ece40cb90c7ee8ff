"""Which exit governs each pod."""

from collections.abc import Iterable

from tests.unit.plan.build import a_client, an_exit

from sallyport.model.plan import Assignment, Overlap
from sallyport.model.state import Client, Exit
from sallyport.plan.clients import SHARED, govern, overlaps

FOUR, SIX = "10.244.1.2", "fd00:244:1::2"
BOTH = a_client("web", FOUR, SIX)
NO_IP = "it has no egress IP"


def assigned(exits: Iterable[Exit]) -> dict[str, Assignment]:
    return {item.ref.name: Assignment(1, item.requested) for item in exits}


def governed(exits: Iterable[Exit], *clients: Client) -> dict[str, tuple[str, str]]:
    """Exit and reason to be blocked, by address."""
    exits = list(exits)
    found = govern({item.ref.name: item for item in exits}, assigned(exits), {item.key: item for item in clients})
    assert len({(item.client.key, item.address) for item in found}) == len(found)
    return {str(item.address): (item.exit, item.blocked) for item in found}


def contested(exits: Iterable[Exit], *clients: Client) -> tuple[Overlap, ...]:
    exits = list(exits)
    return overlaps({item.ref.name: item for item in exits}, assigned(exits), {item.key: item for item in clients})


def test_a_pod_that_no_exit_selects_is_not_governed() -> None:
    assert governed([an_exit("e", "10.0.0.50", "other")], BOTH) == {}


def test_of_several_exits_the_oldest_governs_a_pod_and_names_decide_among_equals() -> None:
    pod = a_client("web", FOUR)
    for exits in (
        [an_exit("b", "10.0.0.51", "web", created="1"), an_exit("a", "10.0.0.50", "web", created="2")],
        [an_exit("b", "10.0.0.51", "web"), an_exit("c", "10.0.0.52", "web")],
    ):
        assert governed(exits, pod) == governed(reversed(exits), pod) == {FOUR: ("b", "")}


def test_each_family_has_the_oldest_exit_of_its_own() -> None:
    exits = [
        an_exit("old6", "fd00::50", "web", created="1"),
        an_exit("old4", "10.0.0.50", "web", created="2"),
        an_exit("new4", "10.0.0.51", "web", created="3"),
    ]
    assert governed(exits, BOTH) == {FOUR: ("old4", ""), SIX: ("old6", "")}


def test_a_family_without_an_exit_of_its_own_is_blocked_and_not_let_out() -> None:
    assert governed([an_exit("e", "10.0.0.50", "web")], BOTH) == {
        FOUR: ("e", ""),
        SIX: ("e", "it has no IPv6 egress IP"),
    }


def test_an_exit_that_waits_for_its_address_keeps_its_pods() -> None:
    waiting = an_exit("waiting", "", "web", created="1")
    assert governed([waiting, an_exit("e", "10.0.0.50", "web", created="2")], BOTH) == {
        FOUR: ("waiting", NO_IP),
        SIX: ("waiting", NO_IP),
    }


def test_an_address_that_two_pods_have_is_blocked_unless_the_same_exit_governs_both() -> None:
    pods = [a_client("new", FOUR), a_client("old", FOUR)]
    alike = [an_exit("e", "10.0.0.50", "new", "old")]
    assert governed(alike, *pods) == {FOUR: ("e", "")}
    one = [an_exit("e", "10.0.0.50", "new")]
    assert governed(one, *pods) == governed(one, *reversed(pods)) == {FOUR: ("e", SHARED)}
    each = [an_exit("e", "10.0.0.50", "new"), an_exit("f", "10.0.0.51", "old")]
    assert governed(each, *pods) == {FOUR: ("f", SHARED)}


def test_an_overlap_names_the_winner_the_loser_and_the_pods() -> None:
    exits = [
        an_exit("old", "10.0.0.50", "a", "b", "gone", created="1"),
        an_exit("new", "10.0.0.51", "a", "b", "c", created="2"),
        an_exit("six", "fd00::50", "a", created="3"),
    ]
    pods = [a_client("a", FOUR, SIX), a_client("b", "10.244.1.3"), a_client("c", "10.244.1.4")]
    assert contested(exits, *pods) == (Overlap("old", "new", 4, (("prod", "a"), ("prod", "b"))),)


def test_exits_of_different_families_do_not_overlap() -> None:
    exits = [an_exit("four", "10.0.0.50", "web"), an_exit("six", "fd00::50", "web")]
    assert contested(exits, BOTH) == ()


def test_an_exit_that_waits_overlaps_in_both_families() -> None:
    exits = [an_exit("waiting", "", "web", created="1"), an_exit("four", "10.0.0.50", "web", created="2")]
    assert contested(exits, BOTH) == (Overlap("waiting", "four", 4, (("prod", "web"),)),)
    assert [item.family for item in contested([an_exit("a", "", "web"), an_exit("b", "", "web")], BOTH)] == [4, 6]


def test_the_order_of_objects_changes_nothing() -> None:
    exits = [an_exit(f"e{n}", f"10.0.0.{50 + n}", "a", "b", created=str(n % 2)) for n in range(4)]
    pods = [a_client("a", FOUR), a_client("b", "10.244.1.3")]
    assert contested(exits, *pods) == contested(reversed(exits), *reversed(pods))
    assert list(governed(exits, *pods)) == list(governed(reversed(exits), *reversed(pods))) == [FOUR, "10.244.1.3"]
