"""Egress gateways as a user makes, edits and breaks them: their addresses, their number, their Deployments, and which
mode lets whose annotations count. What clients and policies ask of them is in `test_policies.py`.
"""

import ipaddress
import json
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
    Held,
    asks,
    elsewhere,
    felix,
    gateway,
    policy,
    pool,
    rule,
)
from tests.lab.scene import NAMESPACE, SIDES, Side, becomes, egress, ip_pool, on, pod

from sallyport.apis.calico.annotations import POLICY
from sallyport.drivers.command import DriverError
from sallyport.lab.driving import until

pytestmark = [pytest.mark.lab, pytest.mark.root]

FOUR, SIX = SIDES.values()
Object = dict[str, Any]


def test_whose_annotations_count_is_said_by_the_mode(gates: GatewayScene) -> None:
    """A namespace and a pod ask for different gateways. Disabled: neither counts, traffic is untouched. Per namespace:
    the pod's does not count. Per namespace or pod: the pod's comes first, and its neighbour has the namespace's."""
    gates.apply(felix(egressIPSupport="Disabled"))
    gates.annotate(NAMESPACE, asks(OUT))
    gates.annotate(pod(1), asks(LEFT))
    for side in SIDES.values():
        gates.leaves(pod(1), side, side.node(1), "node-1")
    gates.apply(felix(egressIPSupport="EnabledPerNamespace"))
    gates.comes_to_share(pod(1), FOUR, gates.ways(OUT, FOUR), before=[FOUR.node(1)])
    gates.apply(felix(egressIPSupport="EnabledPerNamespaceOrPerPod"))
    for side in SIDES.values():
        gates.comes_to_share(pod(1), side, dict([gates.way(LEFT, side)]), before=[*gates.ways(OUT, side)])
        gates.comes_to_share(pod(2), side, gates.ways(OUT, side))


def test_connections_of_one_client_are_spread_over_all_gateways(gates: GatewayScene, side: Side) -> None:
    """Ninety connections of one pod to one server: each of three gateways gets its part of them, by its own node."""
    gates.annotate(pod(1), asks(OUT))
    ways = gates.ways(OUT, side)
    assert len(ways) == 3
    gates.comes_to_share(pod(1), side, ways, before=[side.node(1)])
    seen = gates.shares(pod(1), side, ways, 90)
    assert {address: 12 <= seen[address] <= 50 for address in ways} == dict.fromkeys(ways, True), seen


def test_pools_are_named_by_name_by_cidr_or_by_both(gates: GatewayScene) -> None:
    """Each way of naming a pool gives the gateways addresses of that pool, and the pool counts them."""
    named: dict[str, Object] = {
        "by-name": {"name": "few"},
        "by-cidr": {"cidr": "10.10.3.0/30"},
        "by-both": {"name": "few", "cidr": "10.10.3.0/30"},
    }
    gates.apply(pool("few", "10.10.3.0/30"), *(gateway(name, given, node=2) for name, given in named.items()))
    gates.stand(*named)
    given = [gates.way(name, FOUR)[0] for name in named]
    assert len(set(given)) == 3
    assert {ipaddress.ip_address(address) in ipaddress.ip_network("10.10.3.0/30") for address in given} == {True}
    becomes(lambda: gates.lab.kubectl("get", "ippool", "few", "--no-headers").split()[1:4], ["10.10.3.0/30", "3", "4"])
    line = gates.lab.kubectl("get", "egressgateway", "by-cidr", "--no-headers").split()
    assert line[:4] == ["by-cidr", "Ready", "1", "1"]
    gates.annotate(pod(1), asks("by-cidr"))
    gates.comes_to_leave(pod(1), FOUR, *gates.way("by-cidr", FOUR))
    gates.is_dropped(pod(1), SIX)  # it has no gateway of that family


