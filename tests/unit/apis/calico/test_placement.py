"""Where gateways of external networks run: on nodes that peer with their networks."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.apis.calico.objects import gateway, peer

from sallyport.apis.calico.bgp import BGPPeer
from sallyport.apis.calico.deployment import deployment
from sallyport.apis.calico.placement import HOSTNAME, Term, near_networks, with_terms
from sallyport.apis.calico.types import EgressGateway
from sallyport.apis.core import Node, ObjectMeta
from sallyport.selectors.calico import parse
from sallyport.selectors.kubernetes import Requirement

NODES = [
    Node(metadata=ObjectMeta(name=f"n{index}", labels={"egress": value, "zone": zone} if value else {"zone": zone}))
    for index, (value, zone) in enumerate([("true", "a"), ("true", "b"), ("", "a"), ("false", "b"), ("trust", "c")])
]


def a_gateway(*networks: str, **template: Any) -> EgressGateway:
    written = gateway(externalNetworks=list(networks), template={"spec": template})
    return msgspec.convert(written, EgressGateway)


def a_peer(network: str, **spec: Any) -> BGPPeer:
    return msgspec.convert(peer(externalNetwork=network, **spec), BGPPeer)


def chosen(terms: tuple[Term, ...]) -> list[str]:
    """The nodes that meet one of the terms, as a scheduler reads them."""
    found = []
    for node in NODES:
        labels = {HOSTNAME: node.metadata.name, **node.metadata.labels}
        needed = [[msgspec.convert(item, Requirement) for item in term] for term in terms]
        if any(all(item.matches(labels) for item in term) for term in needed):
            found.append(node.metadata.name)
    return found


def test_the_seeds_selector_becomes_one_requirement() -> None:
    """`nodeSelector: "egress == 'true'"` of the peer, beside `kubernetes.io/os: linux` of the gateway."""
    terms = near_networks(a_gateway("red"), [a_peer("red", nodeSelector="egress == 'true'")], NODES)
    assert terms == (({"key": "egress", "operator": "In", "values": ["true"]},),)
    made = deployment(a_gateway("red", nodeSelector={"kubernetes.io/os": "linux"}), [], "image", near=terms)
    pod = made["spec"]["template"]["spec"]
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required == {"nodeSelectorTerms": [{"matchExpressions": list(terms[0])}]}
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}


SELECTORS = [
    "egress == 'true'",
    "egress != 'true'",
    "has(egress)",
    "!has(egress)",
    "zone in {'a', 'c'}",
    "zone not in {'a', 'c'}",
    "egress == 'true' && zone == 'b' || zone == 'c'",
    "!(egress == 'true' || zone == 'c')",
    "!(egress == 'true' && zone == 'a')",
    "egress starts with 'tru'",
    "!(egress contains 'rus') && has(egress)",
    "all()",
]


@pytest.mark.parametrize("selector", SELECTORS)
def test_a_selector_and_its_terms_choose_the_same_nodes(selector: str) -> None:
    terms = near_networks(a_gateway("red"), [a_peer("red", nodeSelector=selector)], NODES)
    wanted = [node.metadata.name for node in NODES if parse(selector).matches(node.metadata.labels)]
    assert (chosen(terms) if terms else [node.metadata.name for node in NODES]) == wanted


@given(st.lists(st.sampled_from(SELECTORS), min_size=1, max_size=3), st.sampled_from(SELECTORS))
def test_a_gateway_of_two_networks_runs_where_both_have_a_peer(red: list[str], yellow: str) -> None:
    """Any peer of a network will do, but each network needs one."""
    peers = [*(a_peer("red", nodeSelector=text) for text in red), a_peer("yellow", nodeSelector=yellow)]
    terms = near_networks(a_gateway("red", "yellow"), peers, NODES)
    wanted = [
        node.metadata.name
        for node in NODES
        if any(parse(text).matches(node.metadata.labels) for text in red)
        and parse(yellow).matches(node.metadata.labels)
    ]
    assert (chosen(terms) if terms else [node.metadata.name for node in NODES]) == wanted or not wanted


def test_a_peer_of_one_node_a_network_without_peers_and_one_of_all_nodes() -> None:
    assert chosen(near_networks(a_gateway("red"), [a_peer("red", node="n3")], NODES)) == ["n3"]
    assert near_networks(a_gateway("red"), [a_peer("yellow", node="n3")], NODES) == ()
    assert near_networks(a_gateway("red"), [a_peer("red"), a_peer("red", node="n3")], NODES) == ()
    assert near_networks(a_gateway(), [a_peer("red", node="n3")], NODES) == ()


def test_what_the_user_requires_is_required_besides() -> None:
    """Each of the user's terms is joined with each of ours: one of the joined ones has to be met."""
    given = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"matchFields": []}]
            }
        },
        "podAffinity": {"x": 1},
    }
    terms: tuple[Term, ...] = (({"key": "b", "operator": "Exists"},), ({"key": "c", "operator": "Exists"},))
    joined = with_terms(given, terms)
    required = joined["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [[item["key"] for item in term["matchExpressions"]] for term in required] == [
        ["a", "b"],
        ["a", "c"],
        ["b"],
        ["c"],
    ]
    assert joined["podAffinity"] == {"x": 1}
    assert with_terms(given, ()) == given
