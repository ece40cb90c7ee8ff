"""The order of steps: make before break, so that no packet meets half a way."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sallyport.model.addresses import bounds
from sallyport.model.kernel import Element, KernelObject, Kind, Rule, Skeleton
from sallyport.reconcile.diff import Delta


@dataclass(frozen=True, slots=True)
class Step:
    """Changes of one kind that a driver makes in one go; of elements, deletions first, all in one transaction."""

    kind: Kind
    upserts: tuple[KernelObject, ...] = ()
    deletes: tuple[KernelObject, ...] = ()


def sequence(deltas: Mapping[Kind, Delta]) -> tuple[Step, ...]:
    """Creations and replacements from the links up to the clients, then deletions from the clients down.

    What steers a packet is thus written when everything it leads to stands, and goes before any of that does.
    """
    displaced = {kind: _displaced(delta) for kind, delta in deltas.items()}
    up = [
        Step(kind, upserts=tuple(sorted(_upserts(deltas[kind]), key=_reach)), deletes=displaced[kind])
        for kind in sorted(deltas)
        if deltas[kind].create or deltas[kind].replace
    ]
    down = [
        Step(kind, deletes=deletes)
        for kind in sorted(deltas, reverse=True)
        if (deletes := tuple(item for item in _downward(deltas[kind].delete) if item not in displaced[kind]))
    ]
    return (*up, *down)


def _upserts(delta: Delta) -> tuple[KernelObject, ...]:
    return (*delta.create, *delta.replace)


def _downward(deleted: Iterable[KernelObject]) -> list[KernelObject]:
    return sorted(deleted, key=lambda item: (_judges(item), -_reach(item)))


def _judges(item: KernelObject) -> bool:
    """True for the table that judges packets: it goes after the one that lets them out of the tunnel, lest what other
    nodes still send be let out with this node's address."""
    return isinstance(item, Skeleton) and item.family == "inet"


def _reach(item: KernelObject) -> int:
    """Policy rules that lead packets past others are made after those others, farther ones after nearer ones, and go
    before them: what a packet is led past, it has been asked before, or it will be where it is led to. The ends of
    groups are last, and the first to go. Before the ends of new groups are made, and when those of old ones are gone,
    packets pass by what old and new have left of the tree, and meet the rule of their mark in the one or the other."""
    return item.goto if isinstance(item, Rule) else 0


def _displaced(delta: Delta) -> tuple[KernelObject, ...]:
    """Networks that must leave a set in the same transaction that brings others: the kernel refuses members of an
    interval set that overlap, so there is no make before break among those."""
    upserts = [item for item in _upserts(delta) if isinstance(item, Element)]
    deletes = [item for item in delta.delete if isinstance(item, Element)]
    intervals = {item.set for item in (*upserts, *deletes) if "/" in item.member}
    incoming = [_interval(item) for item in upserts if item.set in intervals]
    return tuple(item for item in deletes if item.set in intervals and _meets(item, incoming))


def _interval(item: Element) -> tuple[str, str, tuple[int, int]]:
    """The set, what stands before the interval where members have two parts, and the interval: it may be a range that
    somebody wrote by hand."""
    before, _, interval = item.member.rpartition(" . ")
    return (item.set, before, bounds(interval))


def _meets(item: Element, incoming: list[tuple[str, str, tuple[int, int]]]) -> bool:
    name, before, (first, last) = _interval(item)
    return any(
        (name, before) == (other, part) and start <= last and first <= end for other, part, (start, end) in incoming
    )
