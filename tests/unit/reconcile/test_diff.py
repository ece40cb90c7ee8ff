"""What differs between desired and actual."""

from collections.abc import Iterable

import pytest

from sallyport.model.kernel import Fdb, KernelObject, Kind, Link, Neighbor, NextHop, Route, Skeleton, Sysctl
from sallyport.reconcile.diff import Actual, Delta, diff

LINK = Link("sp-vx4", 4097, 4790, "10.0.0.1", 1450)
ON_LINK: tuple[KernelObject, ...] = (
    Sysctl("net/ipv4/conf/sp-vx4/rp_filter", "2"),
    Skeleton("netdev", "sallyport", "digest:1"),
    Neighbor("sp-vx4", "10.0.0.50", "02:00:00:00:00:01"),
    Fdb("sp-vx4", "02:00:00:00:00:01", "10.0.0.50"),
    NextHop(7, "10.0.0.50", "sp-vx4"),
    Route(4, 900, "0.0.0.0/0", 100, "unicast", 7),
)
ELSEWHERE: tuple[KernelObject, ...] = (
    Sysctl("net/ipv4/conf/cni0/rp_filter", "2"),
    Skeleton("inet", "sallyport", "digest:2"),
    NextHop(8, "fd00::50", "sp-vx6"),
    Route(4, 901, "0.0.0.0/0", 100, "unicast", 8),
    Route(4, 900, "0.0.0.0/0", 4294967295, "unreachable"),
)


def read_back(*objects: KernelObject) -> Actual:
    found: dict[Kind, dict[object, KernelObject]] = {}
    for item in objects:
        found.setdefault(item.kind, {})[item.key] = item
    return found


def created(deltas: Iterable[Delta]) -> set[KernelObject]:
    return {item for delta in deltas for item in delta.create}


def test_what_is_as_wanted_makes_no_delta() -> None:
    objects = (LINK, *ON_LINK, *ELSEWHERE)
    assert diff(objects, read_back(*objects)) == {}
    assert diff((), {}) == {}


def test_objects_are_compared_by_the_key_of_the_kernel() -> None:
    same, moved, new, old = (
        Route(4, 900, "0.0.0.0/0", 4294967295, "unreachable"),
        Route(4, 900, "0.0.0.0/0", 100, "unicast", 7),
        Route(4, 901, "0.0.0.0/0", 100, "throw"),
        Route(6, 900, "::/0", 100, "throw"),
    )
    before = Route(4, 900, "0.0.0.0/0", 100, "throw")
    assert diff((same, moved, new), read_back(same, before, old)) == {
        Kind.ROUTE: Delta(create=(new,), replace=(moved,), delete=(old,))
    }


def test_the_text_of_a_table_is_not_compared_since_it_is_not_read_back() -> None:
    wanted = Skeleton("inet", "sallyport", "digest:1", "table …")
    assert diff((wanted,), read_back(Skeleton("inet", "sallyport", "digest:1"))) == {}


def test_settings_are_never_deleted() -> None:
    assert diff((), read_back(Sysctl("net/ipv4/conf/cni0/rp_filter", "2"))) == {}


def test_what_rests_on_a_link_that_is_made_anew_is_made_anew() -> None:
    moved = Link("sp-vx4", 4097, 4791, "10.0.0.1", 1450)
    deltas = diff((moved, *ON_LINK, *ELSEWHERE), read_back(LINK, *ON_LINK, *ELSEWHERE))
    assert deltas[Kind.LINK] == Delta(replace=(moved,))
    assert created(deltas.values()) == set(ON_LINK)


def test_what_went_with_a_link_need_not_be_deleted() -> None:
    moved = Link("sp-vx4", 4097, 4791, "10.0.0.1", 1450)
    assert diff((moved, *ELSEWHERE), read_back(LINK, *ON_LINK, *ELSEWHERE)) == {Kind.LINK: Delta(replace=(moved,))}


def test_a_lost_link_takes_the_ingress_chains_with_it_although_their_table_is_read_back() -> None:
    table = Skeleton("netdev", "sallyport", "digest:1")
    assert diff((LINK, table), read_back(table)) == {
        Kind.LINK: Delta(create=(LINK,)),
        Kind.SKELETON: Delta(create=(table,)),
    }


@pytest.mark.parametrize(
    "smaller", [Link("sp-vx4", 4097, 4790, "10.0.0.1", 1400), Link("sp-vx4", 4097, 4790, "10.0.0.2", 1450)]
)
def test_another_mtu_or_outer_address_leaves_what_rests_on_a_link_alone(smaller: Link) -> None:
    deltas = diff((smaller, *ON_LINK), read_back(LINK, *ON_LINK))
    assert deltas == {Kind.LINK: Delta(replace=(smaller,))}
