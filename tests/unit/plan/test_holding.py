"""Which egress IPs a node holds by its own lights."""

from dataclasses import replace
from ipaddress import ip_address
from itertools import product

from tests.unit.plan.build import facts_of

from sallyport.model.plan import Assignment, Liveness
from sallyport.plan.holding import holds, watched

UP, DOWN, UNKNOWN = Liveness.UP, Liveness.DOWN, Liveness.UNKNOWN
RANKED = Assignment(7, ip_address("10.0.0.50"), ("node-1", "node-2", "node-3"))


def held_by(number: int, **peers: Liveness) -> bool:
    """Whether node-N holds the address when it sees its peers so; node_1 stands for node-1."""
    return holds(RANKED, facts_of(number, peers={name.replace("_", "-"): seen for name, seen in peers.items()}))


def test_the_first_in_rank_holds_whatever_it_sees_of_the_others() -> None:
    assert held_by(1)
    assert held_by(1, node_2=UP, node_3=DOWN)


def test_the_next_in_rank_takes_over_when_all_before_it_are_down() -> None:
    assert held_by(2, node_1=DOWN)
    assert not held_by(2, node_1=UP)
    assert held_by(3, node_1=DOWN, node_2=DOWN)
    assert not held_by(3, node_1=DOWN, node_2=UP)
    assert not held_by(3, node_1=UP, node_2=DOWN)


def test_a_node_of_which_nothing_is_known_counts_as_up() -> None:
    assert not held_by(2, node_1=UNKNOWN)
    assert not held_by(2)
    assert not held_by(3, node_1=DOWN)


def test_a_node_that_is_not_ranked_holds_nothing() -> None:
    assert not held_by(4, node_1=DOWN, node_2=DOWN, node_3=DOWN)


def test_a_planned_move_keeps_the_address_until_its_new_holder_claims_it() -> None:
    here = replace(facts_of(2, "10.0.0.50"), held=frozenset({ip_address("10.0.0.50")}), peers={"node-1": UP})
    assert holds(replace(RANKED, holder="node-2"), here)
    assert not holds(replace(RANKED, holder="node-1"), here)
    unranked = replace(here, node="node-9")
    assert holds(replace(RANKED, holder="node-9"), unranked)
    assert not holds(replace(RANKED, holder="node-9", nodes=()), unranked)
    assert not holds(replace(RANKED, holder="node-2"), replace(here, held=frozenset()))


def test_nothing_is_held_without_an_address_or_an_id() -> None:
    assert not holds(replace(RANKED, address=None), facts_of(1))
    assert not holds(replace(RANKED, id=0), facts_of(1))
    assert not holds(replace(RANKED, nodes=()), facts_of(1))


def test_a_static_address_is_held_where_an_interface_has_it() -> None:
    static = Assignment(7, ip_address("10.0.0.9"), static=True)
    assert holds(static, facts_of(1, "10.0.0.9"))
    assert not holds(static, facts_of(1))
    assert holds(replace(static, address=ip_address("10.0.0.1")), facts_of(1))


def test_of_the_living_nodes_exactly_one_holds_where_each_sees_who_lives() -> None:
    for alive in product((True, False), repeat=3):
        living = [number for number in (1, 2, 3) if alive[number - 1]]
        view = {f"node-{number}": UP if number in living else DOWN for number in (1, 2, 3)}
        holders = [number for number in living if holds(RANKED, facts_of(number, peers=view))]
        assert holders == living[:1]


def test_a_holder_and_its_two_standbys_watch_each_other() -> None:
    ranks = {
        "a": Assignment(1, ip_address("10.0.0.50"), ("n1", "n2", "n3", "n4", "n5")),
        "b": Assignment(2, ip_address("10.0.0.51"), ("n4", "n1")),
    }
    assert watched(ranks, "n1") == {"n2", "n3", "n4"}
    assert watched(ranks, "n2") == {"n1", "n3"}
    assert watched(ranks, "n4") == {"n1"}
    assert watched(ranks, "n5") == watched({}, "n1") == frozenset()
    assert all(node in watched(ranks, peer) for node in ("n1", "n2", "n3", "n4") for peer in watched(ranks, node))
