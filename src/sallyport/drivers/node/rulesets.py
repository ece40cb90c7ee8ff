"""Chains of others, out of what `nft -j list ruleset` and `iptables-save` print: what they do to marks and sources."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sallyport.model.fitness import ALL_BITS, BaseChain, MarkChange

_ANY = MarkChange(ALL_BITS, 0)
_TRANSLATING = frozenset({"masquerade", "snat"})
_IPTABLES = {"raw": -300, "mangle": -150, "nat": 100, "filter": 0, "security": 50}
"""Priority of each table's chains, but for nat's at PREROUTING, which do nothing to sources (netfilter_ipv4.h)."""
_XMARK = re.compile(r"-j MARK .*--set-xmark (0x[0-9a-f]+)/(0x[0-9a-f]+)")
_RESTORE = re.compile(r"-j CONNMARK .*--restore-mark(?: --nfmask (0x[0-9a-f]+) --ctmask (0x[0-9a-f]+))?")
_QUOTED = re.compile(r'"[^"]*"')
_JUMP = re.compile(r" -[jg] (\S+)")


@dataclass(slots=True)
class _Chain:
    base: BaseChain | None = None
    mark: MarkChange = field(default_factory=MarkChange)
    translates: bool = False
    offloads: bool = False
    jumps: set[str] = field(default_factory=set)


def nftables(listing: Iterable[Mapping[str, Any]], without: Collection[str]) -> list[BaseChain]:
    """Base chains of a ruleset as JSON, but for tables of these names."""
    tables: dict[str, dict[str, _Chain]] = {}
    for item in listing:
        kind, entry = next(iter(item.items()))
        if kind not in ("chain", "rule") or entry["table"] in without:
            continue
        table = f"{entry['family']} {entry['table']}"
        name = entry["name"] if kind == "chain" else entry["chain"]
        chain = tables.setdefault(table, {}).setdefault(name, _Chain())
        if kind == "chain" and "hook" in entry:
            place = (entry["type"], entry["hook"], int(entry["prio"]))
            chain.base = BaseChain(table, name, *place, drops=entry.get("policy") == "drop")
        elif kind == "rule":
            for expression in entry["expr"]:
                _read(expression, chain)
    return [found for chains in tables.values() for found in _bases(chains)]


def foreign_expressions(listing: Iterable[Mapping[str, Any]], without: Collection[str]) -> bool:
    """Whether there are rules of iptables-nft, whose targets nft does not tell."""
    rules = (item["rule"] for item in listing if "rule" in item)
    return any("xt" in entry for rule in rules if rule["table"] not in without for entry in rule["expr"])


def is_iptables(chain: BaseChain) -> bool:
    """Whether a chain is in a table of iptables-nft, which tells of it, too."""
    family, table = chain.table.split(maxsplit=1)
    return family in ("ip", "ip6") and table in _IPTABLES


def _read(expression: Mapping[str, Any], chain: _Chain) -> None:
    kind, content = next(iter(expression.items()))
    match kind, content:
        case "mangle", {"key": {"meta": {"key": "mark"}}, "value": value}:
            chain.mark = chain.mark.then(_change(value))
        case (("jump" | "goto"), {"target": target}):
            chain.jumps.add(target)
        case "vmap", {"data": data}:
            chain.jumps.update(_targets(data))
        case "flow", {"op": "add"}:
            chain.offloads = True
        case _ if kind in _TRANSLATING:
            chain.translates = True


def _targets(data: Any) -> Iterator[str]:
    """Chains that a verdict map written into a rule leads to."""
    for _, verdict in data.get("set", ()) if isinstance(data, dict) else ():
        for content in verdict.values():
            if isinstance(content, dict) and "target" in content:
                yield content["target"]


def _change(value: Any) -> MarkChange:
    """What a mark becomes by an expression of its former value and of numbers."""
    match value:
        case int():
            return MarkChange(value, 0)
        case {"meta": {"key": "mark"}}:
            return MarkChange()
        case {"&": [inner, int(mask)]}:
            before = _change(inner)
            return MarkChange(before.ones & mask, before.kept & mask)
        case {"|": [inner, int(bits)]} | {"^": [inner, int(bits)]}:
            before = _change(inner)
            return MarkChange(before.ones | bits, before.kept & ~bits)
    return _ANY


def iptables(text: str, variant: str) -> list[BaseChain]:
    """Base chains out of `iptables-save`; `variant` says of which of them it is."""
    found: list[BaseChain] = []
    table, chains = "", dict[str, _Chain]()
    for line in text.splitlines():
        if line.startswith("*"):
            table, chains = line[1:], {}
        elif line.startswith(":"):
            name, policy, *_ = line[1:].split()
            base = BaseChain(f"{variant} {table}", name, table, name.lower(), _IPTABLES.get(table, 0))
            base = replace(base, drops=policy == "DROP")
            chains[name] = _Chain(base if policy != "-" else None)
        elif line.startswith("-A "):
            _read_line(line, chains.setdefault(line.split()[1], _Chain()))
        elif line == "COMMIT":
            found += _bases(chains)
    return found


def _read_line(line: str, chain: _Chain) -> None:
    line = _QUOTED.sub("", line)
    if match := _XMARK.search(line):
        value, mask = int(match[1], 16), int(match[2], 16)
        chain.mark = chain.mark.then(MarkChange(value, ALL_BITS & ~(mask | value)))
    elif match := _RESTORE.search(line):
        ours, theirs = (int(part, 16) if part else ALL_BITS for part in match.groups())
        chain.mark = chain.mark.then(MarkChange(ours & theirs, ALL_BITS & ~ours))
    elif match := _JUMP.search(line):
        chain.translates = chain.translates or match[1] in ("MASQUERADE", "SNAT")
        chain.jumps.add(match[1])


def _bases(chains: Mapping[str, _Chain]) -> Iterator[BaseChain]:
    """Base chains with what those do that they lead to."""
    for chain in chains.values():
        if (base := chain.base) is None:
            continue
        parts, mark = _reached(chain, chains), MarkChange()
        for part in parts:
            mark = mark.then(part.mark)
        translates, offloads = any(part.translates for part in parts), any(part.offloads for part in parts)
        yield replace(base, mark=mark, translates=translates, offloads=offloads)


def _reached(start: _Chain, chains: Mapping[str, _Chain]) -> list[_Chain]:
    found, waiting, seen = [start], list(start.jumps), set[str]()
    while waiting:
        name = waiting.pop()
        if name in chains and name not in seen:
            seen.add(name)
            found.append(chains[name])
            waiting += chains[name].jumps
    return found
