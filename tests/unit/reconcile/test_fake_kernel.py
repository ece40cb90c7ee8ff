"""The kernel in memory behaves in the ways that plans and their order must reckon with."""

from collections.abc import Sequence

import pytest
from tests.fake_kernel import FakeKernel, pieces

from sallyport.model.kernel import (
    ClientElement,
    Element,
    Fdb,
    InterfaceAddress,
    KernelObject,
    Kind,
    Link,
    Neighbor,
    NextHop,
    Route,
    Rule,
    Skeleton,
    Sysctl,
)
from sallyport.model.settings import Settings
from sallyport.plan.chains import spread, way
from sallyport.plan.skeleton import skeletons
from sallyport.reconcile.sequence import Step

LINK = Link("sp-vx4", 4097, 4790, "10.0.0.1", 1450)
SYSCTL = Sysctl("net/ipv4/conf/sp-vx4/rp_filter", "2")
NEIGHBOR = Neighbor("sp-vx4", "10.0.0.50", "02:00:00:00:00:01")
FDB = Fdb("sp-vx4", "02:00:00:00:00:01", "10.0.0.50")
HOP = NextHop(7, "10.0.0.50", "sp-vx4")
ROUTE = Route(4, 900, "0.0.0.0/0", 100, "unicast", 7)
INET, NETDEV = sorted(skeletons(Settings(), [LINK]), key=lambda item: item.family)
EXIT = Element("exits4", "1", "10.0.0.50")
HELD = Element("held4", "10.0.0.50")
ADDRESS = InterfaceAddress("eth0", "10.0.0.50")
SPREAD = spread(4, [5], [5], Settings())
WAY = way(4, [("0.0.0.0/1", SPREAD.name), ("128.0.0.0/1", "7")], Settings())
TURNED = ClientElement("clients4", "10.244.1.2", WAY.name)
WHOLE: tuple[KernelObject, ...] = (LINK, SYSCTL, INET, NETDEV, EXIT, HELD, ADDRESS, NEIGHBOR, FDB, HOP, ROUTE)


def make(*objects: KernelObject) -> list[Step]:
    return [Step(item.kind, upserts=(item,)) for item in objects]


def remove(*objects: KernelObject) -> list[Step]:
    return [Step(item.kind, deletes=(item,)) for item in objects]


def kernel_with(objects: Sequence[KernelObject]) -> FakeKernel:
    kernel = FakeKernel()
    assert kernel.apply(make(*objects)) == []
    return kernel


def test_what_is_made_is_read_back_by_kind_and_key() -> None:
    found = kernel_with(WHOLE).read([SYSCTL.path])
    assert {item for items in found.values() for item in items.values()} == set(WHOLE)
    assert all(found[item.kind][item.key] == item for item in WHOLE)


@pytest.mark.parametrize(
    ("item", "refusal"),
    [
        (NEIGHBOR, "no device sp-vx4"),
        (FDB, "no device sp-vx4"),
        (HOP, "no device sp-vx4"),
        (InterfaceAddress("eth1", "10.0.0.50"), "no device eth1"),
        (SYSCTL, "no such file"),
        (ROUTE, "no next hop 7"),
        (EXIT, "no set exits4"),
    ],
)
def test_what_an_object_needs_must_be_there_before_it(item: KernelObject, refusal: str) -> None:
    kernel = FakeKernel()
    assert [line.rpartition(": ")[2] for line in kernel.apply(make(item))] == [refusal]
    assert kernel.objects() == []


def test_an_ipv6_route_needs_an_ipv6_next_hop_and_an_ipv4_route_takes_either() -> None:
    kernel = kernel_with([LINK, HOP, NextHop(8, "fd00::50", "sp-vx4"), Route(4, 901, "0.0.0.0/0", 100, "unicast", 8)])
    assert kernel.apply(make(Route(6, 900, "::/0", 100, "unicast", 8))) == []
    assert len(kernel.apply(make(Route(6, 901, "::/0", 100, "unicast", 7)))) == 1


def test_a_refusal_does_not_keep_the_rest_from_being_made() -> None:
    kernel = FakeKernel()
    assert len(kernel.apply(make(ROUTE, LINK))) == 1
    assert kernel.objects() == [LINK]


