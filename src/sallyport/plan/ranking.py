"""Which nodes may hold each egress IP, in order: a rendezvous hash, so that only a lost node's addresses move."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice

from sallyport.model.addresses import family_of
from sallyport.model.state import Exit, Family, IPAddress, Node, Pool, Problem

RANKED = 5
"""How many nodes are named per egress IP: the holder and those that take over without asking anybody."""


@lru_cache(maxsize=65536)
def order(nodes: tuple[str, ...], address: IPAddress) -> tuple[str, ...]:
    """All of `nodes`, best first. Each node's weight depends on itself and the address alone (rendezvous hashing,
    Thaler and Ravishankar 1998), so removing one node changes the place of no other.

    Kept for as many addresses as a large cluster has: hashing every node for each of them took most of a plan's time.
    """
    text = str(address)
    return tuple(sorted(nodes, key=lambda node: (hashlib.sha256(f"{node}#{text}".encode()).digest(), node)))


def rank(
    exits: Mapping[str, Exit],
    given: Mapping[str, IPAddress | None],
    pools: Mapping[str, Pool],
    nodes: Mapping[str, Node],
    default_limit: int,
) -> tuple[dict[str, tuple[str, ...]], tuple[Problem, ...]]:
    """Ordered nodes per pooled exit, or the one that it is bound to. The older exits are placed first; a node at its
    limit is passed over, as is one that has no address of the egress IP's family: it has no link to announce it on."""
    placed: dict[str, int] = {}
    ranked: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []
    fitting_of: dict[tuple[str, Family], tuple[Node, ...]] = {}
    for exit_ in sorted(exits.values(), key=lambda item: item.age):
        name = exit_.key
        address = given.get(name)
        if exit_.node:
            ranked[name] = (exit_.node,)
            continue
        if not exit_.pools or address is None:
            continue
        pool, family = pools[exit_.pools[0]], family_of(address)
        fitting = fitting_of.get((pool.key, family))
        if fitting is None:
            fitting = fitting_of[pool.key, family] = _fitting(pool, family, nodes)
        ordered = order(tuple(node.name for node in fitting), address)
        room = (node for node in ordered if placed.get(node, 0) < _limit(nodes[node], default_limit))
        ranked[name] = tuple(islice(room, RANKED))
        if ranked[name]:
            placed[ranked[name][0]] = placed.get(ranked[name][0], 0) + 1
        else:
            problems.append(Problem(exit_.ref, "AssignmentError", _why(pool, family, nodes, fitting)))
    return ranked, tuple(problems)


def _fitting(pool: Pool, family: Family, nodes: Mapping[str, Node]) -> tuple[Node, ...]:
    """The pool's living nodes that have an address of the family, by name."""
    found = (nodes[name] for name in sorted(pool.nodes) if name in nodes and nodes[name].alive)
    return tuple(node for node in found if node.address(family) is not None)


def _limit(node: Node, default: int) -> int:
    return default if node.limit is None else node.limit


def _why(pool: Pool, family: Family, nodes: Mapping[str, Node], fitting: Sequence[Node]) -> str:
    start = "Failed to assign the IP to EgressNode: no Node available"
    if not pool.nodes:
        return f"{start}: the nodeSelector of ExternalIPPool {pool.ref.name} selects no Node"
    if not any(name in nodes and nodes[name].alive for name in pool.nodes):
        return f"{start}: no Node selected by ExternalIPPool {pool.ref.name} has a living agent"
    if not fitting:
        return f"{start}: no Node selected by ExternalIPPool {pool.ref.name} has an IPv{family} address"
    return (
        f"{start}: all {len(fitting)} Nodes selected by ExternalIPPool {pool.ref.name} are at their limit of egress IPs"
    )
