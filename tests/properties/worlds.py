"""Worlds drawn at random: snapshots of a small cluster, as its agents see it after the controller has written.

The ranges are narrow on purpose, so that objects meet: three nodes, four exits, three gateways, six pods, a handful of
addresses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import ip_address, ip_network
from random import Random
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.vendor.pretty import RepresentationPrinter
from tests.properties import networks
from tests.unit.plan.build import SETTINGS, a_node, a_pool, a_state, an_exit, facts_of

from sallyport.model.plan import Assignment, Liveness, NodeFacts
from sallyport.model.state import (
    Bandwidth,
    Client,
    ClusterState,
    Destination,
    Exit,
    Family,
    IPAddress,
    Networks,
    Node,
    Pool,
    Routing,
)
from sallyport.plan.cluster import plan_cluster, recorded

Key = TypeVar("Key")
Value = TypeVar("Value")

NUMBERS = (1, 2, 3)
NAMES = tuple(f"node-{number}" for number in NUMBERS)
PODS = tuple(f"pod-{letter}" for letter in "abcdef")
POOLS: Mapping[str, tuple[str, ...]] = {
    "near": ("10.0.0.50-10.0.0.52",),
    "far": ("192.0.2.50-192.0.2.51",),
    "six": ("fd00::50-fd00::51",),
    "both": ("10.0.0.60", "2001:db8:6::60-2001:db8:6::61"),
}
STATIC = ("10.0.0.201", "fd00::201", "10.0.0.1")
"""Addresses that administrators put on nodes themselves; the last one is node-1's own."""
ASKED = ("10.0.0.50", "10.0.0.51", "192.0.2.50", "fd00::50", "2001:db8:6::60", "10.9.9.9")
FAMILIES_OF_NODES: tuple[tuple[Family, ...], ...] = ((4, 6), (4, 6), (4, 6), (4,), (6,))
EXCEPTED = ("198.51.100.0/24", "198.51.0.0/16", "198.51.100.7/32", "2001:db8:e::/48")


@dataclass(frozen=True)
class Snapshot:
    """The objects with what the controller wrote into them, and what the nodes see: which of them are up, which of
    them have which static address, which gateways' exits do not answer. `renumbered`: the nodes have other addresses
    than before."""

    state: ClusterState
    up: frozenset[str]
    statics: Mapping[str, int]
    renumbered: bool = False
    failed: frozenset[str] = frozenset()

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:
        """How hypothesis shows it in a counterexample."""
        printer.text(f"Snapshot({_told(self)})")

    @cached_property
    def assignments(self) -> dict[str, Assignment]:
        """What the controller has written."""
        return recorded(self.state)

    def facts(self, name: str) -> NodeFacts:
        """What the node sees while nothing of ours is there; one that is not in the API has found no uplink."""
        number = NAMES.index(name) + 1
        node = self.state.nodes.get(name)
        families = {4 if item.version == 4 else 6 for item in node.addresses} if node else set()
        here = [address for address, where in self.statics.items() if where == number]
        peers = {other: Liveness.UP if other in self.up else Liveness.DOWN for other in NAMES if other != name}
        seen = facts_of(number, *here, families=[f for f in (4, 6) if f in families], peers=peers)
        devices = ("eth0", *sorted(set(networks.LINKS.values())))
        seen = replace(seen, connected=networks.LINKS, devices=devices, failed=self.failed)
        return seen if node is None else _with_addresses(seen, node)


def _with_addresses(facts: NodeFacts, node: Node) -> NodeFacts:
    own: dict[IPAddress, str] = {}
    uplinks = dict(facts.uplinks)
    for family, uplink in facts.uplinks.items():
        address = node.address(family) or uplink.address
        uplinks[family] = replace(uplink, address=address)
        own[address] = uplink.device
    former = {uplink.address for uplink in facts.uplinks.values()}
    statics = {address: device for address, device in facts.addresses.items() if address not in former}
    return replace(facts, uplinks=uplinks, addresses=own | statics)


