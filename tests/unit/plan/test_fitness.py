"""What is wrong with a node, judged by what was seen of it: one thing at a time on a node that is sound otherwise."""

from dataclasses import replace
from typing import Any

import pytest

from sallyport.model.fitness import (
    BaseChain,
    Device,
    Finding,
    Listener,
    MarkChange,
    Outcome,
    Programmed,
    Seen,
    Severity,
    Surroundings,
    Tool,
    Trial,
    Uplink,
)
from sallyport.model.settings import Settings
from sallyport.plan.fitness import judge

PROBLEM, WARNING = Severity.PROBLEM, Severity.WARNING
ALL = 0xFFFFFFFF
TRIAL = Trial("marks", "steering", "NF_TABLES")
SOUND = Surroundings(
    capabilities=frozenset({"NET_ADMIN", "NET_RAW", "SYS_ADMIN"}),
    sysctls={
        "net/ipv4/ip_forward": "1",
        "net/ipv6/conf/all/disable_ipv6": "0",
        "net/ipv6/conf/all/forwarding": "1",
        "net/ipv6/conf/eth0/disable_ipv6": "0",
        "net/ipv6/conf/eth0/forwarding": "1",
        "net/ipv6/conf/eth0/accept_ra": "1",
        "net/netfilter/nf_conntrack_tcp_loose": "1",
        "net/netfilter/nf_conntrack_count": "800",
        "net/netfilter/nf_conntrack_max": "1000",
    },
    tools=(Tool("ip", "iproute2", "6.1.0"), Tool("bird", "bird2", "2.0.12")),
    uplinks={4: Uplink("eth0", 1500), 6: Uplink("eth0", 1500)},
    devices=(
        Device("eth0", "veth", 1500),
        Device("sp-vx4", "vxlan", 1450, 4790, ours=True),
        Device("sp-vx6", "vxlan", 1430, 4790, ours=True),
    ),
    rules=(
        Seen(4, 0, "local"),
        Seen(4, 100, "local"),
        Seen(4, 512, "main", mark=0x4000, mask=0x4000),
        Seen(4, 1000, "l3mdev"),
        Seen(4, 32766, "main"),
        Seen(6, 32766, "main"),
    ),
    chains=(
        BaseChain("ip nat", "POSTROUTING", "nat", "postrouting", 100, translates=True),
        BaseChain("ip mangle", "PREROUTING", "mangle", "prerouting", -150, MarkChange(0xFF0000, 0)),
        BaseChain("ip mangle", "FORWARD", "mangle", "forward", -150, MarkChange(0x8000, ALL & ~0xC000)),
        BaseChain("bridge b", "c", "filter", "forward", 0, drops=True),
    ),
    listeners=(
        Listener("udp", 4790),
        Listener("udp", 3784, "bird", ours=True),
        Listener("tcp", 9847),
        Listener("tcp", 179, "bird"),
    ),
    programmed=Programmed(1.0, ("one", "two"), ("one", "two"), 20, configured=True, answering=True),
)


def found(seen: Surroundings, *outcomes: Outcome) -> tuple[Finding, ...]:
    """What is wrong."""
    return judge(seen, outcomes, Settings())


def test_a_node_with_all_that_is_needed_has_no_findings() -> None:
    assert found(SOUND, Outcome(TRIAL, True), Outcome(TRIAL, None, "not tried without nftables")) == ()


def sysctl(path: str, value: str) -> dict[str, Any]:
    return {"sysctls": {**SOUND.sysctls, path: value}}


def chain(hook: str, priority: int, mark: MarkChange = MarkChange(), type_: str = "filter", **more: bool) -> Any:  # noqa: B008
    return {"chains": (BaseChain("inet fw", "c", type_, hook, priority, mark, **more),)}


def programmed(**change: Any) -> dict[str, Any]:
    return {"programmed": replace(SOUND.programmed or Programmed(), **change)}


