"""The controller's plan: addresses, ids, ranks, overlaps and problems of the whole cluster."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from sallyport.model.plan import Assignment, ClusterPlan, Overlap
from sallyport.model.settings import Settings
from sallyport.model.state import Client, ClusterState, Exit, IPAddress, ObjectRef, PodKey, Problem
from sallyport.plan.addresses import allocate, usage
from sallyport.plan.choosing import choose_hops, watchers
from sallyport.plan.clients import overlaps
from sallyport.plan.ids import assign_ids
from sallyport.plan.ranking import rank


def plan_cluster(state: ClusterState, settings: Settings) -> ClusterPlan:
    """Decide for every exit. Never raises on what a user wrote: what cannot be honoured comes back as a problem."""
    given, no_address = allocate(state.exits, state.pools)
    ids, no_id = assign_ids(state.exits, settings.highest_id)
    ranked, no_node = rank(state.exits, given, state.pools, state.nodes, state.default_limit)
    assignments = {
        name: Assignment(
            id=ids[name],
            address=given[name],
            nodes=ranked.get(name, ()),
            holder=exit_.holder,
            static=not exit_.pools,
        )
        for name, exit_ in sorted(state.exits.items())
    }
    chosen = choose_hops(state)
    policies = {str(policy.ref): policy.ref for policy in state.policies}
    contested = overlaps(state.exits, assignments, state.clients, state.policies)
    return ClusterPlan(
        assignments=assignments,
        usage=usage(state.pools, state.exits, given),
        clients={name: count(state.exits[name], state.clients) for name in assignments},
        overlaps=contested,
        chosen=chosen,
        watchers=watchers(state, chosen),
        problems=tuple(sorted({*state.problems, *no_address, *no_id, *no_node, *shared(policies, contested)})),
    )


def count(exit_: Exit, clients: Mapping[PodKey, Client]) -> int:
    """How many pods an exit selects."""
    return sum(map(clients.__contains__, exit_.clients))


def shared(policies: Mapping[str, ObjectRef], contested: Iterable[Overlap]) -> Iterator[Problem]:
    """What is to be said on a policy's object about the exits that ask for pods of it. `policies` are these objects by
    kind and name."""
    for overlap in contested:
        if overlap.winner in policies:
            message = f"Egress {overlap.loser} selects pods of it too: gateways decide about the destinations they have"
            yield Problem(policies[overlap.winner], "EgressToo", message)


def decided_alike(exits: Mapping[str, Exit], before: Mapping[str, Exit]) -> bool:
    """Whether exits have the same on record as those before: they differ by their clients at most."""
    return exits.keys() == before.keys() and all(
        now is (was := before[key]) or replace(now, clients=()) == replace(was, clients=())
        for key, now in exits.items()
    )


def recorded(state: ClusterState) -> dict[str, Assignment]:
    """The assignments as the controller wrote them into the objects: what an agent goes by.

    Until the controller has spoken about an object that was edited, its record is of another address, and the exit has
    none: the nodes that may hold the old one are not those of the new one. It may also claim an id or a pooled address
    that another exit has. The one whose address is in effect keeps it, of several the older, as the controller will
    decide, so that no mark and no address means two exits.
    """
    ids: set[int] = set()
    addresses: set[IPAddress] = set()
    made: dict[str, Assignment] = {}
    for exit_ in sorted(state.exits.values(), key=lambda item: (not item.settled, item.age)):
        static = not exit_.pools
        current = exit_.id > 0 and exit_.decided == exit_.requested
        known = current and exit_.id not in ids and (static or exit_.requested not in addresses)
        made[exit_.key] = Assignment(
            id=exit_.id if known else 0,
            address=exit_.requested if known else None,
            nodes=exit_.nodes,
            holder=exit_.holder,
            static=static,
        )
        if known:
            ids.add(exit_.id)
        if known and not static and exit_.requested is not None:
            addresses.add(exit_.requested)
    return made
