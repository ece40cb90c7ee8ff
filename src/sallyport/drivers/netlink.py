"""Links, neighbours, next hops, routes and rules: each kind read from the kernel and written to it.

How a freshly started agent knows what is its own: the tunnel devices by name, what is on them by the device,
next hops, routes and rules by the protocol number (`RTPROT` space, see /etc/iproute2/rt_protos).
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from sallyport.drivers.command import batch, query
from sallyport.model.kernel import Fdb, KernelObject, Link, Neighbor, NextHop, Route, Rule
from sallyport.model.settings import Settings
from sallyport.model.state import Family

GONE = ("Cannot find device", "No such", "does not exist", "Cannot assign requested address")
ONE_OF_OURS = ("4", "6")


def read_links(settings: Settings) -> Mapping[object, KernelObject]:
    found: dict[object, KernelObject] = {}
    for outer in ONE_OF_OURS:
        for item in query(["ip", "-d", "-j", "link", "show", "dev", settings.device_prefix + outer]):
            info: Any = item.get("linkinfo", {})
            data: Any = info.get("info_data", {})
            name = str(item["ifname"])
            local = str(data.get("local") or data.get("local6") or "")
            complete = info.get("info_kind") == "vxlan" and data.get("gbp") and "UP" in str(item["flags"])
            mtu = int(str(item["mtu"])) if complete else 0
            found[name] = Link(name, int(data.get("id", 0)), int(data.get("port", 0)), local, mtu)
    return found


def write_links(upserts: Iterable[Link], settings: Settings, actual: Mapping[object, KernelObject]) -> list[str]:
    failures: list[str] = []
    for link in upserts:
        have = actual.get(link.key)
        lines = []
        if have is not None and (not isinstance(have, Link) or (have.vni, have.port, have.local) != _identity(link)):
            lines.append(f"link del {link.name}")  # these cannot be changed on a living device
            have = None
        if have is None:
            lines.append(
                f"link add {link.name} type vxlan id {link.vni} dstport {link.port} local {link.local} nolearning gbp"
            )
        lines.append(f"link set {link.name} mtu {link.mtu} up")
        failures += batch("ip", lines)
    return failures


def _identity(link: Link) -> tuple[int, int, str]:
    return (link.vni, link.port, link.local)


def delete_links(links: Iterable[Link]) -> list[str]:
    return batch("ip", [f"link del {link.name}" for link in links], forgiven=GONE)


def read_neighbors(settings: Settings) -> Mapping[object, KernelObject]:
    found: dict[object, KernelObject] = {}
    for outer in ONE_OF_OURS:
        device = settings.device_prefix + outer
        for item in query(["ip", "-j", "neigh", "show", "dev", device, "nud", "permanent"]):
            neighbor = Neighbor(device, str(item["dst"]), str(item.get("lladdr", "")))
            if not ip_address(neighbor.address).is_multicast:
                found[neighbor.key] = neighbor
    return found


def write_neighbors(upserts: Iterable[Neighbor], deletes: Iterable[Neighbor]) -> list[str]:
    failures = batch(
        "ip", [f"neigh replace {n.address} lladdr {n.lladdr} dev {n.device} nud permanent" for n in upserts]
    )
    return failures + batch("ip", [f"neigh del {n.address} dev {n.device}" for n in deletes], forgiven=GONE)


def read_fdb(settings: Settings) -> Mapping[object, KernelObject]:
    found: dict[object, KernelObject] = {}
    for outer in ONE_OF_OURS:
        device = settings.device_prefix + outer
        for item in query(["bridge", "-j", "fdb", "show", "dev", device]):
            if "dst" in item and item.get("mac") != "00:00:00:00:00:00":
                entry = Fdb(device, str(item["mac"]), str(item["dst"]))
                found[entry.key] = entry
    return found


def write_fdb(upserts: Iterable[Fdb], deletes: Iterable[Fdb]) -> list[str]:
    lines = [
        f"fdb replace {entry.lladdr} dev {entry.device} dst {entry.destination} self permanent" for entry in upserts
    ]
    failures = batch("bridge", lines)
    return failures + batch("bridge", [f"fdb del {e.lladdr} dev {e.device} self" for e in deletes], forgiven=GONE)


def read_next_hops(settings: Settings) -> Mapping[object, KernelObject]:
    found: dict[object, KernelObject] = {}
    for item in query(["ip", "-j", "nexthop", "show", "proto", str(settings.route_protocol)]):
        hop = NextHop(int(str(item["id"])), str(item.get("gateway", "")), str(item.get("dev", "")))
        found[hop.key] = hop
    return found


def write_next_hops(upserts: Iterable[NextHop], deletes: Iterable[NextHop], settings: Settings) -> list[str]:
    proto = settings.route_protocol
    lines = [f"nexthop replace id {h.id} via {h.gateway} dev {h.device} onlink proto {proto}" for h in upserts]
    failures = batch("ip", lines)
    return failures + batch("ip", [f"nexthop del id {hop.id}" for hop in deletes], forgiven=GONE)


def read_routes(settings: Settings) -> Mapping[object, KernelObject]:
    found: dict[object, KernelObject] = {}
    families: tuple[Family, Family] = (4, 6)
    for family in families:
        argv = ["ip", f"-{family}", "-j", "-d", "route", "show", "table", "all", "proto", str(settings.route_protocol)]
        for item in query(argv):
            destination = str(item["dst"])
            if destination == "default":
                destination = "0.0.0.0/0" if family == 4 else "::/0"
            kind: Any = item.get("type", "unicast")
            metric = int(str(item.get("metric", 0)))
            table = int(str(item.get("table", 254)))
            route = Route(family, table, destination, metric, kind, int(str(item.get("nhid", 0))))
            found[route.key] = route
    return found


def write_routes(upserts: Iterable[Route], deletes: Iterable[Route], settings: Settings) -> list[str]:
    lines = [f"-{r.family} route replace {_route(r)} proto {settings.route_protocol}{_via(r)}" for r in upserts]
    failures = _by_family(lines)
    return failures + _by_family([f"-{r.family} route del {_route(r)}" for r in deletes], forgiven=GONE)


def _route(route: Route) -> str:
    kind = "" if route.type == "unicast" else f"{route.type} "
    return f"{kind}{route.destination} table {route.table} metric {route.metric}"


def _via(route: Route) -> str:
    return f" nhid {route.next_hop}" if route.type == "unicast" else ""


def _by_family(lines: list[str], forgiven: tuple[str, ...] = ()) -> list[str]:
    """`ip -batch` takes the family as an option of the whole run, so there is one run per family."""
    failures: list[str] = []
    for family in ("-4", "-6"):
        part = [line.removeprefix(family + " ") for line in lines if line.startswith(family)]
        failures += batch(f"ip {family}", part, forgiven=forgiven)
    return failures


def read_rules(settings: Settings) -> Mapping[object, KernelObject]:
    found: dict[object, KernelObject] = {}
    families: tuple[Family, Family] = (4, 6)
    for family in families:
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
    return {"main": 254, "local": 255, "default": 253}.get(text) or int(text)


def write_rules(upserts: Iterable[Rule], deletes: Iterable[Rule], settings: Settings) -> list[str]:
    proto = settings.route_protocol
    failures = _by_family(
        [f"-{r.family} rule add {_rule(r)} protocol {proto}" for r in upserts], forgiven=("File exists",)
    )
    return failures + _by_family([f"-{r.family} rule del {_rule(r)} protocol {proto}" for r in deletes], forgiven=GONE)


def _rule(rule: Rule) -> str:
    selector = f"fwmark {rule.mark:#x}/{rule.mask:#x}" if rule.mark else f"ipproto udp dport {rule.udp_port}"
    return f"priority {rule.priority} {selector} lookup {rule.table}"
