"""Neighbours, forwarding entries, next hops, routes and rules: each kind read from the kernel and written to it.

How a freshly started agent knows what is its own: neighbours and forwarding entries by the tunnel device that they
are on; next hops, routes and rules by the protocol number (`RTPROT` space, see /etc/iproute2/rt_protos).
"""

import errno
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TypeVar

from sallyport.drivers.rtnetlink import (
    DST,
    FAMILY,
    LENGTH,
    NEXT_HOP,
    PRIORITY,
    ROUTE,
    TABLE,
    dumped,
)
from sallyport.drivers.wire import (
    CREATE,
    EXCLUDE,
    REPLACE,
    Attributes,
    Link,
    Message,
    attribute,
    attributes,
    number,
    string,
    text,
)
from sallyport.model.kernel import Fdb, KernelObject, Kind, Neighbor, NextHop, Route, Rule
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, Family

T = TypeVar("T", bound=KernelObject)

_GONE = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.ENXIO, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""Refusals to remove something that is not there, be it IPv6 itself."""
_NEW_ROUTE, _DEL_ROUTE = 24, 25
_NEW_NEIGHBOR, _DEL_NEIGHBOR, _GET_NEIGHBOR = 28, 29, 30
_NEW_RULE, _DEL_RULE, _GET_RULE = 32, 33, 34
_NEW_HOP, _DEL_HOP, _GET_HOP = 104, 105, 106
_BRIDGE = 7
"""AF_BRIDGE: forwarding entries are neighbours of that family."""

_NEIGHBOR = struct.Struct("=BxHiHBB")
_NEIGHBOR_ADDRESS, _NEIGHBOR_LLADDR = 1, 2
_PERMANENT, _SELF = 0x80, 0x02
_HOP = struct.Struct("=4BI")
_HOP_ID, _HOP_DEVICE, _HOP_GATEWAY = 1, 5, 6
_ON_LINK = 4
_RULE = struct.Struct("=8BI")
_TO, _DEVICE, _GOTO, _RULE_PRIORITY, _MARK, _RULE_TABLE = 1, 3, 4, 6, 10, 15
_MASK, _RULE_PROTOCOL, _IP_PROTOCOL, _PORTS = 16, 21, 22, 24
_PORT_RANGE = struct.Struct("=HH")
_TO_TABLE, _GO_TO, _GO_ON = 1, 2, 3
_INVERTED = 0x02
_UDP = 17
_NOWHERE = 255
"""RT_SCOPE_NOWHERE: of any scope, where something is removed."""
_REMEMBERED = 4096
"""Answers whose meaning is known, so that it is worked out once: several times those that a node has."""
_TYPES: Mapping[str, int] = {"unicast": 1, "unreachable": 7, "throw": 9}
_NAMES = {1: "unicast", 2: "local", 3: "broadcast", 6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}


def read(link: Link, devices: Mapping[str, int], settings: Settings) -> dict[Kind, dict[object, KernelObject]]:
    """All objects of these kinds that are ours. `devices` are the tunnel devices that there are, with their indexes."""
    names = {index: name for name, index in devices.items()}
    found: list[KernelObject] = []
    if names:
        found += _neighbors(link, names)
        found += _fdb(link, names)
    found += _next_hops(link, names, settings.route_protocol)
    for family in FAMILIES:
        found += _routes(family, dumped(link, family, settings.route_protocol))
        found += _rules(family, link.dump(_GET_RULE, _RULE.pack(FAMILY[family], *bytes(8))), settings.route_protocol)
    kinds = (Kind.NEIGHBOR, Kind.FDB, Kind.NEXT_HOP, Kind.ROUTE, Kind.RULE)
    return {kind: {item.key: item for item in found if item.kind is kind} for kind in kinds}


def _neighbors(link: Link, names: Mapping[int, str]) -> Iterator[KernelObject]:
    """Permanent ones, without multicast entries, which are the kernel's own."""
    for body in link.dump(_GET_NEIGHBOR, _NEIGHBOR.pack(0, 0, 0, 0, 0, 0)):
        _, _, index, state, _, _ = _NEIGHBOR.unpack_from(body)
        if index in names and state & _PERMANENT:
            found = dict(attributes(body, _NEIGHBOR.size))
            address, multicast = _told_address(found[_NEIGHBOR_ADDRESS])
            if not multicast:
                yield Neighbor(names[index], address, _lladdr(found))


