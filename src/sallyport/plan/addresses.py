"""Which egress IP each exit has: those already given are kept, then the free ones are handed out, oldest exit first."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sallyport.model.plan import Usage
from sallyport.model.state import AddressRange, Exit, IPAddress, Pool, Problem


@dataclass(slots=True)
class Ledger:
    """Addresses taken so far in each pool, with the exit that has them."""

    taken: dict[IPAddress, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, exit_: Exit, message: str) -> None:
        """Note why an exit has no address, in upstream's words."""
        text = f"Cannot allocate EgressIP from ExternalIPPool: {message}"
        self.problems.append(Problem(exit_.ref, "AllocationError", text))


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
        name = exit_.ref.name
        if exit_.pool is None:
            given[name] = exit_.requested
        elif (pool := pools.get(exit_.pool)) is None:
            given[name] = None
            ledger.refuse(exit_, f"ExternalIPPool {exit_.pool} does not exist")
        elif exit_.requested is None or (exit_.allocated and not _free(exit_.requested, pool, ledger)):
            waiting.append(exit_)
        else:
            given[name] = _keep(exit_, exit_.requested, pool, ledger)
    cursors: dict[str, _Cursor] = {}
    for exit_ in sorted(waiting, key=lambda item: item.age):
        pool = pools[exit_.pool or ""]
        cursor = cursors.setdefault(pool.ref.name, _Cursor(pool))
        address = cursor.next_free(ledger)
        given[exit_.ref.name] = address
        if address is None:
            ledger.refuse(exit_, f"cannot allocate IP in any range of ExternalIPPool {pool.ref.name}")
        else:
            ledger.taken[address] = exit_.ref.name
    return given, tuple(ledger.problems)


def _free(address: IPAddress, pool: Pool, ledger: Ledger) -> bool:
    return address in pool and address not in ledger.taken


def _keep(exit_: Exit, address: IPAddress, pool: Pool, ledger: Ledger) -> IPAddress | None:
    if address not in pool:
        ledger.refuse(exit_, f"IP {address} is not within the IP range of ExternalIPPool {pool.ref.name}")
        return None
    if (other := ledger.taken.get(address)) is not None:
        ledger.refuse(exit_, f"IP {address} is already used by Egress {other}")
        return None
    ledger.taken[address] = exit_.ref.name
    return address


class _Cursor:
    """Walks a pool's ranges upwards, never back: nothing is freed during one allocation."""

    def __init__(self, pool: Pool) -> None:
        self._addresses = (type(part.first)(number) for part in pool.ranges for number in _numbers(part))

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
        pool = exits[name].pool
        if pool is not None and address is not None:
            used[pool] = used.get(pool, 0) + 1
    return {
        name: Usage(total=sum(len(part) for part in pool.ranges), used=used.get(name, 0))
        for name, pool in pools.items()
    }