def test_a_gateway_that_cannot_be_made_says_why_and_harms_no_other(gates: GatewayScene) -> None:
    """Each mistake that only shows beside other objects is a condition with its reason; a client of another gateway
    loses nothing meanwhile; and each that is mended is made."""
    wrong = {
        "no-pool": (gateway("no-pool", {"name": "none"}), "IPPool none does not exist"),
        "no-cidr": (gateway("no-cidr", {"cidr": "10.10.2.0/28"}), "10.10.2.0/28 does not exist"),
        "two-pools": (gateway("two-pools", {"name": "four", "cidr": "10.10.2.0/28"}), "not 10.10.2.0/28"),
        "no-network": (gateway("no-network", externalNetworks=["red"]), "ExternalNetwork red does not exist"),
    }
    gates.annotate(pod(1), asks(OUT))
    ways = gates.ways(OUT, FOUR)
    gates.comes_to_share(pod(1), FOUR, ways, before=[FOUR.node(1)])
    with gates.only(*ways), gates.flowing(pod(1), FOUR) as flows:
        gates.apply(*(made for made, _ in wrong.values()))
        for name, (_, message) in wrong.items():
            becomes(partial(is_degraded, gates, name, message), True)
            assert gates.lab.kubectl("get", "egressgateway", name, "--no-headers").split()[1] == "Degraded"
            assert message in " ".join(text for _, text in gates.warnings("EgressGateway", name))
        assert gates.state(OUT).state == "Ready"
        gates.apply(*(gateway(name, node=2) for name in wrong))
        gates.stand(*wrong)
        assert [degraded(gates, name)[0] for name in wrong] == ["False"] * len(wrong)
    assert {answer.source in ways for answer in flows[4]} == {True}


def degraded(scene: GatewayScene, name: str) -> tuple[str, str]:
    """Status and message of the condition Degraded."""
    status, _, message = scene.condition(name, "Degraded")
    return status, message


def is_degraded(scene: GatewayScene, name: str, message: str) -> bool:
    """Whether a gateway says this of itself."""
    status, told = degraded(scene, name)
    return status == "True" and message in told


