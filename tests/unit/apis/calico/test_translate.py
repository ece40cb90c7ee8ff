"""What Calico's kinds mean: gateways' pods are exits, annotations of namespaces and pods are policies."""

from ipaddress import ip_address, ip_network

import msgspec
import pytest
from tests.unit.apis.calico.build import (
    LIMIT,
    POLICY,
    SELECTOR,
    felix,
    gateway_pod,
    ip_pool,
    namespace,
    network,
    node,
    pod,
    policy,
    translated,
)
from tests.unit.apis.calico.objects import rule

from sallyport.apis.calico.translate import TWO_ANNOTATIONS, UNKNOWN_POLICY, Translated
from sallyport.model.state import Destination, Hops, Policy

RED = "code == 'red'"
HERE = "projectcalico.org/name == 'default'"
RECORDED = '{"exits":{"4":{"ip":"10.10.10.2","id":9}},"watchers":["node-2"]}'
EXIT = "default/gw-1/v4"


def asked(found: Translated, namespace: str = "prod", name: str = "app") -> Policy | None:
    """The policy that decides about a client."""
    return next((item for item in found.policies if (namespace, name) in item.clients), None)


def hops_of(found: Translated, destination: str = "0.0.0.0/0") -> Hops | None:
    """The hops of the client's policy for one destination."""
    ruling = asked(found)
    assert ruling is not None
    return next(item.hops for item in ruling.destinations if str(item.network) == destination)


# Gateways


def test_a_gateways_pod_is_an_exit_bound_to_its_node_for_each_family_that_it_has_pools_of() -> None:
    found = translated(gateway_pod(pools6=["six-pool"], networks=["red"])).exits
    assert set(found) == {EXIT, "default/gw-1/v6"}
    exit_ = found[EXIT]
    assert (exit_.node, exit_.nodes, exit_.holder, exit_.family) == ("node-1", ("node-1",), "node-1", 4)
    assert (exit_.pools, exit_.networks) == (("IPPool/red-pool",), ("red",))
    assert (exit_.ready, exit_.leaving, exit_.requested, exit_.id) == (True, False, None, 0)
    assert found["default/gw-1/v6"].pools == ("IPPool/six-pool",)


def test_what_was_recorded_of_a_gateway_is_its_history() -> None:
    exit_ = translated(gateway_pod(exits=RECORDED)).exits[EXIT]
    address = ip_address("10.10.10.2")
    assert (exit_.requested, exit_.decided, exit_.effective) == (address, address, address)
    assert (exit_.id, exit_.allocated, exit_.watchers) == (9, True, ("node-2",))


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"exits":{"4":{"ip":"nonsense","id":9}}}', '{"exits":{"4":{"ip":"fd00::1"}}}']
)
def test_a_record_that_is_none_of_ours_is_no_history(text: str) -> None:
    exit_ = translated(gateway_pod(exits=text)).exits[EXIT]
    assert (exit_.requested, exit_.id, exit_.decided) == (None, 0, None)


def test_a_pod_that_is_not_scheduled_or_has_finished_is_no_exit() -> None:
    assert translated(gateway_pod(node="")).exits == {}
    ended = gateway_pod()
    ended = msgspec.structs.replace(ended, status=msgspec.structs.replace(ended.status, phase="Failed"))
    assert translated(ended).exits == {}
    assert translated(gateway_pod(pools=[])).exits == {}


def test_a_pod_that_is_told_to_end_is_leaving_and_one_that_is_not_ready_is_not_used() -> None:
    assert translated(gateway_pod(deletionTimestamp="2026-01-01T00:01:00Z")).exits[EXIT].leaving
    assert not translated(gateway_pod(ready=False)).exits[EXIT].ready


def test_pools_are_named_by_name_or_by_cidr_and_an_unknown_one_stays_named() -> None:
    """The controller says of the name that it is unknown; the exit has no address."""
    assert translated(gateway_pod(pools=["10.10.10.0/30"])).exits[EXIT].pools == ("IPPool/red-pool",)
    assert translated(gateway_pod(pools=["10.10.10.0/29"])).exits[EXIT].pools == ("IPPool/10.10.10.0/29",)


def test_the_networks_of_gateways_have_no_effect_where_they_are_switched_off() -> None:
    off = felix(externalNetworkSupport="Disabled")
    assert translated(gateway_pod(networks=["red"]), felix=(off,)).exits[EXIT].networks == ()


def test_an_address_that_the_cni_gave_out_of_the_gateways_pool_is_carried_by_the_pod() -> None:
    exit_ = translated(gateway_pod(address="10.10.10.3", exits=RECORDED)).exits[EXIT]
    assert (exit_.carried, exit_.requested, exit_.allocated) == (True, ip_address("10.10.10.3"), False)
    assert not translated(gateway_pod(address="10.10.10.4")).exits[EXIT].carried


def test_a_pool_with_outgoing_nat_gives_the_address_of_the_gateways_node() -> None:
    pools = (ip_pool("red-pool", "10.10.10.0/30", natOutgoing=True),)
    exit_ = translated(gateway_pod(), pools=pools, nodes=[node()]).exits[EXIT]
    assert (exit_.requested, exit_.pools, exit_.carried) == (ip_address("10.0.0.1"), (), False)


