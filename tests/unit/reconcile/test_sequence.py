"""The order of steps."""

from ipaddress import IPv4Network

import pytest

from sallyport.model.kernel import ClientElement, Element, KernelObject, Kind, Link, NextHop, Route, Rule, Skeleton
from sallyport.reconcile.diff import Delta
from sallyport.reconcile.sequence import Step, sequence

OLD, NEW = (Route(4, 900 + number, "0.0.0.0/0", 100, "throw") for number in range(2))


def test_creations_go_upward_and_deletions_downward_after_them() -> None:
    """Deltas come in any order; every kind's creations precede every deletion."""
    made: dict[Kind, KernelObject] = {
        Kind.CLIENT_ELEMENT: ClientElement("clients4", "10.244.1.2", "1"),
        Kind.LINK: Link("sp-vx4", 4097, 4790, "10.0.0.1", 1450),
        Kind.ROUTE: NEW,
        Kind.NEXT_HOP: NextHop(7, "10.0.0.50", "sp-vx4"),
        Kind.RULE: Rule(4, 20001, 901, mark=1, mask=0x3FFF),
        Kind.EXIT_ELEMENT: Element("exits4", "1", "10.0.0.50"),
    }
    steps = sequence({kind: Delta(create=(item,), delete=(item,)) for kind, item in made.items()})
    upward = [Step(kind, upserts=(made[kind],)) for kind in sorted(made)]
    downward = [Step(kind, deletes=(made[kind],)) for kind in sorted(made, reverse=True)]
    assert steps == (*upward, *downward)


def test_replacements_go_with_the_creations_of_their_kind() -> None:
    replaced = Route(4, 902, "0.0.0.0/0", 100, "throw")
    assert sequence({Kind.ROUTE: Delta((NEW,), (replaced,), (OLD,))}) == (
        Step(Kind.ROUTE, upserts=(NEW, replaced)),
        Step(Kind.ROUTE, deletes=(OLD,)),
    )


def test_nothing_to_do_makes_no_step() -> None:
    assert sequence({}) == ()
    assert sequence({Kind.ROUTE: Delta()}) == ()


@pytest.mark.parametrize(
    ("incoming", "outgoing", "together"),
    [
        ("10.0.0.0/8", "10.1.0.0/16", True),
        ("10.1.0.0/16", "10.0.0.0/8", True),
        ("10.1.0.0/16", "10.1.2.3", True),
        ("10.1.2.3", "10.1.0.0/16", True),
        ("10.2.0.0/16", "10.1.0.0/16", False),
        ("10.1.2.3", "10.1.2.4", False),
    ],
)
def test_networks_that_overlap_change_places_in_one_step(incoming: str, outgoing: str, together: bool) -> None:
    new, old = Element("excluded4", incoming), Element("excluded4", outgoing)
    assert IPv4Network(incoming).overlaps(IPv4Network(outgoing)) == together
    expected = (
        (Step(Kind.EXIT_ELEMENT, upserts=(new,), deletes=(old,)),)
        if together
        else (Step(Kind.EXIT_ELEMENT, upserts=(new,)), Step(Kind.EXIT_ELEMENT, deletes=(old,)))
    )
    assert sequence({Kind.EXIT_ELEMENT: Delta(create=(new,), delete=(old,))}) == expected


def test_networks_of_different_sets_do_not_overlap() -> None:
    new, old = ClientElement("local_pods4", "10.0.0.0/8"), ClientElement("local_pods6", "10.0.0.0/8")
    steps = sequence({Kind.CLIENT_ELEMENT: Delta(create=(new,), delete=(old,))})
    assert steps == (Step(Kind.CLIENT_ELEMENT, upserts=(new,)), Step(Kind.CLIENT_ELEMENT, deletes=(old,)))


def test_the_table_that_judges_packets_outlives_the_one_that_lets_them_out_of_the_tunnel() -> None:
    inet, netdev = Skeleton("inet", "sallyport", "digest:1"), Skeleton("netdev", "sallyport", "digest:1")
    for delta in (Delta(delete=(inet, netdev)), Delta(delete=(netdev, inet))):
        assert sequence({Kind.SKELETON: delta}) == (Step(Kind.SKELETON, deletes=(netdev, inet)),)


def test_a_range_that_somebody_wrote_by_hand_gives_way_to_a_network_in_the_same_step() -> None:
    by_hand, wanted = Element("excluded4", "198.51.100.0-198.51.100.9"), Element("excluded4", "198.51.100.0/24")
    assert sequence({Kind.EXIT_ELEMENT: Delta(create=(wanted,), delete=(by_hand,))}) == (
        Step(Kind.EXIT_ELEMENT, upserts=(wanted,), deletes=(by_hand,)),
    )
