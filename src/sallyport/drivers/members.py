"""Members of our sets and maps: as the kernel lists them, and the transactions that turn one membership into another.

A client's element is a jump to the chain that sets its mark; those chains are made and dropped along with elements.
A limit's object carries its rate and burst in its name, since one in use can be neither changed nor deleted.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sallyport.drivers import nfbatch
from sallyport.drivers.nfnetlink import Listing, Member
from sallyport.model.kernel import ClientElement, Element
from sallyport.model.settings import Settings

CLIENT_SETS = re.compile(r"^(clients|governed|free|ordinary|local_pods)[46]$")
PASSING = re.compile(r"^((unknown|forgotten)[46]|alive)$")
"""Sets whose members packets, the heartbeat, or the forgetting of connections put there for a time. No plan has any."""

_FASTEST = 14_000_000_000
"""Bytes per second. The kernel counts in nanoseconds, 64 bits of which hold 18 GB/s, the burst included."""
_LONGEST = 0xFFFFFFFF
"""Bytes of burst. Of more, `nft` would silently keep the lowest 32 bits."""

Change = tuple[Element, bool]
"""An element, and whether it is to be there."""


def elements(listing: Listing) -> list[Element]:
    """Every element that a plan may name. A client's jump to a chain that does not set one mark has no value."""
    counts = listing.counts
    return [
        (ClientElement if CLIENT_SETS.match(item.set) else Element)(item.set, item.key, _value(item, counts))
        for item in listing.members
        if not PASSING.match(item.set)
    ]


def _value(item: Member, counts: Mapping[str, int]) -> str:
    """The plan's way to write a map's value: an id for a jump, `rate/burst` for a limit."""
    if item.target.startswith("mark_"):
        return item.target.removeprefix("mark_") if counts[item.target] == 1 else ""
    if item.reference.startswith("lim_"):
        return "/".join(item.reference.split("_")[2:])
    return item.target or item.value or item.reference


@dataclass(frozen=True)
class Members:
    """The elements of our table by their keys, and the mark chains that it has."""

    settings: Settings
    elements: Mapping[object, Element]
    chains: frozenset[str]

    @classmethod
    def listed(cls, settings: Settings, listing: Listing) -> "Members":
        """Those of a table as the kernel lists it."""
        marking = frozenset(name for name in listing.chains if name.startswith("mark_"))
        return cls(settings, {item.key: item for item in elements(listing)}, marking)

    def change(self, changes: Sequence[Change]) -> tuple["Transaction", "Members"]:
        """The transaction that makes `changes`, and what there is then. Nothing is taken that is not there, and the old
        element of a key is taken before the new one is added: there is no replacing in maps."""
        made = tuple(item for item, wanted in changes if wanted)
        gone = {item.key: self.elements[item.key] for item, _ in changes if item.key in self.elements}
        after = {key: item for key, item in self.elements.items() if key not in gone}
        after |= {item.key: item for item in made}
        used = frozenset(_chain(item) for item in after.values() if _is_marking(item))
        swept = tuple(sorted(self.chains - used))
        return Transaction(self.settings, tuple(gone.values()), made, swept), Members(self.settings, after, used)

    def is_broken(self, item: Element) -> bool:
        """Whether it is a jump that sets no mark, because somebody changed its chain."""
        return _is_jump(item) and not item.value


@dataclass(frozen=True)
class Transaction:
    """Elements that are taken away, then some that are made, then chains that nothing leads to any more."""

    settings: Settings
    taken: Sequence[Element] = ()
    made: Sequence[Element] = ()
    swept: Sequence[str] = ()

    def __bool__(self) -> bool:
        """Whether it does anything."""
        return bool(self.taken or self.made or self.swept)

    @property
    def _table(self) -> str:
        return f"inet {self.settings.table_name}"

    @property
    def _marks(self) -> list[tuple[str, int]]:
        """Chains that jumps need, each with the egress id that it sets."""
        return sorted({(_chain(item), int(item.value)) for item in self.made if _is_marking(item)})

    def messages(self) -> list[bytes]:
        """As messages for the kernel. Raises Unfit where something is in it that only `nft` can say."""
        name = self.settings.table_name
        parts = [*nfbatch.elements(name, self.taken, wanted=False)]
        for chain, number in self._marks:
            parts += nfbatch.marking(name, chain, number, self.settings)
        parts += nfbatch.elements(name, self.made, wanted=True)
        return nfbatch.transaction([*parts, *(nfbatch.sweeping(name, chain) for chain in self.swept)])

    def lines(self) -> list[str]:
        """As text for `nft`."""
        table = self._table
        lines = [f"delete element {table} {name} {{ {', '.join(keys)} }}" for name, keys in _by_set(self.taken)]
        lines += [f"delete limit {table} {_limit(item)}" for item in self.taken if item.set == "limits"]
        lines += self._additions()
        return lines + [f"delete chain {table} {chain}" for chain in self.swept]

    def _additions(self) -> list[str]:
        table, mask = self._table, self.settings.mark_mask
        lines: list[str] = []
        for chain, number in self._marks:
            rule = f"meta mark set meta mark & {0xFFFFFFFF ^ mask:#x} | {self.settings.mark(number):#x}"
            lines += [f"add chain {table} {chain}", f"flush chain {table} {chain}", f"add rule {table} {chain} {rule}"]
        for item in self.made:
            if item.set == "limits":
                lines.append(f"add limit {table} {_limit(item)} {{ {_rate(item.value)} ; }}")
        for name, members in _by_set(self.made, _written):
            lines.append(f"add element {table} {name} {{ {', '.join(members)} }}")
        return lines


def _is_jump(item: Element) -> bool:
    return item.set.startswith("clients")


def _is_marking(item: Element) -> bool:
    """Whether it jumps to a chain that sets one mark, and not to one that chooses among exits."""
    return _is_jump(item) and item.value.isdecimal()


def _chain(item: Element) -> str:
    return f"mark_{item.value}" if item.value.isdecimal() else item.value


def _limit(item: Element) -> str:
    return f"lim_{item.member}_{item.value.replace('/', '_')}"


def _rate(value: str) -> str:
    """What a limit's object says for `rate/burst` in bits.

    The kernel's bucket holds one second of the rate and, beyond that, what it calls the burst (nft_limit.c).
    So that a silent client may send `burst` at once, and not a second's worth more, that second is taken off.
    """
    rate, burst = (int(part) // 8 for part in value.split("/"))
    rate = min(max(1, rate), _FASTEST)
    return f"rate over {rate} bytes/second burst {min(max(0, burst - rate), _LONGEST)} bytes"


def _key_text(item: Element) -> str:
    """The member as nft reads it: names of devices in quotes, since they may hold dots."""
    if item.set == "externals":
        return f'"{item.member}"'
    if item.set == "wires":
        mark, _, device = item.member.partition(" . ")
        return f'{mark} . "{device}"'
    return item.member


def _written(item: Element) -> str:
    if _is_jump(item):
        return f"{item.member} : jump {_chain(item)}"
    if item.set == "limits":
        return f'{item.member} : "{_limit(item)}"'
    return f"{item.member} : {item.value}" if item.value else _key_text(item)


def _by_set(items: Iterable[Element], text: Callable[[Element], str] = _key_text) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for item in items:
        groups.setdefault(item.set, []).append(text(item))
    return list(groups.items())
