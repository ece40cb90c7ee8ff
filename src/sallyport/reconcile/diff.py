"""What differs between what a kernel is to hold and what it holds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sallyport.model.kernel import KernelObject, Kind

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
    wanted: dict[Kind, dict[object, KernelObject]] = {}
    for item in desired:
        wanted.setdefault(item.kind, {})[item.key] = item
    deltas: dict[Kind, Delta] = {}
    for kind in sorted({*wanted, *actual}):
        want, have = wanted.get(kind, {}), actual.get(kind, {})
        delta = Delta(
            create=tuple(item for key, item in want.items() if key not in have),
            replace=tuple(item for key, item in want.items() if key in have and have[key] != item),
            delete=() if kind is Kind.SYSCTL else tuple(item for key, item in have.items() if key not in want),
        )
        if delta != Delta():
            deltas[kind] = delta
    return deltas
