"""Which egress IPs a node holds, by its own lights: no message is needed for an address to move."""

from collections.abc import Mapping

from sallyport.model.plan import Assignment, Liveness, NodeFacts
from sallyport.model.state import Exit

STANDBYS = 2
"""How many nodes behind the holder watch it, and each other, by BFD."""


def holds(assignment: Assignment, facts: NodeFacts) -> bool:
    """Whether this node is to hold the exit's address.

    A static address is held where it is configured. A pooled one belongs to the first node in rank that lives; a
    node counts as dead only when its session was up and went down, or never came up within the grace time. While it
    has a better place to go to, the node that holds it keeps it until another one says that it holds it: a planned
    move makes before it breaks.
    """
    if assignment.address is None or not assignment.id:
        return False
    if assignment.static:
        return assignment.address in facts.addresses
    for node in assignment.nodes:
        if node == facts.node:
            return True
        if facts.peers.get(node, Liveness.UNKNOWN) is not Liveness.DOWN:
            return _awaits_claim(assignment, facts)
    return False


def _awaits_claim(assignment: Assignment, facts: NodeFacts) -> bool:
    """Whether we have the address, and nobody else has said yet that it has it."""
    return assignment.address in facts.held and assignment.holder == facts.node


def watched(assignments: Mapping[str, Assignment], node: str) -> frozenset[str]:
    """The nodes that this one keeps a BFD session with: those that share the first places of an exit with it."""
    peers: set[str] = set()
    for assignment in assignments.values():
        first = assignment.nodes[: STANDBYS + 1]
        if node in first:
            peers.update(first)
    return frozenset(peers - {node})


def watching(exits: Mapping[str, Exit], node: str) -> frozenset[str]:
    """The nodes that this one keeps a BFD session with for exits that are bound to a node: that node and those whose
    clients use the exit watch each other."""
    peers: set[str] = set()
    for exit_ in exits.values():
        if exit_.node == node:
            peers.update(exit_.watchers)
        elif node in exit_.watchers:
            peers.add(exit_.node)
    return frozenset(peers - {node})
