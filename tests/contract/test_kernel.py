"""What every driver promises: what is written is read back, replaced in place, deleted at leisure, and nothing else."""

import socket
from dataclasses import replace
from typing import Any

import pytest
from tests.contract.objects import LINKS, RICH, SETTINGS, differences, replaced, settle
from tests.netns.world import run

from sallyport.drivers.kernel import Kernel
from sallyport.model.kernel import (
    Announced,
    Bootstrap,
    ClientElement,
    Element,
    Fdb,
    Fib,
    InterfaceAddress,
    KernelObject,
    Kind,
    Link,
    Neighbor,
    NextHop,
    Peer,
    Route,
    Rule,
    Session,
    Sysctl,
)
from sallyport.plan.skeleton import skeletons
from sallyport.reconcile.sequence import Step

pytestmark = pytest.mark.root


def test_every_object_is_read_back_as_it_was_written(kernel: Kernel) -> None:
    """Kind by kind and key by key, the kernel holds what it was given and nothing besides."""
    assert settle(kernel, RICH) == []
    actual = kernel.read([item.path for item in RICH if isinstance(item, Sysctl)])
    for kind in Kind:
        assert dict(actual[kind]) == {item.key: item for item in RICH if item.kind == kind}, kind.name
    assert differences(kernel, RICH) == {}


def test_an_empty_kernel_holds_nothing(kernel: Kernel) -> None:
    """Before anything was written nothing is read, and there is nothing to do."""
    assert all(not found for found in kernel.read().values())
    assert settle(kernel, ()) == []


def test_writing_twice_is_writing_once(kernel: Kernel) -> None:
    """A round that was carried out but forgotten may be carried out again."""
    steps = [Step(kind, upserts=tuple(item for item in RICH if item.kind == kind)) for kind in Kind]
    assert kernel.apply(steps) == []
    assert kernel.apply(steps) == []
    assert differences(kernel, RICH) == {}


REPLACED: list[KernelObject] = [
    replace(LINKS[0], mtu=1400),
    Sysctl("net/ipv4/conf/eth0/rp_filter", "1"),
    skeletons(SETTINGS, [replace(link, mtu=1300) for link in LINKS])[0],
    Element("exits4", "1", "192.0.2.199"),
    Element("limits", "1", "30000000/2000000"),
    Element("limits", "1", "20000000/9"),
    Neighbor("sp-vx4", "192.0.2.150", "02:00:00:00:00:99"),
    Fdb("sp-vx4", "02:00:00:00:00:01", "192.0.2.199"),
    NextHop(83000010, "192.0.2.199", "sp-vx4"),
    NextHop(83000010, "fe80::6", "sp-vx6"),
    NextHop(83000011, "fe80::6", "sp-vx6"),
    Route(4, 830005, "0.0.0.0/0", 100, "unicast", 83000013),
    Route(4, 830005, "0.0.0.0/0", 100, "throw"),
    Route(4, 830005, "198.18.0.0/15", 100, "unicast", 83000010),
    Route(6, 830005, "::/0", 100, "unicast", 83000013),
    Route(6, 830005, "::/0", 100, "throw"),
    Route(6, 830006, "2001:db8:18::/48", 100, "unicast", 83000011),
    ClientElement("clients4", "10.244.1.2", "9"),
    Fib(830009, ("yellow", "red")),
    Bootstrap("red", "198.51.100.3/32", "", "192.0.2.2"),
    Session("red-router", "red", "192.0.2.201", 65009, 65000, device="eth0", digest="5e", password="secret"),
]


@pytest.mark.parametrize("item", REPLACED, ids=lambda item: f"{type(item).__name__} {item.key}")
def test_a_new_value_takes_the_old_ones_place(kernel: Kernel, item: KernelObject) -> None:
    """One round changes that object and harms no other."""
    assert settle(kernel, RICH) == []
    wanted = replaced(item)
    deltas = differences(kernel, wanted)
    assert [(delta.create, delta.replace, delta.delete) for delta in deltas.values()] == [((), (item,), ())]
    assert settle(kernel, wanted) == []
    assert differences(kernel, wanted) == {}


