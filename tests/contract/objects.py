"""A node's objects, rich in kinds and forms, and how to write and compare them."""

from collections.abc import Iterable

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
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES
from sallyport.plan.chains import spread, way
from sallyport.plan.skeleton import skeletons
from sallyport.reconcile.diff import Delta, diff
from sallyport.reconcile.sequence import sequence

SETTINGS = Settings()
LINKS = (Link("sp-vx4", 4097, 4790, "192.0.2.11", 1450), Link("sp-vx6", 4097, 4790, "2001:db8::11", 1430))
INTERVALS = {
    4: ["10.244.0.0/16", "10.245.0.0/16", "10.246.0.0", "10.246.0.1", "198.51.100.9", "224.0.0.0/4", "240.0.0.0/4"],
    6: ["fd00:244::/32", "fd00:245::/32", "2001:db8:1::1", "2001:db8:1::2", "fe80::/10", "ff00::/8"],
}
"""Networks that lie side by side, single addresses side by side, and the last address of a family."""

SPREADS = (
    spread(4, [5, 6, 7], [5, 6, 7, 8], SETTINGS),
    spread(4, [], [8], SETTINGS),
    spread(6, [9], [9], SETTINGS),
)
WAYS = (
    way(4, [("0.0.0.0/1", SPREADS[0].name), ("128.0.0.0/2", ""), ("192.0.2.1/32", "12")], SETTINGS),
    way(6, [("2001:db8::/32", ""), ("2001:db9::/32", SPREADS[2].name)], SETTINGS),
)

