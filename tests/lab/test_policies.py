"""How clients come to their gateways: selectors and policies, on namespaces and on pods, and what becomes of those
whose wish cannot be met.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest
from tests.lab.gateways import (
    HOME,
    LEFT,
    OUT,
    RIGHT,
    GatewayScene,
    asks,
    elsewhere,
    felix,
    gateway,
    policy,
    rule,
)
from tests.lab.scene import NAMESPACE, NODES, SIDES, Side, becomes, pod, pod_object

from sallyport.apis.calico.annotations import NAMESPACE_SELECTOR, POLICY, SELECTOR
from sallyport.apis.calico.pods import next_hops
from sallyport.apis.core import PODS
from sallyport.drivers.command import DriverError
from sallyport.lab.driving import until

pytestmark = [pytest.mark.lab, pytest.mark.root]

FOUR, SIX = SIDES.values()
Object = dict[str, Any]
ASKER = [sys.executable, "-m", "sallyport.lab.ask", "udp", FOUR.server, "--count", "0", "--interval", "0.01"]
"""A container that sends from its first moment on."""


def single(side: Side) -> str:
    """The server's first address, as a network."""
    return f"{side.server}/{32 if side.family == 4 else 128}"


def by_policy(name: str) -> dict[str, str]:
    return {POLICY: name}


# Selectors


def test_a_selector_alone_means_gateways_of_the_clients_own_namespace(gates: GatewayScene) -> None:
    """All gateways have a label `gw`, but only one is in the namespace of the clients: it alone is used. With a
    namespace selector those are used that are elsewhere."""
    gates.apply(gateway("own", node=3, namespace=NAMESPACE))
    gates.stand("own", namespace=NAMESPACE)
    gates.annotate(NAMESPACE, {SELECTOR: "has(gw)"})
    for side in SIDES.values():
        gates.comes_to_leave(pod(1), side, *gates.way("own", side, NAMESPACE))
    gates.annotate(NAMESPACE, {NAMESPACE_SELECTOR: f"projectcalico.org/name in {{'{HOME}'}}", SELECTOR: "gw == 'left'"})
    for side in SIDES.values():
        gates.comes_to_leave(pod(1), side, *gates.way(LEFT, side))


def test_without_a_gateway_nothing_leaves_and_the_cluster_is_reached(gates: GatewayScene) -> None:
    """A selector that no gateway matches, or that cannot be read: nothing leaves the cluster, other pods are reached.
    Removing the annotations brings the ordinary way back."""
    for wrong in ("gw == 'nobody'", "gw =="):
        gates.annotate(NAMESPACE, {SELECTOR: wrong, NAMESPACE_SELECTOR: "all()"})
        for side in SIDES.values():
            gates.comes_to_be_dropped(pod(1), side)
        gates.reaches_the_cluster(pod(1), pod(2))
    until(lambda: "InvalidSpec" in dict(gates.warnings("Namespace", NAMESPACE)), "the namespace says why")
    gates.annotate(NAMESPACE, {SELECTOR: None, NAMESPACE_SELECTOR: None})
    for side in SIDES.values():
        gates.comes_to_leave(pod(1), side, side.node(1), "node-1")


def test_a_pod_that_sends_at_once_is_never_seen_from_its_node(gates: GatewayScene) -> None:
    """Annotated at its creation, it uses the gateway from its first packet on. When it is made anew it has another
    address and uses the gateway again; the pod that has its old address does not."""
    source, node = gates.way(LEFT, FOUR)
    with gates.only(source):
        gates.run(annotated_pod("early", 1, asks(LEFT), ASKER))
        until(lambda: any(frame.source == source for frame in gates.frames()), "it is seen")
        old = gates.pod_addresses("early")
        gates.delete("pod", "early", "-n", NAMESPACE, "--grace-period=0", "--force")
    gates.run(pod_object("heir", 1, {}))
    assert gates.pod_addresses("heir") == old
    gates.comes_to_leave(f"{NAMESPACE}/heir", FOUR, FOUR.node(1), "node-1")
    gates.run(annotated_pod("early", 1, asks(LEFT)))
    assert gates.pod_addresses("early") != old
    gates.comes_to_leave(f"{NAMESPACE}/early", FOUR, source, node)


def annotated_pod(name: str, number: int, annotations: dict[str, str], command: Sequence[str] = ()) -> Object:
    """A pod of node-NUMBER with annotations of its own."""
    made = pod_object(name, number, {}, command)
    made["metadata"]["annotations"] = annotations
    return made


# Policies


