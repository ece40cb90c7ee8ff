"""Which packets are steered, and with which source they leave. Every test sends real packets."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from tests.netns.agents import Agent, client, exit_, state, steered
from tests.netns.world import EGRESS, SECOND_SERVER, SERVER, World, ask, capture, pod, run, underlay

from sallyport.model.state import FAMILIES, Family

pytestmark = pytest.mark.root


def node_address(number: int, family: Family) -> object:
    """A node's address of that family."""
    return next(address for address in underlay(number) if address.version == family)


@pytest.mark.parametrize("family", FAMILIES)
def test_client_leaves_with_an_egress_ip_of_another_node(world: World, a: Agent, b: Agent, family: Family) -> None:
    """The server sees the egress IP that node b holds, although the client runs on node a."""
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    assert ask("pod-a", SERVER[family]) == EGRESS[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_client_leaves_with_an_egress_ip_of_its_own_node(world: World, a: Agent, family: Family) -> None:
    """Where the client's node holds the egress IP, no tunnel is used."""
    a.sync(steered(world, family, by="a"))
    with capture("wire", "to-b") as seen:
        assert ask("pod-a", SERVER[family]) == EGRESS[family]
        assert seen.packets() == []


@pytest.mark.parametrize("family", FAMILIES)
def test_free_pod_leaves_as_the_cluster_lets_it(world: World, a: Agent, family: Family) -> None:
    """A pod that no exit selects keeps the source that the CNI gives it."""
    a.sync(state(world, clients=[client(world, "a")]))
    assert ask("pod-a", SERVER[family]) == node_address(1, family)


@pytest.mark.parametrize(("family", "outer"), [(6, 4), (4, 6)])
def test_one_family_travels_inside_the_other(world: World, a: Agent, b: Agent, family: Family, outer: Family) -> None:
    """A client's node that has only one family on its underlay still reaches an exit of the other."""
    cluster = steered(world, family)
    lame = tuple(address for address in underlay(1) if address.version == outer)
    cluster = replace(cluster, nodes={**cluster.nodes, "a": replace(cluster.nodes["a"], addresses=lame)})
    b.sync(cluster)
    a.sync(cluster)
    with capture("wire", "to-b") as seen:
        assert ask("pod-a", SERVER[family]) == EGRESS[family]
        assert {packet.source for packet in seen.packets() if packet.protocol == 17} == set(lame)


@pytest.mark.parametrize("family", FAMILIES)
def test_egress_ip_outside_of_the_nodes_subnet(world: World, a: Agent, b: Agent, family: Family) -> None:
    """An address that is on no subnet of the nodes is reached by its holder's own address."""
    address = {4: ip_address("203.0.113.9"), 6: ip_address("2001:db8:9::9")}[family]
    run("outside", f"ip route add {address} via {node_address(2, family)}")
    pods = [client(world, "a")]
    cluster = state(world, exit_("far", address, "b", clients=pods, number=9), clients=pods)
    b.sync(cluster)
    a.sync(cluster)
    assert ask("pod-a", SERVER[family]) == address


@pytest.mark.parametrize("family", FAMILIES)
def test_replies_to_inbound_connections_are_not_steered(world: World, a: Agent, b: Agent, family: Family) -> None:
    """A connection from outside to a client is answered by the way it came, not through the exit."""
    network = world.members()["a"].pod_networks[FAMILIES.index(family)]
    run("outside", f"ip route add {network} via {node_address(1, family)}")
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    with capture("wire", "to-b") as seen:
        assert ask("outside", pod(1)[family])
        assert seen.packets() == []


@pytest.mark.parametrize("family", FAMILIES)
def test_pods_are_reached_with_the_pods_own_address(world: World, a: Agent, b: Agent, family: Family) -> None:
    """The pod network is excluded: a client talks to a pod of another node as if there were no exit."""
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    assert ask("pod-a", pod(2)[family]) == pod(1)[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_nodes_are_reached_without_the_exit(world: World, a: Agent, b: Agent, family: Family) -> None:
    """Addresses of nodes are excluded: node b sees the source that the CNI gives, not the egress IP."""
    address = next(item for item in underlay(2) if item.version == family)
    world.serve("b", address)
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    assert ask("pod-a", address) == node_address(1, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_excepted_networks_are_reached_without_the_exit(world: World, a: Agent, b: Agent, family: Family) -> None:
    """A destination in exceptCIDRs is left with the node's address, its neighbour with the egress IP."""
    cluster = steered(world, family)
    excepted = replace(cluster.networks, excepted=(ip_network(str(SECOND_SERVER[family])),))
    cluster = replace(cluster, networks=excepted)
    b.sync(cluster)
    a.sync(cluster)
    assert ask("pod-a", SECOND_SERVER[family]) == node_address(1, family)
    assert ask("pod-a", SERVER[family]) == EGRESS[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_service_is_judged_by_what_it_leads_to(world: World, a: Agent, b: Agent, family: Family) -> None:
    """A service address that is translated to a pod is not steered, one that is translated to the outside is."""
    word, inner, outer = {4: ("ip", "10.96.0.10", "10.96.0.11"), 6: ("ip6", "fd00:96::10", "fd00:96::11")}[family]
    rules = (
        f"add table inet proxy\n"
        f"add chain inet proxy in {{ type nat hook prerouting priority -100; }}\n"
        f"add rule inet proxy in {word} daddr {inner} dnat {word} to {pod(2)[family]}\n"
        f"add rule inet proxy in {word} daddr {outer} dnat {word} to {SERVER[family]}\n"
    )
    run("a", "nft -f -", rules)
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    assert ask("pod-a", ip_address(inner)) == pod(1)[family]
    assert ask("pod-a", ip_address(outer)) == EGRESS[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_each_client_has_the_source_of_its_own_exit(world: World, a: Agent, b: Agent, family: Family) -> None:
    """Two exits of one node, each with a client of its own."""
    other = EGRESS[family] + 1
    pods = {name: client(world, name) for name in "ab"}
    cluster = state(
        world,
        exit_("one", EGRESS[family], "b", clients=[pods["a"]], number=5),
        exit_("two", other, "b", clients=[pods["b"]], number=16382),
        clients=pods.values(),
    )
    b.sync(cluster)
    a.sync(cluster)
    assert ask("pod-a", SERVER[family]) == EGRESS[family]
    assert ask("pod-b", SERVER[family]) == other


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cni_translates_nothing_that_is_steered(world: World, a: Agent, b: Agent, family: Family) -> None:
    """Neither node's masquerade rule sees a packet of a steered connection."""
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    assert ask("pod-a", SERVER[family]) == EGRESS[family]
    counted = [line for node in "ab" for line in run(node, "nft list table inet cni").splitlines() if "counter" in line]
    assert len(counted) == 4
    assert all("packets 0" in line for line in counted)


def test_a_lone_family_is_steered_and_the_other_blocked(world: World, a: Agent, b: Agent) -> None:
    """A dual-stack client of an IPv4 egress IP does not leave by IPv6 with the node's address."""
    cluster = steered(world, 4)
    b.sync(cluster)
    a.sync(cluster)
    assert ask("pod-a", SERVER[4]) == EGRESS[4]
    with pytest.raises(OSError, match="unreachable"):
        ask("pod-a", SERVER[6])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_node_without_a_default_route_still_steers(world: World, a: Agent, b: Agent, family: Family) -> None:
    """Its clients' way out is the tunnel; the node needs none of its own, unless it filters reverse paths."""
    run("a", "sysctl -q -w net.ipv4.conf.eth0.rp_filter=0")
    run("a", f"ip -{family} route del default")
    cluster = steered(world, family)
    b.sync(cluster)
    a.sync(cluster)
    assert ask("pod-a", SERVER[family]) == EGRESS[family]


def test_replies_by_another_device_pass_a_strict_node(world: World, a: Agent, b: Agent) -> None:
    """Where the CNI has a tunnel of its own, replies come by it from addresses that the node would reach by its uplink;
    only that device is made to filter loosely."""
    for node, other in (("a", 2), ("b", 1)):
        number = 3 - other
        run(node, f"ip link add cni-vx type vxlan id 1 dstport 8472 local 192.0.2.1{number} remote 192.0.2.1{other}")
        run(node, f"ip address add 10.244.{number}.0/32 dev cni-vx")
        run(node, "ip link set cni-vx up")
        run(node, f"ip route replace 10.244.{other}.0/24 via 10.244.{other}.0 dev cni-vx onlink")
    cluster = steered(world, 4)
    b.sync(cluster)
    a.sync(cluster)
    assert ask("pod-a", SERVER[4]) == EGRESS[4]
    assert run("a", "sysctl -n net.ipv4.conf.cni-vx.rp_filter net.ipv4.conf.eth0.rp_filter").split() == ["2", "1"]
