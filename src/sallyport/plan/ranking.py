"""Which nodes may hold each egress IP, in order: a rendezvous hash, so that only a lost node's addresses move."""

import hashlib
from collections.abc import Collection, Mapping
from functools import lru_cache
from itertools import islice

from sallyport.model.addresses import family_of
from sallyport.model.state import Exit, Family, IPAddress, Node, Pool, Problem

RANKED = 5
"""How many nodes are named per egress IP: the holder and those that take over without asking anybody."""


@lru_cache(maxsize=16384)
def order(nodes: tuple[str, ...], address: IPAddress) -> tuple[str, ...]:
    """All of `nodes`, best first. Each node's weight depends on itself and the address alone (rendezvous hashing,
    Thaler and Ravishankar 1998), so removing one node changes the place of no other.

    Kept for as many addresses as a large cluster has: hashing every node for each of them took most of a plan's time.
    It is asked for all nodes of a pool, the dead ones too, so that nothing is hashed anew when one dies.
    """
    text = str(address)
    return tuple(sorted(nodes, key=lambda node: (hashlib.sha256(f"{node}#{text}".encode()).digest(), node)))


def rank(
    exits: Mapping[str, Exit],
    given: Mapping[str, IPAddress | None],
    pools: Mapping[str, Pool],
    nodes: Mapping[str, Node],
    default_limit: int,
    placed: dict[str, int] | None = None,
) -> tuple[dict[str, tuple[str, ...]], tuple[Problem, ...]]:
    """Ordered nodes per pooled exit, or the one that it is bound to. The older exits are placed first; a node at its
    limit is passed over, as is one that has no address of the egress IP's family: it has no link to announce it on.
    Other exits are `placed` already, so many on each node; this is brought up to date."""
    placed = {} if placed is None else placed
    ranked: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []
    known: dict[tuple[str, Family], tuple[tuple[str, ...], frozenset[str]]] = {}
    for exit_ in sorted(exits.values(), key=lambda item: item.age):
        name = exit_.key
        address = given.get(name)
        if exit_.node:
            ranked[name] = (exit_.node,)
            continue
        if not exit_.pools or address is None:
            continue
        pool, family = pools[exit_.pools[0]], family_of(address)
        if (pool.key, family) not in known:
            known[pool.key, family] = (tuple(sorted(pool.nodes)), _fitting(pool, family, nodes))
        names, fitting = known[pool.key, family]
        ordered = (node for node in order(names, address) if node in fitting)
        room = (node for node in ordered if placed.get(node, 0) < limit_of(nodes[node], default_limit))
        ranked[name] = tuple(islice(room, RANKED))
        if ranked[name]:
            placed[ranked[name][0]] = placed.get(ranked[name][0], 0) + 1
        else:
            problems.append(Problem(exit_.ref, "AssignmentError", _why(pool, family, nodes, fitting)))
    return ranked, tuple(problems)


def full(nodes: Mapping[str, Node], default_limit: int, placed: Mapping[str, int]) -> bool:
    """Whether any node has reached its limit. As long as none has, no exit's place depends on another's; one whose
    limit is 0 is passed over by all of them."""
    return any(
        name in nodes and 0 < limit_of(nodes[name], default_limit) <= count for name, count in placed.items() if count
    )


def _fitting(pool: Pool, family: Family, nodes: Mapping[str, Node]) -> frozenset[str]:
    """The pool's living nodes that have an address of the family."""
    found = (nodes[name] for name in pool.nodes if name in nodes and nodes[name].alive)
    return frozenset(node.name for node in found if node.address(family) is not None)


def limit_of(node: Node, default: int) -> int:
    """How many egress IPs a node may hold."""
    return default if node.limit is None else node.limit


def _why(pool: Pool, family: Family, nodes: Mapping[str, Node], fitting: Collection[str]) -> str:
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