def _fdb(link: Link, names: Mapping[int, str]) -> Iterator[KernelObject]:
    """Entries that name an outer destination."""
    for body in link.dump(_GET_NEIGHBOR, _NEIGHBOR.pack(_BRIDGE, 0, 0, 0, 0, 0)):
        _, _, index, _, _, _ = _NEIGHBOR.unpack_from(body)
        if index in names:
            found = dict(attributes(body, _NEIGHBOR.size))
            if _NEIGHBOR_ADDRESS in found:
                yield Fdb(names[index], _lladdr(found), _told_address(found[_NEIGHBOR_ADDRESS])[0])


@lru_cache(_REMEMBERED)
def _told_address(packed: bytes) -> tuple[str, bool]:
    """An address as a text, and whether it is one of many."""
    address = ip_address(packed)
    return str(address), address.is_multicast


def _lladdr(found: Attributes) -> str:
    return found.get(_NEIGHBOR_LLADDR, b"").hex(":")


def _next_hops(link: Link, names: Mapping[int, str], protocol: int) -> Iterator[KernelObject]:
    for body in link.dump(_GET_HOP, _HOP.pack(0, 0, 0, 0, 0)):
        if body[2] == protocol:
            found = dict(attributes(body, _HOP.size))
            gateway = _told_address(found[_HOP_GATEWAY])[0] if _HOP_GATEWAY in found else ""
            device = _number(found.get(_HOP_DEVICE))
            yield NextHop(_number(found[_HOP_ID]), gateway, names.get(device) or _name(device))


def _name(index: int) -> str:
    """The name of a device, "" for none or one that has just gone."""
    try:
        return socket.if_indextoname(index) if index else ""
    except OSError:
        return ""


def _routes(family: Family, bodies: Iterable[bytes]) -> Iterator[KernelObject]:
    for body in bodies:
        yield _told_route(family, body)


@lru_cache(_REMEMBERED)
def _told_route(family: Family, body: bytes) -> Route:
    _, length, _, _, table, _, _, kind, _ = ROUTE.unpack_from(body)
    found = dict(attributes(body, ROUTE.size))
    address = ip_address(found.get(DST) or bytes(LENGTH[family]))
    destination = str(address) if length == address.max_prefixlen else f"{address}/{length}"
    table = _number(found[TABLE]) if TABLE in found else table
    metric, hop = _number(found.get(PRIORITY, b"")), _number(found.get(NEXT_HOP, b""))
    return Route(family, table, destination, metric, _NAMES.get(kind, str(kind)), hop)  # type: ignore[arg-type]


def _rules(family: Family, bodies: Iterable[bytes], protocol: int) -> Iterator[KernelObject]:
    for body in bodies:
        found = dict(attributes(body, _RULE.size))
        if found.get(_RULE_PROTOCOL) == bytes([protocol]):
            *_, short, _, _, _, flags = _RULE.unpack_from(body)
            table = _number(found[_RULE_TABLE]) if _RULE_TABLE in found else short
            ports = _PORT_RANGE.unpack(found[_PORTS]) if _PORTS in found else (0, 0)
            mark = _number(found.get(_MARK, b""))
            mask = _number(found.get(_MASK, b"")) if mark or _MASK in found else 0
            to = str(ip_address(found[_TO])) if _TO in found else ""
            device = "" if to or ports[0] else string(found.get(_DEVICE, b""))
            priority, goto = _number(found.get(_RULE_PRIORITY, b"")), _number(found.get(_GOTO, b""))
            yield Rule(
                family, priority, table, mark, mask, ports[0], device, to, goto, inverted=bool(flags & _INVERTED)
            )


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", sys.byteorder)


