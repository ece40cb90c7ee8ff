"""What a kernel and its tools are tried with: small tables first, each with one thing that ours need, so that what is
missing has a name; then the very objects that plans are made of."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

from sallyport.model.fitness import Trial
from sallyport.model.kernel import (
    Announced,
    Bootstrap,
    ClientElement,
    Element,
    Fib,
    InterfaceAddress,
    KernelObject,
    Link,
    Peer,
    Route,
    Rule,
    Session,
    Sysctl,
)
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, Family
from sallyport.plan.chains import spread, way
from sallyport.plan.rules import GROUP, arranged, first
from sallyport.plan.skeleton import skeletons
from sallyport.plan.steering import LAST_METRIC, MAIN_TABLE, WAY_METRIC
from sallyport.plan.tunnel import way as tunnel_way
from sallyport.plan.ways import EVERYTHING

OWN = {4: "192.0.2.1", 6: "2001:db8::1"}
OTHER = {4: "192.0.2.2", 6: "2001:db8::2"}
CLIENT = {4: "192.0.2.101", 6: "2001:db8::101"}
"""Addresses for documentation (RFC 5737, 3849): there is nothing behind them where they are tried."""
_DEVICE = "lo"
TABLE = "trial"
"""Name of the small tables."""
_HERE, _THERE = 1, 2
"""Egress ids of an exit on this node and of one on another."""

_TABLES = "nftables"
_INGRESS = "chains at a device"
_WHOLE = "our tables as a whole"
_HOPS = "next-hop objects"

_FORWARD = "type filter hook forward priority -5;"
_NAT = "type nat hook postrouting priority 95;"
_SET = "set s { type ipv4_addr; size 8; flags dynamic,timeout; timeout 1m; }"
_PAIRS = "set s { type ipv4_addr . ipv4_addr; flags interval; elements = { 192.0.2.1 . 192.0.2.0/24 } }"
_VERDICTS = "map m { type ipv4_addr : verdict; }"
_SOURCES = "map m { type mark : ipv4_addr; }"
_LIMITS = "map m { type mark : limit; }"

_SMALL: Sequence[tuple[str, str, str, str, str]] = (
    ("sets of ranges and pairs", "what is never governed", "NF_TABLES", _PAIRS, "ip saddr . ip daddr @s return"),
    ("sets that forget", "the dead-man element", "NF_TABLES", _SET, "add @s { ip saddr } counter drop"),
    ("verdict maps", "steering, with one look-up for every client", "NF_TABLES", _VERDICTS, "ip saddr vmap @m"),
    ("marks", "the egress id in a packet's mark", "NF_TABLES", "", "meta mark set meta mark & 0xffffc000 | 0x1"),
    ("connection tracking", "replies told from new connections", "NFT_CT", "", "ct state new ct direction original"),
    ("connection marks", "connections that keep their gateway", "NF_CONNTRACK_MARK", "", "ct mark set 0x1"),
    ("connection labels", "connections that began governed", "NF_CONNTRACK_LABELS", "", "ct label set 83"),
    (
        "address types",
        "what is for the node itself",
        "NFT_FIB_INET",
        "",
        "fib daddr type != { local, broadcast } return",
    ),
    ("limits by mark", "bandwidth of an Egress", "NFT_OBJREF", _LIMITS, "limit name meta mark map @m drop"),
    ("segment sizes", "connections that fit the tunnel", "NFT_EXTHDR", "", "tcp option maxseg size set 1400"),
    (
        "hashes",
        "clients spread over gateways",
        "NFT_HASH",
        "",
        "meta mark set jhash ip saddr . ip daddr mod 2 seed 0x1",
    ),
    ("source NAT by mark", "packets with the egress IP", "NFT_NAT", _SOURCES, "snat ip to meta mark & 0x3fff map @m"),
    ("NAT to the same address", "no masquerade into the tunnel", "NFT_NAT", "", "snat ip to ip saddr"),
)
"""Name, what it serves, the kernel's option, and a set and a rule with it."""


def trials(settings: Settings) -> tuple[Trial, ...]:
    """All of them, in the order in which they are made."""
    return (*_small(), *_tunnel(settings), *_ways(settings), *_exits(settings))


def _small() -> list[Trial]:
    found = [Trial(_TABLES, "everything", "NF_TABLES_INET", _table("inet", "", f"{_FORWARD} counter"))]
    for name, serves, option, declared, rule in _SMALL:
        text = _table("inet", declared, f"{_NAT if rule.startswith('snat') else _FORWARD} {rule}")
        found.append(Trial(name, serves, option, text, needs=_TABLES))
    hook = f'type filter hook ingress device "{_DEVICE}" priority 0; meta pkttype set host'
    text = _table("netdev", "", hook)
    found.append(Trial(_INGRESS, "packets that come out of the tunnel", "NF_TABLES_NETDEV", text, needs=_TABLES))
    return found