@pytest.mark.parametrize("change", [{"vni": 4098}, {"port": 4791}, {"local": "192.0.2.99"}], ids=str)
def test_a_device_of_another_identity_is_whole_after_one_round(kernel: Kernel, change: dict[str, Any]) -> None:
    """Whether it can be changed in place or has to be made anew, nothing that was on it is missing."""
    assert settle(kernel, RICH) == []
    wanted = replaced(replace(LINKS[0], **change))
    assert settle(kernel, wanted) == []
    assert differences(kernel, wanted) == {}


def test_another_outer_address_leaves_the_device_in_place(kernel: Kernel) -> None:
    """A node that gets another address goes on with what is on the device."""
    assert settle(kernel, RICH) == []
    before = socket.if_nametoindex("sp-vx4")
    assert kernel.apply([Step(Kind.LINK, upserts=(replace(LINKS[0], local="192.0.2.99"),))]) == []
    assert socket.if_nametoindex("sp-vx4") == before


def test_something_else_under_a_devices_name_gives_way(kernel: Kernel) -> None:
    """A VXLAN device without group policy would lose the marks: it is replaced."""
    run("a", "ip link add sp-vx4 type vxlan id 4097 dstport 4790 local 192.0.2.11 nolearning")
    assert settle(kernel, RICH) == []
    assert differences(kernel, RICH) == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["10.0.0.0/24"], ["10.0.0.0/23"]),
        (["10.0.0.0/23"], ["10.0.1.0/24"]),
        (["10.0.0.1", "10.0.0.3"], ["10.0.0.0/30"]),
        (["10.0.0.0/24", "10.0.1.0/24"], ["10.0.0.0/25", "10.0.1.128/25"]),
        (["10.0.0.0/8", "192.168.0.0/16"], ["0.0.0.0/0"]),
        (["0.0.0.0/0"], ["255.255.255.255", "0.0.0.0"]),
    ],
)
def test_networks_grow_and_shrink_in_one_round(kernel: Kernel, before: list[str], after: list[str]) -> None:
    """A set of intervals takes no two that overlap, so what is in the way goes in the same transaction."""
    table: tuple[KernelObject, ...] = skeletons(SETTINGS, ())
    for networks in (before, after, before):
        wanted = (*table, *(Element("excluded4", network) for network in networks))
        assert settle(kernel, wanted) == []
        assert differences(kernel, wanted) == {}


def test_every_peer_may_get_another_interval(kernel: Kernel) -> None:
    """Intervals are a device's in BIRD, and one setting's in the cluster."""
    assert settle(kernel, RICH) == []
    slow = [replace(item, interval=300, multiplier=5) if isinstance(item, Peer) else item for item in RICH]
    assert set(differences(kernel, slow)) == {Kind.PEER}
    assert settle(kernel, slow) == []
    assert differences(kernel, slow) == {}


def test_deleting_what_is_not_there_is_no_failure(kernel: Kernel) -> None:
    """From a kernel that holds nothing, from one that holds all, and once more."""
    steps = [Step(kind, deletes=tuple(item for item in RICH if item.kind == kind)) for kind in sorted(Kind)[::-1]]
    assert kernel.apply(steps) == []
    assert settle(kernel, RICH) == []
    assert kernel.apply(steps) == []
    assert all(not found for found in kernel.read().values())
    assert kernel.apply(steps) == []


