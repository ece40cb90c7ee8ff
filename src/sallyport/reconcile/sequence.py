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
    parts = [_parts(kind, deltas[kind]) for kind in sorted(deltas)]
    steps = (*(up for up, _ in parts), *(down for _, down in reversed(parts)))
    return tuple(step for step in steps if step.upserts or step.deletes)


def _parts(kind: Kind, delta: Delta) -> tuple[Step, Step]:
    """What of a kind is changed on the way up, and what on the way down."""
    upserts, displaced = (*delta.create, *delta.replace), _displaced(delta)
    early = (*displaced, *(item for item in _downward(delta.delete) if _is_shortcut(item)))
    gone = set(early)
    late = tuple(item for item in _downward(delta.delete) if item not in gone)
    up = Step(kind, upserts=tuple(item for item in _upward(upserts) if not _is_shortcut(item)), deletes=early)
    return up, Step(kind, upserts=tuple(item for item in _upward(upserts) if _is_shortcut(item)), deletes=late)


def _upward(made: Iterable[KernelObject]) -> list[KernelObject]:
    return sorted(made, key=_reach)


def _downward(deleted: Iterable[KernelObject]) -> list[KernelObject]:
    return sorted(deleted, key=lambda item: (_judges(item), -_reach(item)))


def _is_shortcut(item: KernelObject) -> bool:
    """Policy rules that lead packets past others, and so spare them questions. They go before anybody is steered anew,
    and are made when nobody is steered as before: meanwhile packets are asked by one rule after the other, and meet
    that of their mark, be it where it was or where it will be. A shortcut of before would lead past the rule of an exit
    that is new, and one of afterwards past the rule of an exit that still has clients.

    One that leads marks on to the tree from elsewhere is none: without it they would be asked the rules of others.
    """
    return isinstance(item, Rule) and bool(item.goto) and not item.inverted


def _judges(item: KernelObject) -> bool:
    """True for the table that judges packets: it goes after the one that lets them out of the tunnel, lest what other
    nodes still send be let out with this node's address."""
    return isinstance(item, Skeleton) and item.family == "inet"


def _reach(item: KernelObject) -> int:
    """Of policy rules that lead on, farther ones are made after nearer ones, and go before them."""
    return item.goto if isinstance(item, Rule) else 0


def _displaced(delta: Delta) -> tuple[KernelObject, ...]:
    """Networks that must leave a set in the same transaction that brings others: the kernel refuses members of an
    interval set that overlap, so there is no make before break among those."""
    upserts = [item for item in (*delta.create, *delta.replace) if isinstance(item, Element)]
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
