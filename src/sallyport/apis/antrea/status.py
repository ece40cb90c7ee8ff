"""What is written into the status of Egresses: the controller's part, and the holder's.

Two writers share one object. Each starts from the status as it stands and changes only what is its own.
"""

from collections.abc import Iterable
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
    wins: dict[str, set[tuple[str, str]]] = {}
    yields: dict[str, set[tuple[str, str]]] = {}
    for overlap in overlaps:
        if overlap.winner == name:
            wins.setdefault(overlap.loser, set()).update(overlap.pods)
        elif overlap.loser == name:
            yields.setdefault(overlap.winner, set()).update(overlap.pods)
    if not wins and not yields:
        return None
    parts = [
        f"{_other(other)} governs {_pods(pods)} that this one selects too" for other, pods in sorted(yields.items())
    ]
    parts += [
        f"this Egress, being older, governs {_pods(pods)} that Egress {other} selects too"
        for other, pods in sorted(wins.items())
    ]
    return ("True", "YieldsPods" if yields else "WinsPods", "; ".join(parts))


def _other(name: str) -> str:
    """Who wins: another Egress by its name, or an object whose gateways come first, by kind and name."""
    return (
        f"{name}, for the destinations that it has gateways for," if "/" in name else f"Egress {name}, which is older,"
    )


def _pods(pods: set[tuple[str, str]]) -> str:
    names = [f"{namespace}/{name}" for namespace, name in sorted(pods)]
    shown = ", ".join(names[:3])
    return f"{len(names)} pods ({shown}, …)" if len(names) > 3 else f"{len(names)} pods ({shown})"


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
