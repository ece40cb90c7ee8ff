"""A kernel in memory: it refuses what the real one refuses, and loses with an object what the real one loses with it.

It stands for `drivers.kernel.Kernel` in tests of what is planned and in which order it is put in force. It can stop
before any single change, as an agent that is killed does. Text it refuses comes back as a line, as from the drivers.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_network
from itertools import islice

from sallyport.drivers.nftables import CLIENT_SETS
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
    Skeleton,
    Sysctl,
)
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
            yield from (Step(step.kind, upserts=(item,)) for item in step.upserts)
            yield from (Step(step.kind, deletes=(item,)) for item in step.deletes)


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
                self._remove(item)
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

    def _remove(self, item: KernelObject) -> None:
        """Removing what is not there is no failure."""
        if self._held[item.kind].pop(item.key, None) is None:
            return
        if isinstance(item, Link):
            self._lose_device(item.name)
        elif isinstance(item, NextHop):
            self._lose(Kind.ROUTE, lambda route: isinstance(route, Route) and route.next_hop == item.id)
        elif isinstance(item, Skeleton):
            self._load(replace(item, text=""))

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
            case _:
                return ""

    def _route_refusal(self, item: Route) -> str:
        hop = self._held[Kind.NEXT_HOP].get(item.next_hop)
        if not isinstance(hop, NextHop):
            return f"no next hop {item.next_hop}"
        return "IPv6 routes cannot use an IPv4 next hop" if item.family == 6 and ":" not in hop.gateway else ""

    def _element_refusal(self, item: Element) -> str:
        definition = self._sets.get(item.set)
        if definition is None:
            return f"no set {item.set}"
        if "interval" in definition:
            network = ip_network(item.member)
            for other in self._members(item.set):
                if other != item.member and network.overlaps(ip_network(other)):
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


_ELEMENTS = (Kind.EXIT_ELEMENT, Kind.CLIENT_ELEMENT)
