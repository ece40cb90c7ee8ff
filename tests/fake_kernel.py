"""A kernel in memory: it refuses what the real one refuses, and loses with an object what the real one loses with it.

It stands for `drivers.kernel.Kernel` in tests of what is planned and in which order it is put in force. It can stop
before any single change, as an agent that is killed does. Text it refuses comes back as a line, as from the drivers.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from ipaddress import ip_network
from itertools import islice

from sallyport.drivers.nftables import CLIENT_SETS
from sallyport.model.kernel import (
    Chain,
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
    Skeleton,
    Sysctl,
)
from sallyport.model.state import IPNetwork
from sallyport.reconcile.sequence import Step

DECLARED = re.compile(r"\b(?:set|map) (\w+) \{([^}]*)\}")
"""Sets and maps of a skeleton's text, with their definitions."""


def pieces(steps: Iterable[Step]) -> Iterator[Step]:
    """Steps cut wherever an agent can be killed: object by object.

    The elements of a step are one transaction, and are cut all the same, since the driver tries them one by one where
    that is refused. Only what makes and removes at once stays whole: its parts could not stand alone.
    """
    for step in steps:
        if step.kind in _ELEMENTS and step.upserts and step.deletes:
            yield step
        else:
            yield from (Step(step.kind, upserts=(item,)) for item in _in_turn(step.upserts))
            yield from (Step(step.kind, deletes=(item,)) for item in _in_turn(step.deletes, backwards=True))


def _in_turn(items: Sequence[KernelObject], *, backwards: bool = False) -> list[KernelObject]:
    """As the driver makes them: chains that others jump to first, and last when they are taken away."""
    return sorted(items, key=lambda item: item.name if isinstance(item, Chain) else "", reverse=backwards)