@pytest.mark.parametrize("order", [1, -1], ids=["narrow-first", "wide-first"])
def test_the_longest_prefix_decides_whatever_the_order(gates: GatewayScene, order: int) -> None:
    """One address by one gateway, the network around it by another, all the rest by three."""
    rules = [rule(single(side), RIGHT) for side in SIDES.values()]
    rules += [rule(side.everything_outside, LEFT) for side in SIDES.values()]
    rules += [rule("", OUT)]
    gates.apply(policy("three-ways", *rules[::order]))
    gates.annotate(pod(1), by_policy("three-ways"))
    for side, far in ((FOUR, "198.51.100.1"), (SIX, "2001:db8:5::1")):
        gates.comes_to_leave(pod(1), side, *gates.way(RIGHT, side))
        gates.leaves(pod(1), elsewhere(side), *gates.way(LEFT, side))
        assert sorted(gates.trace(pod(1), far)) == sorted(gates.ways(OUT, side).items())


def test_a_rule_without_a_gateway_is_the_ordinary_way(gates: GatewayScene) -> None:
    """One address goes as if there were no policy, everything else by the gateway; and where a policy has no rule for
    a destination, that goes the ordinary way as well."""
    gates.apply(
        policy("but-one", rule("", LEFT), *(rule(single(side)) for side in SIDES.values())),
        policy("one", rule(single(FOUR), LEFT)),
    )
    gates.annotate(pod(1), by_policy("but-one"))
    gates.annotate(pod(2), by_policy("one"))
    for side in SIDES.values():
        gates.comes_to_leave(pod(1), elsewhere(side), *gates.way(LEFT, side))
        gates.leaves(pod(1), side, side.node(1), "node-1")
    gates.comes_to_leave(pod(2), FOUR, *gates.way(LEFT, FOUR))
    gates.leaves(pod(2), elsewhere(FOUR), FOUR.node(2), "node-2")
    gates.leaves(pod(2), SIX, SIX.node(2), "node-2")


def test_an_unknown_policy_lets_nothing_out(gates: GatewayScene) -> None:
    """A client whose policy is not there is dropped and told of, and reaches the cluster. It leaves when the policy is
    made, and is dropped again when that is gone. A client of another policy notices nothing."""
    gates.apply(policy("known", rule("", RIGHT)))
    gates.annotate(pod(2), by_policy("known"))
    gates.annotate(pod(1), by_policy("later"))
    for side in SIDES.values():
        gates.comes_to_be_dropped(pod(1), side)
        gates.is_dropped(pod(1), elsewhere(side))
        gates.comes_to_leave(pod(2), side, *gates.way(RIGHT, side))
    gates.reaches_the_cluster(pod(1))
    until(lambda: "UnknownPolicy" in dict(gates.warnings("Pod", "on-1", NAMESPACE)), "the pod says why")
    gates.apply(policy("later", rule("", LEFT)))
    for side in SIDES.values():
        gates.comes_to_leave(pod(1), side, *gates.way(LEFT, side))
    gates.delete("egressgatewaypolicy", "later")
    for side in SIDES.values():
        gates.comes_to_be_dropped(pod(1), side)
        gates.leaves(pod(2), side, *gates.way(RIGHT, side))