def test_every_address_of_a_pool_may_be_given_and_none_of_one_that_is_disabled_or_broken() -> None:
    pools = (
        ip_pool("red-pool", "10.10.10.0/30"),
        ip_pool("off", "10.10.11.0/30", disabled=True),
        ip_pool("broken", "10.10.11.0/99"),
    )
    found = translated(pools=pools)
    assert [len(item) for item in found.pools["IPPool/red-pool"].ranges] == [4]
    assert found.pools["IPPool/off"].ranges == found.pools["IPPool/broken"].ranges == ()
    assert [(item.ref.name, item.field) for item in found.problems] == [("broken", "spec.cidr")]


def test_pools_that_are_not_exported_are_told_to_no_peer() -> None:
    pools = (ip_pool("a", "10.10.10.0/30", disableBGPExport=True), ip_pool("b", "10.10.11.0/30"))
    assert translated(pools=pools).unexported == (ip_network("10.10.10.0/30"),)


def test_what_a_gateway_sends_itself_goes_by_its_own_exits_before_it_is_ready() -> None:
    found = translated(gateway_pod(pools6=["six-pool"], ready=False))
    (own,) = found.policies
    assert own.clients == (("default", "gw-1"),)
    assert own.destinations == (
        Destination(ip_network("0.0.0.0/0"), Hops((EXIT,), keep=False, own=True)),
        Destination(ip_network("::/0"), Hops(("default/gw-1/v6",), keep=False, own=True)),
    )


def test_a_gateway_in_an_annotated_namespace_is_not_a_client_of_gateways() -> None:
    """Its packets would go round."""
    space = namespace("default", selector=RED, spaces=HERE)
    found = translated(gateway_pod(), namespaces=[space], pods=[pod("gw-1", "default"), pod("app", "default")])
    ruling = asked(found, "default", "gw-1")
    assert ruling is not None
    assert ruling.ref.kind == "Pod"
    assert all(("default", "gw-1") not in item.clients for item in found.policies if item is not ruling)


# Clients


def test_a_namespaces_selector_leads_all_of_its_pods_to_the_gateways() -> None:
    found = translated(gateway_pod(), namespaces=[namespace(selector=RED, spaces=HERE)], pods=[pod(), pod("web")])
    ruling = asked(found)
    assert ruling is not None
    assert ruling.clients == (("prod", "app"), ("prod", "web"))
    assert ruling.destinations == tuple(
        Destination(ip_network(network), Hops((EXIT,))) for network in ("0.0.0.0/0", "::/0")
    )


@pytest.mark.parametrize(
    ("mode", "wanted"), [("EnabledPerNamespace", "Namespace"), ("enabledpernamespaceorperpod", "Pod")]
)
def test_a_pods_own_annotation_wins_where_pods_are_asked(mode: str, wanted: str) -> None:
    found = translated(
        gateway_pod(),
        felix=(felix(mode),),
        namespaces=[namespace(selector=RED, spaces=HERE)],
        pods=[pod(selector="all()", spaces=HERE)],
    )
    ruling = asked(found)
    assert ruling is not None
    assert ruling.ref.kind == wanted


@pytest.mark.parametrize("mode", ["Disabled", "", "nonsense"])
def test_nobody_is_led_anywhere_while_it_is_switched_off(mode: str) -> None:
    found = translated(
        gateway_pod(), felix=(felix(mode),), namespaces=[namespace(selector=RED, spaces=HERE)], pods=[pod(selector=RED)]
    )
    assert found.policies == ()
    assert found.exits


def test_without_a_namespace_selector_gateways_are_those_of_the_clients_own_namespace() -> None:
    gateways = [gateway_pod(), gateway_pod("gw-2", namespace="prod")]
    found = translated(*gateways, namespaces=[namespace(selector=RED)], pods=[pod()])
    assert hops_of(found) == Hops(("prod/gw-2/v4",))


@pytest.mark.parametrize(
    ("selector", "spaces", "wanted"),
    [
        (RED, "all()", ("default/gw-1/v4", "default/gw-2/v4")),
        ("code == 'red' && zone == 'b'", "all()", ("default/gw-2/v4",)),
        (RED, "team == 'net'", ()),
        (RED, "projectcalico.org/name in {'default'}", ("default/gw-1/v4", "default/gw-2/v4")),
        (RED, "global()", ()),
        ("code == 'green'", "all()", ()),
    ],
)
def test_gateways_are_chosen_by_their_labels_and_their_namespaces(
    selector: str, spaces: str, wanted: tuple[str, ...]
) -> None:
    gateways = [
        gateway_pod(),
        gateway_pod("gw-2", labels={"code": "red", "zone": "b"}),
        gateway_pod("x", labels={"a": "b"}),
    ]
    found = translated(*gateways, namespaces=[namespace(selector=selector, spaces=spaces)], pods=[pod()])
    assert hops_of(found) == Hops(wanted)


