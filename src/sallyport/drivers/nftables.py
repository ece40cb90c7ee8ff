"""Our nftables tables: skeletons (rules) and elements (members of sets and maps), by text to `nft -f -`."""

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Literal

import msgspec

from sallyport.drivers.command import DriverError, run
from sallyport.drivers.members import CLIENT_SETS, Change, Listing, Members, elements
from sallyport.model.kernel import Element, KernelObject, Kind, Skeleton
from sallyport.model.settings import Settings
from sallyport.model.state import IPAddress

__all__ = ["CLIENT_SETS", "Tables"]

_FAMILIES: tuple[Literal["inet"], Literal["netdev"]] = ("inet", "netdev")
_DECLARED = re.compile(r"^ *(?:set|map) (\w+) \{", re.MULTILINE)


class Tables:
    """Reads and writes the inet and netdev tables."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = settings.table_name

    def read(self) -> dict[Kind, dict[object, KernelObject]]:
        """Skeletons and elements that are in the kernel. A skeleton whose rules were changed has no digest."""
        found: dict[Kind, dict[object, KernelObject]] = {
            Kind.SKELETON: {},
            Kind.EXIT_ELEMENT: {},
            Kind.CLIENT_ELEMENT: {},
        }
        for family in _FAMILIES:
            listing = self._list(family)
            if listing is None:
                continue
            skeleton = Skeleton(family, self._name, _digest(listing))
            found[Kind.SKELETON][skeleton.key] = skeleton
            for element in elements(listing):
                found[element.kind][element.key] = element
        return found

    def _list(self, family: str) -> Listing | None:
        done = run(["nft", "-j", "list", "table", family, self._name])
        if done.returncode != 0:
            if "No such file" in done.stderr:
                return None
            raise DriverError(f"nft list table {family} {self._name}: {_first(done.stderr)}")
        return msgspec.json.decode(done.stdout, type=dict[str, Listing])["nftables"]

    def undecided(self) -> frozenset[IPAddress]:
        """Addresses that the guard has stopped within the last minute because nothing was decided about them."""
        found: set[IPAddress] = set()
        for name in ("unknown4", "unknown6"):
            done = run(["nft", "-j", "list", "set", "inet", self._name, name])
            listing = msgspec.json.decode(done.stdout, type=dict[str, Listing])["nftables"] if done.stdout else []
            for item in listing:
                found.update(ip_address(entry["elem"]["val"]) for entry in item.get("set", {}).get("elem", ()))
        return frozenset(found)

    def load(self, skeletons: Iterable[Skeleton]) -> list[str]:
        """Put skeletons in force, each in one transaction, with the elements that the old ones had."""
        failures: list[str] = []
        for skeleton in skeletons:
            old = self._list(skeleton.family)
            lines = [f"delete table {skeleton.family} {skeleton.name}"] if old is not None else []
            lines.append(skeleton.text)
            if old is not None and skeleton.family == "inet":
                lines += self._carried(old, frozenset(_DECLARED.findall(skeleton.text)))
            if message := _submit(lines):
                failures.append(f"nft table {skeleton.family} {skeleton.name}: {message}")
        return failures

    def _carried(self, old: Listing, sets: frozenset[str]) -> list[str]:
        """Lines that put the members of `sets` into the new table. The dead-man element goes over too: without it the
        node would fall silent until the next renewal."""
        members = Members.listed(self._settings, old)
        kept = [item for item in members.elements.values() if item.set in sets and not members.is_broken(item)]
        alive = [
            _alive(self._name, int(entry["elem"]["timeout"]))
            for item in old
            if item.get("set", {}).get("name") == "alive"
            for entry in item["set"].get("elem", ())
        ]
        return members.additions(kept) + alive

    def drop(self, skeletons: Iterable[Skeleton]) -> list[str]:
        """Remove whole tables."""
        failures: list[str] = []
        for skeleton in skeletons:
            message = _submit([f"delete table {skeleton.family} {skeleton.name}"])
            if message and "No such file" not in message:
                failures.append(f"nft table {skeleton.family} {skeleton.name}: {message}")
        return failures

    def change(self, upserts: Sequence[Element], deletes: Sequence[Element]) -> list[str]:
        """Add, replace and remove elements in one transaction: either all of it is in force, or none. Where that is
        refused, it is tried in halves, so that one bad member harms no other."""
        listing = self._list("inet")
        if listing is None:
            return [f"nft {item.set} {item.member}: there is no table inet {self._name}" for item in upserts]
        changes = [(item, False) for item in deletes] + [(item, True) for item in upserts]
        failures, _ = _carry_out(changes, Members.listed(self._settings, listing))
        return failures

    def note_forgotten(self, addresses: Iterable[IPAddress], seconds: int) -> str:
        """Have the guard look at what begins anew towards these pods for so long; what failed, "" for nothing."""
        lines: list[str] = []
        for address in addresses:
            element = f"element inet {self._name} forgotten{address.version}"
            fresh = f"add {element} {{ {address} timeout {seconds}s }}"
            lines += [fresh, f"delete {element} {{ {address} }}", fresh]  # as for `alive`: the time starts anew
        return _submit(lines) if lines else ""

    def renew(self, seconds: int) -> None:
        """Renew the dead-man element: kernels before 6.12 do not extend a living element's time when it is added
        again, so it is added, deleted and added in one transaction."""
        fresh = _alive(self._name, seconds)
        _submit([fresh, f"delete element inet {self._name} alive {{ 3784 }}", fresh])


def _carry_out(changes: Sequence[Change], members: Members) -> tuple[list[str], Members]:
    lines, after = members.change(changes)
    message = _submit(lines)
    if not message:
        return [], after
    if len(changes) == 1:
        item = changes[0][0]
        return [f"nft {item.set} {item.member} {item.value}: {message}"], members
    middle = len(changes) // 2
    failures, members = _carry_out(changes[:middle], members)
    more, members = _carry_out(changes[middle:], members)
    return failures + more, members


def _submit(lines: Sequence[str]) -> str:
    """Why nft refused that transaction; "" if it did not."""
    if not lines:
        return ""
    done = run(["nft", "-f", "-"], "\n".join(lines) + "\n")
    return _first(done.stderr) if done.returncode != 0 else ""


def _first(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "refused"


def _alive(table: str, seconds: int) -> str:
    return f"add element inet {table} alive {{ 3784 timeout {seconds}s }}"


def _digest(listing: Listing) -> str:
    """What the first rule's comment says, as long as there are as many rules as it says: none was added or removed."""
    rules = [item["rule"] for item in listing if "rule" in item and not item["rule"]["chain"].startswith("mark_")]
    digest = next((str(rule["comment"]) for rule in rules if "comment" in rule), "")
    return digest if digest.rpartition(":")[2] == str(len(rules)) else ""
