"""BGP filters in BIRD's own language (BIRD 2 user's guide, chapter 5): what `kernel.Session.filters` holds.

The first rule that matches decides, whichever of a session's filters it is in, and what none matches is accepted, as
upstream does it: so the rules of all its filters follow each other.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from sallyport.model.state import FAMILIES, Family, RouteFilter, RouteRule

Direction = Literal["import", "export"]
DIRECTIONS: tuple[Direction, Direction] = ("import", "export")

_COMMUNITY = re.compile(r"\d{1,10}:\d{1,10}(:\d{1,10})?")
_DEVICE = re.compile(r"[\w.:@*?-]+")
"""Characters of device names, and the patterns that BIRD knows: `*` and `?`."""
_NEVER = "false"


def session_filters(
    filters: Sequence[RouteFilter], internal: bool, families: Iterable[Family] = FAMILIES
) -> tuple[tuple[str, Family, str], ...]:
    """The filters of one session by direction and family, those left out that say nothing. `internal`: the peer has our
    own AS number (iBGP), which decides here and now whether a rule for one kind of peer is there at all."""
    return tuple(
        (direction, family, text)
        for direction in DIRECTIONS
        for family in families
        if (text := statements(filters, direction, family, internal))
    )


def statements(filters: Iterable[RouteFilter], direction: Direction, family: Family, internal: bool) -> str:
    """Statements for the body of a BIRD filter, a line each; the body has to end with what becomes of the rest."""
    kind = "iBGP" if internal else "eBGP"
    rules = [rule for item in filters for rule in item.rules.get((direction, family), ())]
    return "\n".join(_statement(rule) for rule in rules if rule.peers in ("", kind))


def _statement(rule: RouteRule) -> str:
    conditions = [*_network(rule), *_others(rule)]
    body = " ".join([*_operations(rule), "accept;" if rule.accept else "reject;"])
    return f"if {' && '.join(conditions)} then {{ {body} }}" if conditions else body


def _network(rule: RouteRule) -> list[str]:
    """With an operator that negates, all of what it negates: neither in that network nor of those lengths. For equality
    a length is one condition more."""
    if rule.network is None:
        return [f"net.len >= {rule.lengths[0]} && net.len <= {rule.lengths[1]}"] if rule.lengths else []
    least, greatest = rule.lengths or (0, rule.network.max_prefixlen)
    shortest, longest = max(rule.network.prefixlen, least), min(rule.network.max_prefixlen, greatest)
    inside = f"net ~ [ {rule.network}{{{shortest},{longest}}} ]" if shortest <= longest else _NEVER
    same = f"net = {rule.network}" if shortest == rule.network.prefixlen else _NEVER
    match rule.operator:
        case "In":
            return [f"({inside})"]
        case "NotIn":
            return [f"!({inside})"]
        case "Equal":
            return [f"({same})"]
        case _:
            return [f"!({same})"]


def _others(rule: RouteRule) -> list[str]:
    """A community or device that cannot be written in the language is none that a route has."""
    found: list[str] = []
    if rule.source:
        found.append("source = RTS_BGP")
    if rule.interface:
        found.append(f'ifname ~ "{rule.interface}"' if _DEVICE.fullmatch(rule.interface) else _NEVER)
    if rule.communities:
        known = [_community(text) for text in rule.communities if _COMMUNITY.fullmatch(text)]
        found.append("(" + (" || ".join(f"{pair} ~ {attribute}" for attribute, pair in known) or _NEVER) + ")")
    return found


def _operations(rule: RouteRule) -> list[str]:
    """Each number goes in front of the path, so the outermost goes last."""
    added = [_community(text) for text in rule.add if _COMMUNITY.fullmatch(text)]
    return [
        *(f"{attribute}.add({pair});" for attribute, pair in added),
        *(f"bgp_path.prepend({number});" for number in reversed(rule.prepend)),
    ]


def _community(text: str) -> tuple[str, str]:
    """The attribute and the value of a community (RFC 1997, `a:b`) or a large one (RFC 8092, `a:b:c`)."""
    parts = text.split(":")
    return ("bgp_community" if len(parts) == 2 else "bgp_large_community", f"({', '.join(parts)})")