def test_a_selector_that_cannot_be_read_lets_nothing_out_and_is_told() -> None:
    found = translated(gateway_pod(), namespaces=[namespace(selector="code ==", spaces=HERE)], pods=[pod()])
    assert hops_of(found) == Hops(())
    assert {item.field for item in found.problems} == {f"metadata.annotations.{SELECTOR}"}


def test_a_limit_is_a_number_and_anything_else_is_told_and_means_all() -> None:
    three, none = (
        translated(gateway_pod(), namespaces=[namespace(selector=RED, spaces=HERE, limit=text)], pods=[pod()])
        for text in ("3", "-1")
    )
    assert (hops_of(three), three.problems) == (Hops((EXIT,), limit=3), [])
    assert hops_of(none) == Hops((EXIT,))
    assert [item.field for item in none.problems] == [f"metadata.annotations.{LIMIT}"]


def test_a_policys_rules_are_destinations_with_what_they_ask_for() -> None:
    wanted = policy(
        "p",
        rule("10.0.0.0/8"),
        rule("11.0.0.0/8", selector=RED, namespaceSelector=HERE, maxNextHops=2),
        {"gateway": {"selector": "all()", "namespaceSelector": HERE}, "gatewayPreference": "PreferNodeLocal"},
    )
    found = translated(gateway_pod(), policies=(wanted,), namespaces=[namespace(policy="p")], pods=[pod()])
    ruling = asked(found)
    assert ruling is not None
    assert (ruling.ref.kind, ruling.ref.name) == ("EgressGatewayPolicy", "p")
    near = Hops((EXIT,), prefer_local=True)
    assert ruling.destinations == (
        Destination(ip_network("10.0.0.0/8"), None),
        Destination(ip_network("11.0.0.0/8"), Hops((EXIT,), limit=2)),
        Destination(ip_network("0.0.0.0/0"), near),
        Destination(ip_network("::/0"), near),
    )


def test_a_policy_that_does_not_exist_blocks_its_clients_and_is_told() -> None:
    found = translated(gateway_pod(), namespaces=[namespace(policy="missing")], pods=[pod()])
    ruling = asked(found)
    assert ruling is not None
    assert (ruling.blocked, ruling.destinations) == ("EgressGatewayPolicy missing does not exist", ())
    assert [(item.reason, item.ref.name) for item in found.problems] == [(UNKNOWN_POLICY, "prod")]
    assert found.problems[0].field == f"metadata.annotations.{POLICY}"


def test_where_both_are_annotated_the_policy_decides_and_it_is_told() -> None:
    wanted = policy("p", rule("10.0.0.0/8"), rule(selector=RED, namespaceSelector=HERE))
    space = namespace(policy="p", selector="all()")
    found = translated(gateway_pod(), policies=(wanted,), namespaces=[space], pods=[pod()])
    ruling = asked(found)
    assert ruling is not None
    assert ruling.ref.kind == "EgressGatewayPolicy"
    assert [item.reason for item in found.problems] == [TWO_ANNOTATIONS]


def test_a_rule_whose_destination_is_none_is_left_out_and_told() -> None:
    wanted = policy("p", rule("10.0.0.0/99"), rule(selector=RED, namespaceSelector=HERE))
    found = translated(gateway_pod(), policies=(wanted,), namespaces=[namespace(policy="p")], pods=[pod()])
    ruling = asked(found)
    assert ruling is not None
    assert [str(item.network) for item in ruling.destinations] == ["0.0.0.0/0", "::/0"]
    assert [item.field for item in found.problems] == ["spec.rules[0].destination.cidr"]


def test_a_choice_that_was_recorded_on_a_client_is_history_for_clients_of_policies_alone() -> None:
    record = {"sallyport.io/next-hops": '{"0.0.0.0/0":["default/gw-1/v4"]}'}
    noted, free = pod(), pod("free", "other")
    noted.metadata.annotations.update(record)  # type: ignore[attr-defined]
    free.metadata.annotations.update(record)  # type: ignore[attr-defined]
    spaces = [namespace(selector=RED, spaces=HERE), namespace("other")]
    found = translated(gateway_pod(), namespaces=spaces, pods=[noted, free])
    assert found.chosen == {("prod", "app"): {"0.0.0.0/0": (EXIT,)}}


def test_policies_come_in_one_order_whatever_order_their_objects_have() -> None:
    spaces = [namespace("a", selector=RED, spaces=HERE), namespace("b", selector=RED, spaces=HERE)]
    pods = [pod("x", "a"), pod("y", "b"), pod("z", "a", selector=RED)]
    one = translated(gateway_pod(), namespaces=spaces, pods=pods)
    other = translated(gateway_pod(), namespaces=spaces[::-1], pods=pods[::-1])
    assert one.policies == other.policies
    assert one.problems == other.problems == []


def test_networks_are_there_whether_or_not_they_are_switched_on() -> None:
    """Their statuses say so."""
    found = translated(networks=(network("red", 500),), felix=(felix(externalNetworkSupport="Disabled"),))
    assert found.external["red"].table == 500
    assert not found.routing.enabled