REFUSED: Mapping[str, tuple[Object, str]] = {
    "elastic": ({"aws": {"elasticIPs": ["1.2.3.4"]}}, "spec.aws.elasticIPs"),
    "native": ({"aws": {"nativeIP": "Enabled"}}, "spec.aws.nativeIP"),
    "no-probe": ({"egressGatewayFailureDetection": {}}, "icmpProbe or httpProbe must be given"),
    "icmp-late": (
        {"egressGatewayFailureDetection": {"icmpProbe": {"ips": ["1.2.3.4"], "timeoutSeconds": 4}}},
        "timeoutSeconds must not be less than intervalSeconds",
    ),
    "http-late": (
        {"egressGatewayFailureDetection": {"httpProbe": {"urls": ["http://a"], "timeoutSeconds": 9}}},
        "timeoutSeconds must not be less than intervalSeconds",
    ),
    "nameless": ({"ipPools": [{}]}, "name or cidr must be given"),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_is_wrong_by_itself_is_refused_with_its_field(house: GatewayScene, mistake: str) -> None:
    spec, message = REFUSED[mistake]
    with pytest.raises(DriverError, match=message.replace("[", r"\[")):
        house.apply(gateway("refused", **spec))


def test_pods_without_labels_of_their_own_have_the_default_one(gates: GatewayScene) -> None:
    made = gateway("plain", node=3)
    del made["spec"]["template"]["metadata"]
    gates.apply(made)
    gates.stand("plain")
    gates.annotate(pod(1), {**asks(""), "egress.projectcalico.org/selector": "projectcalico.org/egw == 'plain'"})
    for side in SIDES.values():
        gates.comes_to_leave(pod(1), side, *gates.way("plain", side))


def test_what_the_template_says_reaches_the_pods(gates: GatewayScene) -> None:
    """Labels, annotations, affinity, tolerations, spread, grace, priority, resources and times of probes."""
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"gw": "whole"}},
    }
    expression = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["b"]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    given: Object = {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}},
        "tolerations": [{"key": "egress", "operator": "Exists", "effect": "NoSchedule"}],
        "topologySpreadConstraints": [spread],
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "egress-gateway",
                "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}},
                "readinessProbe": {"periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 4},
                "livenessProbe": {"periodSeconds": 3, "initialDelaySeconds": 5},
            }
        ],
    }
    gates.apply(gateway("whole", template=given))
    gates.patch("egressgateway", "whole", {"spec": {"template": {"metadata": {"annotations": {"site": "here"}}}}})
    gates.stand("whole")
    until(lambda: len(gates.state("whole").gateways) == 1, "the rollout is over")
    row = gates.state("whole").gateways[0]
    made = gates.lab.objects("pod", row.pod, "-n", HOME)[0]
    assert row.node == "node-3"  # the only one in zone b
    assert (made["metadata"]["labels"]["gw"], made["metadata"]["annotations"]["site"]) == ("whole", "here")
    for name in ("affinity", "topologySpreadConstraints", "terminationGracePeriodSeconds"):
        assert made["spec"][name] == given[name], name
    assert given["tolerations"][0] in made["spec"]["tolerations"]
    container, wanted = made["spec"]["containers"][0], given["containers"][0]
    assert container["resources"]["limits"] == wanted["resources"]["limits"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert wanted[probe].items() <= container[probe].items(), probe
    assert container["readinessProbe"]["httpGet"]["path"] == "/readiness"


def test_more_replicas_than_addresses_say_so_and_those_with_one_work(gates: GatewayScene) -> None:
    """A pool of two and three replicas: two carry traffic, the third says what it lacks, and so does the gateway, until
    only two are asked for."""
    gates.apply(pool("pair", "10.10.3.0/31"), gateway("many", {"name": "pair"}, replicas=3))
    becomes(lambda: (gates.state("many").ready_replicas, degraded(gates, "many")[0]), (2, "True"), 20)
    (row,) = (row for row in gates.state("many").gateways if not row.ready)
    assert not row.addresses
    assert "cannot allocate IP in any range of IPPool pair" in row.message
    assert "1 gateways have no address" in degraded(gates, "many")[1]
    assert gates.lab.kubectl("get", "egressgateway", "many", "--no-headers").split()[1:4] == ["Degraded", "2", "3"]
    gates.annotate(pod(1), asks("many"))
    gates.comes_to_share(pod(1), FOUR, gates.ways("many", FOUR), before=[FOUR.node(1)])
    gates.apply(gateway("many", {"name": "pair"}, replicas=2))
    gates.stand("many")
    assert degraded(gates, "many")[0] == "False"


def test_connections_stay_where_they_are_when_gateways_come_and_go(gates: GatewayScene) -> None:
    """Twenty open connections in each family. When a third gateway comes, all of them live, and new ones use it. When a
    gateway is killed, those of the other two live all the same: none moves."""
    gates.apply(gateway(OUT, replicas=2))
    gates.stand(OUT)
    gates.annotate(pod(1), asks(OUT))
    two = all_ways(gates, OUT)
    shared(gates, two, before={family: {side.node(1): "node-1"} for family, side in SIDES.items()})
    with gates.holding(pod(1), FOUR, 20) as four, gates.holding(pod(1), SIX, 20) as six:
        held = [*four, *six]
        assert {item.source for item in held} == {*two[4], *two[6]}
        gates.apply(gateway(OUT, replicas=3))
        gates.stand(OUT)
        three = all_ways(gates, OUT)
        shared(gates, three, before=two)
        assert lost(held) == []
        victim = next(row for row in gates.state(OUT).gateways if set(row.addresses) & {*two[4], *two[6]})
        gates.lab.kubectl("delete", "pod", victim.pod, "-n", HOME, "--grace-period=0", "--force")
        survivors = [item for item in held if item.source not in victim.addresses]
        assert lost(survivors) == []
        gates.stand(OUT)
        shared(gates, all_ways(gates, OUT), before=three)
        assert lost(survivors) == []


def test_a_gateway_that_comes_to_the_clients_own_node_moves_no_connection(gates: GatewayScene) -> None:
    """A client of two gateways on other nodes: when a third one comes beside it, and is away for a moment and back, all
    open connections live."""
    gates.annotate(pod(1), asks(f"{LEFT},{RIGHT},near"))
    two = all_ways(gates, LEFT, RIGHT)
    ways = two
    shared(gates, two, before={family: {side.node(1): "node-1"} for family, side in SIDES.items()})
    with gates.holding(pod(1), FOUR, 16) as four, gates.holding(pod(1), SIX, 16) as six:
        assert {item.source for item in (*four, *six)} == {*two[4], *two[6]}
        for replicas in (1, 0, 1):
            gates.apply(gateway("near", node=1, replicas=replicas))
            gates.stand("near")
            before, ways = ways, all_ways(gates, LEFT, RIGHT, "near")
            shared(gates, ways, before=before)
            assert lost([*four, *six]) == []


Ways = dict[int, dict[str, str]]
"""Addresses and their nodes, by family."""


def all_ways(scene: GatewayScene, *names: str) -> Ways:
    """Those of several gateways together."""
    return {
        family: {address: node for name in names for address, node in scene.ways(name, side).items()}
        for family, side in SIDES.items()
    }


def shared(scene: GatewayScene, ways: Ways, *, before: Ways) -> None:
    """New connections of the pod of node-1 come to leave by all of these ways, in both families."""
    for family, side in SIDES.items():
        scene.comes_to_share(pod(1), side, ways[family], before=[*before[family]])


def lost(held: Sequence[Held]) -> list[str]:
    """The addresses of connections that do not live."""
    return [item.source for item in held if not item.alive]


def test_gateways_are_nobodys_clients(gates: GatewayScene, side: Side) -> None:
    """The namespace of gateways is annotated: an ordinary pod of it would use them, its gateways do not use each other.
    What a gateway sends itself has its own address."""
    gates.annotate(HOME, asks(OUT))
    row = gates.state(OUT).gateways[0]
    ways = gates.ways(OUT, side)
    ((address, node),) = ((address, node) for address, node in ways.items() if address in row.addresses)
    with gates.only(*ways):
        gates.shares(f"{HOME}/{row.pod}", side, {address: node}, 12)


def test_a_gateway_comes_before_an_egress_for_the_destinations_it_has(gates: GatewayScene) -> None:
    """A pod with an Egress and a policy: the gateway has the policy's destination, the Egress all others, and both
    objects say so. Without the annotation the Egress has everything again."""
    held = FOUR.spare(5)
    gates.apply(
        ip_pool("antrea", held),
        egress("mine", on(1), pool="antrea"),
        policy("one", rule(f"{FOUR.server}/32", LEFT)),
    )
    until(lambda: gates.holder("mine") != "", "somebody holds it")
    way = (held, gates.holder("mine"))
    gates.comes_to_leave(pod(1), FOUR, *way)
    gates.annotate(pod(1), {POLICY: "one"})
    gates.comes_to_leave(pod(1), FOUR, *gates.way(LEFT, FOUR))
    gates.leaves(pod(1), elsewhere(FOUR), *way)
    becomes(lambda: gates.conditions("mine").get("Overlapping", ""), "True")
    until(lambda: "EgressToo" in dict(gates.warnings("EgressGatewayPolicy", "one")), "the policy says so")
    gates.annotate(pod(1), {POLICY: None})
    gates.sources[pod(1), 4] = gates.way(LEFT, FOUR)[0]
    gates.comes_to_leave(pod(1), FOUR, *way)


def test_a_deployment_of_somebody_else_is_not_taken_over_by_force(gates: GatewayScene) -> None:
    """A Deployment of the gateway's name with another selector, which cannot be changed: the gateway says that it was
    refused. When that Deployment is gone the gateway is made."""
    gates.lab.kubectl("apply", "-f", "-", text=json.dumps(deployment("taken")))
    gates.apply(gateway("taken", node=2))
    becomes(lambda: gates.condition("taken", "Degraded")[:2], ("True", "DeploymentRefused"))
    assert "immutable" in gates.condition("taken", "Degraded")[2]
    gates.lab.kubectl("delete", "deploy", "taken")
    gates.stand("taken")
    assert degraded(gates, "taken")[0] == "False"


def deployment(name: str) -> Object:
    """A Deployment of one pod that does nothing, made by hand."""
    labels = {"app": name}
    pods = {"containers": [{"name": "main", "image": "none"}], "terminationGracePeriodSeconds": 0}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pods}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": HOME}, "spec": spec}


