"""BIRD's configuration as text: objects survive the way through it, and no text ends where it is quoted."""

import re
from dataclasses import replace

import pytest

from sallyport.drivers.birdconf import BirdObject, flaw, network_table, parse, render, router_id, session_protocol
from sallyport.model.kernel import Announced, Bootstrap, Fib, Peer, Session

SESSION = Session("red-router", "red", "192.0.2.1", 65001, 65000, source="192.0.2.11", device="eth0")
OBJECTS: tuple[BirdObject, ...] = (
    Fib(500, ("red",)),
    Fib(254, ("",)),
    Fib(830001, ("red", "yellow")),
    Bootstrap("red", "192.0.2.0/24", "eth0"),
    Bootstrap("yellow", "198.51.100.9/32", "", "192.0.2.1"),
    Announced("red", "203.0.113.1/32"),
    Announced("", "2001:db8::1/128"),
    replace(SESSION, password="pass word", digest="1", filters=(("import", 4, "if net.len > 24 then {\nreject; }"),)),
    Session("plain", "", "2001:db8::2", 65002, 65000, port=1790, hops=3, bfd=True, long_lived=True, restart_time=9),
    Peer("192.0.2.12", "192.0.2.11", "eth0"),
    Peer("2001:db8::12", "2001:db8::11", "eth1", 300, 5),
)


def text(*objects: BirdObject) -> str:
    """The configuration of these."""
    return render(objects, "192.0.2.11", 83)


def test_every_object_is_read_back_as_it_was_written() -> None:
    """Whatever their order, sessions with their passwords and others without."""
    back = parse(text(*OBJECTS))
    assert back == {item.key: item for item in OBJECTS}
    assert {item.password for item in back.values() if isinstance(item, Session)} == {"pass word", ""}
    assert text(*OBJECTS[::-1]) == text(*OBJECTS)
    assert router_id(text(*OBJECTS)) == "192.0.2.11"
    assert router_id("") == ""


def test_a_password_stands_in_one_line_alone() -> None:
    assert [line for line in text(*OBJECTS).splitlines() if "pass word" in line] == ['  password "pass word";']


def test_what_a_later_version_wrote_is_not_read() -> None:
    """An object of a kind or form that is not known here is not taken for another."""
    later = '# fib {"table":"five"}\n# moon {"phase":1}\n# fib nonsense\n# fib {"table":5,"networks":["red"]}\n'
    assert parse(later) == {("fib", 5): Fib(5, ("red",))}


def test_the_first_network_of_a_table_is_preferred() -> None:
    """By more than the preferences within a network are apart, up to the last of many."""
    many = [f"n{number}" for number in range(70)]
    ranks = [int(rank) for rank in re.findall(r"preference \+ (\d+)", text(Fib(700, tuple(many))))][:70]
    assert ranks == [ranks[0] - 1000 * min(place, 59) for place in range(70)]
    assert ranks[0] + 1000 < 1 << 16


def test_only_a_table_of_one_network_gives_back_what_users_put_there() -> None:
    assert "RTS_INHERIT" in text(Fib(500, ("red",)))
    assert "RTS_INHERIT" not in text(Fib(700, ("red", "yellow")))


def test_routes_of_the_main_table_end_with_bird() -> None:
    """There they could not be told from another BIRD's afterwards."""
    assert "persist;" in text(Fib(500, ("red",)))
    assert "persist;" not in text(Fib(254, ("",)))


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({}, {"direct;", 'interface "eth0";'}),
        ({"bfd": True}, {"direct;", 'interface "eth0";', "bfd graceful;"}),
        ({"hops": 1, "device": ""}, {"direct;", "ttl security on;"}),
        ({"hops": 3, "bfd": True}, {"multihop 3;", "ttl security on;"}),
        ({"device": "", "via": "192.0.2.1", "bfd": True}, {"multihop;"}),
    ],
    ids=lambda item: ",".join(sorted(item)),
)
def test_a_peer_is_on_a_link_or_behind_routers(fields: dict[str, object], lines: set[str]) -> None:
    """BFD watches the former alone, and TTL security counts the latter."""
    known = {"direct;", 'interface "eth0";', "bfd graceful;", "multihop;", "multihop 3;", "ttl security on;"}
    written = {line.strip() for line in text(replace(SESSION, **fields)).splitlines()}  # type: ignore[arg-type]
    assert written & known == lines


@pytest.mark.parametrize(
    "item",
    [
        replace(SESSION, password='a"; } protocol static { route 0.0.0.0/0 blackhole; #'),
        replace(SESSION, password="a\nb"),
        replace(SESSION, device='eth0"'),
        replace(SESSION, address="192.0.2.1 as 1; #"),
        replace(SESSION, source="nowhere"),
        Bootstrap("red", "192.0.2.0/24", 'e"'),
        Bootstrap("red", "192.0.2.1/24", "eth0"),
        Bootstrap("red", "192.0.2.0/24", "", "router"),
        Announced("red", "everything"),
        Peer("192.0.2.12", "here", "eth0"),
        Peer("there", "192.0.2.11", "eth0"),
        Peer("192.0.2.12", "192.0.2.11", "eth\t0"),
    ],
    ids=lambda item: type(item).__name__,
)
def test_what_would_end_its_quotes_is_refused(item: BirdObject) -> None:
    assert flaw(item)


@pytest.mark.parametrize("item", OBJECTS, ids=lambda item: str(item.key))
def test_what_can_be_written_is_not_refused(item: BirdObject) -> None:
    assert flaw(item) == ""


def test_names_fit_and_differ() -> None:
    """BIRD's symbols have 64 characters at most, of a few kinds; names that differ only in others still differ."""
    names = ["red", "red-east.v4", "x" * 200, "x" * 199, "red/east", "red east", "ré", "red_east"]
    tables = {network_table(name, 4) for name in names} | {network_table("", 4)}
    protocols = {session_protocol(name) for name in names}
    assert len(tables) == len(names) + 1
    assert len(protocols) == len(names)
    assert all(re.fullmatch(r"'[\w.:-]{1,64}'", name, re.ASCII) for name in tables)
    assert network_table("red-east.v4", 6) == "'net-red-east.v4.6'"
