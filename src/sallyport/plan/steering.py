"""How one node's clients are led to their exits: the ways to the exits, and who is turned to which."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from sallyport.model.kernel import ClientElement, KernelObject, Route, Rule
from sallyport.model.plan import Assignment, Decision, Liveness, NodeFacts
from sallyport.model.settings import Settings
from sallyport.model.state import ClusterState, Family, Hops, IPAddress
from sallyport.plan import tunnel
from sallyport.plan.chains import spread, way
from sallyport.plan.clients import SHARED, Governed
from sallyport.plan.ways import EVERYTHING, Part

MAIN_TABLE = 254
"""RT_TABLE_MAIN of linux/rtnetlink.h."""
LAST_METRIC = 4294967295
WAY_METRIC = 100
_REMEMBERED = 4096
"""Ways, and clients, that are not put together anew in each round: several times those that one node has."""


@dataclass(frozen=True, slots=True)
class Here:
    """All that the plan of one node goes by; `held` are the addresses of the exits that are on it."""

    state: ClusterState
    assignments: Mapping[str, Assignment]
    held: Mapping[str, IPAddress]
    facts: NodeFacts
    settings: Settings


@dataclass(frozen=True, slots=True)
class Towards:
    """The way to one exit from here: the kernel objects that make it, its egress id, where it is (`local`, `remote` or
    `blocked`) and, where it is blocked, why."""

    objects: tuple[KernelObject, ...]
    id: int
    where: str
    reason: str = ""


@dataclass(slots=True)
class _Made:
    objects: list[KernelObject] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)


def steer(governed: Iterable[Governed], here: Here) -> tuple[list[KernelObject], tuple[Decision, ...]]:
    """Every client of this node is led to its exits, kept from leaving, or declared free."""
    made = _Made()
    seen = set()
    for item in governed:
        target, ways, decision = _divided(item, here) if item.parts and not item.blocked else _whole(item, here)
        made.objects += ways
        made.objects += _led(item.address, target)
        made.decisions.append(decision)
        seen.add(item.address)
    _free(here, seen, made)
    return made.objects, tuple(made.decisions)


@lru_cache(_REMEMBERED)
def _led(address: IPAddress, target: str) -> tuple[KernelObject, ...]:
    """What turns the packets of a client, and keeps them from leaving in any other way."""
    text = str(address)
    return (
        ClientElement(f"clients{address.version}", text, target),
        ClientElement(f"governed{address.version}", text),
    )


def _free(here: Here, seen: set[IPAddress], made: _Made) -> None:
    """Clients whose addresses nobody governs leave as if we were not there."""
    steered = {(item.pod, item.family) for item in made.decisions}
    for key in sorted(here.state.clients):
        for address in here.state.clients[key].addresses:
            family: Family = 4 if address.version == 4 else 6
            if (key, family) in steered:
                continue
            if address in seen:
                made.decisions.append(Decision(key, family, "", "blocked", SHARED))
            else:
                made.objects.append(ClientElement(f"free{family}", str(address)))
                made.decisions.append(Decision(key, family, "", "free"))


def _whole(item: Governed, here: Here) -> tuple[str, tuple[KernelObject, ...], Decision]:
    """One exit for everything: the client's element names its id."""
    found = nowhere(item.family, here, item.blocked) if item.blocked else towards(item.exit, item.family, here)
    return str(found.id), found.objects, Decision(item.client.key, item.family, item.exit, found.where, found.reason)