def _told(snapshot: Snapshot) -> str:
    """A snapshot in a few lines, for the reader of a counterexample."""
    state = snapshot.state
    lines = [f"enabled={state.enabled} excepted={[str(item) for item in state.networks.excepted]}"]
    lines += [
        f"{node.name}: {[str(item) for item in (*node.addresses, *node.pod_networks)]}"
        f" up={node.name in snapshot.up} alive={node.alive} limit={node.limit}"
        for node in state.nodes.values()
    ]
    lines += [f"{pool.ref.name}: {sorted(pool.nodes)}" for pool in state.pools.values()]
    lines += [
        f"{name}: id {item.id} {item.requested} of {item.pools} at {item.nodes}, {item.holder!r} says it holds it;"
        f" created {item.created} for {[pod for _, pod in item.clients]}"
        for name, item in state.exits.items()
    ]
    lines += [f"{item.name}: {item.node} {[str(a) for a in item.addresses]}" for item in state.clients.values()]
    lines += [f"  bound to {i.node}, leads to {i.networks}: {n}" for n, i in state.exits.items() if i.node]
    lines += [f"  not ready: {n}" for n, i in state.exits.items() if not i.ready]
    lines += [f"  leaving: {n}" for n, i in state.exits.items() if i.leaving]
    for policy in state.policies:
        lines.append(f"{policy.ref} for {[pod for _, pod in policy.clients]} {policy.blocked}")
        lines += [f"  {item.network}: {item.hops or 'ordinary'}" for item in policy.destinations]
    lines += [f"network {name}: table {item.table}" for name, item in state.external.items()]
    lines += [f"peer {i.ref.name}: {sorted(i.nodes)} {i.blocked}" for i in state.peerings]
    lines += [f"{pod} was given {given}" for pod, given in state.chosen.items()]
    return "\n    ".join([*lines, f"statics={dict(snapshot.statics)}", f"failed={sorted(snapshot.failed)}"])


EMPTY = Snapshot(ClusterState(), frozenset(NAMES), {})
"""A cluster without objects."""


def some(values: Sequence[str]) -> st.SearchStrategy[list[str]]:
    """Any subset, each as likely as any other (lists of hypothesis are mostly short)."""
    subsets = [[value for bit, value in enumerate(values) if mask >> bit & 1] for mask in range(2 ** len(values))]
    return st.sampled_from(subsets)


def rarely(draw: st.DrawFn, chance: int) -> bool:
    """True once in `chance` times."""
    return draw(st.sampled_from([*[False] * (chance - 1), True]))


@st.composite
def nodes(draw: st.DrawFn, renumbered: bool) -> dict[str, Node]:
    found: dict[str, Node] = {}
    narrow = draw(st.booleans())
    for number in NUMBERS:
        if rarely(draw, 12):
            continue
        families = draw(st.sampled_from(FAMILIES_OF_NODES))
        limit = draw(st.sampled_from([None, None, None, None, None, 0, 1]))
        node = a_node(number, families=families, limit=limit, alive=not rarely(draw, 8))
        if renumbered:
            node = replace(node, addresses=tuple(address + 100 for address in node.addresses))
        if narrow:
            node = replace(node, pod_networks=(ip_network(f"10.244.{number}.0/25"), *node.pod_networks[1:]))
        found[node.name] = node
    return found


@st.composite
def pools(draw: st.DrawFn) -> dict[str, Pool]:
    return {
        f"ExternalIPPool/{name}": a_pool(name, *ranges, nodes=draw(some(NAMES)) or NAMES)
        for name, ranges in POOLS.items()
        if not rarely(draw, 8)
    }


@st.composite
def exits(draw: st.DrawFn) -> dict[str, Exit]:
    found: dict[str, Exit] = {}
    for name in ("exit-a", "exit-b", "exit-c", "exit-d"):
        if rarely(draw, 4):
            continue
        pool = draw(st.sampled_from([*POOLS, *POOLS, None]))
        asked = "" if pool and not rarely(draw, 4) else draw(st.sampled_from(ASKED if pool else STATIC))
        found[name] = an_exit(
            name,
            asked,
            *sorted(draw(some(PODS))),
            created=draw(st.sampled_from("12")),
            pool=pool,
            bandwidth=draw(st.sampled_from([None, None, Bandwidth(8_000_000, 80_000)])),
        )
    return found


@st.composite
def clients(draw: st.DrawFn) -> dict[tuple[str, str], Client]:
    found: dict[tuple[str, str], Client] = {}
    for last, name in enumerate(PODS, start=2):
        if rarely(draw, 5):
            continue
        node = draw(st.sampled_from((1, 1, 2, 3)))
        last = 2 if rarely(draw, 12) else last
        both = (ip_address(f"10.244.{node}.{last}"), ip_address(f"fd00:244:{node}::{last}"))
        addresses = draw(st.sampled_from([both, both, both[:1], both[1:]]))
        found["prod", name] = Client("prod", name, f"node-{node}", addresses)
    return found


