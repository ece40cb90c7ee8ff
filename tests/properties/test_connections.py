"""A connection stays with its gateway for as long as it can, whatever becomes of others."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.properties.agents import fresh, settle
from tests.properties.effort import examples
from tests.properties.leaks import OUTSIDE, Opened, Sender, connections, ground, senders
from tests.properties.networks import gateway_pods, leads_by, own_policies, ruled
from tests.properties.worlds import NAMES, Snapshot, consistent, snapshots, written

from sallyport.model.state import FAMILIES, Destination, Exit, Hops, IPAddress, ObjectRef, Policy
from sallyport.plan.ways import EVERYTHING
from sallyport.trace import Verdict

WORLDS = snapshots(truly=True)


def shared(world: Snapshot) -> Snapshot:
    """The same world, in which every pod's traffic is shared by all gateways."""
    state = world.state
    hops = Hops(tuple(sorted(bound(state.exits))))
    destinations = tuple(Destination(EVERYTHING[family], hops) for family in FAMILIES)
    pods = tuple(sorted(key for key in state.clients if key[0] != "gw"))
    policy = Policy(ObjectRef("EgressGatewayPolicy", "all"), "1", destinations, pods)
    after = replace(state, policies=(*own_policies(bound(state.exits)), policy), chosen={})
    return replace(world, state=written(after, world.statics, world.up, "truly"))


@st.composite
def disturbed(draw: st.DrawFn, world: Snapshot) -> Snapshot:
    """Gateways get ready or not, are told to end, or end, and others come; nodes and everything else stay."""
    state = world.state
    other = draw(WORLDS).state
    exits: dict[str, Exit] = {}
    for key, exit_ in state.exits.items():
        change = draw(st.sampled_from(["none", "leaving", "leaving", "unready", "gone"])) if exit_.node else "none"
        if change != "gone":
            leaving = exit_.leaving or change == "leaving"
            exits[key] = replace(exit_, leaving=leaving, ready=exit_.ready and change != "unready")
    names = {exit_.ref for exit_ in state.exits.values()}
    exits |= {key: item for key, item in other.exits.items() if item.node and item.ref not in names}
    new = exits.keys() - state.exits.keys()
    policies = [
        replace(policy, destinations=tuple(_widened(item, new) for item in policy.destinations))
        for policy in state.policies
        if policy.ref.kind != "Pod"
    ]
    after = replace(state, exits=exits, policies=(*own_policies(bound(exits)), *policies))
    after = replace(after, clients={**state.clients, **gateway_pods(bound(exits))})
    return replace(world, state=written(consistent(after), world.statics, world.up, "truly"))


def bound(exits: Mapping[str, Exit]) -> dict[str, Exit]:
    """The exits of gateways."""
    return {key: item for key, item in exits.items() if item.node}


def _widened(item: Destination, new: Iterable[str]) -> Destination:
    """With gateways that have come."""
    if item.hops is None:
        return item
    return replace(item, hops=replace(item.hops, exits=tuple(sorted({*item.hops.exits, *new}))))


def gateway_of(opened: Opened, sender: Sender, destination: IPAddress, world: Snapshot) -> str | None:
    """The exit that the conntrack mark of an open connection names, None where none was chosen."""
    noted = [item.mark for (node, _), item in opened[sender, destination].items() if node == sender.node]
    found = [key for key, item in world.assignments.items() if item.id and item.id in noted]
    return found[0] if found else None


@given(world=WORLDS, data=st.data())
@examples(40)
def test_a_connection_leaves_by_the_gateway_that_it_began_with_while_that_is_of_use(
    world: Snapshot, data: st.DataObject
) -> None:
    """Be it told to end, and be it only one of many by now. Another one's connections go on, too."""
    world = shared(world)
    kernels = {name: fresh(world, name) for name in NAMES}
    pods = senders([world])
    opened = connections(pods, kernels, ground(world))
    later = data.draw(disturbed(world))
    for name in NAMES:
        settle(kernels[name], later, name)
    for sender in pods:
        for destination in OUTSIDE[4 if sender.address.version == 4 else 6]:
            key = gateway_of(opened, sender, destination, world)
            if key is None or not is_of_use(key, sender, destination, world, later):
                continue
            ends = {
                (trace.verdict, trace.source)
                for to, trace in sender.ways(kernels, ground(later), opened)
                if to == destination
            }
            assert ends == {(Verdict.LEFT, world.assignments[key].address)}, key


def is_of_use(key: str, sender: Sender, destination: IPAddress, world: Snapshot, later: Snapshot) -> bool:
    """Whether the gateway is still one of those that the pod's policy names, and can carry its packets."""
    exit_ = later.state.exits.get(key)
    if exit_ is None or not exit_.ready or key in later.failed or exit_.node not in later.up:
        return False
    if any(destination in network for network in later.state.networks.excepted) or not later.state.enabled:
        return False
    pods = [item for item in later.state.clients.values() if sender.address in item.addresses]
    wanted = [ruled(pod.key, destination, later.state) for pod in pods]
    named = [hops for hops in wanted if hops is not None and hops.keep and key in hops.exits]
    same = later.assignments[key] == world.assignments[key]
    return len(pods) == len(named) == 1 and same and bool(leads_by(exit_, destination, later.state))
