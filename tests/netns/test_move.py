"""An egress IP that moves to another node: who hears of it, and what becomes of open connections."""

import json

import pytest
from tests.netns.agents import Agent, steered
from tests.netns.traffic import line, says
from tests.netns.world import EGRESS, SERVER, World, ask, eventually, inside, run

from sallyport.model.state import FAMILIES, Family

pytestmark = pytest.mark.root


def neighbor(namespace: str, address: object) -> str:
    """The MAC that a namespace has for `address` on its eth0."""
    found = json.loads(run(namespace, f"ip -j neigh show {address} dev eth0") or "[]")
    return str(found[0].get("lladdr", "")) if found else ""


def mac(namespace: str) -> str:
    """The MAC of a namespace's eth0."""
    return str(json.loads(run(namespace, "ip -j link show eth0"))[0]["address"])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_neighbour_that_knew_another_mac_hears_an_announcement(world: World, b: Agent, family: Family) -> None:
    """Gratuitous ARP, or an unsolicited advertisement, changes the neighbour's entry, with no question asked."""
    b.sync(steered(world, family))
    run("outside", f"ip neigh replace {EGRESS[family]} lladdr 02:00:00:00:00:99 dev eth0 nud stale")
    with inside("b"):
        b.hands.announce("eth0", EGRESS[family])
    assert eventually(lambda: neighbor("outside", EGRESS[family]) == mac("b"))


def test_announcing_on_a_device_that_is_gone_is_an_os_error(world: World, b: Agent) -> None:
    """The agent hears that the announcement was not made."""
    with inside("b"), pytest.raises(OSError, match="No such device"):
        b.hands.announce("eth9", EGRESS[4])


@pytest.mark.parametrize("family", FAMILIES)
def test_connections_survive_the_move_of_their_egress_ip(
    wide_world: World, a: Agent, b: Agent, c: Agent, family: Family
) -> None:
    """The new holder takes the address before the old one leaves it; the client's node has nothing to learn; the open
    connection goes on in both directions, and the new one has the same source."""
    before, after = steered(wide_world, family, by="b"), steered(wide_world, family, by="c")
    b.sync(before)
    a.sync(before)
    with line("pod-a", family) as (near, far):
        assert says(near, far)
        assert says(far, near)
        c.sync(after)
        with inside("c"):
            c.hands.announce("eth0", EGRESS[family])
        b.sync(after)
        assert a.differences(a.plan(after)) == {}
        assert says(near, far)
        assert says(far, near)
        assert neighbor("a", EGRESS[family]) == mac("c")
    assert ask("pod-a", SERVER[family]) == EGRESS[family]
