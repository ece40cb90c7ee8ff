"""Which gateways a client with limited next hops gets, and which nodes watch the nodes of gateways."""

from collections import Counter
from collections.abc import Mapping

from sallyport.model.state import ClusterState, Exit, Hops, PodKey, Policy

MOST_WATCHERS = 256
"""Nodes that watch one gateway's node by BFD; clients on further ones learn of its loss by their polls."""


def choose_hops(state: ClusterState) -> dict[PodKey, dict[str, tuple[str, ...]]]:
    """Exits by client and destination, for destinations with a limit.

    What a client was given it keeps for as long as the gateway is there, so that scaling up changes nobody who has
    enough. What it lacks it gets from the gateways with the fewest clients, the leaving ones last. A limit counts
    gateways: the two exits of one that has both families are one.
    """
    found: dict[PodKey, dict[str, tuple[str, ...]]] = {}
    loads: dict[tuple[str, ...], Counter[str]] = {}
    missing: list[tuple[PodKey, tuple[str, ...], Hops]] = []
    for policy in state.policies:
        for texts, hops in _rules(policy):
            load = loads.setdefault(hops.exits, Counter())
            for pod in policy.clients:
                recorded = state.chosen.get(pod, {})
                known = next((recorded[text] for text in texts if text in recorded), ())
                kept = tuple(key for key in known if key in hops.exits)
                found.setdefault(pod, {}).update(dict.fromkeys(texts, kept))
                load.update(_gateways(kept, state.exits))
                missing.append((pod, texts, hops))
    for pod, texts, hops in sorted(missing, key=lambda item: item[:2]):
        filled = _filled(found[pod][texts[0]], hops, loads[hops.exits], state.exits)
        found[pod].update(dict.fromkeys(texts, filled))
    return found


def _rules(policy: Policy) -> list[tuple[tuple[str, ...], Hops]]:
    """Destinations that have a choice together, where there is a limit. The defaults of both families are one rule:
    a client of one gateway is not to have another one for IPv6."""
    found: dict[tuple[str, Hops], list[str]] = {}
    for item in policy.destinations:
        if item.hops is not None and item.hops.limit:
            text = str(item.network)
            found.setdefault((text if item.network.prefixlen else "", item.hops), []).append(text)
    return [(tuple(texts), hops) for (_, hops), texts in found.items()]


def _gateways(keys: tuple[str, ...], exits: Mapping[str, Exit]) -> list[str]:
    """Names of the gateways that exits belong to, each once."""
    return list(dict.fromkeys(str(exits[key].ref) for key in keys))


def _filled(kept: tuple[str, ...], hops: Hops, load: Counter[str], exits: Mapping[str, Exit]) -> tuple[str, ...]:
    have = _gateways(kept, exits)
    leaving = {str(exits[key].ref) for key in hops.exits if exits[key].leaving}
    others = [name for name in _gateways(hops.exits, exits) if name not in have]
    others.sort(key=lambda name: (name in leaving, load[name], name))
    added = others[: max(0, hops.limit - len(have))]
    load.update(added)
    chosen = {*have, *added}
    return tuple(key for key in hops.exits if str(exits[key].ref) in chosen)


def watchers(state: ClusterState, chosen: Mapping[PodKey, Mapping[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    """For each exit that is bound to a node, the other nodes with clients that may use it, in order of name."""
    nodes: dict[str, set[str]] = {key: set() for key, exit_ in state.exits.items() if exit_.node}
    for policy in state.policies:
        places = {state.clients[pod].node for pod in policy.clients if pod in state.clients}
        for destination in policy.destinations:
            hops = destination.hops
            if hops is None or hops.own:
                continue
            if not hops.limit:
                for key in hops.exits:
                    nodes[key] |= places
                continue
            for pod in (key for key in policy.clients if key in state.clients):  # others have no address yet
                for key in chosen.get(pod, {}).get(str(destination.network), ()):
                    nodes[key].add(state.clients[pod].node)
    return {key: tuple(sorted(found - {state.exits[key].node}))[:MOST_WATCHERS] for key, found in nodes.items()}