def test_a_route_that_leads_nowhere_needs_no_next_hop() -> None:
    kernel_with([Route(4, 900, "0.0.0.0/0", 100, "throw"), Route(4, 900, "0.0.0.0/0", 4294967295, "unreachable")])


def test_a_link_takes_with_it_what_is_on_it() -> None:
    kernel = kernel_with(WHOLE)
    kernel.apply(remove(LINK))
    assert set(kernel.objects()) == {INET, Skeleton("netdev", "sallyport", "", NETDEV.text), EXIT, HELD, ADDRESS}


def test_a_link_with_another_identity_takes_the_place_of_the_old_one_and_of_all_on_it() -> None:
    kernel = kernel_with(WHOLE)
    moved = Link("sp-vx4", 4097, 4791, "10.0.0.1", 1450)
    kernel.apply(make(moved))
    assert kernel.read()[Kind.LINK] == {"sp-vx4": moved}
    assert not kernel.read()[Kind.ROUTE]
    assert not kernel.read()[Kind.NEIGHBOR]


def test_another_mtu_is_set_on_the_living_link() -> None:
    kernel = kernel_with(WHOLE)
    kernel.apply(make(Link("sp-vx4", 4097, 4790, "10.0.0.1", 1400)))
    assert kernel.read()[Kind.ROUTE] == {ROUTE.key: ROUTE}


def test_a_next_hop_takes_its_routes_with_it() -> None:
    last = Route(4, 900, "0.0.0.0/0", 4294967295, "unreachable")
    kernel = kernel_with([LINK, HOP, ROUTE, last])
    kernel.apply(remove(HOP))
    assert set(kernel.objects()) == {LINK, last}


def test_a_table_takes_its_elements_with_it_and_a_new_one_inherits_them() -> None:
    kernel = kernel_with([INET, EXIT])
    kernel.apply(make(Skeleton("inet", "sallyport", "digest:2", INET.text)))
    assert EXIT in kernel.objects()
    kernel.apply(
        make(Skeleton("inet", "sallyport", "digest:3", "table inet sallyport { set held4 { type ipv4_addr; } }"))
    )
    assert EXIT not in kernel.objects()
    kernel.apply([*make(INET, EXIT), *remove(INET)])
    assert kernel.objects() == []


def test_members_of_an_interval_set_do_not_overlap() -> None:
    kernel = kernel_with([INET, Element("excluded4", "10.1.0.0/16")])
    assert kernel.apply(make(Element("excluded4", "10.0.0.0/8"))) == [
        "exit_element ('excluded4', '10.0.0.0/8'): interval overlaps with 10.1.0.0/16"
    ]
    assert kernel.apply(make(Element("excluded4", "10.2.0.0/16"), ClientElement("local_pods4", "10.0.0.0/8"))) == []
    whole, parts = Element("excluded4", "10.0.0.0/8"), [Element("excluded4", f"10.{n}.0.0/16") for n in (1, 2)]
    assert kernel.apply([Step(Kind.EXIT_ELEMENT, upserts=(whole,), deletes=tuple(parts))]) == []
    assert [key[1] for key in kernel.read()[Kind.EXIT_ELEMENT] if isinstance(key, tuple)] == ["10.0.0.0/8"]


def test_an_ipv4_egress_ip_is_known_by_its_label_and_an_ipv6_one_by_the_record_of_it() -> None:
    six = InterfaceAddress("eth0", "fd00::50")
    kernel = kernel_with([INET, ADDRESS, six])
    assert kernel.read()[Kind.ADDRESS] == {ADDRESS.key: ADDRESS}
    kernel.apply(make(Element("held6", "fd00::50")))
    assert kernel.read()[Kind.ADDRESS] == {ADDRESS.key: ADDRESS, six.key: six}


def test_elements_are_read_back_by_the_kind_of_their_set() -> None:
    kernel = kernel_with([INET, Element("governed4", "10.244.1.2")])
    assert kernel.read()[Kind.CLIENT_ELEMENT] == {
        ("governed4", "10.244.1.2"): ClientElement("governed4", "10.244.1.2"),
    }


