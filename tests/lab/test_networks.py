"""External networks: who reaches which, what stands in whose table, and what the objects say of it.

`red` and `yellow` have the same addresses, and their gateways run on one node. Both families everywhere.
"""

from ipaddress import ip_network

import pytest
from tests.lab.manifests import GATEWAYS, STANDING, asking_for, client, felix, gateway, network, pool
from tests.lab.scene import Side, becomes
from tests.lab.wires import (
    BOTH,
    INTERNET,
    LINK,
    PEER,
    POOLS,
    PRINTER,
    SHARED,
    TABLES,
    Networks,
    after,
    standing_peer,
)

from sallyport.apis.core import PODS
from sallyport.lab.driving import until

pytestmark = [pytest.mark.lab, pytest.mark.root]

OFFICE = {
    "red": {4: "198.51.100.0/25", 6: "2001:db8:51::/64"},
    "yellow": {4: "198.51.100.128/25", 6: "2001:db8:52::/64"},
}
"""What one router announces and the other does not."""


def test_what_goes_astray_or_is_lost_fails_these_tests(net: Networks) -> None:
    """A request on a wire where none may be, one from a source that may not, and one without an answer are noticed."""
    red, yellow = net.served_by("red"), net.served_by("yellow")
    with net.on_wires():
        pass  # what the test before allowed is forgiven once
    for allowed in ({}, {"red": yellow}, {"yellow": red}):
        with pytest.raises(AssertionError, match="a request went to red from"), net.on_wires(**allowed):
            assert net.asked("red/app", BOTH[4]).source in red
    with pytest.raises(AssertionError, match="were lost or went elsewhere"):
        disturb(net)


def disturb(net: Networks) -> None:
    """Let a client that must not be disturbed have no way for a moment."""
    barred = ("unreachable", BOTH[4].server)
    with net.undisturbed("red/app") as flows:
        net.lab.execute("red/app", "ip", "route", "add", *barred)
        try:
            after(flows, 2)
        finally:
            net.lab.execute("red/app", "ip", "route", "del", *barred)


def test_clients_of_two_networks_reach_the_same_address_in_each_at_the_same_time(net: Networks, both: Side) -> None:
    """Pods in red reach red's server and pods in yellow yellow's, from gateways on one node, be the client elsewhere or
    there; none of it is seen on another wire."""
    red, yellow = (net.address(name, both.family) for name in ("red", "yellow"))
    for pod, wire, source in (("red/app", "red", red), ("red/near", "red", red), ("yellow/app", "yellow", yellow)):
        net.goes(pod, both, wire, source, "node-2")


def test_many_requests_of_both_networks_at_once_go_each_to_its_own(net: Networks) -> None:
    """While both clients ask all the time, in both families, all are answered and none is on another wire."""
    with net.on_wires(**net.served("red", "yellow")), net.undisturbed("red/app", "yellow/app"):
        pass


def test_each_table_holds_its_own_routes_and_main_none(net: Networks, both: Side) -> None:
    """What a network's router announces is in that network's table alone, by that router; so is the link to it, which
    the main table has too and nobody had to write into the other."""
    family = both.family
    for name, table in TABLES.items():
        device, *begins = LINK[name]
        link = f"{begins[0]}0/24" if family == 4 else f"{begins[1]}/64"
        own = OFFICE[name][family]
        for node in ("node-2", "node-3"):
            assert net.routes(node, family, table) == {link, SHARED[family], own}
            ((hop, device_),) = net.hops(node, family, table, SHARED[family])
            assert device_ == device
            assert hop == PEER[name][family] or hop.startswith("fe80:")  # RFC 2545, section 3
            assert not net.routes(node, family) & {SHARED[family], own}


def test_a_router_learns_the_addresses_of_its_own_gateways_only(net: Networks, both: Side) -> None:
    """Each gateway's address is a host route to its node on the routers of its networks, and on no other; that of one
    without networks is told to the peers of no network."""
    family = both.family
    address = {name: net.address(name, family) for name in ("red", "yellow", "either", "open")}
    known = {
        "red-router": {"red": 102, "either": 103},
        "yellow-router": {"yellow": 102, "either": 103},
        "router": {"open": 103},
    }
    begins = {"red-router": LINK["red"][1:], "yellow-router": LINK["yellow"][1:], "router": ("10.10.0.", "fd10:10::")}
    for router, wanted in known.items():
        for name, text in address.items():
            found = {hop for hop, _ in net.hops(router, family, "main", text)}
            node = {f"{begins[router][family // 6]}{wanted[name]}"} if name in wanted else set()
            assert found == node, (router, name)


