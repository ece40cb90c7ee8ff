"""Neighbours, forwarding entries, next hops, routes and rules: each kind read from the kernel and written to it.

How a freshly started agent knows what is its own: neighbours and forwarding entries by the tunnel device that they
are on; next hops, routes and rules by the protocol number (`RTPROT` space, see /etc/iproute2/rt_protos).
"""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

from sallyport.drivers.command import GONE, Objects, batch, queries
from sallyport.model.kernel import Fdb, KernelObject, Kind, Neighbor, NextHop, Route, Rule
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, Family

_NAMED_TABLES = {"default": 253, "main": 254, "local": 255}


def read(devices: Sequence[str], settings: Settings) -> dict[Kind, dict[object, KernelObject]]:
    """All objects of these kinds that are ours. `devices` are those tunnel devices that there are."""
    entries = [f"neigh show dev {device} nud permanent" for device in devices]
    *neighbors, hops = queries("ip", [*entries, f"nexthop show proto {settings.route_protocol}"])
    forwarding = queries("bridge", [f"fdb show dev {device}" for device in devices])
    found = [*map(_neighbors, devices, neighbors), *map(_fdb, devices, forwarding), _next_hops(hops)]
    for family in FAMILIES:
        shows = [f"route show table all proto {settings.route_protocol}", "rule show"]
        routes, rules = queries(f"ip -{family}", shows)
        found += [_routes(family, routes), _rules(family, rules, str(settings.route_protocol))]
    kinds = (Kind.NEIGHBOR, Kind.FDB, Kind.NEXT_HOP, Kind.ROUTE, Kind.RULE)
    objects = [item for part in found for item in part]
    return {kind: {item.key: item for item in objects if item.kind is kind} for kind in kinds}


def _neighbors(device: str, listed: Objects) -> Iterator[KernelObject]:
    """Without multicast entries, which are the kernel's own."""
    for item in listed:
        if not ip_address(item["dst"]).is_multicast:
            yield Neighbor(device, item["dst"], item.get("lladdr", ""))


def _fdb(device: str, listed: Objects) -> Iterator[KernelObject]:
    """Entries that name an outer destination."""
    for item in listed:
        if "dst" in item:
            yield Fdb(device, item["mac"], item["dst"])


def _next_hops(listed: Objects) -> Iterator[KernelObject]:
    for item in listed:
        yield NextHop(item["id"], item.get("gateway", ""), item.get("dev", ""))


def _routes(family: Family, listed: Objects) -> Iterator[KernelObject]:
    everything = "0.0.0.0/0" if family == 4 else "::/0"
    for item in listed:
        destination = everything if item["dst"] == "default" else item["dst"]
        table, metric = _table(item.get("table", "main")), item.get("metric", 0)
        yield Route(family, table, destination, metric, item.get("type", "unicast"), item.get("nhid", 0))


def _rules(family: Family, listed: Objects, protocol: str) -> Iterator[KernelObject]:
    for item in listed:
        if item.get("protocol") == protocol:
            mark = int(item.get("fwmark", "0"), 0)
            mask = int(item.get("fwmask", "0xffffffff" if mark else "0"), 0)
            port, device = int(item.get("dport", 0)), item.get("iif", "")
            yield Rule(family, item["priority"], _table(item["table"]), mark, mask, port, device)


def _table(text: str) -> int:
    return _NAMED_TABLES.get(text) or int(text)


def write_neighbors(upserts: Iterable[Neighbor], deletes: Iterable[Neighbor]) -> list[str]:
    """Make or replace entries, and remove entries."""
    lines = [f"neigh replace {n.address} lladdr {n.lladdr} dev {n.device} nud permanent" for n in upserts]
    failures = batch("ip", lines)
    return failures + batch("ip", [f"neigh del {n.address} dev {n.device}" for n in deletes], forgiven=GONE)


def write_fdb(upserts: Iterable[Fdb], deletes: Iterable[Fdb]) -> list[str]:
    """Make or replace entries, and remove entries."""
    lines = [f"fdb replace {e.lladdr} dev {e.device} dst {e.destination} self permanent" for e in upserts]
    failures = batch("bridge", lines)
    return failures + batch("bridge", [f"fdb del {e.lladdr} dev {e.device} self" for e in deletes], forgiven=GONE)


def write_next_hops(upserts: Iterable[NextHop], deletes: Iterable[NextHop], settings: Settings) -> list[str]:
    """Make or replace next hops, and remove next hops."""
    proto = settings.route_protocol
    lines = [f"nexthop replace id {h.id} via {h.gateway} dev {h.device} onlink proto {proto}" for h in upserts]
    failures = batch("ip", lines)
    return failures + batch("ip", [f"nexthop del id {hop.id}" for hop in deletes], forgiven=GONE)


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


def write_rules(upserts: Iterable[Rule], deletes: Iterable[Rule], settings: Settings) -> list[str]:
    """Add rules, and remove rules. There is no replacing: a rule that differs is another rule."""
    proto = settings.route_protocol
    added = [(r.family, f"rule add {_rule(r)} protocol {proto}") for r in upserts]
    failures = _by_family(added, forgiven=("File exists",))
    return failures + _by_family(((r.family, f"rule del {_rule(r)} protocol {proto}") for r in deletes), forgiven=GONE)


def _rule(rule: Rule) -> str:
    return f"priority {rule.priority} {_selector(rule)} lookup {rule.table}"


def _selector(rule: Rule) -> str:
    if rule.iif:
        return f"iif {rule.iif}"
    # 17 is UDP. Its name is in /etc/protocols, which a minimal Debian lacks, and then no tunnel packet found its way.
    return f"fwmark {rule.mark:#x}/{rule.mask:#x}" if rule.mark else f"ipproto 17 dport {rule.udp_port}"
