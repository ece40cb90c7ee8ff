"""`check node` against a real kernel: what is tried works here and leaves nothing, and what is planted is found."""

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.netns.world import run

from sallyport.drivers.command import query
from sallyport.drivers.kernel import PROC, Kernel
from sallyport.drivers.node.surroundings import look
from sallyport.drivers.node.trying import attempt
from sallyport.model.fitness import Finding, Outcome, Severity
from sallyport.model.kernel import Link, NextHop, Sysctl
from sallyport.model.settings import Settings
from sallyport.plan.fitness import judge
from sallyport.plan.fitness.means import SYSCTLS
from sallyport.plan.fitness.trials import routing, trials
from sallyport.plan.skeleton import skeletons
from sallyport.reconcile.diff import diff
from sallyport.reconcile.sequence import sequence

pytestmark = pytest.mark.root

SETTINGS = Settings()
LINK = Link("sp-vx4", 4097, 4790, "192.0.2.11", 1450)


def tried(folder: Path) -> list[Outcome]:
    return attempt(trials(SETTINGS), SETTINGS, folder / "trials")


def problems(folder: Path) -> dict[str, str]:
    """Subjects and messages of the problems of the node that the test runs in."""
    found: tuple[Finding, ...] = judge(look(SETTINGS, folder, SYSCTLS), (), SETTINGS)
    return {item.subject: item.message for item in found if item.severity is Severity.PROBLEM}


def test_everything_that_is_tried_works_here(kernel: Kernel, tmp_path: Path) -> None:
    assert [(item.trial.name, item.reason) for item in tried(tmp_path) if not item.works] == []
    assert kernel.bird.refusal(routing()) == ""


def test_nothing_that_is_tried_is_left_or_seen_on_the_node(kernel: Kernel, tmp_path: Path) -> None:
    before = query(["ip", "-j", "link", "show"])
    tried(tmp_path)
    assert query(["ip", "-j", "link", "show"]) == before
    assert not any(kernel.read().values())


def test_what_a_kernel_refuses_is_told_and_what_needs_it_is_not_tried(kernel: Kernel, tmp_path: Path) -> None:
    first, second, *_ = trials(SETTINGS)
    bad = replace(first, text="table inet trial { chain c { type filter hook nowhere priority 0; } }")
    told = attempt([bad, second], SETTINGS, tmp_path / "trials")
    assert [item.works for item in told] == [False, None]
    assert told[0].reason == "unknown chain hook"


def test_an_object_that_does_not_read_back_as_it_was_written_has_failed(kernel: Kernel, tmp_path: Path) -> None:
    """The kernel takes the setting, and holds it as another text."""
    trial = next(item for item in trials(SETTINGS) if item.name == "settings of devices")
    odd = replace(trial, objects=(Sysctl("net/ipv4/conf/lo/rp_filter", "0x2"),), needs="")
    (told,) = attempt([odd], SETTINGS, tmp_path / "trials")
    assert told.works is False


def test_a_sound_node_has_no_problems(kernel: Kernel, tmp_path: Path) -> None:
    assert problems(tmp_path) == {}


def nft(text: str) -> None:
    run("a", "nft -f -", text)


def ip(*lines: str) -> None:
    run("a", "ip -batch -", "".join(line + "\n" for line in lines))


MARKING = "table inet fw {\n chain c {\n type filter hook forward priority 0;\n meta mark set 0x5\n }\n}\n"
TRANSLATING = (
    "table ip fw {\n chain c {\n type nat hook postrouting priority 90;\n jump d\n }\n chain d {\n masquerade\n }\n}\n"
)


@pytest.mark.parametrize(
    ("plant", "subject"),
    [
        (lambda: ip("rule add priority 100 lookup 77"), "IPv4 rule 100"),
        (lambda: run("a", "ip -6 rule add priority 101 lookup 77"), "IPv6 rule 101"),
        (lambda: ip("rule add priority 9 fwmark 0x200/0xf00 lookup 2004"), "IPv4 rule 9"),
        (lambda: ip("route add 203.0.113.0/24 dev eth0 table 830005"), "table 830005"),
        (lambda: ip("nexthop add id 83000007 dev eth0"), "next hop 83000007"),
        (lambda: ip("link add sp-vx4 type veth peer name peer"), "sp-vx4"),
        (lambda: ip("link add vx type vxlan id 5 dstport 4790 dev eth0"), "vx"),
        (lambda: ip("link add antrea-egress0 type veth peer name peer"), "antrea-egress0"),
        (lambda: ip("link set eth0 mtu 1329"), "eth0"),
        (lambda: nft(MARKING), "chain c of inet fw"),
        (lambda: nft(TRANSLATING), "chain c of ip fw"),
        (lambda: (PROC / "net/ipv4/ip_forward").write_text("0"), "net.ipv4.ip_forward"),
        (lambda: (PROC / "net/ipv6/conf/all/forwarding").write_text("0"), "net.ipv6.conf.all.forwarding"),
    ],
)
def test_a_planted_clash_is_found_and_nothing_else(
    kernel: Kernel, tmp_path: Path, plant: Callable[[], object], subject: str
) -> None:
    plant()
    assert list(problems(tmp_path)) == [subject]


def test_a_port_that_somebody_has_is_found_with_its_process(kernel: Kernel, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken, socket.create_server(("", 9847)):
        taken.bind(("", 4790))
        found = problems(tmp_path)
    assert list(found) == ["TCP port 9847", "UDP port 4790"]
    assert all("python" in message or "pytest" in message for message in found.values())


def test_an_agents_work_is_no_clash_and_its_silence_is_told(kernel: Kernel, tmp_path: Path) -> None:
    kernel.apply(sequence(diff((LINK, *skeletons(SETTINGS, [LINK])), {})))
    assert list(problems(tmp_path)) == ["agent"]
    kernel.tables.renew(SETTINGS.dead_after)
    assert problems(tmp_path) == {}
    found = look(SETTINGS, tmp_path, SYSCTLS).programmed
    assert found is not None
    assert found.renewed is not None
    assert found.renewed <= SETTINGS.dead_after
    run("a", "nft insert rule inet sallyport guard accept")
    assert list(problems(tmp_path)) == ["our tables"]


def test_next_hops_stand_where_new_devices_have_no_ipv6(kernel: Kernel) -> None:
    """Hardened nodes switch it off for all devices; IPv4 goes by link-local IPv6 gateways all the same."""
    for name in ("all", "default"):
        (PROC / f"net/ipv6/conf/{name}/disable_ipv6").write_text("1")
    hop = NextHop(83_000_001, "fe80::5350:c000:20c", "sp-vx4")
    assert kernel.apply(sequence(diff((LINK, hop), {}))) == []
    assert kernel.read()[LINK.kind] == {LINK.key: LINK}
    switch = PROC / "net/ipv6/conf/sp-vx4/disable_ipv6"
    switch.write_text("1")
    assert diff((LINK,), {LINK.kind: kernel.read()[LINK.kind]})
    kernel.apply(sequence(diff((LINK, hop), kernel.read())))
    assert kernel.read()[LINK.kind] == {LINK.key: LINK}
    assert kernel.read()[hop.kind] == {hop.key: hop}