class FakeKernel:
    """One node's kernel and BIRD. `devices` are the interfaces that are there without us."""

    def __init__(self, devices: Iterable[str] = ("eth0",)) -> None:
        self._devices = frozenset(devices)
        self._held: dict[Kind, dict[object, KernelObject]] = {kind: {} for kind in Kind}
        self._sets: dict[str, str] = {}

    def read(self, sysctls: Iterable[str] = ()) -> Mapping[Kind, Mapping[object, KernelObject]]:
        """What an agent without memory finds: elements set by set, and those addresses that it knows for its own."""
        found = {kind: dict(items) for kind, items in self._held.items()}
        known = found[Kind.SYSCTL]
        found[Kind.SYSCTL] = {path: known.get(path, Sysctl(path, "")) for path in sysctls}
        found[Kind.ADDRESS] = {key: item for key, item in found[Kind.ADDRESS].items() if self._recognised(item)}
        found |= {Kind.EXIT_ELEMENT: {}, Kind.CLIENT_ELEMENT: {}}
        places = {name: place for place, name in enumerate(self._sets)}
        for item in sorted(self._elements(), key=lambda item: places[item.set]):
            make = ClientElement if CLIENT_SETS.match(item.set) else Element
            found[make.kind][item.key] = make(item.set, item.member, item.value)
        return found

    def objects(self) -> list[KernelObject]:
        """Everything in force, whoever would recognise it: what packets meet."""
        return [item for items in self._held.values() for item in items.values()]

    def apply(self, steps: Iterable[Step], limit: int | None = None) -> list[str]:
        """Carry out the steps, or only the first `limit` of their pieces. A line for each change that is refused."""
        failures = []
        for piece in islice(pieces(steps), limit):
            for item in piece.deletes:
                failures += self._remove(item)
            for item in piece.upserts:
                failures += self._make(item)
        return failures

    def _make(self, item: KernelObject) -> list[str]:
        if refusal := self._refusal(item):
            return [f"{item.kind.name.lower()} {item.key}: {refusal}"]
        before = self._held[item.kind].get(item.key)
        if isinstance(item, Link) and (not isinstance(before, Link) or before.identity != item.identity):
            self._lose_device(item.name)
        if isinstance(item, Skeleton):
            self._load(item)
        self._held[item.kind][item.key] = item
        return []

    def _remove(self, item: KernelObject) -> list[str]:
        """Removing what is not there is no failure; a chain stays for as long as something jumps to it."""
        if isinstance(item, Chain) and (user := self._user(item.name)):
            return [f"chain {item.name}: {user} leads to it"]
        if self._held[item.kind].pop(item.key, None) is None:
            return []
        if isinstance(item, Link):
            self._lose_device(item.name)
        elif isinstance(item, NextHop):
            self._lose(Kind.ROUTE, lambda route: isinstance(route, Route) and route.next_hop == item.id)
        elif isinstance(item, Skeleton):
            self._load(replace(item, text=""))
        return []

    def _user(self, chain: str) -> str:
        """What leads to a chain, "" for nothing."""
        elements = (item.member for item in self._elements() if item.value == chain)
        ways = (item.name for item in self._chains() if chain in dict(item.destinations).values())
        return next(iter([*elements, *ways]), "")

    def _chains(self) -> list[Chain]:
        return [item for item in self._held[Kind.CHAIN].values() if isinstance(item, Chain)]

    def _refusal(self, item: KernelObject) -> str:
        """Why the kernel would not take it, "" if it would."""
        match item:
            case Neighbor() | Fdb() | NextHop() | InterfaceAddress() if not self._has_device(item.device):
                return f"no device {item.device}"
            case Sysctl() if not self._has_device(item.path.split("/")[-2]):
                return "no such file"
            case Route(type="unicast"):
                return self._route_refusal(item)
            case Element():
                return self._element_refusal(item)
            case Chain():
                return self._chain_refusal(item)
            case _:
                return ""

    def _chain_refusal(self, item: Chain) -> str:
        if not self._sets:
            return "no table inet"
        missing = [target for _, target in item.destinations if self._lacks(target)]
        return f"no chain {missing[0]}" if missing else ""

    def _lacks(self, target: str) -> bool:
        """Whether a jump goes to a chain that is not there; those to marks come with whatever jumps to them."""
        return bool(target) and not target.isdecimal() and target not in self._held[Kind.CHAIN]

    def _route_refusal(self, item: Route) -> str:
        hop = self._held[Kind.NEXT_HOP].get(item.next_hop)
        if not isinstance(hop, NextHop):
            return f"no next hop {item.next_hop}"
        return "IPv6 routes cannot use an IPv4 next hop" if item.family == 6 and ":" not in hop.gateway else ""

    def _element_refusal(self, item: Element) -> str:
        definition = self._sets.get(item.set)
        if definition is None:
            return f"no set {item.set}"
        if item.set.startswith("clients") and self._lacks(item.value):
            return f"no chain {item.value}"
        if "interval" in definition:
            before, network = _interval(item.member)
            for other in self._members(item.set):
                own, there = _interval(other)
                if other != item.member and own == before and network.overlaps(there):
                    return f"interval overlaps with {other}"
        return ""

    def _members(self, name: str) -> list[str]:
        return [item.member for item in self._elements() if item.set == name]

    def _elements(self) -> list[Element]:
        return [item for kind in _ELEMENTS for item in self._held[kind].values() if isinstance(item, Element)]

    def _load(self, table: Skeleton) -> None:
        """A skeleton comes with the elements that its predecessor had, where it has the sets for them."""
        if table.family == "inet":
            self._sets = dict(DECLARED.findall(table.text))
            for kind in _ELEMENTS:
                self._lose(kind, lambda item: isinstance(item, Element) and item.set not in self._sets)
            if not self._sets:
                self._lose(Kind.CHAIN, lambda _: True)

    def _has_device(self, name: str) -> bool:
        return name in self._devices or name in self._held[Kind.LINK]

    def _recognised(self, item: KernelObject) -> bool:
        """IPv4 addresses carry our label; there are none for IPv6, where the record decides."""
        return isinstance(item, InterfaceAddress) and (
            ":" not in item.address or item.address in self._members("held6")
        )

    def _lose_device(self, name: str) -> None:
        """A device goes, and what is on it: entries, next hops and their routes, settings, its ingress chain."""
        for hop in [item for item in self._held[Kind.NEXT_HOP].values() if isinstance(item, NextHop)]:
            if hop.device == name:
                self._remove(hop)
        for kind in (Kind.NEIGHBOR, Kind.FDB):
            self._lose(kind, lambda item: isinstance(item, Neighbor | Fdb) and item.device == name)
        self._lose(Kind.SYSCTL, lambda item: isinstance(item, Sysctl) and f"/{name}/" in item.path)
        for key, table in self._held[Kind.SKELETON].items():
            if isinstance(table, Skeleton) and table.family == "netdev" and f'"{name}"' in table.text:
                text = table.text.replace(f'"{name}"', '""')
                self._held[Kind.SKELETON][key] = replace(table, digest="", text=text)

    def _lose(self, kind: Kind, lost: Callable[[KernelObject], bool]) -> None:
        self._held[kind] = {key: item for key, item in self._held[kind].items() if not lost(item)}


@cache
def _interval(member: str) -> tuple[str, IPNetwork]:
    """What stands before the interval where members have two parts, and the interval."""
    before, _, interval = member.rpartition(" . ")
    return before, ip_network(interval)


_ELEMENTS = (Kind.EXIT_ELEMENT, Kind.CLIENT_ELEMENT)