def _table(family: str, declared: str, chain: str) -> str:
    return f"table {family} {TABLE} {{\n{declared}\nchain c {{\n{chain}\n}}\n}}\n"


def _link(family: Family, settings: Settings) -> Link:
    return Link(settings.device(family), settings.vxlan_vni, settings.vxlan_port, OWN[family], 1400)


def _tunnel(settings: Settings) -> list[Trial]:
    found = []
    for family in FAMILIES:
        name = f"VXLAN with group policy over IPv{family}"
        made = (_link(family, settings),)
        found.append(Trial(name, "the tunnel to exits on other nodes", "VXLAN", objects=made, family=family))
    links = [_link(family, settings) for family in FAMILIES]
    tables = skeletons(settings, links)
    found.append(Trial(_WHOLE, "everything", "NF_TABLES", objects=tables, needs=_INGRESS))
    loose = (Sysctl(f"net/ipv4/conf/{links[0].name}/rp_filter", "2"),)
    found.append(Trial("settings of devices", "replies by another way", "SYSCTL", objects=loose, needs=_over(4)))
    return found


def _over(family: Family) -> str:
    return f"VXLAN with group policy over IPv{family}"


def _ways(settings: Settings) -> list[Trial]:
    found = []
    hops = tunnel_way(ip_address(OTHER[4]), settings.next_hop_base + _THERE, settings)
    objects = (hops.neighbor, hops.fdb, hops.next_hop)
    serves = "the way to an exit, which needs IPv6 in the kernel for IPv4 as well"
    found.append(Trial(_HOPS, serves, "IPV6", objects=objects, needs=_over(4)))
    for family in FAMILIES:
        table, everything = settings.table(_THERE), str(EVERYTHING[family])
        routes = (
            Route(family, table, everything, LAST_METRIC, "unreachable"),
            Route(family, table, everything, WAY_METRIC, "unicast", settings.next_hop_base + _THERE),
            Route(family, settings.table(_HERE), everything, WAY_METRIC, "throw"),
        )
        name = f"IPv{family} tables of routes"
        option = "IP_MULTIPLE_TABLES" if family == 4 else "IPV6_MULTIPLE_TABLES"
        found.append(Trial(name, "the way to an exit", option, objects=routes, needs=_HOPS, family=family))
        found.append(_rules(family, option, settings))
    return found


def _rules(family: Family, option: str, settings: Settings) -> Trial:
    """With more exits than are asked for one by one, and a priority that lies before the tree of their rules."""
    settings = replace(settings, rule_priority=min(settings.rule_priority, settings.tree_priority - 2))
    begin = first(settings)
    marks = [
        Rule(family, begin, settings.table(number), mark=settings.mark(number), mask=settings.mark_mask)
        for number in range(_HERE, _HERE + GROUP + 1)
    ]
    rules = (
        Rule(family, begin - 1, MAIN_TABLE, udp_port=settings.vxlan_port),
        Rule(family, begin - 1, MAIN_TABLE, iif=_DEVICE),
        *arranged(marks, settings),
    )
    return Trial(f"IPv{family} policy rules", "a mark leads to its exit", option, objects=rules, family=family)


def _exits(settings: Settings) -> list[Trial]:
    found = []
    for family in FAMILIES:
        chosen = spread(family, [_HERE, _THERE], [_HERE, _THERE], settings)
        ways = way(family, [(str(EVERYTHING[family]), chosen.name)], settings)
        mark = str(settings.mark(_HERE))
        objects: tuple[KernelObject, ...] = (
            Element(f"nodes{family}", OWN[family]),
            Element(f"held{family}", OTHER[family]),
            Element(f"exits{family}", mark, OTHER[family]),
            chosen,
            ways,
            ClientElement(f"clients{family}", CLIENT[family], ways.name),
            ClientElement(f"clients{family}", OWN[family], str(_THERE)),
        )
        name = f"IPv{family} members of our tables"
        found.append(Trial(name, "clients and exits", "NFT_HASH", objects=objects, needs=_WHOLE, family=family))
        address = (InterfaceAddress(_DEVICE, OTHER[family]),)
        name = f"IPv{family} egress IPs on a device"
        found.append(Trial(name, "a node holds addresses", "INET", objects=address, needs=_WHOLE, family=family))
    return found


def routing() -> tuple[Fib | Bootstrap | Announced | Session | Peer, ...]:
    """What BIRD has to understand: every kind of object that plans have for it."""
    return (
        Fib(500, ("trial",)),
        Bootstrap("trial", "192.0.2.0/24", _DEVICE),
        Announced("trial", "203.0.113.1/32"),
        Session("peer", "trial", OTHER[4], 64512, 64513, source=OWN[4], bfd=True, restart_time=120),
        Peer(OTHER[6], OWN[6], _DEVICE),
    )
