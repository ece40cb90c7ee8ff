"""Members of our sets and maps: as `nft -j` lists them, and the `nft` lines that turn one membership into another.

A client's element is a jump to the chain that sets its mark; those chains are made and dropped along with elements.
A limit's object carries its rate and burst in its name, since one in use can be neither changed nor deleted.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sallyport.model.kernel import ClientElement, Element
from sallyport.model.settings import Settings

CLIENT_SETS = re.compile(r"^(clients|governed|free|ordinary|local_pods)[46]$")
PASSING = re.compile(r"^((unknown|forgotten)[46]|alive)$")
"""Sets whose members packets, the heartbeat, or the forgetting of connections put there for a time. No plan has any."""

_FASTEST = 14_000_000_000
"""Bytes per second. The kernel counts in nanoseconds, 64 bits of which hold 18 GB/s, the burst included."""
_LONGEST = 0xFFFFFFFF
"""Bytes of burst. Of more, `nft` would silently keep the lowest 32 bits."""

Listing = list[dict[str, Any]]
Change = tuple[Element, bool]
"""An element, and whether it is to be there."""


def elements(listing: Listing) -> list[Element]:
    """Every element that a plan may name. A client's jump to a chain that does not set one mark has no value."""
    rules = Counter(str(item["rule"]["chain"]) for item in listing if "rule" in item)
    found: list[Element] = []
    for item in listing:
        body = item.get("set") or item.get("map")
        if body is None or PASSING.match(body["name"]):
            continue
        make = ClientElement if CLIENT_SETS.match(body["name"]) else Element
        for member in body.get("elem", []):
            key, value = member if isinstance(member, list) else (member, "")
            found.append(make(body["name"], _member(key), _value(value, rules)))
    return found


def _member(key: Any) -> str:
    if isinstance(key, dict):
        if "elem" in key:
            return _member(key["elem"]["val"])
        if "prefix" in key:
            return f"{key['prefix']['addr']}/{key['prefix']['len']}"
        if "range" in key:
            return "-".join(str(part) for part in key["range"])
        if "concat" in key:
            return " . ".join(_member(part) for part in key["concat"])
    return str(key)


def _value(value: Any, rules: Mapping[str, int]) -> str:
    """The plan's way to write a map's value: an id for a jump, `rate/burst` for a limit."""
    if isinstance(value, dict):
        target = str((value.get("jump") or {}).get("target", ""))
        if not target.startswith("mark_"):
            return target
        return target.removeprefix("mark_") if rules[target] == 1 else ""
    text = str(value)
    return "/".join(text.split("_")[2:]) if text.startswith("lim_") else text


@dataclass(frozen=True)
class Members:
    """The elements of our table by their keys, and the mark chains that it has."""

    settings: Settings
    elements: Mapping[object, Element]
    chains: frozenset[str]

    @classmethod
    def listed(cls, settings: Settings, listing: Listing) -> "Members":
        """Those of a table as `nft -j` lists it."""
        chains = (str(item["chain"]["name"]) for item in listing if "chain" in item)
        return cls(
            settings,
            {item.key: item for item in elements(listing)},
            frozenset(name for name in chains if name.startswith("mark_")),
        )

    def change(self, changes: Sequence[Change]) -> tuple[list[str], "Members"]:
        """The lines of a transaction that makes `changes`, and what there is then. Nothing is taken that is not there,
        and the old element of a key is taken before the new one is added: there is no replacing in maps."""
        made = [item for item, wanted in changes if wanted]
        gone = {item.key: self.elements[item.key] for item, _ in changes if item.key in self.elements}
        after = {key: item for key, item in self.elements.items() if key not in gone}
        after |= {item.key: item for item in made}
        used = frozenset(_chain(item) for item in after.values() if _is_marking(item))
        table = self._table
        lines = [f"delete element {table} {name} {{ {', '.join(keys)} }}" for name, keys in _by_set(gone.values())]
        lines += [f"delete limit {table} {_limit(item)}" for item in gone.values() if item.set == "limits"]
        lines += self.additions(made)
        lines += [f"delete chain {table} {chain}" for chain in sorted(self.chains - used)]
        return lines, Members(self.settings, after, used)

    def additions(self, made: Sequence[Element]) -> list[str]:
        """Lines that add elements that are not there, and what they refer to."""
        table, mask = self._table, self.settings.mark_mask
        lines: list[str] = []
        for chain, number in sorted({(_chain(item), int(item.value)) for item in made if _is_marking(item)}):
            rule = f"meta mark set meta mark & {0xFFFFFFFF ^ mask:#x} | {self.settings.mark(number):#x}"
            lines += [f"add chain {table} {chain}", f"flush chain {table} {chain}", f"add rule {table} {chain} {rule}"]
        for item in made:
            if item.set == "limits":
                lines.append(f"add limit {table} {_limit(item)} {{ {_rate(item.value)} ; }}")
        for name, members in _by_set(made, _written):
            lines.append(f"add element {table} {name} {{ {', '.join(members)} }}")
        return lines

    def is_broken(self, item: Element) -> bool:
        """Whether it is a jump that sets no mark, because somebody changed its chain."""
        return _is_jump(item) and not item.value

    @property
    def _table(self) -> str:
        return f"inet {self.settings.table_name}"


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
