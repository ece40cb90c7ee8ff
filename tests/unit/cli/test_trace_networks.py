"""`sallyport trace` tells which gateway and external network a packet takes, and why no other."""

import json
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from tests.unit.cli.running import golden, run
from tests.unit.cli.test_snapshot import lease
from tests.unit.trace.gateways import (
    ASSIGNMENTS,
    EXITS,
    NODES,
    PARTNER,
    REPORTS,
    REST,
    SERVER,
    SETTINGS,
    STATE,
    facts,
    hops,
    policy,
    report,
)

from sallyport.apis.facts import ROUTING_ANNOTATION, encode, encode_report
from sallyport.cli.reasons import ruling
from sallyport.cli.replay import Replay
from sallyport.cli.trace import Answer, Transport, ask, document, lines
from sallyport.model.plan import NodeFacts, RoutingReport, Uplink
from sallyport.model.state import ClusterState, ObjectRef, Policy

POLICY = ObjectRef("EgressGatewayPolicy", "split")


def made(state: ClusterState = STATE, reports: Mapping[str, RoutingReport] = REPORTS) -> Replay:
    named = tuple(replace(item, ref=POLICY) if item.ref.name == "split" else item for item in state.policies)
    seen = {name: facts(name) for name in NODES}
    return Replay(replace(state, policies=named), ASSIGNMENTS, seen, (), (), SETTINGS, reports)


def asked(pod: str, destination: str, among: Replay | None = None) -> Answer:
    namespace, _, name = pod.partition("/")
    return ask(among or made(), (namespace, name), ip_address(destination), Transport.TCP, 0)


def text(answer: Answer) -> str:
    return "\n".join(lines(answer)) + "\n"


@pytest.mark.parametrize(
    ("name", "pod", "destination"),
    [
        ("gateways", "red/app", SERVER),
        ("network", "yellow/app", SERVER),
        ("merged", "both/app", SERVER),
        ("longer", "both/app", "105.8.20.1"),
        ("no-route", "yellow/app", REST),
        ("ordinary", "split/app", PARTNER),
        ("rule", "split/app", "105.8.20.1"),
        ("plain-gateway", "plain/app", SERVER),
    ],
)
def test_gateway_network_and_the_reason_are_lines_for_people(name: str, pod: str, destination: str) -> None:
    found = text(asked(pod, destination))
    assert found == golden(f"trace-{name}.txt", found)


def test_without_what_bgp_has_brought_the_answer_says_so() -> None:
    found = text(asked("both/app", SERVER, made(reports={})))
    assert found == golden("trace-unknown-routes.txt", found)


def reasons(answer: Answer) -> list[str]:
    return [other.reason for by in answer.passages for other in by.refused]


def test_a_network_of_the_list_whose_prefix_is_shorter_is_told() -> None:
    assert reasons(asked("both/app", "105.8.20.1")) == ["its prefix is shorter"]


def test_of_equal_prefixes_the_first_network_of_the_list_is_told() -> None:
    assert reasons(asked("both/app", SERVER)) == ["red comes first in the list"]


def test_a_route_of_another_node_is_told_with_its_node() -> None:
    """Node n3, where the gateway is, has no session with red; n2 has one."""
    answer = asked("yellow/app", SERVER, made(reports={"n3": report("yellow"), "n2": report("red")}))
    ((other,),) = (by.refused for by in answer.passages)
    assert (other.network, other.node, other.reason) == ("red", "n2", "gateway yellow/one is not on it")


def test_a_network_that_the_node_does_not_serve_is_told() -> None:
    """Its table is in use by somebody else there."""
    taken = replace(facts("n3"), foreign={600: "zebra"})
    among = made()
    answer = asked("both/app", SERVER, replace(among, facts={**among.facts, "n3": taken}))
    assert reasons(answer) == ["node n3 does not serve it"]


def test_why_a_gateways_way_does_not_stand_is_told() -> None:
    broken = {**REPORTS, "n3": replace(REPORTS["n3"], standing={"yellow/one/v4": "external network yellow is gone"})}
    found = text(asked("yellow/app", SERVER, made(reports=broken)))
    assert "yellow/one, 10.10.10.13, on n3, whose way does not stand: external network yellow is gone\n" in found


def test_a_policy_that_is_not_there_blocks_and_is_named() -> None:
    blocked = Policy(ObjectRef("Namespace", "red"), "1", (), (("red", "app"),), "EgressGatewayPolicy x does not exist")
    answer = asked("red/app", SERVER, made(replace(STATE, policies=(blocked,))))
    assert answer.governed == (
        "governed by annotations of Namespace/red: dropped (EgressGatewayPolicy x does not exist)"
    )
    assert [way.verdict for way in answer.traces] == ["dropped"]


def test_why_no_gateway_may_be_used_is_told() -> None:
    exits = {key: replace(item, ready=False) for key, item in EXITS.items()}
    answer = asked("yellow/app", SERVER, made(replace(STATE, exits=exits)))
    assert answer.governed == ("governed by annotations of Namespace/yellow: dropped (gateway yellow/one is not ready)")


