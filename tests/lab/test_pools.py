"""Egresses that take their address from a pool: lines 12 to 20 and 25 of Antrea's end-to-end tests."""

import ipaddress

import pytest
from tests.lab.scene import (
    EVERY_WEB_POD,
    GATEWAYS,
    NODES,
    Scene,
    Side,
    becomes,
    egress,
    hosted,
    ip_pool,
    on,
    pod,
)

from sallyport.apis.antrea.types import EGRESSES, IPPoolUsage
from sallyport.drivers.command import DriverError
from sallyport.lab.driving import until

pytestmark = [pytest.mark.lab, pytest.mark.root]


def first_of(network: str) -> str:
    """The first address of a network that is handed out."""
    return str(ipaddress.ip_network(network).network_address + 1)


def moves(scene: Scene, name: str) -> list[str]:
    """The messages about an Egress's address being assigned and unassigned."""
    return [message for _, message in scene.events("Egress", name, component="sallyport-agent")]


def told_of(scene: Scene, name: str) -> tuple[str, list[str]]:
    """The first message, and the others in any order: several agents write them."""
    first, *others = moves(scene, name) or [""]
    return first, sorted(others)


def assigned(name: str, ip: str, node: str) -> str:
    return f"Assigned Egress {name} with IP {ip} on Node {node}"


def unassigned(name: str, ip: str, node: str) -> str:
    return f"Unassigned Egress {name} with IP {ip} from Node {node}"


def test_the_first_address_of_a_network_goes_to_the_only_node_of_the_pool(scene: Scene, side: Side) -> None:
    """Lines 12 and 13: of an IPv4 /30 the first of 2 addresses is chosen, of an IPv6 /124 the first of 15, at the
    only node that the pool selects."""
    network = side.network(30 if side.family == 4 else 124)
    scene.apply(ip_pool("small", network, nodes=hosted(2)), egress("web", EVERY_WEB_POD, pool="small"))
    becomes(lambda: scene.held("web"), (first_of(network), "node-2"), 3.0)
    becomes(lambda: scene.usage("small"), IPPoolUsage(total=2 if side.family == 4 else 15, used=1), 2.0)
    assert scene.get(EGRESSES, "web").spec.egress_ip == first_of(network)
    for number in NODES:
        scene.comes_to_leave(pod(number), side, first_of(network), "node-2")


def test_one_of_the_nodes_of_a_pool_holds_the_first_address_of_a_range(scene: Scene, side: Side) -> None:
    """Line 14: with two nodes and a range from start to end, one of the two holds its first address."""
    ip = side.spare(1)
    scene.apply(ip_pool("two", f"{ip}-{side.spare(2)}", nodes=GATEWAYS), egress("web", on(1), pool="two"))
    becomes(lambda: scene.status("web").egress_ip, ip, 3.0)
    assert scene.holder("web") in ("node-2", "node-3")
    assert scene.usage("two").total == 2
    scene.comes_to_leave(pod(1), side, ip, scene.holder("web"))


def test_without_a_matching_node_an_address_is_allocated_and_nobody_holds_it(scene: Scene, side: Side) -> None:
    """Line 15: with no node for it, the IP is allocated and not assigned, no node has it by accident, and traffic is
    dropped and does not leave with the node's address."""
    ip = side.spare(1)
    scene.apply(ip_pool("nowhere", ip, nodes={"network-role": "none"}), egress("web", on(1), pool="nowhere"))
    becomes(lambda: scene.conditions("web"), {"IPAllocated": "True", "IPAssigned": "False"}, 3.0)
    scene.comes_to_be_dropped(pod(1), side)
    # Once every node holds another address that was asked for later, it has seen the first one and let it be.
    for number in NODES:
        scene.apply(
            ip_pool(f"at-{number}", side.spare(10 + number), nodes=hosted(number)),
            egress(f"later-{number}", on(2), pool=f"at-{number}"),
        )
    becomes(lambda: [scene.holder(f"later-{number}") for number in NODES], ["node-1", "node-2", "node-3"])
    assert [scene.extra_addresses(number) for number in NODES] == [{side.spare(10 + number)} for number in NODES]
    assert scene.held("web") == ("", "")
    assert scene.get(EGRESSES, "web").spec.egress_ip == ip
    reasons = [reason for reason, _ in scene.events("Egress", "web")]
    assert reasons == ["AssignmentError"]