def write_neighbors(link: Link, upserts: Iterable[Neighbor], deletes: Iterable[Neighbor]) -> list[str]:
    """Make or replace entries, and remove entries."""
    return _write(link, upserts, lambda item: (_NEW_NEIGHBOR, CREATE | REPLACE, _neighbor(item))) + _write(
        link, deletes, lambda item: (_DEL_NEIGHBOR, 0, _neighbor(item)), forgiven=_GONE
    )


def _neighbor(item: Neighbor) -> bytes:
    address = ip_address(item.address)
    family = FAMILY[4 if address.version == 4 else 6]
    head = _NEIGHBOR.pack(family, 0, socket.if_nametoindex(item.device), _PERMANENT, 0, 0)
    return head + attribute(_NEIGHBOR_ADDRESS, address.packed) + attribute(_NEIGHBOR_LLADDR, _mac(item.lladdr))


def write_fdb(link: Link, upserts: Iterable[Fdb], deletes: Iterable[Fdb]) -> list[str]:
    """Make or replace entries, and remove entries."""
    return _write(link, upserts, lambda item: (_NEW_NEIGHBOR, CREATE | REPLACE, _entry(item))) + _write(
        link, deletes, lambda item: (_DEL_NEIGHBOR, 0, _entry(item)), forgiven=_GONE
    )


def _entry(item: Fdb) -> bytes:
    head = _NEIGHBOR.pack(_BRIDGE, 0, socket.if_nametoindex(item.device), _PERMANENT, _SELF, 0)
    outer = attribute(_NEIGHBOR_ADDRESS, ip_address(item.destination).packed)
    return head + attribute(_NEIGHBOR_LLADDR, _mac(item.lladdr)) + outer


def _mac(written: str) -> bytes:
    return bytes.fromhex(written.replace(":", ""))


def write_next_hops(link: Link, upserts: Iterable[NextHop], deletes: Iterable[NextHop], protocol: int) -> list[str]:
    """Make or replace next hops, and remove next hops."""
    return _write(link, upserts, lambda item: (_NEW_HOP, CREATE | REPLACE, _next_hop(item, protocol))) + _write(
        link, deletes, lambda item: (_DEL_HOP, 0, _HOP.pack(0, 0, 0, 0, 0) + number(_HOP_ID, item.id)), forgiven=_GONE
    )


def _next_hop(item: NextHop, protocol: int) -> bytes:
    gateway = ip_address(item.gateway)
    head = _HOP.pack(FAMILY[4 if gateway.version == 4 else 6], 0, protocol, 0, _ON_LINK)
    device = number(_HOP_DEVICE, socket.if_nametoindex(item.device))
    return head + number(_HOP_ID, item.id) + device + attribute(_HOP_GATEWAY, gateway.packed)


def write_routes(link: Link, upserts: Iterable[Route], deletes: Iterable[Route], protocol: int) -> list[str]:
    """Make or replace routes, and remove routes."""
    return _write(link, upserts, lambda item: (_NEW_ROUTE, CREATE | REPLACE, _route(item, protocol))) + _write(
        link, deletes, lambda item: (_DEL_ROUTE, 0, _route(item, protocol, gone=True)), forgiven=_GONE
    )


def _route(item: Route, protocol: int, *, gone: bool = False) -> bytes:
    network, kind = ip_network(item.destination), _TYPES[item.type]
    scope = _NOWHERE if gone and item.family == 4 else 0
    head = ROUTE.pack(FAMILY[item.family], network.prefixlen, 0, 0, 0, protocol, scope, kind, 0)
    body = head + attribute(DST, network.network_address.packed) + number(TABLE, item.table)
    body += number(PRIORITY, item.metric)
    return body + number(NEXT_HOP, item.next_hop) if item.type == "unicast" and not gone else body


