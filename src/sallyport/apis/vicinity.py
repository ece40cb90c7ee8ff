"""Which exits concern one node, so that an agent need not look at all exits of a large cluster."""

from collections.abc import Hashable, Iterable, Mapping

from sallyport.model.state import Exit, IPAddress


class Vicinity:
    """Follows the exits of a cluster. Those concern the node that select a pod of it, that it may hold or says that it
    holds, static ones, which any node may have on an interface, and those that claim the id or address of such a one.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._near: set[str] = set()
        self._left: set[str] = set()
        self._known: dict[str, Exit] = {}
        self._claimants: dict[Hashable, set[str]] = {}
        self._contested: set[Hashable] = set()

    def follow(self, exits: Mapping[str, Exit], changed: Iterable[str]) -> None:
        """Take in those exits that have changed, or are gone."""
        self._left = set()
        for name in changed:
            before, now = self._known.pop(name, None), exits.get(name)
            for claim in _claims(before):
                self._claim(claim, self._claimants[claim] - {name})
            for claim in _claims(now):
                self._claim(claim, self._claimants.get(claim, set()) | {name})
            if now is not None:
                self._known[name] = now
            if now is not None and self._concerns(now):
                self._near.add(name)
            elif name in self._near:
                self._near.discard(name)
                self._left.add(name)

    def _claim(self, claim: Hashable, names: set[str]) -> None:
        if names:
            self._claimants[claim] = names
        else:
            del self._claimants[claim]
        if len(names) > 1:
            self._contested.add(claim)
        else:
            self._contested.discard(claim)

    def exits(self) -> dict[str, Exit]:
        """The exits that concern the node. One that has just ceased to is among them once more: what it has become is
        the last that the node has to hear of it."""
        found: dict[str, Exit] = {}
        waiting = sorted(self._near | (self._left & self._known.keys()))
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            found[name] = self._known[name]
            if self._contested:  # mostly none is, and then nobody has to look for those
                for claim in self._contested.intersection(_claims(found[name])):
                    waiting += self._claimants[claim]
        return found

    def _concerns(self, exit_: Exit) -> bool:
        return bool(exit_.clients) or not exit_.pools or self._node in exit_.nodes or self._node == exit_.holder


def _claims(exit_: Exit | None) -> tuple[int | IPAddress, ...]:
    """What no two exits have at a time: an id, and an address."""
    if exit_ is None:
        return ()
    claimed = (exit_.id or None, exit_.requested)
    return tuple(claim for claim in claimed if claim is not None)
