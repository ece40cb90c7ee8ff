"""Which egress IP each exit has: those already given are kept, then the free ones are handed out, oldest exit first."""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sallyport.model.plan import Usage
from sallyport.model.state import AddressRange, Exit, Family, IPAddress, ObjectRef, Pool, Problem


@dataclass(slots=True)
class Ledger:
    """Addresses of pools that are taken, with the exit that has them. `freed` were taken and may be no longer."""

    taken: dict[IPAddress, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    freed: set[IPAddress] = field(default_factory=set)
    _cursors: dict[tuple[ObjectRef, Family | None], "_Cursor"] = field(default_factory=dict)

    def free(self, address: IPAddress) -> None:
        """Let an exit's address go."""
        del self.taken[address]
        self.freed.add(address)

    def cursor(self, pool: Pool, family: Family | None) -> "_Cursor":
        """Where to look on for an address of a pool that nobody has."""
        for address in self.freed - self.taken.keys():
            for cursor in self._cursors.values():
                cursor.put_back(address)
        self.freed.clear()
        return self._cursors.setdefault((pool.ref, family), _Cursor(pool, family))

    def refuse(self, exit_: Exit, message: str) -> None:
        """Note why an exit has no address, in upstream's words."""
        self.problems.append(Problem(exit_.ref, "AllocationError", f"Cannot allocate EgressIP from {message}"))


def allocate(
    exits: Mapping[str, Exit], pools: Mapping[str, Pool], ledger: Ledger | None = None
) -> tuple[dict[str, IPAddress | None], tuple[Problem, ...]]:
    """An address per exit (None where it cannot be honoured) and what stood in the way.

    Those whose address is in effect come first, then those that ask for one by name, then those that take any: an
    exit never loses an address to one that comes to want it, be that one older. What other exits have, by the `ledger`,
    they keep; it is brought up to date.
    """
    ledger = ledger or Ledger()
    ledger.problems = []
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
    for exit_ in sorted(waiting, key=lambda item: item.age):
        there = _existing(exit_, pools)
        each = [ledger.cursor(pool, exit_.family) for pool in there]
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
    """Walks a pool's ranges upwards. What is freed behind it is put back, and handed out first, the lowest before."""

    def __init__(self, pool: Pool, family: Family | None) -> None:
        self._ranges = [part for part in pool.ranges if family in (None, part.first.version)]
        self._places = ((index, number) for index, part in enumerate(self._ranges) for number in _numbers(part))
        self._at = (0, 0)
        self._behind: list[tuple[int, int]] = []

    def put_back(self, address: IPAddress) -> None:
        """An address is free again, of whichever pool."""
        for index, part in enumerate(self._ranges):
            if address in part and (index, int(address)) <= self._at:
                heapq.heappush(self._behind, (index, int(address)))

    def next_free(self, ledger: Ledger) -> IPAddress | None:
        """The first address that nobody has."""
        while self._behind:
            if (address := self._address(heapq.heappop(self._behind))) not in ledger.taken:
                return address
        for place in self._places:
            self._at = place
            if (address := self._address(place)) not in ledger.taken:
                return address
        return None

    def _address(self, place: tuple[int, int]) -> IPAddress:
        return type(self._ranges[place[0]].first)(place[1])


def _numbers(part: AddressRange) -> range:
    return range(int(part.first), int(part.last) + 1)


def usage(
    pools: Mapping[str, Pool], exits: Mapping[str, Exit], given: Mapping[str, IPAddress | None]
) -> dict[str, Usage]:
    """How full each pool is, by the addresses that exits have of it."""
    return filled(pools, Counter(origin(exits[name], address, pools) for name, address in given.items()))


def origin(exit_: Exit, address: IPAddress | None, pools: Mapping[str, Pool]) -> str:
    """The pool that an exit's address is of, "" where it is of none."""
    if address is None:
        return ""
    return next((key for key in exit_.pools if address in pools.get(key, ())), "")


def filled(pools: Mapping[str, Pool], used: Mapping[str, int]) -> dict[str, Usage]:
    """How full each pool is, by the number of addresses that are in use."""
    return {
        name: Usage(total=sum(len(part) for part in pool.ranges), used=used.get(name, 0))
        for name, pool in pools.items()
    }
