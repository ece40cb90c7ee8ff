"""Addresses, networks and ranges from text, and which of them may be handed out."""

from ipaddress import ip_address

import pytest

from sallyport.model.addresses import (
    RANGE_LIMIT,
    Claims,
    bounds,
    family_of,
    parse_address,
    parse_network,
    span,
    usable,
    whole,
)


def handed_out(text: str) -> str:
    """What of a network, or of a range written `first-last`, may be handed out."""
    network = "/" in text
    part = usable(whole(parse_network(text)) if network else span(*text.split("-")), network=network)
    return f"{part.first}-{part.last}" if part else ""


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1/24", "fe80::1%eth0", " 10.0.0.1"])
def test_what_is_no_address_of_a_cluster_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an IP address|has a zone") as refusal:
        parse_address(text)
    assert repr(text) in str(refusal.value)


def test_addresses_are_read_in_any_form_and_printed_in_one() -> None:
    assert str(parse_address("FD00:0:0::0001")) == "fd00::1"
    assert [family_of(parse_address(text)) for text in ("10.0.0.1", "::1")] == [4, 6]


@pytest.mark.parametrize("text", ["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "/24", "fd00::/129"])
def test_what_is_no_network_in_cidr_notation_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_network(text)


def test_host_bits_of_a_network_are_cleared() -> None:
    assert str(parse_network("10.0.0.9/24")) == "10.0.0.0/24"


@pytest.mark.parametrize(
    ("text", "usable_part"),
    [
        ("10.0.0.0/28", "10.0.0.1-10.0.0.14"),
        ("10.0.0.0/31", ""),
        ("10.0.0.0/32", ""),
        ("fd00::/126", "fd00::1-fd00::3"),
        ("fd00::/128", ""),
        ("10.0.0.0-10.0.0.15", "10.0.0.0-10.0.0.15"),
        ("10.0.0.7-10.0.0.7", "10.0.0.7-10.0.0.7"),
    ],
)
def test_a_networks_ends_are_reserved_and_a_ranges_are_not(text: str, usable_part: str) -> None:
    """Of IPv6 networks only the first address is: there is no broadcast."""
    assert handed_out(text) == usable_part


def test_no_range_hands_out_more_than_the_limit() -> None:
    for text in ("10.0.0.0/8", "fd00::/64", "10.0.0.0-10.255.255.255"):
        first, last = (int(ip_address(part)) for part in handed_out(text).split("-"))
        assert last - first + 1 == RANGE_LIMIT


@pytest.mark.parametrize(("start", "end"), [("10.0.0.2", "10.0.0.1"), ("10.0.0.1", "fd00::1"), ("10.0.0.1", "")])
def test_ends_that_make_no_range_are_refused(start: str, end: str) -> None:
    with pytest.raises(ValueError, match=r"greater than|different IP families|is not an IP address"):
        span(start, end)


def test_bounds_are_those_of_every_form_that_sets_print() -> None:
    first = int(ip_address("10.0.0.0"))
    assert bounds("10.0.0.0/24") == bounds("10.0.0.0-10.0.0.255") == (first, first + 255)
    assert bounds("10.0.0.0") == (first, first)
    with pytest.raises(ValueError, match="web"):
        bounds("web")


def test_a_claim_meets_every_range_that_shares_an_address_with_it() -> None:
    claims = Claims()
    for owner, text in (("a", "10.0.0.10-10.0.0.19"), ("b", "10.0.0.0-10.0.0.9"), ("c", "10.0.0.40-10.0.0.49")):
        assert claims.claim(span(*text.split("-")), owner) is None
    holders: dict[str, str | None] = {
        "10.0.0.19-10.0.0.30": "a",
        "10.0.0.12-10.0.0.13": "a",
        "10.0.0.30-10.0.0.40": "c",
        "10.0.0.20-10.0.0.39": None,
        "10.0.0.0-10.0.0.0": "b",
        "10.0.0.50-10.0.0.60": None,
    }
    assert {text: claims.holder(span(*text.split("-"))) for text in holders} == holders
    assert claims.claim(span("10.0.0.5", "10.0.0.45"), "d") == "c"


def test_claims_of_two_families_do_not_meet() -> None:
    claims = Claims()
    assert claims.claim(span("0.0.0.1", "0.0.0.9"), "a") is None
    assert claims.claim(span("::1", "::9"), "b") is None