def write_rules(link: Link, upserts: Iterable[Rule], deletes: Iterable[Rule], protocol: int) -> list[str]:
    """Add rules, and remove rules. There is no replacing: a rule that differs is another rule."""
    there = frozenset({errno.EEXIST})
    return _write(
        link, upserts, lambda item: (_NEW_RULE, CREATE | EXCLUDE, _rule(item, protocol)), forgiven=there
    ) + _write(link, deletes, lambda item: (_DEL_RULE, 0, _rule(item, protocol)), forgiven=_GONE)


def _rule(item: Rule, protocol: int) -> bytes:
    to = ip_address(item.to) if item.to else None
    action = _TO_TABLE if item.table else _GO_TO if item.goto else _GO_ON
    flags, length = _INVERTED if item.inverted else 0, to.max_prefixlen if to else 0
    body = _RULE.pack(FAMILY[item.family], length, 0, 0, 0, 0, 0, action, flags)
    body += number(_RULE_PRIORITY, item.priority) + attribute(_RULE_PROTOCOL, bytes([protocol]))
    if item.table:
        body += number(_RULE_TABLE, item.table)
    if item.goto:
        body += number(_GOTO, item.goto)
    if to is not None:
        return body + text(_DEVICE, "lo") + attribute(_TO, to.packed)
    if item.iif:
        return body + text(_DEVICE, item.iif)
    if not item.udp_port:
        return body + number(_MARK, item.mark) + number(_MASK, item.mask)
    # For the node's own packets the ports are at hand. Asked of others, too, the kernel would dissect every packet that
    # the node routes, for the sake of this one rule (fib_rule_requires_fldissect in its net/fib_rules.h).
    ports = _PORT_RANGE.pack(item.udp_port, item.udp_port)
    return body + text(_DEVICE, "lo") + attribute(_IP_PROTOCOL, bytes([_UDP])) + attribute(_PORTS, ports)


def _write(
    link: Link, items: Iterable[T], encode: Callable[[T], Message], *, forgiven: frozenset[int] = frozenset()
) -> list[str]:
    """One request for each item; a line for each that cannot be written down or that the kernel refuses."""
    failures: list[str] = []
    written: list[tuple[T, Message]] = []
    for item in items:
        try:
            written.append((item, encode(item)))
        except OSError as error:  # it has no such device
            if error.errno not in forgiven and errno.ENODEV not in forgiven:
                failures.append(f"{named(item)}: {error.strerror or error}")
        except (ValueError, KeyError, struct.error) as error:
            failures.append(f"{named(item)}: {error}")
    answers = link.ask([request for _, request in written])
    failures += [
        f"{named(item)}: {refused.strerror}"
        for (item, _), refused in zip(written, answers, strict=True)
        if refused is not None and refused.errno not in forgiven
    ]
    return failures


def _selector(rule: Rule) -> str:
    if rule.to:
        return f"iif lo to {rule.to}"
    if rule.iif:
        return f"iif {rule.iif}"
    if rule.udp_port:
        return f"dport {rule.udp_port}"
    return f"{'not ' if rule.inverted else ''}fwmark {rule.mark:#x}/{rule.mask:#x}"


def _action(rule: Rule) -> str:
    if rule.table:
        return f"lookup {rule.table}"
    return f"goto {rule.goto}" if rule.goto else "nop"


def named(item: KernelObject) -> str:
    """What a failure calls an object, in the words that `ip` has for it."""
    match item:
        case Neighbor():
            return f"neighbor {item.address} lladdr {item.lladdr} dev {item.device}"
        case Fdb():
            return f"fdb {item.lladdr} dev {item.device} dst {item.destination}"
        case NextHop():
            return f"nexthop id {item.id} via {item.gateway} dev {item.device}"
        case Route():
            return f"route {item.type} {item.destination} table {item.table} metric {item.metric}"
        case Rule():
            return f"rule priority {item.priority} {_selector(item)} {_action(item)}"
        case _:
            return f"{item.kind.name.lower()} {item.key}"