def _divided(item: Governed, here: Here) -> tuple[str, tuple[KernelObject, ...], Decision]:
    """Each part by its own exits: the client's element names a chain."""
    family = item.family
    objects: list[KernelObject] = []
    targets: list[tuple[str, str]] = []
    told: list[str] = []
    doubts: dict[str, None] = {}
    places: set[str] = set()
    known: dict[tuple[Hops, str], tuple[Choice, str]] = {}  # a hole in a destination cuts it into many parts
    for part in item.parts:
        if part.hops is None:
            objects.append(ClientElement(f"ordinary{family}", f"{item.address} . {_bare(part)}"))
            targets.append((str(part.network), ""))
            told.append(f"{part.network}: ordinary")
            continue
        asked = (part.hops, part.wanted)
        if asked not in known:
            choice = choose(part, item, here)
            objects += choice.objects
            chain = None if choice.plain is not None else spread(family, choice.fresh, choice.kept, here.settings)
            if chain is not None:
                objects.append(chain)
            known[asked] = (choice, chain.name if chain else str(choice.plain))
            places |= choice.places
            doubts |= {choice.reason: None} if choice.exits and choice.reason else {}
        choice, target = known[asked]
        targets.append((str(part.network), target))
        told.append(f"{part.network}: {', '.join(choice.exits) or f'blocked, {choice.reason}'}")
    blocked = dict.fromkeys(line.partition("blocked, ")[2] for line in told) or told
    reason = "; ".join(doubts if places else blocked)
    state = next(iter(places)) if len(places) == 1 else "shared" if places else "blocked"
    decision = Decision(item.client.key, family, "", state, reason, tuple(told))
    if len(targets) == 1 and targets[0][1]:
        return targets[0][1], tuple(objects), decision
    ways = way(family, targets, here.settings)
    return ways.name, (*objects, ways), decision


def _bare(part: Part) -> str:
    """As nft prints members of interval sets: a single address without its length."""
    return str(part.network.network_address) if part.network.num_addresses == 1 else str(part.network)


@dataclass(frozen=True, slots=True)
class Choice:
    """Exits for one part of a client's destinations. `plain` is the id where no connection needs to be remembered."""

    objects: tuple[KernelObject, ...]
    exits: tuple[str, ...] = ()
    fresh: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()
    plain: int | None = None
    places: frozenset[str] = frozenset()
    reason: str = ""


def choose(part: Part, item: Governed, here: Here) -> Choice:
    """The exits of a part that may be used now: all of them for connections that they have, and for new ones those
    that are not leaving, within the client's limit and on its own node where that is preferred.

    A node that BFD calls down is left for another one, never for none: a BIRD that is started anew, and nothing else,
    takes its sessions down for a moment, and what goes to a node that is dead reaches nobody either.
    """
    hops = part.hops or Hops(())
    permitted = hops.exits
    if hops.limit:
        permitted = here.state.chosen.get(item.client.key, {}).get(part.wanted, ())
    of_family = [key for key in hops.exits if _is_of(key, item.family, here)]
    ways = {key: found for key in of_family if (found := _usable(key, hops, item.family, here)).where != "blocked"}
    lost = {key: reason for key in ways if (reason := _lost(key, here))}
    fresh = [key for key in ways if key in permitted and not here.state.exits[key].leaving]
    fresh = [key for key in fresh if key not in lost] or fresh
    ways = {key: found for key, found in ways.items() if key in fresh or key not in lost} or ways
    doubts = dict.fromkeys(lost[key] for key in fresh if key in lost)
    doubt = f"{'; '.join(doubts)}, and there is no other" if doubts else ""
    local = [key for key in fresh if here.state.exits[key].node == here.facts.node]
    fresh = local if hops.prefer_local and local else fresh
    if not ways:
        return _no_choice(hops, of_family, item, here)
    objects = tuple(obj for found in ways.values() for obj in found.objects)
    places = frozenset(ways[key].where for key in fresh)
    if not hops.keep and len(ways) == 1:
        ((key, found),) = ways.items()
        return Choice(objects, (key,), plain=found.id, places=places, reason=doubt)
    if not fresh:
        objects += nowhere(item.family, here, "").objects
    ids = sorted(ways[key].id for key in fresh)
    kept = sorted(found.id for found in ways.values())
    reason = doubt if fresh else "all gateways that it may use are leaving or are not chosen yet"
    return Choice(objects, tuple(fresh), tuple(ids), tuple(kept), places=places, reason=reason)


