"""Which gateways a client with limited next hops gets, and which nodes watch the nodes of gateways."""

from collections import Counter
from collections.abc import Mapping

from sallyport.model.state import ClusterState, Exit, Hops, PodKey

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
    missing: list[tuple[PodKey, str, Hops]] = []
    for policy in state.policies:
        for destination in policy.destinations:
            hops = destination.hops
            if hops is None or not hops.limit:
                continue
            load = loads.setdefault(hops.exits, Counter())
            for pod in policy.clients:
                text = str(destination.network)
                recorded = state.chosen.get(pod, {}).get(text, ())
                kept = tuple(key for key in recorded if key in hops.exits)
                found.setdefault(pod, {})[text] = kept
                load.update(_gateways(kept, state.exits))
                missing.append((pod, text, hops))
    for pod, text, hops in sorted(missing, key=lambda item: item[:2]):
        found[pod][text] = _filled(found[pod][text], hops, loads[hops.exits], state.exits)
    return found


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