def test_settings_are_read_where_asked_for_and_go_back_with_their_device() -> None:
    kernel = kernel_with([LINK, SYSCTL])
    other = "net/ipv4/conf/eth0/rp_filter"
    assert kernel.read([SYSCTL.path, other])[Kind.SYSCTL] == {SYSCTL.path: SYSCTL, other: Sysctl(other, "")}
    assert kernel.read()[Kind.SYSCTL] == {}
    kernel.apply([*remove(LINK), *make(LINK)])
    assert kernel.read([SYSCTL.path])[Kind.SYSCTL] == {SYSCTL.path: Sysctl(SYSCTL.path, "")}


def test_a_killed_agent_leaves_the_rest_of_its_steps_undone() -> None:
    steps = [Step(Kind.LINK, upserts=(LINK,)), Step(Kind.RULE, upserts=tuple(Rule(4, 1, n, mark=n) for n in (1, 2, 3)))]
    counts = []
    for limit in range(len(list(pieces(steps))) + 1):
        kernel = FakeKernel()
        kernel.apply(steps, limit)
        counts.append(len(kernel.objects()))
    assert counts == [0, 1, 2, 3, 4]


def test_a_transaction_that_makes_and_removes_is_never_cut() -> None:
    both = Step(Kind.EXIT_ELEMENT, upserts=(EXIT, HELD), deletes=(Element("marks4", "1"),))
    assert list(pieces([both])) == [both]
    assert [len(piece.upserts) for piece in pieces([Step(Kind.EXIT_ELEMENT, upserts=(EXIT, HELD))])] == [1, 1]


def test_removing_twice_is_removing_once() -> None:
    kernel = kernel_with(WHOLE)
    for _ in range(2):
        assert kernel.apply(remove(ROUTE, HOP, LINK, HELD)) == []
    assert set(kernel.objects()) == {INET, Skeleton("netdev", "sallyport", "", NETDEV.text), EXIT, ADDRESS}


def test_chains_are_made_before_what_leads_to_them_and_go_after_it() -> None:
    """The driver makes spreads before ways, and takes ways away before spreads, in whatever order they are given."""
    kernel = kernel_with([INET])
    assert kernel.apply([Step(Kind.CHAIN, upserts=(WAY, SPREAD)), *make(TURNED)]) == []
    assert kernel.apply(remove(SPREAD)) == [f"chain {SPREAD.name}: {WAY.name} leads to it"]
    assert kernel.apply(remove(WAY)) == [f"chain {WAY.name}: 10.244.1.2 leads to it"]
    assert kernel.apply([*remove(TURNED), Step(Kind.CHAIN, deletes=(SPREAD, WAY))]) == []
    assert kernel.read()[Kind.CHAIN] == {}


@pytest.mark.parametrize(
    ("item", "refusal"),
    [
        (WAY, f"chain {WAY.name}: no chain {SPREAD.name}"),
        (TURNED, f"client_element ('clients4', '10.244.1.2'): no chain {WAY.name}"),
    ],
)
def test_nothing_leads_to_a_chain_that_is_not_there(item: KernelObject, refusal: str) -> None:
    assert kernel_with([INET]).apply(make(item)) == [refusal]
    assert FakeKernel().apply(make(SPREAD)) == [f"chain {SPREAD.name}: no table inet"]


def test_chains_go_with_their_table_and_outlive_new_rules() -> None:
    kernel = kernel_with([INET, SPREAD, WAY])
    assert kernel.apply(make(INET)) == []
    assert set(kernel.read()[Kind.CHAIN].values()) == {SPREAD, WAY}
    kernel.apply(remove(INET))
    assert kernel.read()[Kind.CHAIN] == {}


def test_pairs_of_a_pod_and_a_network_overlap_within_that_pod_alone() -> None:
    kernel = kernel_with([INET, ClientElement("ordinary4", "10.244.1.2 . 10.0.0.0/8")])
    assert kernel.apply(make(ClientElement("ordinary4", "10.244.1.3 . 10.0.0.0/9"))) == []
    assert kernel.apply(make(ClientElement("ordinary4", "10.244.1.2 . 10.0.0.0/9"))) == [
        "client_element ('ordinary4', '10.244.1.2 . 10.0.0.0/9'): interval overlaps with 10.244.1.2 . 10.0.0.0/8"
    ]
