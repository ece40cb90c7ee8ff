"""Our nftables tables: skeletons (rules) and elements (members of sets and maps), by text to `nft -f -`."""

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Literal

from sallyport.drivers import nfbatch
from sallyport.drivers.command import run
from sallyport.drivers.members import CLIENT_SETS, PASSING, Change, Members, Transaction
from sallyport.drivers.nfnetlink import NETFILTER, Listing, listing, members
from sallyport.drivers.wire import Lasting, Link
from sallyport.model.kernel import Chain, Element, KernelObject, Kind, Skeleton
from sallyport.model.settings import Settings
from sallyport.model.state import IPAddress

__all__ = ["CLIENT_SETS", "Tables"]

_FAMILIES: tuple[Literal["inet"], Literal["netdev"]] = ("inet", "netdev")
_CHOOSING = re.compile(r"(?:way|spread)_[0-9a-f]{12}")
"""Names of chains that choose among exits begin with this, and their leaves' go on after it."""
_MADE = re.compile(r"mark_|(?:way|spread)_[0-9a-f]{12}")
"""Chains that come and go with elements; the others are the skeleton's."""
ALIVE = "alive"
"""The set of the dead-man element."""
_BFD = 3784
"""The element: BFD's port (RFC 5881)."""
_BLOCK = re.compile(r"^\tchain (?:way|spread)_\w+ \{\n.*?^\t\}\n", re.MULTILINE | re.DOTALL)
_DECLARED = re.compile(r"^ *(?:set|map) (\w+) \{", re.MULTILINE)


class Tables:
    """Reads and writes the inet and netdev tables."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = settings.table_name
        self._members: Members | None = None
        self._kernel = Lasting(NETFILTER)

    def read(self) -> dict[Kind, dict[object, KernelObject]]:
        """Skeletons and elements that are in the kernel. A skeleton whose rules were changed has no digest."""
        found: dict[Kind, dict[object, KernelObject]] = {
            Kind.SKELETON: {},
            Kind.EXIT_ELEMENT: {},
            Kind.CHAIN: {},
            Kind.CLIENT_ELEMENT: {},
        }
        self._members = None
        for family in _FAMILIES:
            table = self._list(family)
            if table is None:
                continue
            skeleton = Skeleton(family, self._name, _digest(table))
            found[Kind.SKELETON][skeleton.key] = skeleton
            members = Members.listed(self._settings, table)
            for key, element in members.elements.items():
                found[element.kind][key] = element
            if family == "inet":
                self._members = members
            for chain in _choosing(table):
                found[Kind.CHAIN][chain.key] = chain
        return found

    def _list(self, family: str) -> Listing | None:
        with self._kernel.link() as link:
            return listing(link, family, self._name, lambda name: name == ALIVE or not PASSING.match(name))

    def undecided(self) -> frozenset[IPAddress]:
        """Addresses that the guard has stopped within the last minute because nothing was decided about them."""
        with self._kernel.link() as link:
            found = [item for name in ("unknown4", "unknown6") for item in members(link, "inet", self._name, name)]
        return frozenset(ip_address(item.key) for item in found)

    def load(self, skeletons: Iterable[Skeleton]) -> list[str]:
        """Put skeletons in force, each in one transaction, with the elements that the old ones had."""
        self._members = None
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
        found = self._list("inet")
        if found is None:
            return [f"nft {item.name}: there is no table inet {self._name}" for item in upserts]
        there = found.chains
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
        alive = [_alive(self._name, item.seconds) for item in old.members if item.set == ALIVE]
        return Transaction(self._settings, made=kept).lines() + alive

    def drop(self, skeletons: Iterable[Skeleton]) -> list[str]:
        """Remove whole tables."""
        self._members = None
        failures: list[str] = []
        for skeleton in skeletons:
            message = _submit([f"delete table {skeleton.family} {skeleton.name}"])
            if message and "No such file" not in message:
                failures.append(f"nft table {skeleton.family} {skeleton.name}: {message}")
        return failures

    def change(self, upserts: Sequence[Element], deletes: Sequence[Element]) -> list[str]:
        """Add, replace and remove elements in one transaction: either all of it is in force, or none. Where that is
        refused, it is tried in halves, so that one bad member harms no other.

        What was last read serves first. If somebody has changed it since, the kernel refuses to take what is not there,
        or to give a second value to a key, and the table is read anew.
        """
        changes = [(item, False) for item in deletes] + [(item, True) for item in upserts]
        if self._members is not None:
            with self._kernel.link() as link:
                after = _at_once(link, changes, self._members)
            if after is not None:
                self._members = after
                return []
        table = self._list("inet")
        if table is None:
            return [f"nft {item.set} {item.member}: there is no table inet {self._name}" for item in upserts]
        failures, self._members = _carry_out(changes, Members.listed(self._settings, table))
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
        """Renew the dead-man element, where there is our table."""
        with self._kernel.link() as link:
            link.transact(nfbatch.transaction(nfbatch.renewal(self._name, ALIVE, _BFD, seconds)))

    def prolong(self, seconds: int) -> bool:
        """Renew the dead-man element if it still lives, and do nothing otherwise; whether it did."""
        with self._kernel.link() as link:
            parts = nfbatch.prolonging(self._name, ALIVE, _BFD, seconds)
            return link.transact(nfbatch.transaction(parts)) is None


def _at_once(link: Link, changes: Sequence[Change], members: Members) -> Members | None:
    """What there is when the kernel has taken all of the changes; None where it has taken none."""
    done, after = members.change(changes)
    if not done:
        return after
    try:
        parts = done.messages()
    except nfbatch.Unfit:
        return None
    return after if link.transact(parts) is None else None


def _carry_out(changes: Sequence[Change], members: Members) -> tuple[list[str], Members]:
    done, after = members.change(changes)
    message = _submit(done.lines())
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
    return f"add element inet {table} {ALIVE} {{ {_BFD} timeout {seconds}s }}"


def _belongs(name: str, chain: Chain) -> bool:
    """Whether a chain of the table is this one or a leaf of it."""
    return name == chain.name or name.startswith(f"{chain.name}_")


def _choosing(table: Listing) -> list[Chain]:
    """The chains that choose among exits, each with the number of its rules and its leaves'."""
    counts, rules = dict[str, int](), table.counts
    for name in table.chains:
        if (found := _CHOOSING.match(name)) is not None:
            counts[found[0]] = counts.get(found[0], 0) + rules[name]
    return [Chain(name, count) for name, count in counts.items()]


def _digest(table: Listing) -> str:
    """What the first rule's comment says, as long as there are as many rules as it says: none was added or removed."""
    comments = [comment for chain, comment in table.rules if not _MADE.match(chain)]
    digest = next((comment for comment in comments if comment), "")
    return digest if digest.rpartition(":")[2] == str(len(comments)) else ""
