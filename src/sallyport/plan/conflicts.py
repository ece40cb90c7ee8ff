"""Where the external networks of one gateway get into each other's way.

They share a table in which the longest prefix decides, and of equal prefixes the network that comes first in the list.
"""

from collections.abc import Collection, Mapping, Sequence
from ipaddress import ip_network
from itertools import combinations

from sallyport.model.plan import Conflict
from sallyport.model.state import IPNetwork

_DEFAULTS: tuple[IPNetwork, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def conflicts(networks: Sequence[str], prefixes: Mapping[str, Collection[IPNetwork]]) -> tuple[Conflict, ...]:
    """Conflicts among `networks`, which are in their order of precedence; `prefixes` are each one's routes.

    Equal prefixes: the network that comes first wins them all. A default route (`hidden`): whatever another network has
    no longer prefix for, or has one no more because it was withdrawn, goes to the first network with a default route.
    That is told of each other network that has routes of that family, be there a default route among them or not.
    """
    known = {name: frozenset(prefixes.get(name, ())) for name in networks}
    found: list[Conflict] = []
    for winner, loser in combinations(dict.fromkeys(networks), 2):
        if equal := [prefix for prefix in known[winner] & known[loser] if prefix.prefixlen]:
            found.append(Conflict(winner, loser, _ordered(equal)))
    return (*found, *_hidden(known))


def _hidden(known: Mapping[str, frozenset[IPNetwork]]) -> list[Conflict]:
    defaults: dict[tuple[str, str], list[IPNetwork]] = {}
    for default in _DEFAULTS:
        winner = next((name for name, held in known.items() if default in held), None)
        for loser, held in known.items():
            if winner not in (None, loser) and any(prefix.version == default.version for prefix in held):
                defaults.setdefault((str(winner), loser), []).append(default)
    return [Conflict(winner, loser, tuple(held), hidden=True) for (winner, loser), held in defaults.items()]


def _ordered(prefixes: Collection[IPNetwork]) -> tuple[IPNetwork, ...]:
    return tuple(sorted(prefixes, key=lambda item: (item.version, int(item.network_address), item.prefixlen)))
