"""Once every agent has done its round, packets go as the plans say."""

from hypothesis import given
from tests.properties.agents import fresh, planned
from tests.properties.effort import examples
from tests.properties.leaks import Sender, ground
from tests.properties.worlds import NAMES, Snapshot, snapshots

from sallyport.model.addresses import family_of
from sallyport.model.plan import Decision
from sallyport.model.state import IPAddress
from sallyport.trace import Trace, Verdict


@given(world=snapshots(truly=True))
@examples(60)
def test_each_decision_of_a_plan_is_what_happens_to_the_pods_packets(world: Snapshot) -> None:
    """`local` and `remote` leave with the exit's address from the node that holds it, `blocked` does not leave, and
    `free` leaves as if we were not there."""
    kernels = {name: fresh(world, name) for name in NAMES if name in world.up}
    for name, kernel in kernels.items():
        addresses = {client.key: client.addresses for client in world.state.clients.values()}
        for decision in planned(world, name, kernel).decisions:
            for address in addresses[decision.pod]:
                if address.version == decision.family:
                    destination, trace = next(iter(Sender(address, name).ways(kernels, ground(world))))
                    excepted = any(destination in network for network in world.state.networks.excepted)
                    assert excepted or _is_as_decided(decision, trace, world), (decision, trace)


def _is_as_decided(decision: Decision, trace: Trace, world: Snapshot) -> bool:
    if decision.state == "blocked":
        return trace.verdict is Verdict.DROPPED
    if decision.state == "free":
        return trace.verdict is Verdict.LEFT and not trace.governed
    assignment = world.assignments[decision.exit]
    if trace.verdict is Verdict.DROPPED:
        return decision.state == "remote" and not _is_there(assignment.holder, assignment.address, world)
    left = (trace.verdict, trace.source, trace.node, trace.governed)
    return left == (Verdict.LEFT, assignment.address, assignment.holder, True)


def _is_there(holder: str, address: IPAddress | None, world: Snapshot) -> bool:
    """Whether the holder lives and can be reached, which a static address's holder may not be in any family."""
    node = world.state.nodes.get(holder)
    if node is None or address is None or holder not in world.up:
        return False
    return node.address(family_of(address)) is not None