SPOILT: dict[str, tuple[KernelObject, KernelObject]] = {
    "Link": (Link("sp-vx4", 4097, 4790, "nowhere", 1450), LINKS[1]),
    "Sysctl": (Sysctl("net/ipv4/conf/eth9/rp_filter", "2"), Sysctl("net/ipv4/conf/eth0/rp_filter", "2")),
    "Element of no set": (Element("nonsense4", "192.0.2.1"), Element("nodes4", "192.0.2.2")),
    "Element": (Element("nodes4", "192.0.2.256"), Element("nodes4", "192.0.2.2")),
    "InterfaceAddress": (InterfaceAddress("eth9", "192.0.2.1"), InterfaceAddress("eth0", "192.0.2.101")),
    "Neighbor": (
        Neighbor("eth9", "192.0.2.1", "02:00:00:00:00:01"),
        Neighbor("sp-vx4", "192.0.2.2", "02:00:00:00:00:01"),
    ),
    "Fdb": (Fdb("eth9", "02:00:00:00:00:01", "192.0.2.1"), Fdb("sp-vx4", "02:00:00:00:00:02", "192.0.2.2")),
    "NextHop": (NextHop(83000001, "192.0.2.1", "eth9"), NextHop(83000002, "192.0.2.2", "sp-vx4")),
    "Route": (
        Route(4, 830001, "0.0.0.0/0", 100, "unicast", 83999999),
        Route(4, 830001, "0.0.0.0/0", 200, "unreachable"),
    ),
    "Route that cannot be parsed": (
        Route(4, 830001, "300.0.0.0/8", 100, "unreachable"),
        Route(4, 830001, "0.0.0.0/0", 200, "unreachable"),
    ),
    "Rule": (Rule(4, 2**40, 830001, mark=1, mask=1), Rule(4, 20001, 830001, mark=1, mask=1)),
    "Rule of a device": (Rule(4, 2**40, 254, iif="eth0"), Rule(4, 20001, 254, iif="eth0")),
    "Bootstrap": (Bootstrap("red", "192.0.2.1/24", "eth0"), Bootstrap("red", "192.0.2.0/24", "eth0")),
    "Fib": (Fib(2**32, ("red",)), Fib(500, ("red",))),
    "Announced": (Announced("red", "192.0.2.256/32"), Announced("red", "192.0.2.25/32")),
    "Session": (
        Session("bad", "red", "192.0.2.256", 65001, 65000),
        Session("good", "red", "192.0.2.201", 65001, 65000, device="eth0"),
    ),
    "Peer": (Peer("192.0.2.12", "here", "eth0"), Peer("192.0.2.13", "192.0.2.11", "eth0")),
    "ClientElement": (ClientElement("clients4", "10.244.1.256", "5"), ClientElement("clients4", "10.244.1.2", "5")),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_cannot_be_made_harms_no_other(kernel: Kernel, case: str) -> None:
    """Whichever comes first, the bad object is one failure that names it, and the good one is in the kernel."""
    bad, good = SPOILT[case]
    base: tuple[KernelObject, ...] = (*LINKS, *skeletons(SETTINGS, LINKS), Element("held4", "192.0.2.101"))
    if bad.kind is not Kind.LINK:
        assert settle(kernel, base) == []
    for order in ((bad, good), (good, bad)):
        kernel.apply([Step(bad.kind, deletes=(good,))])
        failures = kernel.apply([Step(bad.kind, upserts=order)])
        assert len(failures) == 1
        assert named(bad) in failures[0]
        found = kernel.read([good.path] if isinstance(good, Sysctl) else [])[good.kind]
        assert found.get(good.key) == good
        assert not found.get(bad.key)
    kernel.apply([Step(bad.kind, deletes=(bad, good))])
    assert good.kind is Kind.SYSCTL or good.key not in kernel.read()[good.kind]


def named(item: KernelObject) -> str:
    """A word by which a failure tells which object it is about."""
    match item:
        case Element():
            return item.member
        case Rule():
            return str(item.priority)
        case Route() | Bootstrap() | Announced():
            return item.destination
        case Session():
            return item.name
        case Fib():
            return str(item.table)
        case _:
            return str(item.key[0] if isinstance(item.key, tuple) else item.key)


def test_without_our_table_each_element_is_a_failure(kernel: Kernel) -> None:
    """Elements have nowhere to go; nothing is raised, and taking them out is done already."""
    elements = (Element("nodes4", "192.0.2.1"), Element("nodes4", "192.0.2.2"))
    assert len(kernel.apply([Step(Kind.EXIT_ELEMENT, upserts=elements)])) == 2
    assert kernel.apply([Step(Kind.EXIT_ELEMENT, deletes=elements)]) == []
