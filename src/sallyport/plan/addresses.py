"""Which egress IP each exit has: those already given are kept, then the free ones are handed out, oldest exit first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sallyport.model.plan import Usage
from sallyport.model.state import AddressRange, Exit, Family, IPAddress, ObjectRef, Pool, Problem


@dataclass(slots=True)
class Ledger:
    """Addresses taken so far in each pool, with the exit that has them."""

    taken: dict[IPAddress, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, exit_: Exit, message: str) -> None:
        """Note why an exit has no address, in upstream's words."""
        self.problems.append(Problem(exit_.ref, "AllocationError", f"Cannot allocate EgressIP from {message}"))


def allocate(
    exits: Mapping[str, Exit], pools: Mapping[str, Pool]
) -> tuple[dict[str, IPAddress | None], tuple[Problem, ...]]:
    """An address per exit (None where it cannot be honoured) and what stood in the way.

    Those whose address is in effect come first, then those that ask for one by name, then those that take any: an
    exit never loses an address to one that comes to want it, be that one older.
    """
    ledger = Ledger()
    given: dict[str, IPAddress | None] = {}
    waiting: list[Exit] = []
    for exit_ in sorted(exits.values(), key=lambda item: (not item.settled, item.age)):
        there = _existing(exit_, pools)
        if not exit_.pools:
            given[exit_.key] = exit_.requested
        elif not there:
            given[exit_.key] = None
            kind, _, name = exit_.pools[0].partition("/")
            ledger.refuse(exit_, f"{kind}: {kind} {name} does not exist")
        elif exit_.requested is None or (exit_.allocated and not _free(exit_.requested, there, ledger)):
            waiting.append(exit_)
        else:
            given[exit_.key] = _keep(exit_, exit_.requested, there, ledger)
    cursors: dict[tuple[ObjectRef, Family | None], _Cursor] = {}
    for exit_ in sorted(waiting, key=lambda item: item.age):
        there = _existing(exit_, pools)
        each = [cursors.setdefault((pool.ref, exit_.family), _Cursor(pool, exit_.family)) for pool in there]
        address = next((found for cursor in each if (found := cursor.next_free(ledger)) is not None), None)
        given[exit_.key] = address
        if address is None:
            names = " or ".join(_name(pool) for pool in there)
            ledger.refuse(exit_, f"{there[0].ref.kind}: cannot allocate IP in any range of {names}")
        else:
            ledger.taken[address] = exit_.key
    return given, tuple(ledger.problems)


def _existing(exit_: Exit, pools: Mapping[str, Pool]) -> list[Pool]:
    return [pools[name] for name in exit_.pools if name in pools]


def _name(pool: Pool) -> str:
    return f"{pool.ref.kind} {pool.ref.name}"


def _free(address: IPAddress, pools: Sequence[Pool], ledger: Ledger) -> bool:
    return any(address in pool for pool in pools) and address not in ledger.taken


def _keep(exit_: Exit, address: IPAddress, pools: Sequence[Pool], ledger: Ledger) -> IPAddress | None:
    if not any(address in pool for pool in pools):
        where = " or ".join(_name(pool) for pool in pools)
        ledger.refuse(exit_, f"{pools[0].ref.kind}: IP {address} is not within the IP range of {where}")
        return None
    if (other := ledger.taken.get(address)) is not None:
        ledger.refuse(exit_, f"{pools[0].ref.kind}: IP {address} is already used by {exit_.ref.kind} {other}")
        return None
    ledger.taken[address] = exit_.key
    return address


class _Cursor:
    """Walks a pool's ranges upwards, never back: nothing is freed during one allocation."""

    def __init__(self, pool: Pool, family: Family | None) -> None:
        ranges = [part for part in pool.ranges if family in (None, part.first.version)]
        self._addresses = (type(part.first)(number) for part in ranges for number in _numbers(part))

    def next_free(self, ledger: Ledger) -> IPAddress | None:
        return next((address for address in self._addresses if address not in ledger.taken), None)


def _numbers(part: AddressRange) -> range:
    return range(int(part.first), int(part.last) + 1)


def usage(
    pools: Mapping[str, Pool], exits: Mapping[str, Exit], given: Mapping[str, IPAddress | None]
) -> dict[str, Usage]:
    """How full each pool is, by the addresses that exits have of it."""
    used: dict[str, int] = {}
    for name, address in given.items():
        pool = next((key for key in exits[name].pools if address is not None and address in pools.get(key, ())), None)
        if pool is not None:
            used[pool] = used.get(pool, 0) + 1
    return {
        name: Usage(total=sum(len(part) for part in pool.ranges), used=used.get(name, 0))
        for name, pool in pools.items()
    }
