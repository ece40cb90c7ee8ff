"""Once every agent has done its round, packets go as the plans say."""

from collections.abc import Mapping
from ipaddress import ip_network

from hypothesis import given
from tests.fake_kernel import FakeKernel
from tests.properties.agents import bare, fresh, planned
from tests.properties.effort import examples
from tests.properties.leaks import OUTSIDE, Sender, ground
from tests.properties.networks import leads_by, ruled
from tests.properties.worlds import NAMES, Snapshot, snapshots

from sallyport.model.addresses import family_of
from sallyport.model.plan import Assignment, Decision
from sallyport.model.state import Hops, IPAddress, PodKey
from sallyport.plan.clients import SHARED, govern
from sallyport.trace import Trace, Verdict


@given(world=snapshots(truly=True))
@examples(60)
def test_each_decision_of_a_plan_is_what_happens_to_the_pods_packets(world: Snapshot) -> None:
    """`local` and `remote` leave with the exit's address from the node that holds it, `blocked` does not leave, and
    `free` leaves as if we were not there. Where policies divide the destinations, each goes as is told of it."""
    kernels = {name: fresh(world, name) for name in NAMES if name in world.up}
    for name, kernel in kernels.items():
        addresses = {client.key: client.addresses for client in world.state.clients.values()}
        for decision in planned(world, name, kernel).decisions:
            for address in addresses[decision.pod]:
                if address.version == decision.family:
                    for destination, traces in _by_destination(Sender(address, name), kernels, world).items():
                        excepted = any(destination in network for network in world.state.networks.excepted)
                        wanted = _exits(decision, destination)
                        assert excepted or _is_as_decided(wanted, traces, destination, world), (decision, traces)


@given(world=snapshots(truly=True))
@examples(40)
def test_each_part_of_a_plan_is_what_the_policies_ask_for(world: Snapshot) -> None:
    """By exits of the family alone, and of those by ones that are ready, not leaving, and answer; of a limited number,
    by those that were given to the pod. By one on a node that is down only where there is none on another."""
    state = world.state
    for name in NAMES:
        for decision in planned(world, name, bare()).decisions:
            if decision.exit or decision.reason == SHARED or not _is_ruled(decision.pod, world):
                continue
            for destination in OUTSIDE[decision.family]:
                found = _exits(decision, destination)
                hops = ruled(decision.pod, destination, state, _rest(decision, world))
                if hops is None or any(not state.exits[key].node for key in hops.exits):
                    assert found in ((None,) if hops is None else ((), hops.exits))  # that of an Egress may be blocked
                    continue
                given_ = state.chosen.get(decision.pod, {})
                permitted = {key for keys in given_.values() for key in keys} if hops.limit else {*hops.exits}
                fit = {key for key in {*hops.exits} & permitted if _is_fit(key, decision.family, hops.own, world)}
                assert set(found or ()) <= fit
                near = {key for key in fit if state.exits[key].node in {name, *world.up}}
                assert set(found or ()) <= (near or fit)
                assert len({state.exits[key].ref.name for key in found or ()}) <= (hops.limit or len(hops.exits))


def _is_ruled(pod: PodKey, world: Snapshot) -> bool:
    return any(pod in policy.clients for policy in world.state.policies)


def _rest(decision: Decision, world: Snapshot) -> Hops | None:
    """By which exit goes what no policy of the pod has."""
    whole = govern(world.state.exits, world.assignments, {decision.pod: world.state.clients[decision.pod]})
    of_family = (item for item in whole if item.family == decision.family)
    return next((Hops(() if item.blocked else (item.exit,)) for item in of_family), None)


def _is_fit(key: str, family: int, own: bool, world: Snapshot) -> bool:
    exit_ = world.state.exits[key]
    fit = exit_.family == family and key not in world.failed
    return fit and (own or (exit_.ready and not exit_.leaving))


def _by_destination(sender: Sender, kernels: Mapping[str, FakeKernel], world: Snapshot) -> dict[IPAddress, list[Trace]]:
    found: dict[IPAddress, list[Trace]] = {}
    for destination, trace in sender.ways(kernels, ground(world)):
        found.setdefault(destination, []).append(trace)
    return found


def _exits(decision: Decision, destination: IPAddress) -> tuple[str, ...] | None:
    """The exits that a decision names for a destination, None for the ordinary way."""
    if decision.state == "free":
        return None
    if not decision.to:
        return () if decision.state == "blocked" else (decision.exit,)
    lines = (line.split(": ", 1) for line in decision.to)
    told = next(text for network, text in lines if destination in ip_network(network))
    return None if told == "ordinary" else () if told.startswith("blocked") else tuple(told.split(", "))


def _is_as_decided(exits: tuple[str, ...] | None, traces: list[Trace], destination: IPAddress, world: Snapshot) -> bool:
    """One way for each exit, which leads out by it, or ends where it leads nowhere."""
    if exits is None:
        return all(trace.verdict is Verdict.LEFT and not trace.governed for trace in traces)
    if not exits:
        return all(trace.verdict is Verdict.DROPPED for trace in traces)
    left = {
        (trace.source, trace.node, trace.device, trace.governed) for trace in traces if trace.verdict is Verdict.LEFT
    }
    there = [(world.assignments[key], leads_by(world.state.exits[key], destination, world.state)) for key in exits]
    wanted = {(item.address, item.holder, device, True) for item, device in there if device}
    possible = {end for (item, _), end in zip(there, _ends(there), strict=True) if _is_there(item, world)}
    return left <= wanted and possible - {None} <= left and len(traces) == len(exits)


def _ends(there: list[tuple[Assignment, str]]) -> list[tuple[IPAddress | None, str, str, bool] | None]:
    return [(item.address, item.holder, device, True) if device else None for item, device in there]


def _is_there(assignment: Assignment, world: Snapshot) -> bool:
    """Whether the holder lives and can be reached, which a static address's holder may not be in any family."""
    node = world.state.nodes.get(assignment.holder)
    if node is None or assignment.address is None or assignment.holder not in world.up:
        return False
    return node.address(family_of(assignment.address)) is not None
