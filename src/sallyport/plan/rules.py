"""The policy rules of marks in a tree, so that a packet is asked few of them, however many exits there are.

What is wanted is one rule for each egress id, `fwmark MARK lookup TABLE`. The kernel asks rules one after the other,
for every packet that it routes, whoever's it is. So they stand in groups, and rules that only lead on (`goto`) stand
before them: one past all of it, for packets without a mark, then one for each bit of the id, the lowest first.

    20001  fwmark 0/0x3fff goto 26145            no exit: on to what others have
    20002  fwmark 0x1/0x1 goto 23074             odd ids
    20003  fwmark 0x2/0x3 goto 21539             of the even ones those with the second bit
    20004  fwmark 0x4/0x3fff lookup 830004       a group: at most GROUP, or those that are alike in DEPTH bits
    20004  fwmark 0x10/0x3fff lookup 830016
    20005  fwmark 0/0x3 goto 26145               its end
      ...
    26145  nop

A place in the tree has its priority whatever else there is: two of its own, and those of what is below it. An exit that
comes or goes therefore changes its group, and nothing else. A rule that leads on names all the bits by which a packet
came there. So each is true by itself, in whatever company it is met while others change: `reconcile.sequence` says in
which order they do. No two that lead on have one priority and one mask: the kernel would take them for one when it adds
them, and one for the other when it removes them (`rule_exists` and `rule_find` in its net/core/fib_rules.c).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from sallyport.model.kernel import KernelObject, Rule
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, Family

DEPTH = 11
"""Bits that are asked for one by one. With all ids in use, eight are left in a group then."""
GROUP = 4
"""Rules that are cheaper to ask for than one bit more."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where packets come by whose ids have these lowest bits."""

    family: Family
    priority: int
    depth: int = 0
    bits: int = 0


def first(settings: Settings) -> int:
    """The priority at which packets with a mark are asked for first."""
    return settings.rule_priority + 1


def span(settings: Settings) -> range:
    """The priorities of the tree. Most packets are led past what others have there."""
    return range(settings.tree_priority, settings.tree_priority + 2 + _size(0, settings))


def _deepest(settings: Settings) -> int:
    return min(DEPTH, settings.nowhere_id.bit_length())


def _size(depth: int, settings: Settings) -> int:
    """How many priorities a place takes, with all that may be below it."""
    return int(3 * 2 ** (_deepest(settings) - depth) - 1)


def arranged(objects: Iterable[KernelObject], settings: Settings) -> list[KernelObject]:
    """The same objects, with the rules of marks that are at the first priority in a tree.

    They stay where they are if an administrator has put them behind the tree's place, or if the tree would lead packets
    past rules of marks that are to be asked later, by a priority of their own.
    """
    begin, place = first(settings), span(settings)
    kept: list[KernelObject] = []
    leaves: dict[Family, list[Rule]] = {family: [] for family in FAMILIES}
    later: set[Family] = set()
    for item in objects:
        if isinstance(item, Rule) and item.mask and item.priority == begin:
            leaves[item.family].append(item)
            continue
        kept.append(item)
        if isinstance(item, Rule) and item.mask and begin < item.priority <= place[-1]:
            later.add(item.family)
    for family, found in leaves.items():
        if not found or family in later or begin > place[0]:
            kept += found
        else:
            kept += _tree(family, tuple(found), settings)
    return kept


@lru_cache(len(FAMILIES))
def _tree(family: Family, leaves: tuple[Rule, ...], settings: Settings) -> tuple[Rule, ...]:
    """All of it: those that have no mark are led past it, and those that have one to it, where it is further down."""
    place, mask = span(settings), settings.mark_mask
    made = [Rule(family, place[-1], 0), Rule(family, place[0], 0, mask=mask, goto=place[-1])]
    if first(settings) < place[0]:
        made.append(Rule(family, first(settings), 0, mask=mask, goto=place[0], inverted=True))
    return (*made, *_below(_Place(family, place[0] + 1), leaves, settings))


def _below(place: _Place, leaves: Sequence[Rule], settings: Settings) -> Iterator[Rule]:
    """What is at a place, and what is below it."""
    if len(leaves) <= GROUP or place.depth == _deepest(settings):
        yield from _group(place, leaves, settings)
        return
    bit, deeper = 1 << place.depth, place.depth + 1
    without = _Place(place.family, place.priority + 1, deeper, place.bits)
    having = _Place(place.family, without.priority + _size(deeper, settings), deeper, place.bits | bit)
    yield _leading(place.priority, having, having.priority, settings)
    yield from _below(without, [item for item in leaves if not item.mark & settings.mark(bit)], settings)
    yield from _below(having, [item for item in leaves if item.mark & settings.mark(bit)], settings)


def _group(place: _Place, leaves: Sequence[Rule], settings: Settings) -> Iterator[Rule]:
    """The end keeps packets that found nothing, or whose table sends them on, from being asked about all the others."""
    yield from (replace(item, priority=place.priority) for item in leaves)
    if place.depth:
        yield _leading(place.priority + bool(leaves), place, span(settings)[-1], settings)


def _leading(priority: int, place: _Place, target: int, settings: Settings) -> Rule:
    """Where packets that belong to a place go on."""
    mark, mask = settings.mark(place.bits), settings.mark((1 << place.depth) - 1)
    return Rule(place.family, priority, 0, mark=mark, mask=mask, goto=target)