def test_a_session_begins_at_the_link_or_at_the_nodes_own_address(net: Networks) -> None:
    """With sourceAddress None the router sees the address on its link, in both families. With UseNodeIP the node's own
    is used, which this router does not know: no session, and the routes of the other family's remain."""
    for family in BOTH:
        seen = net.bird("red-router", "show", "protocols", "all")
        assert f"Neighbor address: {LINK['red'][family // 6 + 1]}102" in seen
    net.apply(standing_peer("red", 6, sourceAddress="UseNodeIP"))
    becomes(lambda: net.of_peer("red-6"), ("False", "NotEstablished"), 10)
    assert net.of_peer("red-4") == ("True", "Established")
    assert SHARED[4] in net.routes("node-2", 4, 500)


def test_a_gateway_with_two_networks_reaches_both(net: Networks, both: Side) -> None:
    """What only one of its networks has is reached there; what both have is reached in the one that is named first, and
    a condition tells of it with prefix, networks and the one that is used."""
    source = net.address("either", both.family)
    for wire in ("red", "yellow"):
        net.goes("either/app", both, wire, source, "node-3", host=PRINTER[wire][both.family])
    net.goes("either/app", both, "red", source, "node-3")
    (told,) = [item for item in net.gateway("either").conditions if item.type == "PrefixConflict"]
    assert (told.status, told.reason) == ("True", "SamePrefixes")
    for word in (SHARED[both.family], "red", "yellow", "red is used"):
        assert word in told.message


