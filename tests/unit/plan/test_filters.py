"""BGP filters in BIRD's language: what a rule's fields become, and in which order rules decide."""

from ipaddress import ip_network

import pytest

from sallyport.model.state import RouteFilter, RouteRule
from sallyport.plan.filters import session_filters, statements

TEN = ip_network("10.0.0.0/8")


def text(*rules: RouteRule, internal: bool = False) -> str:
    """What imports of IPv4 are filtered by."""
    return statements([RouteFilter("filter", {("import", 4): rules})], "import", 4, internal)


@pytest.mark.parametrize(
    ("rule", "condition"),
    [
        (RouteRule(True, TEN), "(net ~ [ 10.0.0.0/8{8,32} ])"),
        (RouteRule(True, TEN, "NotIn"), "!(net ~ [ 10.0.0.0/8{8,32} ])"),
        (RouteRule(True, TEN, "Equal"), "(net = 10.0.0.0/8)"),
        (RouteRule(True, TEN, "NotEqual"), "!(net = 10.0.0.0/8)"),
        (RouteRule(True, TEN, "In", (16, 24)), "(net ~ [ 10.0.0.0/8{16,24} ])"),
        (RouteRule(True, TEN, "NotIn", (16, 24)), "!(net ~ [ 10.0.0.0/8{16,24} ])"),
        (RouteRule(True, TEN, "In", (0, 128)), "(net ~ [ 10.0.0.0/8{8,32} ])"),
        (RouteRule(True, TEN, "In", (1, 7)), "(false)"),
        (RouteRule(True, TEN, "Equal", (16, 24)), "(false)"),
        (RouteRule(True, ip_network("fd00::/8"), "In", (48, 64)), "(net ~ [ fd00::/8{48,64} ])"),
        (RouteRule(True, lengths=(24, 32)), "net.len >= 24 && net.len <= 32"),
        (RouteRule(True, source="RemotePeers"), "source = RTS_BGP"),
        (RouteRule(True, interface="eth0.100"), 'ifname ~ "eth0.100"'),
        (RouteRule(True, interface="eth*"), 'ifname ~ "eth*"'),
        (RouteRule(True, communities=("65000:1",)), "((65000, 1) ~ bgp_community)"),
        (
            RouteRule(True, communities=("65000:1", "1:2:3")),
            "((65000, 1) ~ bgp_community || (1, 2, 3) ~ bgp_large_community)",
        ),
        (RouteRule(True, TEN, source="RemotePeers"), "(net ~ [ 10.0.0.0/8{8,32} ]) && source = RTS_BGP"),
    ],
)
def test_each_field_is_one_condition_more(rule: RouteRule, condition: str) -> None:
    assert text(rule) == f"if {condition} then {{ accept; }}"


def test_a_rule_without_fields_decides_all() -> None:
    assert text(RouteRule(False)) == "reject;"


def test_the_first_number_of_a_prepended_path_ends_up_outermost() -> None:
    """Each prepend puts its number in front of those before it, and all changes come before the verdict."""
    rule = RouteRule(True, add=("65000:1", "1:2:3"), prepend=(64512, 64513))
    assert text(rule) == (
        "bgp_community.add((65000, 1)); bgp_large_community.add((1, 2, 3)); "
        "bgp_path.prepend(64513); bgp_path.prepend(64512); accept;"
    )


@pytest.mark.parametrize("rule", [RouteRule(True, interface='e"; accept; #'), RouteRule(True, communities=("1,1)",))])
def test_what_is_no_device_and_no_community_matches_nothing(rule: RouteRule) -> None:
    """Whatever a user wrote, it ends no string and no statement."""
    assert text(rule) in ("if false then { accept; }", "if (false) then { accept; }")


@pytest.mark.parametrize(("internal", "left"), [(True, "reject;"), (False, "accept;")])
def test_rules_for_other_kinds_of_peers_are_left_out(internal: bool, left: str) -> None:
    assert text(RouteRule(False, peers="iBGP"), RouteRule(True, peers="eBGP"), internal=internal) == left


def test_filters_follow_each_other_by_direction_and_family() -> None:
    """A session's filters in the order in which they are named, and nothing for what they say nothing about."""
    first = RouteFilter("first", {("import", 4): (RouteRule(True, TEN),), ("export", 6): (RouteRule(False),)})
    second = RouteFilter("second", {("import", 4): (RouteRule(False),)})
    assert session_filters([first, second], internal=False) == (
        ("import", 4, "if (net ~ [ 10.0.0.0/8{8,32} ]) then { accept; }\nreject;"),
        ("export", 6, "reject;"),
    )
    assert session_filters([], internal=False) == ()
