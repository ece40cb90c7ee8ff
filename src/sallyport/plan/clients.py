"""Which exit governs each pod, family by family, where several select it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sallyport.model.plan import Assignment, Overlap
from sallyport.model.state import Client, Exit, Family, IPAddress, PodKey

SHARED = "another pod, which is not governed alike, has the same address"


@dataclass(frozen=True, slots=True)
class Governed:
    """One address of a pod and the exit whose traffic it is; `blocked` says why it may not leave, "" if it may."""

    client: Client
    address: IPAddress
    exit: str
    blocked: str = ""

    @property
    def family(self) -> Family:
        """4 or 6."""
        return 4 if self.address.version == 4 else 6


def govern(
    exits: Mapping[str, Exit], assignments: Mapping[str, Assignment], clients: Mapping[PodKey, Client]
) -> list[Governed]:
    """Every governed address, sorted by pod.

    The oldest exit of the address's family wins. An exit whose address is not known yet counts for both families:
    it must not lose its pods to the node's own address while it waits. A pod that is selected only by exits of the
    other family has no way out in this one: it is blocked, not let out by the node's address. So is an address that
    several pods have (one just gone, one just come) unless the same exit governs them all: its packets do not tell
    whose they are.
    """
    chosen: list[Governed] = []
    for key, names in sorted(_selected(exits, clients).items()):
        client = clients[key]
        for address in client.addresses:
            fitting = [name for name in names if _fits(assignments[name], address)]
            if fitting:
                reason = "" if assignments[fitting[0]].address is not None else "it has no egress IP"
                chosen.append(Governed(client, address, fitting[0], reason))
            else:
                chosen.append(Governed(client, address, names[0], f"it has no IPv{address.version} egress IP"))
    disputed = _disputed(chosen, clients)
    return [replace(item, blocked=SHARED) if item.address in disputed else item for item in chosen]


def _disputed(chosen: list[Governed], clients: Mapping[PodKey, Client]) -> set[IPAddress]:
    """Addresses that are claimed for more than one exit, or for one and for none."""
    exits = {(item.client.key, item.address): item.exit for item in chosen}
    claims: dict[IPAddress, set[str]] = {}
    for key, client in clients.items():
        for address in client.addresses:
            claims.setdefault(address, set()).add(exits.get((key, address), ""))
    return {address for address, names in claims.items() if len(names) > 1}


def overlaps(
    exits: Mapping[str, Exit], assignments: Mapping[str, Assignment], clients: Mapping[PodKey, Client]
) -> tuple[Overlap, ...]:
    """Pairs of exits that want the same pods in the same family, the winner named."""
    pods: dict[tuple[str, str, Family], list[PodKey]] = {}
    for key, names in sorted(_selected(exits, clients).items()):
        if len(names) < 2:
            continue
        for address in clients[key].addresses:
            fitting = [name for name in names if _fits(assignments[name], address)]
            family: Family = 4 if address.version == 4 else 6
            for loser in fitting[1:]:
                pods.setdefault((fitting[0], loser, family), []).append(key)
    return tuple(Overlap(winner, loser, family, tuple(keys)) for (winner, loser, family), keys in sorted(pods.items()))


def _selected(exits: Mapping[str, Exit], clients: Mapping[PodKey, Client]) -> dict[PodKey, list[str]]:
    """Names of the exits that select each pod, oldest first."""
    selected: dict[PodKey, list[str]] = {}
    for exit_ in sorted(exits.values(), key=lambda item: item.age):
        for key in exit_.clients:
            if key in clients:
                selected.setdefault(key, []).append(exit_.ref.name)
    return selected


def _fits(assignment: Assignment, address: IPAddress) -> bool:
    return assignment.address is None or assignment.address.version == address.version
