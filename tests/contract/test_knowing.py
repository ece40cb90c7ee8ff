"""What an agent may go on believing about its kernel: what it has read, until the kernel tells of a change."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from tests.contract.objects import LINKS, RICH, SETTINGS, differences, settle
from tests.netns.world import eventually, run

from sallyport.drivers import command, nfnetlink, nftables, wire
from sallyport.drivers.kernel import Kernel
from sallyport.model.kernel import ClientElement, Element, Kind
from sallyport.model.state import ClusterState
from sallyport.plan.skeleton import skeletons
from sallyport.processes.hands import KernelHands
from sallyport.reconcile.sequence import Step

pytestmark = pytest.mark.root

BY_HAND = [
    "ip link set sp-vx4 mtu 1300",
    "ip address del 192.0.2.101/32 dev eth0",
    "ip neigh del 192.0.2.150 dev sp-vx4",
    "ip neigh replace 192.0.2.150 lladdr 02:00:00:00:00:77 nud permanent dev sp-vx4",
    "bridge fdb del 02:00:00:00:00:01 dev sp-vx4",
    "bridge fdb replace 02:00:00:00:00:01 dev sp-vx4 dst 192.0.2.151 self permanent",
    "ip nexthop del id 83000010",
    "ip -6 route del default table 830005 metric 100",
    "ip rule del priority 20001",
    "nft delete table inet sallyport",
    "nft delete table netdev sallyport",
    "nft flush ruleset",
    "nft insert rule inet sallyport guard accept",
    "nft flush chain inet sallyport mark_5",
    "nft add element inet sallyport free4 { 10.244.1.78 }",
    "nft delete element inet sallyport exits4 { 1 }",
]
"""What somebody does to a kernel that holds RICH."""


@pytest.fixture
async def hands(kernel: Kernel, tmp_path: Path) -> KernelHands:
    """An agent's hands on a kernel that holds RICH and has been read, and that hear of what is done to it."""
    made = KernelHands(SETTINGS, tmp_path)
    assert settle(kernel, RICH) == []
    made.watch(asyncio.get_running_loop(), lambda: None)
    made.read()
    return made


@pytest.mark.parametrize("line", BY_HAND)
async def test_a_change_by_hand_is_known_before_anything_else_is_done(hands: KernelHands, line: str) -> None:
    """The kernel has told of it by the time the command has ended, so no plan is made of what was read before."""
    await at_rest(hands)
    run("a", line)
    assert hands.changed()


async def test_what_is_read_back_is_known_and_our_own_write_is_no_news_then(hands: KernelHands) -> None:
    await at_rest(hands)
    exit_ = (Element("marks4", "9"), Element("exits4", "9", "192.0.2.109"))
    assert hands.apply([Step(Kind.EXIT_ELEMENT, upserts=exit_)]) == []
    assert hands.changed()
    hands.read()
    assert not hands.changed()


async def test_what_comes_after_a_look_at_the_node_is_news_though_it_was_read_back(hands: KernelHands) -> None:
    """A link that appears while a round writes is in nothing that the round has planned by."""
    await at_rest(hands)
    run("a", "ip link add late type bridge")
    hands.read()
    assert not hands.changed()
    assert hands.stale()
    look(hands)
    assert not hands.changed()
    assert not hands.stale()


@pytest.mark.parametrize("kind", [Kind.NEIGHBOR, Kind.FDB, Kind.NEXT_HOP, Kind.ROUTE, Kind.RULE])
async def test_what_we_write_is_read_back_and_tells_nothing_new_of_the_node(hands: KernelHands, kind: Kind) -> None:
    """Or each event would be followed by another look at all of the node, that finds what it has found before."""
    await at_rest(hands)
    items = tuple(item for item in RICH if item.kind is kind)
    assert hands.apply([Step(kind, deletes=items)]) == []
    assert hands.changed()
    hands.read()
    assert not hands.changed()
    assert not hands.stale()


async def test_a_rule_of_somebody_else_is_news_of_the_node(hands: KernelHands) -> None:
    """It may lead to the table of an external network."""
    await at_rest(hands)
    run("a", "ip rule add fwmark 1 lookup 77")
    hands.read()
    assert hands.stale()


async def test_the_heartbeat_is_no_change(hands: KernelHands) -> None:
    await at_rest(hands)
    hands.renew()
    assert not hands.changed()


async def at_rest(hands: KernelHands) -> None:
    """Until a new namespace tells of nothing any more by itself."""
    loop = asyncio.get_running_loop()
    quiet = loop.time()
    while loop.time() - quiet < 0.2:
        await asyncio.sleep(0.02)
        if hands.changed() or hands.stale():
            look(hands)
            quiet = loop.time()


def look(hands: KernelHands) -> None:
    """As a round begins."""
    hands.observe(ClusterState(), "a", hands.read())


TABLE = skeletons(SETTINGS, LINKS)
ONE, TWO = ClientElement("clients4", "10.244.1.2", "5"), ClientElement("clients4", "10.244.1.3", "6")
FREE = ClientElement("free4", "10.244.1.9")
MEDDLING = [
    "nft delete element inet sallyport clients4 { 10.244.1.2 }",
    "nft add element inet sallyport clients4 { 10.244.1.3 : jump mark_5 }",
    "nft delete element inet sallyport free4 { 10.244.1.9 }",
    "nft flush set inet sallyport free4",
]


