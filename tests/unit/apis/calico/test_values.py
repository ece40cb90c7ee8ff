"""What texts in Calico's fields mean, and which mean nothing."""

from collections.abc import Callable

import pytest

from sallyport.apis.calico.values import (
    parse_as_number,
    parse_community,
    parse_duration,
    parse_interfaces,
    parse_peer,
)
from sallyport.model.addresses import parse_address


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), (".5s", 0.5), ("0", 0)]
)
def test_a_duration_is_a_sum_of_numbers_with_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("value", "number"),
    [(64512, 64512), ("64512", 64512), ("1.10", 65546), ("65535.65535", 4294967295), ("0.1", 1)],
)
def test_an_as_number_is_plain_or_dotted(value: int | str, number: int) -> None:
    assert parse_as_number(value) == number


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("10.0.0.1", "10.0.0.1", None),
        ("10.0.0.1:1179", "10.0.0.1", 1179),
        ("fd00::1", "fd00::1", None),
        ("[fd00::1]:179", "fd00::1", 179),
    ],
)
def test_a_peer_is_an_address_with_or_without_a_port(text: str, address: str, port: int | None) -> None:
    assert parse_peer(text) == (parse_address(address), port)


def test_a_community_has_two_parts_or_three_large_ones() -> None:
    assert parse_community("65000:100") == (65000, 100)
    assert parse_community("4294967295:1:2") == (4294967295, 1, 2)


@pytest.mark.parametrize(
    ("parse", "value"),
    [
        *((parse_duration, text) for text in ("", "10", "-1s", "s", "1s ", "1d")),
        *((parse_as_number, value) for value in (0, -1, 4294967296, "", "1.65536", "65536.1", "1.2.3", "AS1", "0.0")),
        *((parse_peer, text) for text in ("", "router", "10.0.0.1:0", "10.0.0.1:65536", "[10.0.0.1]:179", "fe80::1%a")),
        *((parse_community, text) for text in ("", "1", "65536:1", "1:2:3:4", "1:x", "4294967296:1:1")),
        *((parse_interfaces, text) for text in ("/(/", "/a", "a b", "a,,b", ",")),
    ],
)
def test_what_means_nothing_is_refused_in_a_sentence_that_names_it(
    parse: Callable[[object], object], value: object
) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        parse(value)


def test_interfaces_are_names_and_expressions() -> None:
    pattern = parse_interfaces(r"eth1, /^ens2[01]([.\/])(100|200)$/,bond0")
    assert [
        name for name in ("eth1", "eth10", "bond0", "ens20.100", "ens21/200", "ens22.100") if pattern.matches(name)
    ] == [
        "eth1",
        "bond0",
        "ens20.100",
        "ens21/200",
    ]
    assert not parse_interfaces("").matches("eth0")
    assert parse_interfaces("/a{1,2}b/,c").matches("aab"), "a comma within slashes separates nothing"