def test_programs_get_gateway_network_and_what_was_refused() -> None:
    tree = document(asked("both/app", SERVER))
    (way,) = tree["ways"]
    assert (tree["policy"], tree["rule"]) == ("Namespace/both", "0.0.0.0/0")
    assert {name: way[name] for name in ("gateway", "network", "table", "route", "router", "device")} == {
        "gateway": "both/one",
        "network": "red",
        "table": 830014,
        "route": "105.8.10.0/24",
        "router": "172.31.11.1",
        "device": "red0",
    }
    assert way["refused"] == [
        {
            "network": "yellow",
            "route": "105.8.10.0/24",
            "router": "172.31.12.1",
            "node": "n3",
            "reason": "red comes first in the list",
        }
    ]


def test_the_first_policy_that_has_the_destination_decides_then_the_longest_prefix() -> None:
    first = policy("split", ("105.8.0.0/16", hops("red/one")), ("105.8.10.0/24", None))
    second = policy("split", ("0.0.0.0/0", hops("yellow/one")), ("105.8.10.1/32", hops("plain/one")))
    among = made(replace(STATE, policies=(first, second)))
    chosen = {to: ruling(among, ("split", "app"), ip_address(to)) for to in (SERVER, "105.8.20.1", REST)}
    assert {to: str(item.rule.network) for to, item in chosen.items() if item and item.rule} == {
        SERVER: "105.8.10.0/24",
        "105.8.20.1": "105.8.0.0/16",
        REST: "0.0.0.0/0",
    }
    assert ruling(among, ("red", "app"), ip_address(SERVER)) is None


def test_a_rule_whose_gateways_are_all_of_the_other_family_decides_only_where_nothing_else_does() -> None:
    six = {"six/one/v6": replace(EXITS["plain/one/v4"], ref=ObjectRef("Pod", "one", "six"), family=6)}
    first = policy("split", ("105.8.10.0/24", replace(hops("red/one"), exits=("six/one/v6",))))
    second = policy("split", ("105.8.0.0/16", hops("yellow/one")))
    state = replace(STATE, exits={**EXITS, **six}, policies=(first, second))
    below, alone = made(state), made(replace(state, policies=(first,)))
    key, there = ("split", "app"), ip_address(SERVER)
    decided = [item.rule for item in (ruling(below, key, there), ruling(alone, key, there)) if item]
    assert decided == [second.destinations[0], first.destinations[0]]


CALICO = Path(__file__).parents[3] / "examples" / "calico"
FILES = ("-f", str(CALICO), "-f", str(Path(__file__).parent / "networks.yaml"))


def leases(reported: RoutingReport | None) -> str:
    """Leases of the agents of both nodes as text: node-2 is on the links of red and yellow."""
    told = {
        "node-1": NodeFacts("node-1", {4: uplink("10.10.0.101")}, {ip_address("10.10.0.101"): "eth0"}),
        "node-2": NodeFacts(
            "node-2",
            {4: uplink("10.10.0.102")},
            {ip_address("10.10.0.102"): "eth0"},
            connected={ip_network("172.31.11.0/24"): "red0", ip_network("172.31.12.0/24"): "yellow0"},
        ),
    }
    found = [lease(name, annotation=encode(item)) for name, item in told.items()]
    if reported is not None:
        found[1]["metadata"]["annotations"][ROUTING_ANNOTATION] = encode_report(reported)
    return json.dumps(found)


def uplink(address: str) -> Uplink:
    return Uplink("eth0", ip_address(address), (ip_network("10.10.0.0/24"),), 1500)


def test_from_manifests_and_what_agents_tell_the_whole_way_is_known() -> None:
    result = run("trace", "pod/red/app", SERVER, *FILES, "-f", "-", text=leases(report("red", "yellow")))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == golden("trace-manifests.txt", result.stdout)


def test_from_manifests_alone_the_networks_routes_are_not_known() -> None:
    result = run("trace", "red/app", SERVER, *FILES, "-f", "-", text=leases(None))
    assert "for network red, if BGP has brought a route: none is known here\n" in result.stdout


def test_a_policys_limited_choice_of_gateways_is_made_as_the_controller_would() -> None:
    result = run("trace", "mixed/app", "11.0.0.1", *FILES, "-f", "-", text=leases(None))
    assert (
        "EgressGatewayPolicy/by-destination by annotation of Namespace/mixed, rule 11.0.0.0/8: gateway"
        " default/egress-gateway-yellow-1\n" in result.stdout
    )
    assert "  gateway  default/egress-gateway-yellow-1, 10.10.11.0, on node-2\n" in result.stdout


def test_what_a_gateway_sends_itself_goes_by_its_own_address() -> None:
    result = run("trace", "default/egress-gateway-1", SERVER, *FILES, "-f", "-", text=leases(report("red", "yellow")))
    governed = result.stdout.splitlines()[1]
    assert governed == (
        "governed by Pod/default/egress-gateway-1, which is a gateway itself: gateway default/egress-gateway-1"
    )
    assert "LEFT the cluster at node-2 with source 10.10.10.0 for network red\n" in result.stdout


def test_a_report_that_cannot_be_read_is_told() -> None:
    broken = json.loads(leases(None))
    broken[0]["metadata"]["annotations"][ROUTING_ANNOTATION] = "{"
    result = run("trace", "red/app", SERVER, *FILES, "-f", "-", text=json.dumps(broken))
    assert result.stderr.startswith("Lease/sallyport-agent-node-1: annotation sallyport.io/routing: ")
    assert result.exit_code == 0
