"""What a node sees of itself: its facts, changes that others make, and tools that fail."""

import asyncio
from ipaddress import ip_address, ip_network

import pytest
from tests.contract.objects import RICH, SETTINGS, settle
from tests.netns import world

from sallyport.drivers.command import DriverError, batch, queries, run
from sallyport.drivers.facts import gather
from sallyport.drivers.kernel import Kernel
from sallyport.drivers.monitor import Monitor, TableMonitor
from sallyport.model.plan import Uplink

pytestmark = pytest.mark.root


def test_facts_of_a_node(kernel: Kernel) -> None:
    """Its uplinks with their subnets and MTU, its addresses and their devices, and the device that replies come by;
    our own devices are no part of it, and a held address makes no subnet."""
    assert settle(kernel, RICH) == []
    held = frozenset(ip_address(text) for text in ("192.0.2.101", "192.0.2.102", "2001:db8::103"))
    facts = gather("a", world.underlay(1), held, [ip_network("10.244.7.0/24")], "sp-vx")
    assert facts.uplinks == {
        4: Uplink("eth0", ip_address("192.0.2.11"), (ip_network("192.0.2.0/24"),), 1500),
        6: Uplink("eth0", ip_address("2001:db8::11"), (ip_network("2001:db8::/64"),), 1500),
    }
    assert {facts.addresses[address] for address in (*held, *world.underlay(1))} == {"eth0"}
    assert facts.addresses[ip_address("10.244.1.1")] == "cni0"
    assert ip_address("192.0.0.8") not in facts.addresses
    assert facts.reply_devices == ("eth0",)
    assert facts.held == held


def test_a_node_whose_address_is_not_on_it_has_no_uplink(kernel: Kernel) -> None:
    """The API may know addresses that no interface has."""
    assert gather("a", [ip_address("203.0.113.1")], frozenset(), (), "sp-vx").uplinks == {}


def test_addresses_that_we_put_on_are_known_without_a_record(kernel: Kernel) -> None:
    """Held are those that look as we write them, not those that a person put on."""
    assert settle(kernel, RICH) == []
    for command in (
        "nft flush ruleset",
        "ip address add 192.0.2.103/32 dev eth0",
        "ip address add 2001:db8::7/128 dev lo",
    ):
        world.run("a", command)
    facts = gather("a", world.underlay(1), frozenset(), (), "sp-vx")
    assert facts.held == {ip_address(text) for text in ("192.0.2.101", "192.0.2.102", "2001:db8::103")}


CHANGES = [
    "ip link set cni0 mtu 1400",
    "ip address add 192.0.2.55/32 dev eth0",
    "ip address add 2001:db8::55/128 dev eth0",
    "ip route add 198.18.0.0/15 via 192.0.2.1",
    "ip route add 2001:db8:18::/48 via 2001:db8::1",
    "ip rule add fwmark 1 lookup 77",
    "ip -6 rule add fwmark 1 lookup 77",
    "ip nexthop add id 5 via 192.0.2.1 dev eth0",
]


@pytest.mark.parametrize("command", CHANGES)
async def test_a_change_by_others_is_heard(kernel: Kernel, command: str) -> None:
    """Each of them wakes the agent, whatever the family, once the new namespace has fallen silent."""
    heard = asyncio.Event()
    Monitor(heard.set, SETTINGS.route_protocol).attach(asyncio.get_running_loop())
    while await happens(heard, within=0.1):
        heard.clear()
    world.run("a", command)
    assert await happens(heard, within=2)


async def test_routes_of_bird_wake_nobody(kernel: Kernel) -> None:
    """A peer may send 100,000 of them at once. A change besides them is heard all the same."""
    heard = asyncio.Event()
    Monitor(heard.set, SETTINGS.route_protocol).attach(asyncio.get_running_loop())
    while await happens(heard, within=0.1):
        heard.clear()
    for family, network in ((4, "198.18.0.0/15"), (6, "2001:db8:18::/48")):
        world.run("a", f"ip -{family} route add {network} dev eth0 table 500 proto bird")
    world.run("a", "ip route del 198.18.0.0/15 table 500 proto bird")
    assert not await happens(heard, within=0.2)
    world.run("a", "ip route add 198.18.0.0/15 via 192.0.2.1")
    assert await happens(heard, within=2)


@pytest.mark.parametrize(
    "command",
    [
        "nft delete table inet sallyport",
        "nft flush ruleset",
        "nft flush chain inet sallyport guard",
        "nft delete element inet sallyport exits4 { 1 }",
    ],
)
async def test_a_removal_from_our_table_is_heard_at_once(kernel: Kernel, command: str) -> None:
    """Without our table nothing keeps a governed pod's packets in, and a round every five seconds would be too late."""
    assert settle(kernel, RICH) == []
    heard = asyncio.Event()
    TableMonitor(heard.set, "sallyport").attach(asyncio.get_running_loop())
    world.run("a", command)
    assert await happens(heard, within=2)


async def test_what_others_remove_from_their_tables_and_our_own_heartbeat_wake_nobody(kernel: Kernel) -> None:
    assert settle(kernel, RICH) == []
    world.run("a", "nft add table inet other")
    heard = asyncio.Event()
    TableMonitor(heard.set, "sallyport").attach(asyncio.get_running_loop())
    world.run("a", "nft delete table inet other")
    kernel.tables.renew(5)
    kernel.tables.renew(5)
    assert not await happens(heard, within=0.2)


async def happens(event: asyncio.Event, *, within: float) -> bool:
    """Whether an event is set in that many seconds."""
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return False
    return True


def test_a_line_that_cannot_be_parsed_stops_no_other(kernel: Kernel) -> None:
    """The tool ends at such a line without a word; every other line is carried out all the same."""
    lines = [f"rule add priority {n} fwmark {n} lookup {n}" for n in range(100, 120)]
    lines[7] = "rule add priority nonsense"
    failures = batch("ip -4", lines, forgiven=("File exists",))
    assert len(failures) == 1
    assert "priority nonsense" in failures[0]
    assert len(queries("ip -4", ["rule show"])[0]) == 19 + 3


def test_questions_about_something_that_is_gone_have_no_answer(kernel: Kernel) -> None:
    """The answers of the others stay with their questions."""
    answers = queries("ip", ["link show dev lo", "link show dev eth9", "link show dev eth0"])
    assert [[item["ifname"] for item in answer] for answer in answers] == [["lo"], [], ["eth0"]]


def test_nonsense_is_an_error(kernel: Kernel) -> None:
    """An answer that is none is not taken for an empty kernel."""
    with pytest.raises(DriverError, match="nonsense"):
        queries("ip", ["nonsense show", "link show"])


def test_a_missing_tool_is_a_driver_error() -> None:
    """In one line, by name."""
    with pytest.raises(DriverError, match="tool-that-nobody-has is not installed"):
        run(["tool-that-nobody-has"])
