"""Our nftables tables: skeletons (rules) and elements (members of sets and maps), by text to `nft -f -`.

A client's element is a jump to the chain that sets its mark; those chains are made and dropped along with elements.
The whole of one step is one transaction: either all of it is in force, or none. Where nft refuses it, the elements
are tried one by one, so that one bad member harms no other.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from sallyport.drivers.command import DriverError, run
from sallyport.model.kernel import ClientElement, Element, KernelObject, Kind, Skeleton
from sallyport.model.settings import Settings

CLIENT_SETS = re.compile(r"^(clients|governed|free|local_pods)[46]$")
PASSING = re.compile(r"^(unknown[46]|alive)$")
"""Sets whose members the kernel or the heartbeat put there; they are no part of any plan."""


class Tables:
    """Reads and writes the inet and netdev tables."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = settings.table_name

    def read(self) -> dict[Kind, dict[object, KernelObject]]:
        """Skeletons and elements that are in the kernel."""
        found: dict[Kind, dict[object, KernelObject]] = {
            Kind.SKELETON: {},
            Kind.EXIT_ELEMENT: {},
            Kind.CLIENT_ELEMENT: {},
        }
        for family in ("inet", "netdev"):
            listing = self._list(family)
            if listing is None:
                continue
            skeleton = _skeleton(family, self._name, listing)
            found[Kind.SKELETON][skeleton.key] = skeleton
            for element in self._elements(listing):
                found[element.kind][element.key] = element
        return found

    def _list(self, family: str) -> list[dict[str, Any]] | None:
        done = run(["nft", "-j", "list", "table", family, self._name])
        if done.returncode != 0:
            if "No such file" in done.stderr:
                return None
            raise DriverError(f"nft list table {family} {self._name}: {done.stderr.strip()}")
        parsed: dict[str, list[dict[str, Any]]] = msgspec.json.decode(done.stdout)
        return parsed["nftables"]

    def _elements(self, listing: Sequence[dict[str, Any]]) -> Iterable[Element]:
        limits = {item["limit"]["name"]: item["limit"] for item in listing if "limit" in item}
        for item in listing:
            body = item.get("set") or item.get("map")
            if body is None or PASSING.match(body["name"]):
                continue
            make = ClientElement if CLIENT_SETS.match(body["name"]) else Element
            for member in body.get("elem", []):
                key, value = member if isinstance(member, list) else (member, "")
                yield make(body["name"], _member(key), self._value(value, limits))

    def _value(self, value: Any, limits: Mapping[str, dict[str, Any]]) -> str:
        """The plan's way to write a map's value: an id for a jump, `rate/burst` in bits for a limit's name."""
        if isinstance(value, dict):
            target = (value.get("jump") or {}).get("target", "")
            return str(target).removeprefix("mark_")
        if isinstance(value, str) and value in limits:
            limit = limits[value]
            rate = int(limit["rate"]) * _UNITS.get(str(limit.get("rate_unit", "bytes")), 1)
            burst = int(limit.get("burst", 0)) * _UNITS.get(str(limit.get("burst_unit", "bytes")), 1)
            return f"{rate * 8}/{burst * 8}"
        return str(value)

    def load(self, skeletons: Iterable[Skeleton]) -> list[str]:
        """Put skeletons in force in one transaction each, with the elements that the old ones had."""
        failures: list[str] = []
        for skeleton in skeletons:
            old = self._list(skeleton.family)
            lines = [f"delete table {skeleton.family} {skeleton.name}"] if old is not None else []
            lines.append(skeleton.text)
            if old is not None and skeleton.family == "inet":
                lines += self._additions(list(self._elements(old)), set())
            done = run(["nft", "-f", "-"], "\n".join(lines) + "\n")
            if done.returncode != 0:
                failures.append(f"nft table {skeleton.family} {skeleton.name}: {_first(done.stderr)}")
        return failures

    def drop(self, skeletons: Iterable[Skeleton]) -> list[str]:
        for skeleton in skeletons:
            run(["nft", "delete", "table", skeleton.family, skeleton.name])
        return []

    def change(self, upserts: Sequence[Element], deletes: Sequence[Element]) -> list[str]:
        """Add, replace and remove elements in one transaction; one by one if that is refused."""
        present = self.read()
        have: dict[object, Element] = {}
        for kind in (Kind.EXIT_ELEMENT, Kind.CLIENT_ELEMENT):
            have.update({key: item for key, item in present[kind].items() if isinstance(item, Element)})
        if not self._transaction(upserts, deletes, have):
            return []
        tries: list[tuple[list[Element], list[Element]]] = [([element], []) for element in upserts] + [
            ([], [element]) for element in deletes
        ]
        return [
            f"nft {item.set} {item.member} {item.value}: {message}"
            for made, gone in tries
            for item in (*made, *gone)
            if (message := self._transaction(made, gone, have))
        ]

    def _transaction(
        self, upserts: Sequence[Element], deletes: Sequence[Element], have: Mapping[object, Element]
    ) -> str:
        replaced = [have[item.key] for item in upserts if item.key in have]
        gone = [have[item.key] for item in deletes if item.key in have]
        chains = {item.value for item in have.values() if item.set.startswith("clients")}
        lines = self._removals([*replaced, *gone]) + self._additions(upserts, chains)
        if not lines:
            return ""
        done = run(["nft", "-f", "-"], "\n".join(lines) + "\n")
        if done.returncode == 0:
            self._sweep_chains()
        return _first(done.stderr) if done.returncode != 0 else ""

    def _removals(self, elements: Sequence[Element]) -> list[str]:
        table = f"inet {self._name}"
        lines = [f"delete element {table} {name} {{ {', '.join(members)} }}" for name, members in _grouped(elements)]
        return lines + [f"delete limit {table} {_limit_name(item)}" for item in elements if item.set == "limits"]

    def _additions(self, elements: Sequence[Element], chains: set[str]) -> list[str]:
        table = f"inet {self._name}"
        lines: list[str] = []
        for number in sorted({item.value for item in elements if item.set.startswith("clients")} - chains):
            mask = self._settings.mark_mask
            mark = self._settings.mark(int(number))
            lines.append(f"add chain {table} mark_{number}")
            lines.append(f"flush chain {table} mark_{number}")
            lines.append(f"add rule {table} mark_{number} meta mark set meta mark & {0xFFFFFFFF ^ mask:#x} | {mark:#x}")
        for item in elements:
            if item.set == "limits":
                rate, burst = (max(1, int(part) // 8) for part in item.value.split("/"))
                spec = f"rate over {rate} bytes/second burst {burst} bytes"
                lines.append(f"add limit {table} {_limit_name(item)} {{ {spec} ; }}")
        for name, members in _grouped(elements, with_values=True):
            lines.append(f"add element {table} {name} {{ {', '.join(members)} }}")
        return lines

    def _sweep_chains(self) -> None:
        """Drop mark chains that no element jumps to any more; the kernel refuses to drop one in use."""
        listing = self._list("inet") or []
        chains = {item["chain"]["name"] for item in listing if "chain" in item}
        used = {f"mark_{e.value}" for e in self._elements(listing) if e.set.startswith("clients")}
        lines = [
            f"delete chain inet {self._name} {chain}" for chain in sorted(chains - used) if chain.startswith("mark_")
        ]
        if lines:
            run(["nft", "-f", "-"], "\n".join(lines) + "\n")

    def renew(self, seconds: int) -> None:
        """Renew the dead-man element: kernels before 6.12 do not extend a living element's time when it is added
        again, so it is added, deleted and added in one transaction."""
        element = f"element inet {self._name} alive"
        fresh = f"add {element} {{ 3784 timeout {seconds}s }}"
        run(["nft", "-f", "-"], f"{fresh}\ndelete {element} {{ 3784 }}\n{fresh}\n")


_UNITS = {"bytes": 1, "kbytes": 1024, "mbytes": 1024 * 1024}


def _grouped(elements: Sequence[Element], *, with_values: bool = False) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for item in elements:
        groups.setdefault(item.set, []).append(item.member + (_written(item) if with_values else ""))
    return list(groups.items())


def _written(item: Element) -> str:
    if item.set.startswith("clients"):
        return f" : jump mark_{item.value}"
    if item.set == "limits":
        return f' : "{_limit_name(item)}"'
    return f" : {item.value}" if item.value else ""


def _limit_name(item: Element) -> str:
    """Part of the value is in the name, since a limit object in use can be neither changed nor deleted at once."""
    return f"lim_{item.member}_{hashlib.sha256(item.value.encode()).hexdigest()[:8]}"


def _member(key: Any) -> str:
    if isinstance(key, dict):
        if "elem" in key:
            return _member(key["elem"]["val"])
        if "prefix" in key:
            return f"{key['prefix']['addr']}/{key['prefix']['len']}"
        if "range" in key:
            return "-".join(str(part) for part in key["range"])
    return str(key)


def _skeleton(family: str, name: str, listing: Sequence[dict[str, Any]]) -> Skeleton:
    digest = ""
    for item in listing:
        comment = str(item.get("rule", {}).get("comment", ""))
        if comment.startswith("digest:"):
            digest = comment
            break
    return Skeleton(family=family, name=name, digest=digest)  # type: ignore[arg-type]


def _first(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "refused"
