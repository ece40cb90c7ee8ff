"""What the statuses of Calico's kinds say: the data plane as agents report it."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from tests.unit.apis.calico.build import (
    felix,
    gateway,
    gateway_pod,
    ip_pool,
    namespace,
    network,
    node,
    peer,
    pod,
    policy,
    translated,
)
from tests.unit.apis.calico.objects import rule

from sallyport.apis.calico.pods import GatewayPod
from sallyport.apis.calico.status import (
    CONFLICT,
    NETWORKS,
    PROGRESSING,
    Seen,
    gateway_status,
    network_status,
    peer_status,
    policy_status,
    pool_status,
)
from sallyport.apis.calico.types import AVAILABLE, DEGRADED, EgressGatewayStatus
from sallyport.apis.core import Condition
from sallyport.model import state as model
from sallyport.model.plan import Assignment, ClusterPlan, Conflict, RoutingReport, Usage
from sallyport.model.state import ClusterState, ObjectRef, Problem

NOW = "2026-01-01T00:00:00Z"
RECORDED = '{"exits":{"4":{"ip":"10.10.10.2","id":9}}}'
UP = "Established"


def seen(
    *gateways: GatewayPod,
    problems: tuple[Problem, ...] = (),
    reports: Mapping[str, RoutingReport] | None = None,
    **more: Any,
) -> Seen:
    """Network red on node-1 and node-2 by peer `router`, and what else `more` says of the objects."""
    foreign = more.pop("foreign", {})
    usual: dict[str, Any] = {
        "networks": (network("red", 500), network("yellow", 600)),
        "peers": (peer(externalNetwork="red"),),
        "nodes": [node("node-1"), node("node-2", "10.0.0.2")],
    }
    found = translated(*gateways, **{**usual, **more})
    state = ClusterState(
        nodes={name: model.Node(name, ()) for name in ("node-1", "node-2")},
        exits=found.exits,
        policies=found.policies,
        external=found.external,
        peerings=found.peerings,
        routing=found.routing,
    )
    told = tuple(sorted({*found.problems, *problems}))
    return Seen(state, ClusterPlan(problems=told), reports or {}, foreign)


def report(*, established: bool = True, red: int = 3, standing: str | None = "", **fields: Any) -> RoutingReport:
    """What a node tells whose gateway gw-1 stands, with a session of `router` and routes of red."""
    states = {"router": UP if established else "Active"}
    stands = {} if standing is None else {"default/gw-1/v4": standing}
    return replace(RoutingReport(sessions=states, counts={"red": red}, standing=stands), **fields)


def conditions(status: Any) -> dict[str, tuple[str, str]]:
    return {item.type: (item.status, item.reason) for item in status.conditions}


def message(status: Any, kind: str) -> str:
    return next(str(item.message) for item in status.conditions if item.type == kind)


READY = gateway_pod(exits=RECORDED, networks=["red"])
RED = gateway(externalNetworks=["red"])


def of_gateway(
    what: Seen, *pods: GatewayPod, refused: tuple[Problem, ...] = (), spec: Any = None
) -> EgressGatewayStatus:
    return gateway_status(spec or RED, pods or (READY,), refused, what, NOW)


# Gateways


def test_a_gateway_is_available_when_its_pods_carry_traffic_and_not_before() -> None:
    found = of_gateway(seen(READY, reports={"node-1": report()}))
    assert (found.state, found.replicas, found.ready_replicas) == ("Ready", 1, 1)
    assert conditions(found) == {
        AVAILABLE: ("True", "GatewaysReady"),
        PROGRESSING: ("False", "AllReady"),
        DEGRADED: ("False", "AsExpected"),
        NETWORKS: ("True", "Joined"),
    }
    (row,) = found.gateways
    assert (row.pod, row.node, row.addresses, row.ready, row.networks, row.message) == (
        "gw-1", "node-1", ("10.10.10.2",), True, ("red",), "",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pod_", "reports", "reason"),
    [
        (gateway_pod(exits=RECORDED, networks=["red"], ready=False), {"node-1": report()}, "it is not ready"),
        (READY, {}, "the agent of Node node-1 has not reported"),
        (READY, {"node-1": report(standing=None)}, "its node has not made its way yet"),
        (READY, {"node-1": report(standing="no route is known")}, "no route is known"),
        (gateway_pod(networks=["red"]), {"node-1": report()}, "it waits for an address"),
        (gateway_pod(node="", networks=["red"]), {}, "it waits for a Node: it is not scheduled yet"),
        (gateway_pod(exits=RECORDED, deletionTimestamp=NOW), {"node-1": report()}, "it is ending"),
    ],
)
def test_a_pod_that_carries_no_traffic_says_why(
    pod_: GatewayPod, reports: Mapping[str, RoutingReport], reason: str
) -> None:
    found = of_gateway(seen(pod_, reports=reports), pod_)
    assert (found.gateways[0].message, found.gateways[0].ready) == (reason, False)
    assert (found.state, found.ready_replicas) == ("Progressing", 0)
    assert conditions(found)[AVAILABLE] == ("False", "NoGatewayReady")
    assert conditions(found)[PROGRESSING] == ("True", "GatewaysNotReady")


def test_a_gateway_of_which_some_pods_carry_traffic_is_available_and_progressing() -> None:
    found = of_gateway(seen(READY, reports={"node-1": report()}), spec=gateway(replicas=2, externalNetworks=["red"]))
    assert found.state == "Progressing"
    assert conditions(found)[AVAILABLE][0] == conditions(found)[PROGRESSING][0] == "True"


def test_an_address_that_the_plan_gave_to_another_pod_is_not_told_as_a_pods_own() -> None:
    """Its record is older than the plan: the pod says why it has none."""
    what = seen(READY, problems=(Problem(ObjectRef("Pod", "gw-1", "default"), "AllocationError", "none is left"),))
    other = Assignment(id=0, address=None)
    what = replace(what, plan=replace(what.plan, assignments={"default/gw-1/v4": other}))
    (row,) = of_gateway(what).gateways
    assert (row.addresses, row.ready, row.message) == ((), False, "none is left")


def test_a_gateway_of_no_replicas_is_as_it_should_be() -> None:
    found = gateway_status(gateway(replicas=0), (), (), seen(), NOW)
    assert (found.state, conditions(found)[AVAILABLE][0]) == ("Ready", "True")
    assert NETWORKS not in conditions(found)


def test_pods_of_others_and_those_that_have_finished_do_not_count() -> None:
    other = gateway_pod("o-1", labels={"sallyport.io/gateway": "other"})
    elsewhere = gateway_pod("gw-2", namespace="elsewhere")
    done = gateway_pod("gw-3")
    done = msgspec.structs.replace(done, status=msgspec.structs.replace(done.status, phase="Failed"))
    assert of_gateway(seen(), other, elsewhere, done).gateways == ()


def test_what_keeps_a_gateway_from_being_made_degrades_it_and_its_mending_clears_that() -> None:
    what = seen(READY, reports={"node-1": report()})
    fault = Problem(ObjectRef("EgressGateway", "gw", "default"), "NotFound", "IPPool x does not exist")
    found = of_gateway(what, refused=(fault,))
    assert (found.state, conditions(found)[DEGRADED]) == ("Degraded", ("True", "NotFound"))
    assert message(found, DEGRADED) == "IPPool x does not exist"
    mended = gateway_status(msgspec.structs.replace(RED, status=found), (READY,), (), what, NOW)
    assert (mended.state, conditions(mended)[DEGRADED][0]) == ("Ready", "False")


def test_pods_without_an_address_degrade_their_gateway() -> None:
    waiting = gateway_pod(networks=["red"])
    full = Problem(ObjectRef("Pod", "gw-1", "default", "uid-gw-1"), "AllocationError", "no address is left")
    found = of_gateway(seen(waiting, problems=(full,), reports={"node-1": report()}), waiting)
    assert conditions(found)[DEGRADED] == ("True", "AllocationError")
    assert found.gateways[0].message == "no address is left"


@pytest.mark.parametrize(
    ("wanted", "reports", "options", "reason"),
    [
        (["red"], {"node-1": report()}, {}, "Joined"),
        (["red"], {"node-1": report(established=False)}, {}, "Joined"),
        (["red"], {"node-1": report(established=False, red=0)}, {}, "NotJoined"),
        (["red"], {}, {}, "NotJoined"),
        (["blue"], {"node-1": report()}, {}, "UnknownNetwork"),
        (["red"], {"node-1": report()}, {"externalNetworkSupport": "Disabled"}, "Disabled"),
    ],
)
def test_whether_a_gateway_is_joined_to_its_networks_is_told(
    wanted: list[str], reports: Mapping[str, RoutingReport], options: Mapping[str, str], reason: str
) -> None:
    pod_ = gateway_pod(exits=RECORDED, networks=wanted)
    what = seen(pod_, reports=reports, felix=(felix(**options),))
    found = of_gateway(what, pod_, spec=gateway(externalNetworks=wanted))
    assert conditions(found)[NETWORKS] == (str(reason == "Joined"), reason)


def test_prefixes_that_two_networks_of_a_gateway_have_are_told() -> None:
    lists = ("red", "yellow")
    both = Conflict("red", "yellow", (ip_network("105.8.10.0/24"),))
    hidden = Conflict("red", "yellow", (ip_network("105.8.20.0/24"),), hidden=True)
    pod_ = gateway_pod(exits=RECORDED, networks=lists)
    what = seen(pod_, reports={"node-1": report(conflicts={lists: (hidden, both)})})
    found = of_gateway(what, pod_, spec=gateway(externalNetworks=list(lists)))
    assert conditions(found)[CONFLICT] == ("True", "SamePrefixes")
    assert message(found, CONFLICT) == (
        "105.8.10.0/24 are announced in red and yellow: red is used; the default route of red takes what yellow has no"
        " longer prefix for (105.8.20.0/24)"
    )
    quiet = of_gateway(seen(pod_, reports={"node-1": report()}), pod_, spec=gateway(externalNetworks=list(lists)))
    assert CONFLICT not in conditions(quiet)


def test_a_condition_keeps_the_time_since_which_it_is_so() -> None:
    what = seen(READY, reports={"node-1": report()})
    before = msgspec.structs.replace(
        RED.status, conditions=(Condition(AVAILABLE, "True", "2025-01-01T00:00:00Z", "GatewaysReady", "x"),)
    )
    later = gateway_status(msgspec.structs.replace(RED, status=before), (READY,), (), what, NOW)
    assert (
        next(item.last_transition_time for item in later.conditions if item.type == AVAILABLE) == "2025-01-01T00:00:00Z"
    )
    again = gateway_status(msgspec.structs.replace(RED, status=later), (READY,), (), what, "2027-01-01T00:00:00Z")
    assert again == later


# Networks, peers, pools and policies


@pytest.mark.parametrize(
    ("one", "two", "reason"),
    [(True, True, "Joined"), (True, False, "NotEstablished"), (False, False, "NotEstablished")],
)
def test_a_network_is_ready_when_every_node_of_it_has_a_session(one: bool, two: bool, reason: str) -> None:
    reports = {"node-1": report(established=one), "node-2": report(established=two, red=0)}
    found = network_status(network("red", 500), seen(reports=reports), NOW)
    assert conditions(found) == {"Ready": (str(one and two), reason)}
    assert [(row.node, row.peers, row.established, row.routes) for row in found.nodes] == [
        ("node-1", 1, int(one), 3),
        ("node-2", 1, int(two), 0),
    ]


def test_a_network_that_cannot_be_served_says_why() -> None:
    def reason(name: str, table: int, **more: Any) -> tuple[str, str]:
        return conditions(network_status(network(name, table), seen(**more), NOW))["Ready"]

    assert reason("yellow", 600) == ("False", "NoPeers")
    assert reason("bad", 254, networks=(network("bad", 254),)) == ("False", "InvalidTableIndex")
    assert reason("red", 500, felix=(felix(externalNetworkSupport="Disabled"),)) == ("False", "Disabled")
    used = {"node-2": {500: "it has routes of zebra"}}
    assert reason("red", 500, foreign=used) == ("False", "TableIndexInUse")


def test_a_peer_tells_the_session_of_each_node() -> None:
    item = peer(externalNetwork="red")
    found = peer_status(item, seen(reports={"node-1": report()}), NOW)
    assert [(row.node, row.state) for row in found.sessions] == [("node-1", UP), ("node-2", "Unknown")]
    assert conditions(found) == {UP: ("False", "NotEstablished")}
    both = {"node-1": report(), "node-2": report()}
    assert conditions(peer_status(item, seen(reports=both), NOW)) == {UP: ("True", UP)}


def test_a_peer_without_sessions_says_why() -> None:
    blue, nowhere = peer(externalNetwork="blue"), peer(nodeSelector="egress == 'true'")
    assert conditions(peer_status(blue, seen(peers=(blue,)), NOW)) == {UP: ("False", "UnknownNetwork")}
    assert conditions(peer_status(nowhere, seen(peers=(nowhere,)), NOW)) == {UP: ("False", "NoNodes")}


def test_a_pool_tells_how_full_it_is() -> None:
    what = replace(seen(), plan=ClusterPlan(usage={"IPPool/red-pool": Usage(4, 3)}))
    assert (pool_status(ip_pool("red-pool", "10.10.10.0/30"), what).usage.used) == 3
    assert pool_status(ip_pool("other", "10.10.11.0/30"), what).usage.total == 0


def test_a_policy_tells_its_clients_and_what_of_it_is_not_understood() -> None:
    good = policy("p", rule("10.0.0.0/8"), rule(selector="all()", namespaceSelector="all()"))
    bad = policy("p", rule("10.0.0.0/99"), rule(selector="all()", namespaceSelector="all()"))
    more: dict[str, Any] = {"namespaces": [namespace(policy="p")], "pods": [pod(), pod("web")]}
    found = policy_status(good, seen(policies=(good,), **more), NOW)
    assert (found.clients, conditions(found)) == (2, {"Ready": ("True", "Accepted")})
    assert conditions(policy_status(bad, seen(policies=(bad,), **more), NOW)) == {"Ready": ("False", "InvalidSpec")}