REFUSED: Mapping[str, tuple[list[Object], str]] = {
    "twice": ([rule("10.0.0.0/8", OUT), rule("10.0.0.0/8")], "two rules have the same destination"),
    "two-defaults": ([rule("", OUT), rule("0.0.0.0/0", LEFT)], "one without any is for 0.0.0.0/0"),
    "nothing": ([{}], "rules"),
    "no-selector": ([{"gateway": {"selector": "", "namespaceSelector": "all()"}}], "selector"),
    "no-namespaces": ([{"gateway": {"selector": "all()", "namespaceSelector": ""}}], "namespaceSelector"),
    "no-network": ([rule("10.0.0.1.0/8", OUT)], "10.0.0.1.0/8"),
    "hops": ([rule("", OUT, at_most=-1)], "maxNextHops"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_policy_that_makes_no_sense_is_refused(house: GatewayScene, mistake: str) -> None:
    rules, said = REFUSED[mistake]
    with pytest.raises(DriverError, match=said):
        house.apply(policy("refused", *rules))


def test_a_policy_that_is_edited_leads_its_clients_anew(gates: GatewayScene) -> None:
    """While a pod sends, its policy turns to another gateway: from then on it leaves by that one, none leaks, and no
    request is lost but one that is under way at that moment. Its status counts its clients."""
    gates.apply(policy("moving", rule("", LEFT)))
    gates.annotate(pod(1), by_policy("moving"))
    for side in SIDES.values():
        gates.comes_to_leave(pod(1), side, *gates.way(LEFT, side))
    sources = [gates.way(name, side)[0] for name in (LEFT, RIGHT) for side in SIDES.values()]
    with gates.only(*sources), gates.flowing(pod(1), *SIDES.values(), protocol="udp") as flows:
        gates.apply(policy("moving", rule("", RIGHT)))
        for side in SIDES.values():
            becomes(partial(gates.trace, pod(1), side.server), [gates.way(RIGHT, side)])
        before = {family: len(asked) for family, asked in flows.items()}
        until(lambda: all(len(asked) > before[family] + 10 for family, asked in flows.items()), "requests flow")
        gates.annotate(pod(2), by_policy("moving"))
        becomes(lambda: gates.lab.kubectl("get", "egressgatewaypolicy", "moving", "-o=jsonpath={.status.clients}"), "2")
    for asked in flows.values():
        assert sum(answer.source not in sources for answer in asked) <= 1
    for side in SIDES.values():
        gates.leaves(pod(1), side, *gates.way(RIGHT, side))


def test_a_gateway_on_the_clients_node_is_preferred(gates: GatewayScene) -> None:
    """Clients of node-2 and node-3 have a gateway of the policy beside them and use that one alone; the client of
    node-1, which has none, uses both. When the one beside a client is gone, that client uses the other."""
    gates.apply(policy("near", rule("", f"{LEFT},{RIGHT}", local=True)))
    gates.annotate(NAMESPACE, by_policy("near"))
    for side in SIDES.values():
        both = dict([gates.way(LEFT, side), gates.way(RIGHT, side)])
        gates.comes_to_share(pod(1), side, both, before=[side.node(1)])
        gates.comes_to_leave(pod(2), side, *gates.way(LEFT, side))
        gates.comes_to_leave(pod(3), side, *gates.way(RIGHT, side))
    gates.apply(gateway(LEFT, node=2, replicas=0))
    for side in SIDES.values():
        gates.comes_to_leave(pod(2), side, *gates.way(RIGHT, side))


def test_a_limit_of_next_hops_holds_for_its_rule(gates: GatewayScene) -> None:
    """Two of three gateways for one address, all three for the rest; what was chosen is recorded on the pod."""
    limited = [rule(single(side), OUT, at_most=2) for side in SIDES.values()]
    gates.apply(policy("two-of-three", *limited, rule("", OUT)))
    gates.annotate(pod(1), by_policy("two-of-three"))
    becomes(lambda: len(chosen(gates, 1)), 2)
    for side in SIDES.values():
        ways = gates.ways(OUT, side)
        wanted = {address: ways[address] for address in addresses_of(gates, chosen(gates, 1)[single(side)], side)}
        assert len(wanted) == 2
        gates.comes_to_share(pod(1), side, wanted, before=[side.node(1)])
        gates.comes_to_share(pod(1), elsewhere(side), ways)


def chosen(scene: GatewayScene, number: int) -> dict[str, tuple[str, ...]]:
    """Exits by destination, as recorded on the standing pod of node-NUMBER."""
    return next_hops(scene.get(PODS, f"on-{number}", NAMESPACE).metadata.annotations)


def addresses_of(scene: GatewayScene, exits: Sequence[str], side: Side) -> list[str]:
    """A family's addresses of the exits NAMESPACE/POD/vFAMILY of the three standing gateways."""
    ways, rows = scene.ways(OUT, side), scene.state(OUT).gateways
    return [
        address
        for row in rows
        for address in row.addresses
        if address in ways and f"{HOME}/{row.pod}/v{side.family}" in exits
    ]


def test_clients_with_one_next_hop_each_are_shared_out_evenly(gates: GatewayScene, side: Side) -> None:
    """Three clients, three gateways, one next hop: each client has a gateway of its own, and keeps it."""
    gates.annotate(NAMESPACE, asks(OUT, at_most=1))
    becomes(lambda: [len(chosen(gates, number)) for number in NODES], [2, 2, 2])
    everything = "0.0.0.0/0" if side.family == 4 else "::/0"
    ways = gates.ways(OUT, side)
    used = [addresses_of(gates, chosen(gates, number)[everything], side) for number in NODES]
    assert sorted(used) == sorted([address] for address in ways)
    for number, (address,) in zip(NODES, used, strict=True):
        gates.comes_to_leave(pod(number), side, address, ways[address])


def test_a_policy_comes_before_a_selector_on_the_same_object(gates: GatewayScene) -> None:
    """The policy decides, on a namespace as on a pod, and a warning says that the selector does not count."""
    gates.apply(policy("first", rule("", LEFT)), felix(egressIPSupport="EnabledPerNamespace"))
    gates.annotate(NAMESPACE, {**asks(RIGHT), **by_policy("first")})
    for side in SIDES.values():
        gates.comes_to_leave(pod(1), side, *gates.way(LEFT, side))
    until(lambda: "PolicyAndSelector" in dict(gates.warnings("Namespace", NAMESPACE)), "the namespace says so")
    gates.apply(felix())
    gates.annotate(pod(1), {**asks(LEFT), **by_policy("second")})
    gates.apply(policy("second", rule("", RIGHT)))
    for side in SIDES.values():
        gates.comes_to_leave(pod(1), side, *gates.way(RIGHT, side))
        gates.leaves(pod(2), side, *gates.way(LEFT, side))
    until(lambda: "PolicyAndSelector" in dict(gates.warnings("Pod", "on-1", NAMESPACE)), "the pod says so")
