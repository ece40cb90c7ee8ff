"""Which exit governs each pod, family by family, where several select it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sallyport.model.plan import Assignment, Overlap
from sallyport.model.state import FAMILIES, Client, Exit, Family, Hops, IPAddress, PodKey, Policy
from sallyport.plan.ways import NOWHERE, Part, divide

Pair = tuple[str, str, Family]
"""A winner, a loser, and the family in which they want the same pods."""
SHARED = "another pod, which is not governed alike, has the same address"


@dataclass(frozen=True, slots=True)
class Governed:
    """One address of a pod and the exit whose traffic it is; `blocked` says why it may not leave, "" if it may.

    Where policies decide about the pod, `exit` is "" and `parts` say by which exits each destination goes.
    """

    client: Client
    address: IPAddress
    exit: str
    blocked: str = ""
    parts: tuple[Part, ...] = ()

    @property
    def family(self) -> Family:
        """4 or 6."""
        return 4 if self.address.version == 4 else 6


def govern(
    exits: Mapping[str, Exit],
    assignments: Mapping[str, Assignment],
    clients: Mapping[PodKey, Client],
    policies: Sequence[Policy] = (),
) -> list[Governed]:
    """Every governed address, sorted by pod.

    A pod's policies decide about the destinations that they have, in their order; about all others, and about pods
    without a policy, the exits that ask for the pod's whole traffic. Of those the oldest of the address's family wins.
    An exit whose address is not known yet counts for both families: it must not lose its pods to the node's own
    address while it waits. A pod that is selected only by exits of the other family has no way out in this one: it is
    blocked, not let out by the node's address. So is an address that several pods have (one just gone, one just come)
    unless the same exit governs them all: its packets do not tell whose they are.
    """
    chosen: list[Governed] = []
    selected = _selected(exits, clients)
    applying = _applying(policies, clients)
    families: dict[Family, frozenset[str]] = {
        family: frozenset(key for key, item in exits.items() if item.family in (None, family)) for family in FAMILIES
    }
    for key in sorted({*selected, *applying}):
        client, names = clients[key], selected.get(key, [])
        for address in client.addresses:
            whole = _whole(client, address, names, assignments) if names else None
            if key in applying:
                family: Family = 4 if address.version == 4 else 6
                parts = divide(applying[key], _rest(whole), family, families[family])
                if all(part.hops is None for part in parts):
                    continue
                chosen.append(Governed(client, address, "", parts=parts))
            elif whole is not None:
                chosen.append(whole)
    disputed = _disputed(chosen, clients)
    return [replace(item, blocked=SHARED) if item.address in disputed else item for item in chosen]


def _whole(client: Client, address: IPAddress, names: Sequence[str], assignments: Mapping[str, Assignment]) -> Governed:
    """Which of the exits that select a pod governs an address of it."""
    fitting = [name for name in names if _fits(assignments[name], address)]
    if not fitting:
        return Governed(client, address, names[0], f"it has no IPv{address.version} egress IP")
    reason = "" if assignments[fitting[0]].address is not None else "it has no egress IP"
    return Governed(client, address, fitting[0], reason)


def _rest(whole: Governed | None) -> Hops | None:
    """What becomes of destinations that no policy of a pod has."""
    if whole is None:
        return None
    return NOWHERE if whole.blocked else Hops((whole.exit,), keep=False)


def _applying(policies: Sequence[Policy], clients: Mapping[PodKey, Client]) -> dict[PodKey, list[Policy]]:
    """The policies of each pod, in their order."""
    found: dict[PodKey, list[Policy]] = {}
    for policy in policies:
        for key in policy.clients:
            if key in clients:
                found.setdefault(key, []).append(policy)
    return found


def _disputed(chosen: list[Governed], clients: Mapping[PodKey, Client]) -> set[IPAddress]:
    """Addresses that are claimed for more than one exit or way, or for one and for none."""
    ways = {(item.client.key, item.address): (item.exit, item.parts) for item in chosen}
    claims: dict[IPAddress, set[tuple[str, tuple[Part, ...]]]] = {}
    for key, client in clients.items():
        for address in client.addresses:
            claims.setdefault(address, set()).add(ways.get((key, address), ("", ())))
    return {address for address, claimed in claims.items() if len(claimed) > 1}


def overlaps(
    exits: Mapping[str, Exit],
    assignments: Mapping[str, Assignment],
    clients: Mapping[PodKey, Client],
    policies: Sequence[Policy] = (),
) -> tuple[Overlap, ...]:
    """Pairs of exits that want the same pods in the same family, the winner named; a policy that decides about pods
    that an exit asks for wins by its object's kind and name."""
    pods: dict[Pair, list[PodKey]] = {}
    deciding = decisive(policies)
    for key, names in sorted(_selected(exits, clients).items()):
        for pair in contests(clients[key], names, deciding.get(key, ""), assignments):
            pods.setdefault(pair, []).append(key)
    return tuple(Overlap(*pair, tuple(keys)) for pair, keys in sorted(pods.items()))


def contests(
    client: Client, names: Sequence[str], policy: str, assignments: Mapping[str, Assignment]
) -> Iterator[Pair]:
    """Who wins one pod, and from whom, in each family. `names` are the exits that select it, the oldest first, `policy`
    the one that decides about it, if any does."""
    for address in client.addresses:
        family: Family = 4 if address.version == 4 else 6
        fitting = [name for name in names if _fits(assignments[name], address)]
        for loser in fitting if policy else ():
            yield policy, loser, family
        for loser in fitting[1:]:
            yield fitting[0], loser, family


def decisive(policies: Iterable[Policy]) -> dict[PodKey, str]:
    """The first policy of each pod, by its object's kind and name."""
    found: dict[PodKey, str] = {}
    for policy in policies:
        for key in policy.clients:
            found.setdefault(key, str(policy.ref))
    return found


def _selected(exits: Mapping[str, Exit], clients: Mapping[PodKey, Client]) -> dict[PodKey, list[str]]:
    """Names of the exits that select each pod, oldest first."""
    selected: dict[PodKey, list[str]] = {}
    for exit_ in sorted(exits.values(), key=lambda item: item.age):
        for key in exit_.clients:
            if key in clients:
                selected.setdefault(key, []).append(exit_.key)
    return selected


def _fits(assignment: Assignment, address: IPAddress) -> bool:
    return assignment.address is None or assignment.address.version == address.version
