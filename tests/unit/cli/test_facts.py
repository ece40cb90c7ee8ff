"""Facts survive the way through an annotation, and what is no facts is told in a sentence."""

import re
from ipaddress import ip_address, ip_network

import pytest

from sallyport.apis.facts import decode, encode
from sallyport.model.plan import Liveness, NodeFacts, Uplink

FACTS = NodeFacts(
    node="n1",
    uplinks={
        4: Uplink("eth0", ip_address("10.10.0.101"), (ip_network("10.10.0.0/16"),), 1500),
        6: Uplink("eth1", ip_address("2001:db8::101"), (ip_network("2001:db8::/64"),), 9000),
    },
    addresses={
        ip_address("10.10.0.101"): "eth0",
        ip_address("10.10.0.11"): "eth0",
        ip_address("2001:db8::101"): "eth1",
    },
    held=frozenset({ip_address("10.10.0.11")}),
    peers={"n2": Liveness.UP, "n3": Liveness.DOWN},
    reply_devices=("flannel.1",),
)


@pytest.mark.parametrize("facts", [FACTS, NodeFacts("bare")])
def test_facts_come_back_as_they_were(facts: NodeFacts) -> None:
    assert decode(encode(facts)) == facts


def test_equal_facts_give_equal_text() -> None:
    turned = NodeFacts(
        node=FACTS.node,
        uplinks={key: FACTS.uplinks[key] for key in reversed(list(FACTS.uplinks))},
        addresses={key: FACTS.addresses[key] for key in reversed(list(FACTS.addresses))},
        held=FACTS.held,
        peers={key: FACTS.peers[key] for key in reversed(list(FACTS.peers))},
        reply_devices=FACTS.reply_devices,
    )
    assert encode(turned) == encode(FACTS)


def test_the_text_is_what_people_can_read() -> None:
    assert encode(NodeFacts("n1", FACTS.uplinks)) == (
        '{"node":"n1","uplinks":{'
        '"4":{"device":"eth0","address":"10.10.0.101","subnets":["10.10.0.0/16"],"mtu":1500},'
        '"6":{"device":"eth1","address":"2001:db8::101","subnets":["2001:db8::/64"],"mtu":9000}}}'
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "these are no facts of a node: Input data was truncated"),
        ('{"node": 1}', "these are no facts of a node: Expected `str`, got `int` - at `$.node`"),
        ('{"node":"n","addresses":{"x":"eth0"}}', "'x' is not an IP address"),
        ('{"node":"n","held":["10.0.0.1/8"]}', "'10.0.0.1/8' is not an IP address"),
        (
            '{"node":"n","uplinks":{"5":{"device":"e","address":"10.0.0.1","subnets":[],"mtu":1}}}',
            "there is an uplink for family '5', which is neither 4 nor 6",
        ),
        (
            '{"node":"n","uplinks":{"6":{"device":"e","address":"10.0.0.1","subnets":[],"mtu":1}}}',
            "the IPv6 uplink has 10.0.0.1, which is not IPv6",
        ),
    ],
)
def test_what_is_no_facts_is_told_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        decode(text)


def test_fields_of_a_later_version_are_skipped() -> None:
    assert decode('{"node":"n1","moonPhase":"full"}') == NodeFacts("n1")