RICH: tuple[KernelObject, ...] = (
    *LINKS,
    *skeletons(SETTINGS, LINKS),
    Sysctl("net/ipv4/conf/sp-vx4/rp_filter", "2"),
    Sysctl("net/ipv4/conf/eth0/rp_filter", "2"),
    *(Element("nodes4", f"192.0.2.{n}") for n in (11, 12)),
    *(Element("nodes6", f"2001:db8::{n}") for n in (11, 12)),
    *(Element(f"excluded{family}", network) for family in INTERVALS for network in INTERVALS[family]),
    *(ClientElement(f"local_pods{family}", network) for family in INTERVALS for network in INTERVALS[family][:2]),
    *(Element("exits4", str(n), f"192.0.2.{100 + n}") for n in (1, 2)),
    Element("exits4", "16382", "203.0.113.255"),
    Element("exits6", "3", "2001:db8::103"),
    *(Element("marks4", mark) for mark in ("1", "2", "16382")),
    Element("marks6", "3"),
    Element("sources4", "1 . 192.0.2.101"),
    Element("sources6", "3 . 2001:db8::103"),
    Element("limits", "1", "20000000/2000000"),
    Element("limits", "2", "20000000/2000000"),
    Element("limits", "3", "1000001/7"),
    Element("limits", "4", "400000000000/400000000000"),
    *(Element("held4", f"192.0.2.{n}") for n in (101, 102)),
    Element("held6", "2001:db8::103"),
    *(Element("networked", mark) for mark in ("1", "3")),
    *(Element("wires", f"1 . {device}") for device in ("eth0", "ens20.100")),
    *(Element("externals", device) for device in ("eth0", "ens20.100")),
    *(ClientElement("ordinary4", f"10.244.1.{n} . {net}") for n in (2, 3) for net in ("10.0.0.0/8", "203.0.113.9")),
    ClientElement("ordinary6", "fd00:244:1::2 . 2001:db8::/32"),
    *SPREADS,
    *WAYS,
    *(ClientElement("clients4", f"10.244.1.{90 + n}", item.name) for n, item in enumerate((*SPREADS[:2], WAYS[0]))),
    ClientElement("clients6", "fd00:244:1::90", WAYS[1].name),
    *(InterfaceAddress("eth0", f"192.0.2.{n}") for n in (101, 102)),
    InterfaceAddress("eth0", "2001:db8::103"),
    Neighbor("sp-vx4", "192.0.2.150", "02:00:00:00:00:01"),
    Neighbor("sp-vx4", "fe80::5350:c000:296", "02:00:00:00:00:01"),
    Neighbor("sp-vx6", "fe80::6", "02:00:00:00:00:06"),
    Fdb("sp-vx4", "02:00:00:00:00:01", "192.0.2.150"),
    Fdb("sp-vx6", "02:00:00:00:00:06", "2001:db8::150"),
    NextHop(83000010, "192.0.2.150", "sp-vx4"),
    NextHop(83000011, "fe80::5350:c000:296", "sp-vx4"),
    NextHop(83000013, "fe80::6", "sp-vx6"),
    Route(4, 830005, "0.0.0.0/0", 4294967295, "unreachable"),
    Route(4, 830005, "0.0.0.0/0", 100, "unicast", 83000010),
    Route(4, 830005, "198.18.0.0/15", 100, "throw"),
    Route(4, 830005, "198.51.100.9", 100, "unicast", 83000010),
    Route(4, 830006, "0.0.0.0/0", 100, "unicast", 83000013),
    Route(6, 830005, "::/0", 4294967295, "unreachable"),
    Route(6, 830005, "::/0", 100, "unicast", 83000011),
    Route(6, 830006, "::/0", 100, "unicast", 83000013),
    Route(6, 830006, "2001:db8:18::/48", 100, "throw"),
    Route(6, 830006, "2001:db8:18::1", 100, "unicast", 83000011),
    Rule(4, 20000, 254, udp_port=4790),
    Rule(6, 20000, 254, udp_port=4790),
    Rule(4, 20000, 254, iif="eth1"),
    Rule(4, 20000, 500, to="10.66.0.2"),
    Rule(6, 20000, 500, to="fd66::2"),
    Rule(4, 20001, 830005, mark=5, mask=0x3FFF),
    Rule(6, 20001, 830006, mark=6, mask=0x3FFF),
    *(Rule(family, 101, 0, mask=0x3FFF, goto=20001, inverted=True) for family in FAMILIES),
    *(Rule(family, 20001, 0, mask=0x3FFF, goto=26145) for family in FAMILIES),
    *(Rule(family, 20003, 0, mark=2, mask=3, goto=21539) for family in FAMILIES),
    *(Rule(family, 20003, 0, mark=0, mask=1, goto=26145) for family in FAMILIES),
    *(Rule(family, 26145, 0) for family in FAMILIES),
    *(ClientElement("clients4", f"10.244.1.{n}", str(n % 3 + 5)) for n in range(2, 7)),
    ClientElement("clients6", "fd00:244:1::2", "16383"),
    *(ClientElement("governed4", f"10.244.1.{n}") for n in range(2, 7)),
    ClientElement("governed6", "fd00:244:1::2"),
    ClientElement("free4", "10.244.1.77"),
    ClientElement("free6", "fd00:244:1::77"),
    Rule(4, 20000, 254, iif="eth0"),
    Fib(500, ("red",)),
    Fib(830009, ("red", "yellow")),
    Bootstrap("red", "192.0.2.0/24", "eth0"),
    Bootstrap("red", "198.51.100.3/32", "", "192.0.2.1"),
    Announced("red", "192.0.2.101/32"),
    Announced("", "2001:db8::103/128"),
    Session("red-router", "red", "192.0.2.201", 65001, 65000, device="eth0", digest="5e", password="secret"),
    Session("router", "", "2001:db8::201", 65002, 65000, source="2001:db8::11", bfd=True, device="eth0"),
    Peer("192.0.2.12", "192.0.2.11", "eth0"),
    Peer("2001:db8::13", "2001:db8::11", "eth0"),
)


def differences(kernel: Kernel, desired: Iterable[KernelObject]) -> dict[Kind, Delta]:
    """What the kernel lacks of `desired`, has wrong, or has too much."""
    wanted = tuple(desired)
    return diff(wanted, kernel.read([item.path for item in wanted if isinstance(item, Sysctl)]))


def settle(kernel: Kernel, desired: Iterable[KernelObject]) -> list[str]:
    """One round towards `desired`; what failed in it."""
    wanted = tuple(desired)
    return kernel.apply(sequence(differences(kernel, wanted)))


def replaced(item: KernelObject) -> tuple[KernelObject, ...]:
    """RICH, with `item` in the place of the object of its kind and key."""
    return tuple(item if (old.kind, old.key) == (item.kind, item.key) else old for old in RICH)