def _no_choice(hops: Hops, of_family: list[str], item: Governed, here: Here) -> Choice:
    reasons = [_usable(key, hops, item.family, here).reason for key in of_family]
    why = "; ".join(dict.fromkeys(reasons)) or (
        f"it has no IPv{item.family} gateway" if hops.exits else "there is no gateway for it"
    )
    found = nowhere(item.family, here, why)
    return Choice(found.objects, plain=found.id, reason=why)


def _is_of(key: str, family: Family, here: Here) -> bool:
    assignment = here.assignments.get(key)
    wanted = here.state.exits[key].family if key in here.state.exits else None
    address = assignment.address if assignment else None
    return assignment is not None and wanted in (None, family) and (address is None or address.version == family)


def _lost(key: str, here: Here) -> str:
    """Why an exit's node counts as dead; "" if it does not."""
    node = here.state.exits[key].node
    lost = node and here.facts.peers.get(node) is Liveness.DOWN
    return f"node {node} of gateway {key.rpartition('/')[0] or key} is down" if lost else ""


def _usable(key: str, hops: Hops, family: Family, here: Here) -> Towards:
    """The way to an exit, blocked where it is known to be unfit."""
    exit_ = here.state.exits[key]
    name = key.rpartition("/")[0] or key
    if not exit_.ready and not hops.own:
        return nowhere(family, here, f"gateway {name} is not ready")
    if key in here.facts.failed:
        return nowhere(family, here, f"gateway {name} does not answer")
    return towards(key, family, here)


def nowhere(family: Family, here: Here, reason: str) -> Towards:
    """A mark whose table holds nothing but `unreachable`."""
    number = here.settings.nowhere_id
    return Towards(_closed(number, family, here.settings), number, "blocked", reason)


@lru_cache(_REMEMBERED)
def _closed(number: int, family: Family, settings: Settings) -> tuple[KernelObject, ...]:
    """What keeps packets of an egress id from going anywhere else."""
    table = settings.table(number)
    return (
        Route(family, table, str(EVERYTHING[family]), LAST_METRIC, "unreachable"),
        Rule(family, settings.rule_priority + 1, table, mark=settings.mark(number), mask=settings.mark_mask),
    )


def towards(key: str, family: Family, here: Here) -> Towards:
    """The way to one exit: none more than its own rule where it is on this node, else through the tunnel."""
    assignment, settings = here.assignments[key], here.settings
    exit_ = here.state.exits.get(key)
    if key in here.held:
        if exit_ is not None and exit_.networks:
            return Towards((), assignment.id, "local")  # its rule and its table are the exit's own
        return _local(assignment.id, family, settings)
    if assignment.address is None:
        return nowhere(family, here, "it has no egress IP")
    if not assignment.holder or not assignment.id:
        return nowhere(family, here, "no node holds its egress IP")
    outer = tunnel.endpoint(assignment.address, here.state.nodes.get(assignment.holder), here.facts)
    if outer is None:
        reason = f"node {assignment.holder}, which holds its egress IP, cannot be reached from here"
        return nowhere(family, here, reason)
    return _remote(assignment.id, family, outer, settings)


@lru_cache(_REMEMBERED)
def _local(number: int, family: Family, settings: Settings) -> Towards:
    out = Route(family, settings.table(number), str(EVERYTHING[family]), WAY_METRIC, "throw")
    return Towards((*_closed(number, family, settings), out), number, "local")


@lru_cache(_REMEMBERED)
def _remote(number: int, family: Family, outer: IPAddress, settings: Settings) -> Towards:
    next_hop = settings.next_hop_base + number
    found = tunnel.way(outer, next_hop, settings)
    route = Route(family, settings.table(number), str(EVERYTHING[family]), WAY_METRIC, "unicast", next_hop=next_hop)
    closed = _closed(number, family, settings)
    return Towards((*closed, found.next_hop, found.neighbor, found.fdb, route), number, "remote")