BITS = MarkChange(0x5, ALL)
CASES = [
    ("CAP_NET_ADMIN", PROBLEM, {"capabilities": SOUND.capabilities - {"NET_ADMIN"}}),
    ("CAP_SYS_ADMIN", WARNING, {"capabilities": SOUND.capabilities - {"SYS_ADMIN"}}),
    ("/proc/sys", PROBLEM, {"writable": False}),
    ("clock", WARNING, {"clock": False}),
    ("nft", PROBLEM, {"tools": (Tool("nft", "nftables"),)}),
    ("bird", PROBLEM, {"tools": (Tool("bird", "bird2", "3.0.1"),)}),
    ("net.ipv4.ip_forward", PROBLEM, sysctl("net/ipv4/ip_forward", "0")),
    ("net.ipv6.conf.all.forwarding", PROBLEM, sysctl("net/ipv6/conf/all/forwarding", "0")),
    ("net.ipv6.conf.eth0.forwarding", PROBLEM, sysctl("net/ipv6/conf/eth0/forwarding", "0")),
    ("net.netfilter.nf_conntrack_tcp_loose", WARNING, sysctl("net/netfilter/nf_conntrack_tcp_loose", "0")),
    ("connection table", WARNING, sysctl("net/netfilter/nf_conntrack_count", "801")),
    ("IPv6", PROBLEM, sysctl("net/ipv6/conf/all/disable_ipv6", "")),
    ("IPv6", WARNING, sysctl("net/ipv6/conf/all/disable_ipv6", "1")),
    ("net.ipv6.conf.eth0.accept_ra", PROBLEM, {"uplinks": {6: Uplink("eth0", 1500, advertised=True)}}),
    ("uplink", WARNING, {"uplinks": {}}),
    ("eth0", PROBLEM, {"uplinks": {4: Uplink("eth0", 1329)}, "devices": ()}),
    ("MTU", WARNING, {"uplinks": {4: Uplink("eth0", 1500), 6: Uplink("eth1", 9000)}, "devices": ()}),
    ("sp-vx4", WARNING, {"devices": (Device("sp-vx4", "vxlan", 1400, 4790, ours=True),)}),
    ("sp-vx4", PROBLEM, {"devices": (Device("sp-vx4", "veth", 1500), SOUND.devices[2])}),
    ("vx", PROBLEM, {"devices": (Device("vx", "vxlan", 1450, 4790),)}),
    ("antrea-egress0", PROBLEM, {"devices": (*SOUND.devices, Device("antrea-egress0"))}),
    ("egress.calico", PROBLEM, {"devices": (*SOUND.devices, Device("egress.calico"))}),
    ("cilium_host", WARNING, {"devices": (*SOUND.devices, Device("cilium_host"))}),
    ("IPv4 rule 9", PROBLEM, {"rules": (Seen(4, 9, "2004", mark=0x200, mask=0xF00),)}),
    ("IPv6 rule 20001", PROBLEM, {"rules": (Seen(6, 20001, "77"),)}),
    ("IPv4 rule 26145", PROBLEM, {"rules": (Seen(4, 26145, "77", selector="from 10.0.0.0/8"),)}),
    ("IPv4 rule 500", WARNING, {"rules": (Seen(4, 500, "77", selector="from 10.0.0.0/8"),)}),
    ("table 830005", PROBLEM, {"tables": {830005: ("boot",)}}),
    ("next hop 83000007", PROBLEM, {"hops": (83000007,)}),
    ("chain c of inet fw", PROBLEM, chain("prerouting", -150, BITS)),
    ("chain c of inet fw", PROBLEM, chain("prerouting", -80, MarkChange(0xFF0000, 0))),
    ("chain c of inet fw", PROBLEM, chain("forward", 0, MarkChange(0, ALL & ~0x1))),
    ("chain c of inet fw", PROBLEM, chain("postrouting", 90, type_="nat", translates=True)),
    ("chain c of inet fw", PROBLEM, chain("forward", 0, offloads=True)),
    ("chain c of inet fw", WARNING, chain("forward", 0, drops=True)),
    ("chain c of inet fw", WARNING, chain("input", 0, drops=True)),
    ("UDP port 4790", PROBLEM, {"listeners": (Listener("udp", 4790, "nc"),)}),
    ("UDP port 3784", PROBLEM, {"listeners": (Listener("udp", 3784, "bfdd"),)}),
    ("TCP port 8179", PROBLEM, {"listeners": (Listener("tcp", 8179, "bird"),)}),
    ("agent", PROBLEM, programmed(renewed=None) | {"listeners": ()}),
    ("our tables", PROBLEM, programmed(digests=("one", ""))),
    ("our tables", PROBLEM, programmed(digests=())),
    ("our tables", WARNING, programmed(digests=("one", "three"))),
    ("BIRD", PROBLEM, programmed(answering=False)),
    ("other rules", WARNING, {"unread": ("rules of iptables-nft are there",)}),
]


@pytest.mark.parametrize(
    ("subject", "severity", "change"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)]
)
def test_each_thing_that_is_wrong_is_told_alone(subject: str, severity: Severity, change: dict[str, Any]) -> None:
    (finding,) = found(replace(SOUND, **change))
    assert (finding.subject, finding.severity) == (subject, severity)
    assert finding.message
    assert finding.remedy


def test_a_kernel_that_refuses_something_is_told_with_the_option_that_brings_it() -> None:
    (finding,) = found(SOUND, Outcome(TRIAL, False, "Operation not supported"))
    assert (finding.subject, finding.severity) == ("marks", PROBLEM)
    assert "Operation not supported" in finding.message
    assert "CONFIG_NF_TABLES" in finding.remedy


def test_a_port_of_ours_without_a_visible_process_is_somebody_elses_where_no_agent_runs() -> None:
    (finding,) = found(replace(SOUND, programmed=None))
    assert finding.subject == "TCP port 9847"


def test_the_tunnels_port_is_taken_where_there_is_no_tunnel() -> None:
    (finding,) = found(replace(SOUND, devices=(), listeners=SOUND.listeners[:1], programmed=None))
    assert finding.subject == "UDP port 4790"


def test_problems_come_before_warnings() -> None:
    both = replace(SOUND, clock=False, hops=(83000007,))
    assert [item.severity for item in found(both)] == [PROBLEM, WARNING]
