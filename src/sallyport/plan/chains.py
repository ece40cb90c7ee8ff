"""The chains that choose among exits, as text for nftables.

A client whose destinations go by different ways has a *way* chain, exits that share a destination a *spread* chain.
Each is named by what it says, so it is never changed: another takes its place, and the clients' elements are turned to
that one before it goes.
"""

import hashlib
from collections.abc import Iterable, Sequence

from sallyport.model.kernel import Chain
from sallyport.model.settings import Settings
from sallyport.model.state import Family

SEED = 0x5350
"""Of the hash, so that a chain made anew chooses as the old one did. Without one the kernel draws it for each rule."""

_WORD = {4: "ip", 6: "ip6"}


def spread(family: Family, fresh: Sequence[int], kept: Sequence[int], settings: Settings) -> Chain:
    """Connections that began with an exit of `kept` stay with it: its id is in their conntrack mark. Others get one of
    `fresh` by the hash of their addresses, protocol and ports, and it is noted; without any, one that leads nowhere."""
    name = _name("spread", f"{family} {list(fresh)} {list(kept)} {settings.mark_mask:#x}")
    word, mask, seed = _WORD[family], f"{settings.mark_mask:#x}", f"seed {SEED:#x}"
    leaves = {_use(name, item): [_set("meta", item, settings)] for item in sorted({*fresh, *kept})}
    rules: list[str] = []
    if kept:
        resumed = ", ".join(f"{settings.mark(item):#x} : goto {_use(name, item)}" for item in sorted(kept))
        rules.append(f"ct mark & {mask} vmap {{ {resumed} }}")
    if fresh:
        for item in fresh:
            leaves[f"{name}_k{item}"] = [_set("ct", item, settings), f"goto {_use(name, item)}"]
        chosen = ", ".join(f"{place} : goto {name}_k{item}" for place, item in enumerate(fresh))
        flow = f"{word} saddr . {word} daddr . meta l4proto . th sport . th dport"
        rules.append(f"jhash {flow} mod {len(fresh)} {seed} vmap {{ {chosen} }}")
    else:
        leaves[_use(name, settings.nowhere_id)] = [_set("meta", settings.nowhere_id, settings)]
        rules.append(f"goto {_use(name, settings.nowhere_id)}")
    return _chain(name, family, leaves, rules, settings, fresh=tuple(fresh), kept=tuple(kept))


def way(family: Family, destinations: Iterable[tuple[str, str]], settings: Settings) -> Chain:
    """Where each network goes: to a spread by its name, to an exit by its id, or, for "", the ordinary way."""
    pairs = tuple(destinations)
    name = _name("way", f"{family} {pairs} {settings.mark_mask:#x}")
    ids = sorted({int(target) for _, target in pairs if target.isdecimal()})
    leaves = {_use(name, item): [_set("meta", item, settings)] for item in ids}
    verdicts = [f"{network} : {_verdict(name, target)}" for network, target in pairs]
    rules = [f"{_WORD[family]} daddr vmap {{ {', '.join(verdicts)} }}"] if verdicts else []
    return _chain(name, family, leaves, rules, settings, destinations=pairs)


def _verdict(name: str, target: str) -> str:
    if not target:
        return "return"
    return f"goto {_use(name, int(target)) if target.isdecimal() else target}"


def _name(kind: str, text: str) -> str:
    return f"{kind}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _use(name: str, number: int) -> str:
    return f"{name}_u{number}"


def _set(what: str, number: int, settings: Settings) -> str:
    """Set the bits of the mask in a packet's mark (`meta`) or its connection's (`ct`), and leave the others."""
    return f"{what} mark set {what} mark & {0xFFFFFFFF ^ settings.mark_mask:#x} | {settings.mark(number):#x}"


def _chain(
    name: str,
    family: Family,
    leaves: dict[str, list[str]],
    rules: list[str],
    settings: Settings,
    *,
    destinations: tuple[tuple[str, str], ...] = (),
    fresh: tuple[int, ...] = (),
    kept: tuple[int, ...] = (),
) -> Chain:
    bodies = [*leaves.items(), (name, rules)]
    blocks = [f"  chain {own} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n" for own, lines in bodies]
    return Chain(
        name=name,
        rules=sum(len(lines) for _, lines in bodies),
        text=f"table inet {settings.table_name} {{\n{''.join(blocks)}}}\n",
        family=family,
        destinations=destinations,
        fresh=fresh,
        kept=kept,
    )
