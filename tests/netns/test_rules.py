"""The tree of policy rules, with real packets: while it grows and shrinks, and beside rules of others."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

import pytest
from tests.fake_kernel import pieces
from tests.netns.agents import EXIT_ID, Agent, client, exit_, state
from tests.netns.world import EGRESS, SECOND_SERVER, SERVER, World, ask, inside, run

from sallyport.model.kernel import Kind
from sallyport.model.state import FAMILIES, Client, ClusterState, Family, Tuning
from sallyport.reconcile.sequence import Step, sequence

pytestmark = pytest.mark.root


def crowd(world: World, family: Family, by: str, others: int) -> ClusterState:
    """Node a's pod leaves by the exit of node `by`; so many other pods there leave by as many others of node b."""
    pods = [client(world, "a")]
    exits = [exit_("out", EGRESS[family], by, clients=pods, number=EXIT_ID)]
    for n in range(others):
        own = ip_address({4: f"10.244.1.{100 + n}", 6: f"fd00:244:1::{100 + n}"}[family])
        other = Client("default", f"other-{n}", "a", (own,))
        # Ids that have EXIT_ID's lowest bits, and those that do not.
        number = EXIT_ID + (n + 1) * (8 if n % 2 else 3)
        exits.append(exit_(f"out-{n}", EGRESS[family] + 1 + n, "b", clients=[other], number=number))
        pods.append(other)
    return state(world, *exits, clients=pods)


def changes(agent: Agent, cluster: ClusterState) -> Iterator[Step]:
    """One by one, each carried out."""
    for piece in pieces(sequence(agent.differences(agent.plan(cluster)))):
        with inside(agent.node):
            assert agent.hands.apply([piece]) == []
        yield piece


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("by", ["a", "b"])
def test_a_pod_is_served_between_any_two_changes_of_the_rules(
    world: World, a: Agent, b: Agent, by: str, family: Family
) -> None:
    """Exits come and go, and an administrator moves the rules, while it goes on leaving by its own exit."""
    b.sync(crowd(world, family, by, 0))
    a.sync(crowd(world, family, by, 0))
    seen = 0
    for others, priority in ((14, None), (3, None), (9, 100), (9, 20_500), (12, None)):
        cluster = replace(crowd(world, family, by, others), tuning=Tuning(rule_priority=priority))
        for piece in changes(a, cluster):
            if piece.kind is Kind.RULE:
                seen += 1
                assert ask("pod-a", SERVER[family]) == EGRESS[family]
        assert a.differences(a.plan(cluster)) == {}
    assert seen > 100


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("priority", [None, 100])
def test_rules_of_others_behind_the_tree_are_asked_as_ever(
    world: World, a: Agent, priority: int | None, family: Family
) -> None:
    """By a pod that is free, and by one that leaves by an exit of its own node: neither is led past them."""
    governed = replace(crowd(world, family, "a", 6), tuning=Tuning(rule_priority=priority))
    free = replace(governed, exits={key: item for key, item in governed.exits.items() if key != "out"})
    run("a", f"ip -{family} rule add priority 27000 to {SECOND_SERVER[family]} prohibit")
    for cluster in (governed, free):
        a.sync(cluster)
        ask("pod-a", SERVER[family])
        with pytest.raises(OSError, match=r"Permission|unreachable|No route|timed out"):
            ask("pod-a", SECOND_SERVER[family], seconds=0.3)