@pytest.mark.parametrize("line", MEDDLING)
def test_what_somebody_changes_between_a_look_and_a_write_is_looked_at_again(kernel: Kernel, line: str) -> None:
    """The transaction was made for what was read. The kernel refuses it, and it is made anew for what there is."""
    assert settle(kernel, (*LINKS, *TABLE, ONE, FREE)) == []
    kernel.read()
    run("a", "nft -f -", line.removeprefix("nft ") + "\n")
    moved = ClientElement("clients4", "10.244.1.2", "7")
    assert kernel.apply([Step(Kind.CLIENT_ELEMENT, upserts=(moved, TWO), deletes=(FREE,))]) == []
    assert differences(kernel, (*LINKS, *TABLE, moved, TWO)) == {}


def test_a_mark_is_set_by_the_rule_that_nft_would_write(kernel: Kernel) -> None:
    """Chains are made without nft, and read by people with it."""
    assert settle(kernel, (*LINKS, *TABLE)) == []
    kernel.read()
    assert kernel.apply([Step(Kind.CLIENT_ELEMENT, upserts=(ONE,))]) == []
    text = "add table inet other\nadd chain inet other mark_5\n"
    text += "add rule inet other mark_5 meta mark set meta mark & 0xffffc000 | 0x5\n"
    run("a", "nft -f -", text)
    written, ours = (run("a", f"nft list chain inet {name} mark_5") for name in ("other", "sallyport"))
    assert ours == written.replace("other", "sallyport")


PARSERS = (nfnetlink._meant, nfnetlink._rule)


def worked_out(kernel: Kernel) -> int:
    """Answers of the kernel whose meaning one more look had to work out."""
    before = sum(parser.cache_info().misses for parser in PARSERS)
    kernel.read()
    return sum(parser.cache_info().misses for parser in PARSERS) - before


def test_a_look_works_out_only_what_has_changed(kernel: Kernel) -> None:
    """All is read each time; but an answer about one of a hundred sets and rules that is as it was means the same.

    Without IPv6 the node says nothing by itself: a rule would count each solicitation of a router, and be another then.
    """
    assert settle(kernel, (*LINKS, *TABLE, ONE)) == []
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    for parser in PARSERS:
        parser.cache_clear()
    assert worked_out(kernel) > 30
    assert eventually(lambda: worked_out(kernel) == 0), "what was sent before is counted soon"
    kernel.tables.renew(3600)
    assert worked_out(kernel) == 1
    assert kernel.apply([Step(Kind.CLIENT_ELEMENT, upserts=(FREE,))]) == []
    assert 1 <= worked_out(kernel) <= 2


def test_a_look_asks_the_kernel_as_often_whatever_it_has(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions are counted. There is one for each set and kind, and none for each pod or exit."""
    assert settle(kernel, (*LINKS, *TABLE)) == []
    asked, dump = list[int](), wire.Link.dump

    def noted(link: wire.Link, kind: int, body: bytes) -> list[bytes]:
        asked.append(kind)
        return dump(link, kind, body)

    monkeypatch.setattr(wire.Link, "dump", noted)
    kernel.read()
    few = len(asked)
    pods = tuple(ClientElement("clients4", f"10.244.2.{n}", str(n)) for n in range(1, 200))
    assert kernel.apply([Step(Kind.CLIENT_ELEMENT, upserts=pods)]) == []
    asked.clear()
    kernel.read()
    assert len(asked) == few < 50


def test_no_socket_for_tables_is_closed_after_a_write(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who closes one waits until the kernel has ended what was taken out of its tables: for more than ten milliseconds,
    in which no other change could be made."""
    assert settle(kernel, (*LINKS, *TABLE, ONE)) == []
    opened, make = list[int](), wire.Link

    def noted(protocol: int) -> wire.Link:
        opened.append(protocol)
        return make(protocol)

    monkeypatch.setattr(wire, "Link", noted)
    kernel.read()
    assert kernel.apply([Step(Kind.CLIENT_ELEMENT, upserts=(FREE,), deletes=(ONE,))]) == []
    kernel.tables.renew(60)
    kernel.tables.undecided()
    kernel.read()
    assert opened == []


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs of nft."""
    started: list[str] = []

    def noted(argv: Sequence[str], text: str = "") -> CompletedProcess[str]:
        started.append(argv[0])
        return command.run(argv, text)

    monkeypatch.setattr(nftables, "run", noted)
    return started


def test_a_pod_more_starts_no_program(kernel: Kernel, counted: list[str]) -> None:
    assert settle(kernel, (*LINKS, *TABLE, ONE)) == []
    kernel.read()
    counted.clear()
    assert kernel.apply([Step(Kind.CLIENT_ELEMENT, upserts=(TWO, FREE))]) == []
    assert kernel.apply([Step(Kind.CLIENT_ELEMENT, deletes=(ONE,))]) == []
    kernel.read()
    assert counted == []