def test_the_holder_has_the_address_and_says_so_once(scene: Scene, side: Side) -> None:
    """Line 16: the address is on the interface of its node and of no other, and within 2 seconds exactly one event
    tells of it."""
    ip = side.spare(1)
    scene.apply(ip_pool("one", ip, nodes=hosted(3)), egress("web", on(1), pool="one"))
    becomes(lambda: moves(scene, "web"), [assigned("web", ip, "node-3")], 2.0)
    assert [scene.extra_addresses(number) for number in NODES] == [set(), set(), {ip}]
    # The same node tells of a later Egress, and has then said all that it had to say of the first.
    scene.apply(ip_pool("more", side.spare(2), nodes=hosted(3)), egress("later", on(1), pool="more"))
    until(lambda: bool(moves(scene, "later")), "an event about the later Egress")
    assert moves(scene, "web") == [assigned("web", ip, "node-3")]


def test_a_deleted_egress_gives_its_address_back(scene: Scene, side: Side) -> None:
    """Line 17: the pool counts one address after the creation and none within 2 seconds after the deletion, when the
    address is gone from its node, too."""
    scene.apply(ip_pool("one", side.spare(1), nodes=hosted(2)), egress("web", EVERY_WEB_POD, pool="one"))
    becomes(lambda: scene.usage("one").used, 1, 2.0)
    becomes(lambda: scene.holder("web"), "node-2")
    scene.delete("egress", "web")
    becomes(lambda: scene.usage("one").used, 0, 2.0)
    becomes(lambda: scene.extra_addresses(2), set[str](), 2.0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (2, 2),
        (2, 3),
    ],
    ids=["same-node", "other-node"],
)
def test_an_egress_moves_to_another_pool_with_another_address(scene: Scene, side: Side, old: int, new: int) -> None:
    """Lines 18 to 20: with pool and address changed together the new state is there within a second, on the same
    node or another; three events tell of it, and the old address is gone."""
    before, after = (side.spare(1), f"node-{old}"), (side.spare(5), f"node-{new}")
    scene.apply(
        ip_pool("first", before[0], nodes=hosted(old)),
        ip_pool("second", after[0], nodes=hosted(new)),
        egress("web", on(1), pool="first", ip=before[0]),
    )
    becomes(lambda: scene.held("web"), before, 3.0)
    scene.comes_to_leave(pod(1), side, *before)
    scene.patch("egress", "web", {"spec": {"externalIPPool": "second", "egressIP": after[0]}})
    becomes(lambda: scene.held("web"), after, 1.0)
    scene.comes_to_leave(pod(1), side, *after)
    becomes(lambda: scene.extra_addresses(old) - {after[0]}, set[str](), 1.0)
    first, *others = [assigned("web", *before), unassigned("web", *before), assigned("web", *after)]
    becomes(lambda: told_of(scene, "web"), (first, sorted(others)), 2.0)
    assert (scene.usage("first").used, scene.usage("second").used) == (0, 1)


def test_a_pool_with_a_malformed_label_is_refused(scene: Scene) -> None:
    """Line 25: a pool whose nodeSelector has a label value that is none is refused, and not stored."""
    with pytest.raises(DriverError, match=r"spec\.nodeSelector\.matchLabels"):
        scene.apply(ip_pool("bad", nodes={"kubernetes.io/hostname": "&example"}))
    assert scene.lab.objects("externalippool") == []
