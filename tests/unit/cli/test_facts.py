"""Facts survive the way through an annotation, and what is no facts is told in a sentence."""

import re
from ipaddress import ip_address, ip_network

import pytest

from sallyport.apis.facts import MOST_PREFIXES, MOST_ROUTES, decode, decode_report, encode, encode_report
from sallyport.model.plan import Conflict, Learned, Liveness, NodeFacts, RoutingReport, Uplink

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
    connected={ip_network("10.10.0.0/16"): "eth0", ip_network("2001:db8::/64"): "eth1"},
    devices=("eth0", "eth1", "eth2"),
    table_devices={500: ("eth2",)},
    foreign={600: "it has routes of zebra"},
    failed=frozenset({"default/red/v4", "default/blue/v4"}),
)

REPORT = RoutingReport(
    sessions={"red-router": "Established", "yellow-router": "Active: Socket: Connection refused"},
    counts={"red": 100_000, "yellow": 0},
    routes={
        "red": (
            Learned(ip_network("10.0.0.0/8"), ip_address("10.10.0.1"), "eth0"),
            Learned(ip_network("2001:db8:1::/48"), None, "eth1"),
        )
    },
    conflicts={
        ("red", "yellow"): (
            Conflict("red", "yellow", (ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48"))),
            Conflict("yellow", "red", (ip_network("0.0.0.0/0"),), hidden=True),
        )
    },
    standing={"default/red/v4": "", "default/blue/v4": "it has no address yet"},
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
        connected={key: FACTS.connected[key] for key in reversed(list(FACTS.connected))},
        devices=FACTS.devices,
        table_devices=FACTS.table_devices,
        foreign=FACTS.foreign,
        failed=FACTS.failed,
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
        ('{"node":"n","connected":{"10.0.0.1":"eth0"}}', "'10.0.0.1' is not a network in CIDR notation"),
        ('{"node":"n","foreign":{"red":"x"}}', "'red' is not the number of a table"),
    ],
)
def test_what_is_no_facts_is_told_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        decode(text)


def test_fields_of_a_later_version_are_skipped() -> None:
    assert decode('{"node":"n1","moonPhase":"full"}') == NodeFacts("n1")


@pytest.mark.parametrize("report", [REPORT, RoutingReport()])
def test_a_report_comes_back_as_it_was(report: RoutingReport) -> None:
    assert decode_report(encode_report(report)) == report


def test_equal_reports_give_equal_text() -> None:
    turned = RoutingReport(
        sessions={key: REPORT.sessions[key] for key in reversed(list(REPORT.sessions))},
        counts={key: REPORT.counts[key] for key in reversed(list(REPORT.counts))},
        routes=REPORT.routes,
        conflicts=REPORT.conflicts,
        standing={key: REPORT.standing[key] for key in reversed(list(REPORT.standing))},
    )
    assert encode_report(turned) == encode_report(REPORT)


def test_a_report_of_many_routes_fits_into_an_annotation() -> None:
    """Ten networks of a hundred thousand IPv6 routes each, in conflict with each other, take less than 256 KiB."""
    networks = [ip_network((0x20010DB8 << 96 | number << 64, 64)) for number in range(1000)]
    route = ip_address("fe80::5038:4aff:feb5:6e01")
    many = RoutingReport(
        counts={f"network-{number}": 100_000 for number in range(10)},
        routes={
            f"network-{number}": tuple(Learned(net, route, "eth0.100") for net in networks) for number in range(10)
        },
        conflicts={("a", "b"): (Conflict("a", "b", tuple(networks)),)},
    )
    text = encode_report(many)
    assert len(text) < 256 * 1024
    back = decode_report(text)
    assert [len(routes) for routes in back.routes.values()] == [MOST_ROUTES] * 10
    assert back.conflicts["a", "b"][0].prefixes == tuple(networks[:MOST_PREFIXES])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "this is no report of a node's routing: Expected `object`, got `array`"),
        ('{"routes":{"red":[["10.0.0.0/8","x","eth0"]]}}', "'x' is not an IP address"),
    ],
)
def test_what_is_no_report_is_told_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        decode_report(text)
