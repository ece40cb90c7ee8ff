"""Our nftables tables: skeletons (rules) and elements (members of sets and maps), by text to `nft -f -`."""

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Literal

import msgspec

from sallyport.drivers.command import DriverError, run
from sallyport.drivers.members import CLIENT_SETS, Change, Listing, Members, elements
from sallyport.model.kernel import Chain, Element, KernelObject, Kind, Skeleton
from sallyport.model.settings import Settings
from sallyport.model.state import IPAddress

__all__ = ["CLIENT_SETS", "Tables"]

_FAMILIES: tuple[Literal["inet"], Literal["netdev"]] = ("inet", "netdev")
_CHOOSING = re.compile(r"(?:way|spread)_[0-9a-f]{12}")
"""Names of chains that choose among exits begin with this, and their leaves' go on after it."""
_MADE = re.compile(r"mark_|(?:way|spread)_[0-9a-f]{12}")
"""Chains that come and go with elements; the others are the skeleton's."""
_BLOCK = re.compile(r"^\tchain (?:way|spread)_\w+ \{\n.*?^\t\}\n", re.MULTILINE | re.DOTALL)
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
            Kind.CHAIN: {},
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
            for chain in _choosing(listing):
                found[Kind.CHAIN][chain.key] = chain
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
                lines += self._chains()
                lines += self._carried(old, frozenset(_DECLARED.findall(skeleton.text)))
            if message := _submit(lines):
                failures.append(f"nft table {skeleton.family} {skeleton.name}: {message}")
        return failures

    def _chains(self) -> list[str]:
        """The chains that choose among exits, as text that makes them anew: nft reads what it prints. Spreads come
        first, since ways jump to them."""
        printed = run(["nft", "list", "table", "inet", self._name]).stdout
        blocks = sorted(_BLOCK.findall(printed), key=lambda block: "chain way_" in block)
        return [f"table inet {self._name} {{\n{block}}}" for block in blocks]

    def change_chains(self, upserts: Sequence[Chain], deletes: Sequence[Chain]) -> list[str]:
        """Make chains, the spreads before the ways that jump to them, and take chains away in the opposite order."""
        listing = self._list("inet")
        if listing is None:
            return [f"nft {item.name}: there is no table inet {self._name}" for item in upserts]
        there = [str(item["chain"]["name"]) for item in listing if "chain" in item]
        failures: list[str] = []
        for chain in sorted(upserts, key=lambda item: item.name):
            own = [name for name in there if _belongs(name, chain)]
            emptied = [f"flush chain inet {self._name} {name}" for name in own]
            if message := _submit([*emptied, chain.text]):
                failures.append(f"nft chain {chain.name}: {message}")
        for chain in sorted(deletes, key=lambda item: item.name, reverse=True):
            own = sorted((name for name in there if _belongs(name, chain)), key=len)
            lines = [f"{verb} chain inet {self._name} {name}" for verb in ("flush", "delete") for name in own]
            if message := _submit(lines):
                failures.append(f"nft chain {chain.name}: {message}")
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


def _belongs(name: str, chain: Chain) -> bool:
    """Whether a chain of the table is this one or a leaf of it."""
    return name == chain.name or name.startswith(f"{chain.name}_")


def _choosing(listing: Listing) -> list[Chain]:
    """The chains that choose among exits, each with the number of its rules and its leaves'."""
    counts: dict[str, int] = {}
    for item in listing:
        name = str((item.get("chain") or {}).get("name") or (item.get("rule") or {}).get("chain") or "")
        if (found := _CHOOSING.match(name)) is not None:
            counts[found[0]] = counts.get(found[0], 0) + ("rule" in item)
    return [Chain(name, count) for name, count in counts.items()]


def _digest(listing: Listing) -> str:
    """What the first rule's comment says, as long as there are as many rules as it says: none was added or removed."""
    rules = [item["rule"] for item in listing if "rule" in item and not _MADE.match(item["rule"]["chain"])]
    digest = next((str(rule["comment"]) for rule in rules if "comment" in rule), "")
    return digest if digest.rpartition(":")[2] == str(len(rules)) else ""
