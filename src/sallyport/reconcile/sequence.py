"""The order of steps: make before break, so that no packet meets half a way."""

from collections.abc import Mapping
from dataclasses import dataclass

from sallyport.model.kernel import KernelObject, Kind
from sallyport.reconcile.diff import Delta


@dataclass(frozen=True, slots=True)
class Step:
    """Changes of one kind that a driver makes in one go."""

    kind: Kind
    upserts: tuple[KernelObject, ...] = ()
    deletes: tuple[KernelObject, ...] = ()


def sequence(deltas: Mapping[Kind, Delta]) -> tuple[Step, ...]:
    """Creations and replacements from the links up to the clients, then deletions from the clients down.

    What steers a packet is thus written when everything it leads to stands, and goes before any of that does.
    """
    up = [
        Step(kind, upserts=(*deltas[kind].create, *deltas[kind].replace))
        for kind in sorted(deltas)
        if deltas[kind].create or deltas[kind].replace
    ]
    down = [Step(kind, deletes=deltas[kind].delete) for kind in sorted(deltas, reverse=True) if deltas[kind].delete]
    return (*up, *down)