@st.composite
def states(draw: st.DrawFn, *, renumbered: bool = False) -> ClusterState:
    """What users wrote, before the controller has seen any of it."""
    there = draw(nodes(renumbered))
    gateways = draw(networks.gateways(there))
    asked = draw(networks.policies(gateways, PODS))
    return a_state(
        nodes=there,
        pools=[*draw(pools()).values(), *networks.pools()],
        exits=[*draw(exits()).values(), *gateways.values()],
        clients=[*draw(clients()).values(), *networks.gateway_pods(gateways).values()],
        policies=(*networks.own_policies(gateways), *asked),
        external=draw(networks.external()),
        peerings=draw(networks.peerings(NAMES)),
        routing=Routing(enabled=True),
        networks=Networks(
            pods=(ip_network("10.244.0.0/16"), ip_network("fd00:244::/48")),
            excepted=tuple(map(ip_network, draw(some(EXCEPTED)))),
        ),
        enabled=not rarely(draw, 12),
    )


@st.composite
def snapshots(draw: st.DrawFn, *, renumbering: bool = False, truly: bool = False) -> Snapshot:
    """Any snapshot whose objects the controller has seen, with holders told truly, wrongly or not at all."""
    renumbered = renumbering and draw(st.booleans())
    state = draw(states(renumbered=renumbered))
    statics = {address: draw(st.sampled_from(NUMBERS)) for address in STATIC[:2]}
    up = frozenset(draw(st.sampled_from([NAMES, NAMES, *(tuple(n for n in NAMES if n != down) for down in NAMES)])))
    told = "truly" if truly else draw(st.sampled_from(["truly", "truly", "truly", "truly", "wrongly", "not"]))
    unanswered = frozenset(key for key, item in state.exits.items() if item.node and rarely(draw, 10))
    return Snapshot(written(state, statics, up, told), up, statics, renumbered, unanswered)


def written(state: ClusterState, statics: Mapping[str, int], up: frozenset[str], told: str) -> ClusterState:
    """The state once the controller has written its plan down, and holders have told that they hold."""
    plan = plan_cluster(state, SETTINGS)
    placed = {ip_address(address): f"node-{number}" for address, number in statics.items()}
    placed |= {address: name for name, node in state.nodes.items() for address in node.addresses}
    exits_ = {}
    for name, exit_ in state.exits.items():
        assignment = plan.assignments[name]
        able = [node for node in assignment.nodes if node in up]
        if assignment.static:
            able = [placed[assignment.address]] if assignment.address in placed else []
        holder = {"truly": able[:1], "wrongly": [*assignment.nodes, *able][-1:], "not": []}[told]
        holder = [exit_.node] if exit_.node else holder
        exits_[name] = replace(
            exit_,
            requested=assignment.address or exit_.requested,
            allocated=exit_.allocated or (exit_.requested is None and assignment.address is not None),
            decided=assignment.address,
            id=assignment.id if assignment.address else 0,
            nodes=assignment.nodes,
            holder="".join(holder),
            effective=assignment.address if holder else None,
            watchers=plan.watchers.get(name, ()),
        )
    return replace(state, exits=exits_, chosen=plan.chosen)


def consistent(state: ClusterState) -> ClusterState:
    """The state whose policies name those exits alone that there are, as a translation's do."""
    return replace(
        state,
        policies=tuple(
            replace(policy, destinations=tuple(_of_those(item, state) for item in policy.destinations))
            for policy in state.policies
        ),
    )


def _of_those(item: Destination, state: ClusterState) -> Destination:
    hops = item.hops
    if hops is None:
        return item
    return replace(item, hops=replace(hops, exits=tuple(key for key in hops.exits if key in state.exits)))


def moved_to(world: Snapshot, nodes: Mapping[str, Node]) -> Snapshot:
    """The same objects in a cluster of these nodes, written anew."""
    state = replace(world.state, nodes=nodes)
    return replace(world, state=written(state, world.statics, world.up, "truly"))


def shuffled(world: Snapshot, random: Random) -> Snapshot:
    """The same objects in another order."""

    def turned(items: Mapping[Key, Value]) -> dict[Key, Value]:
        return dict(random.sample(list(items.items()), len(items)))

    state = world.state
    return replace(
        world,
        state=replace(
            state,
            nodes=turned(state.nodes),
            pools=turned(state.pools),
            exits=turned(state.exits),
            clients=turned(state.clients),
            external=turned(state.external),
            chosen=turned(state.chosen),
        ),
    )
