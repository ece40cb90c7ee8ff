"""What is written into the status of Egresses: the controller's part, and the holder's.

Two writers share one object. Each starts from the status as it stands and changes only what is its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from sallyport.apis.antrea.types import IP_ALLOCATED, IP_ASSIGNED, Egress, EgressStatus
from sallyport.apis.conditions import with_condition
from sallyport.model.plan import Assignment, Overlap
from sallyport.model.state import IPAddress, ObjectRef, Problem

NOT_FOUND = "IPNotFound"
"""Reason of IPAssigned: a static address is on no node."""
PATIENCE = timedelta(seconds=3)
"""How long that may last before it is told of in an event."""
OVERLAPPING = "Overlapping"
"""Condition of ours: other Egresses select pods of this one too; says who wins them."""
SHOWN = 3
"""Names that a message has of many: there is no end to how many may share pods."""
_ADDRESS_FIELDS = ("spec", "spec.egressIP")
"""Fields for whose sake an Egress has no address: problems of its selectors or its bandwidth do not take it away."""


def from_controller(
    status: EgressStatus,
    assignment: Assignment,
    *,
    clients: int,
    problems: Iterable[Problem],
    overlaps: Iterable[Overlap],
    name: str,
    holder_gone: bool,
    now: str,
) -> EgressStatus:
    """The controller's part: id, ranked nodes, client count, allocation, overlap, and that nobody holds the address."""
    told = sorted(problems)
    found = {problem.reason: problem.message for problem in told}
    conditions = status.conditions
    allocated: tuple[str, str, str] | None = ("True", "Allocated", "EgressIP is successfully allocated")
    if assignment.static:
        allocated = None
    elif assignment.address is None:
        allocated = ("False", "AllocationError", found.get("AllocationError", "EgressIP is not allocated"))
    conditions = with_condition(conditions, IP_ALLOCATED, allocated, now)
    conditions = with_condition(conditions, OVERLAPPING, _overlapping(name, overlaps), now)
    node, address = status.egress_node, status.egress_ip
    if holder_gone or not assignment.id:
        node, address = "", ""
        conditions = with_condition(conditions, IP_ASSIGNED, _unassigned(assignment, told), now)
    return msgspec.structs.replace(
        status,
        egress_node=node,
        egress_ip=address,
        conditions=conditions,
        allocated_ip="" if assignment.address is None else str(assignment.address),
        id=assignment.id if assignment.address is not None else 0,
        nodes=assignment.nodes,
        clients=clients,
    )


def _unassigned(assignment: Assignment, problems: Iterable[Problem]) -> tuple[str, str, str]:
    """Why nobody holds the address, the user's own mistake first."""
    if assignment.address is None:
        causes = [problem.message for problem in problems if problem.field in _ADDRESS_FIELDS]
        text = ": ".join(["Failed to assign the IP to EgressNode: there is no IP to assign", *causes])
        return ("False", "AssignmentError", text)
    found = {problem.reason: problem.message for problem in problems}
    if not assignment.id:
        return ("False", "NoMarkLeft", found.get("NoMarkLeft", "it has no egress id"))
    if assignment.static:
        return ("False", NOT_FOUND, f"No Node with a living agent has IP {assignment.address} on an interface")
    default = "Failed to assign the IP to EgressNode: no Node available"
    return ("False", "AssignmentError", found.get("AssignmentError", default))


def _overlapping(name: str, overlaps: Iterable[Overlap]) -> tuple[str, str, str] | None:
    """One bounded sentence for each way of sharing pods, however many they are and with however many others."""
    older, gateways, younger = _Share(), _Share(), _Share()
    for overlap in overlaps:
        if overlap.winner == name:
            younger.add(f"Egress {overlap.loser}", overlap.pods)
        elif overlap.loser == name and "/" in overlap.winner:
            gateways.add(overlap.winner, overlap.pods)
        elif overlap.loser == name:
            older.add(f"Egress {overlap.winner}", overlap.pods)
    parts = []
    if older.pods:
        parts.append(f"of what it selects, {older.counted} by {older.named}, being older")
    if gateways.pods:
        parts.append(f"of what it selects, {gateways.counted} by {gateways.named}, where that has gateways")
    if younger.pods:
        parts.append(f"{younger.counted} by this Egress, being older, and not by {younger.named}")
    return ("True", "YieldsPods" if older.pods or gateways.pods else "WinsPods", "; ".join(parts)) if parts else None


@dataclass(slots=True)
class _Share:
    """Pods that one Egress shares with `others`."""

    pods: set[tuple[str, str]] = field(default_factory=set)
    others: set[str] = field(default_factory=set)

    def add(self, other: str, pods: Iterable[tuple[str, str]]) -> None:
        self.others.add(other)
        self.pods.update(pods)

    @property
    def counted(self) -> str:
        names = _first([f"{namespace}/{name}" for namespace, name in sorted(self.pods)])
        return f"1 pod ({names}) goes" if len(self.pods) == 1 else f"{len(self.pods)} pods ({names}) go"

    @property
    def named(self) -> str:
        return _first(sorted(self.others))


def _first(names: Sequence[str]) -> str:
    """The first few of many, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def unfound(egresses: Iterable[Egress], now: datetime) -> list[Problem]:
    """Static addresses that no node has had for a while, as the statuses say. Not at once: between the object and the
    word of the node that has its address there is a moment, and it is no trouble."""
    found: list[Problem] = []
    for egress in egresses:
        for item in egress.status.conditions:
            if item.type == IP_ASSIGNED and item.reason == NOT_FOUND and item.last_transition_time:
                since = datetime.fromisoformat(item.last_transition_time)
                if now - since >= PATIENCE:
                    ref = ObjectRef("Egress", egress.metadata.name, uid=egress.metadata.uid)
                    found.append(Problem(ref, NOT_FOUND, item.message))
    return found


def from_holder(status: EgressStatus, node: str, address: IPAddress, now: str, *, static: bool = False) -> EgressStatus:
    """The holder's part: that the address is on its node.

    A static address that another node holds by its own word stays with that one: whoever put it on two nodes made a
    mistake, and two nodes that overwrite each other's word in turn would only hide it. The controller takes the word
    of a node back when its agent is gone.
    """
    if static and status.egress_ip == str(address) and status.egress_node not in ("", node):
        return status
    assigned = ("True", "Assigned", "EgressIP is successfully assigned to EgressNode")
    return msgspec.structs.replace(
        status,
        egress_node=node,
        egress_ip=str(address),
        conditions=with_condition(status.conditions, IP_ASSIGNED, assigned, now),
    )


def failed(status: EgressStatus, node: str, reason: str, now: str) -> EgressStatus:
    """The part of a node that is to hold the address and cannot."""
    message = f"Failed to assign the IP to EgressNode: on Node {node}: {reason}"
    conditions = with_condition(status.conditions, IP_ASSIGNED, ("False", "AssignmentError", message), now)
    return msgspec.structs.replace(status, egress_node="", egress_ip="", conditions=conditions)


def released(status: EgressStatus, address: IPAddress | None, now: str) -> EgressStatus:
    """A static address that is not on the node any more, as told by the node that had it."""
    gone = ("False", NOT_FOUND, f"IP {address} is not on an interface of Node {status.egress_node} any more")
    return msgspec.structs.replace(
        status, egress_node="", egress_ip="", conditions=with_condition(status.conditions, IP_ASSIGNED, gone, now)
    )
