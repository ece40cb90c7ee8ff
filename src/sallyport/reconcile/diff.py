"""What differs between what a kernel is to hold and what it holds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sallyport.model.kept import Kept
from sallyport.model.kernel import Fdb, KernelObject, Kind, Link, Neighbor, NextHop, Route, Skeleton, Sysctl

Actual = Mapping[Kind, Mapping[object, KernelObject]]
"""What was read back, by kind and then by the kernel's own key; only what is ours."""


@dataclass(frozen=True, slots=True)
class Delta:
    """Objects of one kind to create, to replace in place (new values), and to delete (old values)."""

    create: tuple[KernelObject, ...] = ()
    replace: tuple[KernelObject, ...] = ()
    delete: tuple[KernelObject, ...] = ()


def diff(desired: Iterable[KernelObject], actual: Actual) -> dict[Kind, Delta]:
    """A delta per kind that has one. Order within a delta follows the desired order, deletions the read order.

    Sysctls are never deleted: their former value is not known, and the devices they belong to mostly go themselves.
    """
    wanted = _by_kind(desired)
    remaining = _without(_made_anew(wanted.get(Kind.LINK, {}), actual.get(Kind.LINK, {})), actual)
    deltas: dict[Kind, Delta] = {}
    for kind in sorted({*wanted, *remaining}):
        delta = _delta(wanted.get(kind, {}), remaining.get(kind, {}), keep=kind is Kind.SYSCTL)
        if delta != Delta():
            deltas[kind] = delta
    return deltas


def _grouped(desired: Iterable[KernelObject]) -> dict[Kind, dict[object, KernelObject]]:
    wanted: dict[Kind, dict[object, KernelObject]] = {}
    for item in desired:
        wanted.setdefault(item.kind, {})[item.key] = item
    return wanted


_by_kind = Kept(_grouped)
"""A plan is compared with what is there before something is written, and again after it."""


def _delta(want: Mapping[object, KernelObject], have: Mapping[object, KernelObject], *, keep: bool) -> Delta:
    if want == have:
        return Delta()
    create: list[KernelObject] = []
    replace: list[KernelObject] = []
    for key, item in want.items():
        before = have.get(key)
        if before is None:
            create.append(item)
        elif before != item:
            replace.append(item)
    too_many = len(have) - (len(want) - len(create))  # mostly none, and then nobody has to look for them
    delete = () if keep or not too_many else tuple(item for key, item in have.items() if key not in want)
    return Delta(tuple(create), tuple(replace), delete)


def _made_anew(wanted: Mapping[object, KernelObject], actual: Mapping[object, KernelObject]) -> frozenset[str]:
    """Names of the links that are to be made, in the place of an older one or not."""
    return frozenset(
        link.name
        for key, link in wanted.items()
        if isinstance(link, Link)
        and not (isinstance(before := actual.get(key), Link) and before.identity == link.identity)
    )


def _without(links: frozenset[str], actual: Actual) -> Actual:
    """What is left of `actual` once those links are made anew: the kernel drops with a link what rests on it.

    An ingress chain is read back as in force although the device it was bound to is another one by now, so the
    whole netdev table counts as gone.
    """
    if not links:
        return actual
    hops = {
        hop.id for hop in actual.get(Kind.NEXT_HOP, {}).values() if isinstance(hop, NextHop) and hop.device in links
    }

    def gone(item: KernelObject) -> bool:
        match item:
            case Neighbor() | Fdb() | NextHop():
                return item.device in links
            case Route():
                return item.next_hop in hops
            case Sysctl():
                return not links.isdisjoint(item.path.split("/"))
            case Skeleton():
                return item.family == "netdev"
            case _:
                return False

    return {kind: {key: item for key, item in items.items() if not gone(item)} for kind, items in actual.items()}
