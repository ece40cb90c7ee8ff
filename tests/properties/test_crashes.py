"""An agent that is killed after any change leaks nothing, and its successor, which remembers nothing, converges."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st
from tests.fake_kernel import FakeKernel, pieces
from tests.properties.agents import fresh, settle, steps_to
from tests.properties.effort import examples
from tests.properties.leaks import Sender, Watcher, connections, ground, senders
from tests.properties.worlds import NAMES, Snapshot, moved_to, snapshots

from sallyport.model.state import IPAddress
from sallyport.reconcile.sequence import Step
from sallyport.trace import Underlay

ANY = snapshots()
NODE = st.sampled_from(NAMES)
PROGRESS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


End = tuple[str, IPAddress | None, int]


def advance(kernel: FakeKernel, steps: Sequence[Step], progress: float) -> None:
    """Carry out that part of the steps, 1.0 being all."""
    assert kernel.apply(steps, round(len(list(pieces(steps))) * progress)) == []


@given(first=ANY, second=ANY, third=snapshots(renumbering=True), node=NODE, data=st.data())
@examples(40)
def test_no_packet_leaves_with_a_wrong_source_between_any_two_changes(
    first: Snapshot, second: Snapshot, third: Snapshot, node: str, data: st.DataObject
) -> None:
    """One node's agent goes from the first state towards the second, is killed on the way, and its successor goes to
    the third. The other nodes stand anywhere between the first two."""
    kernels = {name: fresh(first, name) for name in NAMES}
    for name in NAMES:
        if name != node:
            advance(kernels[name], steps_to(second, name, kernels[name]), data.draw(PROGRESS))
    pods = data.draw(st.lists(st.sampled_from(senders([first, second, third])), max_size=4, unique=True))
    todo = list(pieces(steps_to(second, node, kernels[node])))
    watcher = Watcher(pods, [first, second])
    for piece in todo[: round(len(todo) * data.draw(PROGRESS))]:
        kernels[node].apply([piece])
        assert watcher.leaks(kernels) == []
    watcher = Watcher(pods, [first, second, third])
    for piece in pieces(steps_to(third, node, kernels[node])):
        kernels[node].apply([piece])
        assert watcher.leaks(kernels) == []
    settle(kernels[node], third, node)


@given(first=ANY, second=ANY)
@examples(40)
def test_once_all_have_settled_not_even_an_open_connection_leaves_as_before(first: Snapshot, second: Snapshot) -> None:
    """A connection's NAT outlives the rules that it was made by, so it is checked again where it leaves."""
    kernels = {name: fresh(first, name) for name in NAMES}
    pods = senders([first, second])
    opened = connections(pods, kernels, ground(first))
    for name in NAMES:
        settle(kernels[name], second, name)
    assert Watcher(pods, [second]).leaks(kernels) == []
    if second.state.enabled:  # switched off, nothing of ours is left on a node that could stop them
        assert Watcher(pods, [second]).leaks(kernels, opened) == []


@given(first=ANY, second=ANY, node=NODE, data=st.data())
@examples(40)
def test_what_leaves_alike_before_and_after_leaves_so_all_the_while(
    first: Snapshot, second: Snapshot, node: str, data: st.DataObject
) -> None:
    """Make before break: a change costs no packet that it is not about, be it at the client's node or at the exit's.
    Only that nodes come, go or change their addresses is left out: nodes learn of each other one by one."""
    second = moved_to(second, first.state.nodes)
    before = {name: fresh(first, name) for name in NAMES}
    after = {name: settle(fresh(first, name), second, name) for name in NAMES}
    underlay = ground(second)
    pods = senders([first, second])
    kept = [pod for pod in pods if _exit(pod, before, underlay) == _exit(pod, after, underlay) is not None]
    kernels = {name: data.draw(st.sampled_from([before, after]))[name] for name in NAMES} | {node: before[node]}
    for piece in pieces(steps_to(second, node, kernels[node])):
        kernels[node].apply([piece])
        assert [pod for pod in kept if _exit(pod, kernels, underlay) != _exit(pod, after, underlay)] == []


def _exit(pod: Sender, kernels: Mapping[str, FakeKernel], underlay: Underlay) -> End | None:
    """Node, source and mark with which a pod's packets leave governed, None where they do not all do so."""
    ways = [trace for _, trace in pod.ways(kernels, underlay)]
    ends = {(trace.node, trace.source, trace.hops[-1].mark) if trace.governed else None for trace in ways}
    return ends.pop() if len(ends) == 1 else None
