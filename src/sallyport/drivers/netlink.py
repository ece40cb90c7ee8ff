"""Neighbours, forwarding entries, next hops, routes and rules: each kind read from the kernel and written to it.

How a freshly started agent knows what is its own: neighbours and forwarding entries by the tunnel device that they
are on; next hops, routes and rules by the protocol number (`RTPROT` space, see /etc/iproute2/rt_protos).
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from sallyport.drivers.command import batch, query
from sallyport.model.kernel import Fdb, KernelObject, Neighbor, NextHop, Route, Rule
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, Family

GONE = ("Cannot find device", "No such", "does not exist")
"""What the tools say when something to be deleted is not there."""

_NAMED_TABLES = {"default": 253, "main": 254, "local": 255}


def read_neighbors(devices: Iterable[str]) -> Mapping[object, KernelObject]:
    """Permanent entries on `devices`; multicast ones are the kernel's own."""
    found: dict[object, KernelObject] = {}
    for device in devices:
        for item in query(["ip", "-j", "neigh", "show", "dev", device, "nud", "permanent"]):
            neighbor = Neighbor(device, str(item["dst"]), str(item.get("lladdr", "")))
            if not ip_address(neighbor.address).is_multicast:
                found[neighbor.key] = neighbor
    return found


def write_neighbors(upserts: Iterable[Neighbor], deletes: Iterable[Neighbor]) -> list[str]:
    """Make or replace entries, and remove entries."""
    lines = [f"neigh replace {n.address} lladdr {n.lladdr} dev {n.device} nud permanent" for n in upserts]
    failures = batch("ip", lines)
    return failures + batch("ip", [f"neigh del {n.address} dev {n.device}" for n in deletes], forgiven=GONE)


def read_fdb(devices: Iterable[str]) -> Mapping[object, KernelObject]:
    """Entries on `devices` that name an outer destination."""
    found: dict[object, KernelObject] = {}
    for device in devices:
        for item in query(["bridge", "-j", "fdb", "show", "dev", device]):
            if "dst" in item:
                entry = Fdb(device, str(item["mac"]), str(item["dst"]))
                found[entry.key] = entry
    return found


def write_fdb(upserts: Iterable[Fdb], deletes: Iterable[Fdb]) -> list[str]:
    """Make or replace entries, and remove entries."""
    lines = [f"fdb replace {e.lladdr} dev {e.device} dst {e.destination} self permanent" for e in upserts]
    failures = batch("bridge", lines)
    return failures + batch("bridge", [f"fdb del {e.lladdr} dev {e.device} self" for e in deletes], forgiven=GONE)


def read_next_hops(settings: Settings) -> Mapping[object, KernelObject]:
    """Next-hop objects of our protocol number."""
    found: dict[object, KernelObject] = {}
    for item in query(["ip", "-j", "nexthop", "show", "proto", str(settings.route_protocol)]):
        hop = NextHop(int(str(item["id"])), str(item.get("gateway", "")), str(item.get("dev", "")))
        found[hop.key] = hop
    return found


def write_next_hops(upserts: Iterable[NextHop], deletes: Iterable[NextHop], settings: Settings) -> list[str]:
    """Make or replace next hops, and remove next hops."""
    proto = settings.route_protocol
    lines = [f"nexthop replace id {h.id} via {h.gateway} dev {h.device} onlink proto {proto}" for h in upserts]
    failures = batch("ip", lines)
    return failures + batch("ip", [f"nexthop del id {hop.id}" for hop in deletes], forgiven=GONE)


def read_routes(settings: Settings) -> Mapping[object, KernelObject]:
    """Routes of our protocol number in any table."""
    found: dict[object, KernelObject] = {}
    proto = str(settings.route_protocol)
    for family in FAMILIES:
        for item in query(["ip", f"-{family}", "-j", "-d", "route", "show", "table", "all", "proto", proto]):
            destination = str(item["dst"])
            if destination == "default":
                destination = "0.0.0.0/0" if family == 4 else "::/0"
            kind: Any = item.get("type", "unicast")
            metric = int(str(item.get("metric", 0)))
            table = _table(str(item.get("table", "main")))
            route = Route(family, table, destination, metric, kind, int(str(item.get("nhid", 0))))
            found[route.key] = route
    return found


def write_routes(upserts: Iterable[Route], deletes: Iterable[Route], settings: Settings) -> list[str]:
    """Make or replace routes, and remove routes."""
    proto = settings.route_protocol
    failures = _by_family((r.family, f"route replace {_route(r)} proto {proto}{_via(r)}") for r in upserts)
    return failures + _by_family(((r.family, f"route del {_route(r)}") for r in deletes), forgiven=GONE)


def _route(route: Route) -> str:
    kind = "" if route.type == "unicast" else f"{route.type} "
    return f"{kind}{route.destination} table {route.table} metric {route.metric}"


def _via(route: Route) -> str:
    return f" nhid {route.next_hop}" if route.type == "unicast" else ""


def _by_family(lines: Iterable[tuple[Family, str]], forgiven: tuple[str, ...] = ()) -> list[str]:
    """`ip -batch` takes the family as an option of the whole run, so there is one run per family."""
    kept = list(lines)
    failures: list[str] = []
    for family in FAMILIES:
        failures += batch(f"ip -{family}", [line for of, line in kept if of == family], forgiven=forgiven)
    return failures


def read_rules(settings: Settings) -> Mapping[object, KernelObject]:
    """Rules of our protocol number."""
    found: dict[object, KernelObject] = {}
    for family in FAMILIES:
        for item in query(["ip", f"-{family}", "-j", "-N", "-d", "rule", "show"]):
            if str(item.get("protocol")) != str(settings.route_protocol):
                continue
            mark = int(str(item.get("fwmark", "0")), 0)
            mask = int(str(item.get("fwmask", "0xffffffff" if mark else "0")), 0)
            table = _table(str(item["table"]))
            rule = Rule(family, int(str(item["priority"])), table, mark, mask, int(str(item.get("dport", 0))))
            found[rule.key] = rule
    return found


def _table(text: str) -> int:
    return _NAMED_TABLES.get(text) or int(text)


def write_rules(upserts: Iterable[Rule], deletes: Iterable[Rule], settings: Settings) -> list[str]:
    """Add rules, and remove rules. There is no replacing: a rule that differs is another rule."""
    proto = settings.route_protocol
    added = [(r.family, f"rule add {_rule(r)} protocol {proto}") for r in upserts]
    failures = _by_family(added, forgiven=("File exists",))
    return failures + _by_family(((r.family, f"rule del {_rule(r)} protocol {proto}") for r in deletes), forgiven=GONE)


def _rule(rule: Rule) -> str:
    selector = f"fwmark {rule.mark:#x}/{rule.mask:#x}" if rule.mark else f"ipproto udp dport {rule.udp_port}"
    return f"priority {rule.priority} {selector} lookup {rule.table}"