def test_without_a_gateway_traffic_to_the_outside_is_dropped_and_within_goes_on(net: Networks, both: Side) -> None:
    """A client whose selector finds no gateway does not leave, neither to a network nor to the internet; it still
    reaches pods and nodes."""
    for side in (both, INTERNET[both.family]):
        net.stays("lost/app", side)
    near = net.get(PODS, "near", "red").addresses[both.family // 6]
    for inside in (near, both.node(2)):
        ping = ["ping", f"-{both.family}", "-c", "1", "-W", "1", inside]
        assert " 0% packet loss" in net.lab.execute("lost/app", *ping)


def test_a_pod_that_uses_no_gateway_does_not_reach_a_network(net: Networks, both: Side) -> None:
    """Its packets to the networks' addresses take the node's ordinary way, which knows none, also on a node with both
    tables; to the internet it goes as always."""
    for pod, number in (("plain/app", 1), ("plain/near", 2)):
        with net.on_wires(internet={both.node(number)}):
            assert not net.asked(pod, both).source
            assert net.asked(pod, INTERNET[both.family]).source == both.node(number)


def test_a_pool_with_nat_outgoing_lends_the_nodes_address(net: Networks, both: Side) -> None:
    """The source is the InternalIP of the gateway's node; a gateway without networks leaves as its node does, and with
    a pool's address where the pool has no natOutgoing."""
    inet = INTERNET[both.family]
    net.goes("hosted/app", inet, "internet", both.node(3), "node-3")
    net.goes("open/app", inet, "internet", net.address("open", both.family), "node-3")


def test_two_networks_may_see_the_same_address_of_a_node(net: Networks) -> None:
    """natOutgoing on the pools of a gateway of red and one of yellow, both on node-2: each network is told the node's
    InternalIP and sees it as the source, at the same time, and answers find their way back."""
    nodes = {side.node(2) for side in BOTH.values()}
    pools = [pool("lent-4", "10.20.10.0/29", natOutgoing=True), pool("lent-6", "fd10:20:0:a::/125", natOutgoing=True)]
    names = [item["metadata"]["name"] for item in pools]
    made = [gateway(f"lent-{name}", names, [name], node="node-2") for name in TABLES]
    users = [client("plain", f"lent-{name}", 1, asking_for(f"lent-{name}")) for name in TABLES]
    net.apply(*pools, *made, *users)
    try:
        net.lab.kubectl("wait", "-n", "plain", "--for=condition=Ready", "--timeout=20s", "pod", "--all")
        for name in TABLES:
            for side in BOTH.values():
                net.comes_to_go(f"plain/lent-{name}", side, nodes)
                net.goes(f"plain/lent-{name}", side, name, side.node(2), "node-2")
                found = {hop for hop, _ in net.hops(f"{name}-router", side.family, "main", side.node(2))}
                assert found == {f"{LINK[name][side.family // 6 + 1]}102"}
        with net.on_wires(red=nodes, yellow=nodes), net.undisturbed(*(f"plain/lent-{name}" for name in TABLES)):
            pass
    finally:
        net.lab.kubectl("delete", "pod", "-n", "plain", *(f"lent-{name}" for name in TABLES), "--grace-period=1")


def test_what_a_gateway_sends_itself_goes_over_its_network(net: Networks) -> None:
    """Its probes, and whatever else its pod asks for, are seen on yellow alone, from its own address. While the target
    there does not hear it, it is not ready, although red has the same address."""
    target = BOTH[4].server
    probes = {
        "icmpProbe": {"ips": [target], "intervalSeconds": 1, "timeoutSeconds": 1},
        "httpProbe": {"urls": [f"http://{target}/"], "intervalSeconds": 1, "timeoutSeconds": 1},
    }
    net.apply(gateway("probing", ["open-4", "open-6"], ["yellow"], node="node-2", egressGatewayFailureDetection=probes))
    pools = {str(address) for name in ("open-4", "open-6") for address in ip_network(POOLS[name])}
    with net.on_wires(yellow=pools):
        becomes(lambda: net.ready("probing"), 1, 20)
        becomes(lambda: len(net.addresses_of("probing", 4) | net.addresses_of("probing", 6)), 2)
        (row,) = net.gateway("probing").gateways
        for side in BOTH.values():
            assert net.asked(f"{GATEWAYS}/{row.pod}", side).source == net.address("probing", side.family)
        own = net.address("probing", 4)
        assert own in {frame.source for frame in net.wires["yellow"].settle()}
        table = f"table ip deaf {{ chain input {{ type filter hook input priority 0; ip saddr {own} drop; }}; }}"
        net.lab.execute("yellow-server", "nft", table)
        try:
            becomes(lambda: net.ready("probing"), 0, 10)
        finally:
            net.lab.execute("yellow-server", "nft", "delete table ip deaf")
        becomes(lambda: net.ready("probing"), 1, 10)


@pytest.mark.parametrize("clients", [20000, 200])
def test_rules_of_networks_may_have_any_priority(net: Networks, clients: int) -> None:
    """externalNetworkRoutingRulePriority edited while traffic flows, be it before that of clients' rules or not: the
    rules move, answers find their way back, and no request is lost."""
    with net.on_wires(**net.served("red", "yellow")), net.undisturbed("red/app", "yellow/app") as flows:
        net.apply(felix(egressIPRoutingRulePriority=clients, externalNetworkRoutingRulePriority=102))
        until(lambda: "102:" in net.lab.execute("node-2", "ip", "rule"), "the rules are moved")
        after(flows, 20)


def test_external_networks_that_are_switched_off_have_no_effect_and_say_so(net: Networks) -> None:
    """With externalNetworkSupport Disabled, gateways leave by their node's ordinary way, and networks, peers and
    gateways say why; switched on again, all is as before, and nothing has gone to a wrong network meanwhile."""
    served = net.served("red", "yellow")
    with net.on_wires(**served, internet=served["red"]), net.asking("red/app"):
        net.apply(felix(networks=False))
        becomes(lambda: net.of_network("red"), ("False", "Disabled"))
        becomes(lambda: net.of_peer("red-4"), ("False", "ExternalNetworkSupportDisabled"))
        becomes(lambda: net.of_gateway("red", "ExternalNetworksJoined"), ("False", "Disabled"))
        until(lambda: not net.routes("node-2", 4, 500), "the table is emptied")
        with net.on_wires(internet=served["red"]):
            for side in BOTH.values():
                net.asked("red/app", side)
        net.apply(felix())
        for side in BOTH.values():
            net.comes_to_go("red/app", side, served["red"])


def test_a_gateway_with_an_unknown_network_is_degraded_and_alone_in_that(net: Networks) -> None:
    """It is not made, and says which network is missing; others go on. When the network comes, it is made."""
    with net.on_wires(**net.served("red", "yellow")), net.undisturbed("red/app", "yellow/app"):
        net.apply(gateway("strayed", ["open-4"], ["green"]))
        becomes(lambda: net.of_gateway("strayed", "Degraded"), ("True", "NotFound"))
        assert "green" in str(net.gateway("strayed").conditions)
        net.apply(network("green", 700))
        becomes(lambda: net.of_gateway("strayed", "Degraded"), ("False", "AsExpected"))
    assert net.of_gateway("red", "Degraded") == ("False", "AsExpected")


def test_a_network_that_is_deleted_while_in_use_takes_its_traffic_down(net: Networks) -> None:
    """Its clients are dropped and let out nowhere else, its gateway says why, the other network goes on; made again, it
    serves again."""
    served = net.served("red", "yellow")
    with net.on_wires(**served), net.undisturbed("yellow/app"), net.asking("red/app"):
        net.delete("externalnetwork", "red")
        becomes(lambda: net.of_gateway("red", "ExternalNetworksJoined"), ("False", "UnknownNetwork"))
        becomes(lambda: net.of_gateway("red", "Degraded"), ("True", "NotFound"))
        becomes(lambda: net.of_peer("red-4"), ("False", "UnknownNetwork"))
        for side in BOTH.values():
            net.comes_to_stay("red/app", side)
        until(lambda: not net.routes("node-2", 4, 500), "its table is emptied")
        becomes(lambda: net.ready("red"), 0)
        net.apply(network("red", 500, STANDING))
        for side in BOTH.values():
            net.comes_to_go("red/app", side, served["red"])