def test_another_tunnel_port_and_vni_take_over_by_themselves(gates: GatewayScene) -> None:
    """The tunnel's port and network are edited while a pod sends: traffic goes on by itself, through a tunnel of the
    new port, and none leaks meanwhile."""
    gates.annotate(pod(1), asks(LEFT))
    for side in SIDES.values():
        gates.comes_to_leave(pod(1), side, *gates.way(LEFT, side))
    sources = [gates.way(LEFT, side)[0] for side in SIDES.values()]
    with gates.only(*sources):
        with gates.flowing(pod(1), *SIDES.values(), protocol="udp", timeout=0.2):
            gates.apply(felix(egressIPVXLANPort=4999, egressIPVXLANVNI=5000))
            becomes(lambda: tunnel(gates, "node-1") | tunnel(gates, "node-2"), {(4999, 5000)})
        with gates.lab.capture("node-2", "udp dst port 4999 and src host 10.10.0.101") as capture:
            for side in SIDES.values():
                gates.comes_to_leave(pod(1), side, *gates.way(LEFT, side))
            assert capture.settle()


def tunnel(scene: GatewayScene, node: str) -> set[tuple[int, int]]:
    """Port and VNI of the tunnel's devices on a node."""
    links = json.loads(scene.lab.execute(node, "ip", "-d", "-j", "link", "show", "type", "vxlan"))
    return {(link["linkinfo"]["info_data"]["port"], link["linkinfo"]["info_data"]["id"]) for link in links}
