"""What a node is: its uplinks, its addresses, and the devices that lead to other nodes' pods."""

import socket
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_interface
from itertools import product

from sallyport.drivers.command import queries
from sallyport.drivers.links import looks_put
from sallyport.drivers.rtnetlink import SCOPE_HOST, SCOPE_LINK, Interface, Routes, interfaces
from sallyport.drivers.wire import Link, RefusedError
from sallyport.model.plan import NodeFacts, Uplink
from sallyport.model.state import FAMILIES, Family, IPAddress, IPNetwork

IGNORED_DEVICES = frozenset({"kube-ipvs0"})
"""Addresses there answer for services; none of them can be an exit's. Some put a node's egress IP on `lo`, and may."""


_USERS = {2: "kernel", 3: "boot", 4: "static"}
"""Protocols of routes that an administrator adds, or the kernel for an address (rt_protos of iproute2)."""
_CONFIGURED = {**_USERS, 9: "ra", 16: "dhcp"}
"""The same, with those of what configures interfaces."""
_DAEMONS = {
    8: "gated",
    9: "ra",
    10: "mrt",
    11: "zebra",
    13: "dnrouted",
    14: "xorp",
    15: "ntk",
    16: "dhcp",
    18: "keepalived",
    42: "babel",
    99: "openr",
    186: "bgp",
    187: "isis",
    188: "ospf",
    189: "rip",
    192: "eigrp",
}
"""Protocols of routes that another program keeps. BIRD is not among them: nothing tells another one from ours."""
_MAIN = 254


@dataclass(frozen=True, slots=True)
class TableUse:
    """Who uses the tables of external networks besides BIRD and us: `devices` of routes that an administrator put
    there, by table, and a sentence for each table that another program uses, in `foreign`."""

    devices: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    foreign: Mapping[int, str] = field(default_factory=dict)


def table_use(tables: Collection[int], route_protocol: int) -> TableUse:
    """Ask the kernel, protocol by protocol: what BIRD has put there, 100,000 routes maybe, is not copied. But the
    kernel passes over it each time, which takes some tenths of a second. `route_protocol` is the number of our own."""
    with Link(socket.NETLINK_ROUTE) as link:
        routes = Routes(link)
        devices = {number: _table_devices(routes, number) for number in sorted(tables)}
        foreign = {number: sentence for number in sorted(tables) if (sentence := _daemons(routes, number))}
    return TableUse(
        devices={number: names for number, names in devices.items() if names},
        foreign=foreign | _ruled(tables, route_protocol),
    )


def gather(
    node: str,
    own: Iterable[IPAddress],
    held: frozenset[IPAddress],
    remote_pods: Iterable[IPNetwork],
    tunnels: str,
    used: TableUse = TableUse(),
    listed: Iterable[Interface] | None = None,
) -> NodeFacts:
    """Facts of `node`, whose addresses in the API are `own`. `tunnels` is the name prefix of our devices, `held` what
    our table says is held: to this are added addresses that look as if we had put them on before it was flushed.
    `used` is what was found out about the tables of external networks, `listed` what was found out about interfaces."""
    with Link(socket.NETLINK_ROUTE) as link:
        routes = Routes(link)
        links = [
            item
            for item in (interfaces(link) if listed is None else listed)
            if item.name not in IGNORED_DEVICES and not item.name.startswith(tunnels)
        ]
        return _gathered(node, own, held, links, _Ways(routes, tuple(remote_pods), tunnels), used)


@dataclass(frozen=True, slots=True)
class _Ways:
    """What is asked about routes."""

    routes: Routes
    remote_pods: tuple[IPNetwork, ...]
    tunnels: str


def _gathered(
    node: str,
    own: Iterable[IPAddress],
    held: frozenset[IPAddress],
    links: Collection[Interface],
    ways: _Ways,
    used: TableUse,
) -> NodeFacts:
    addresses: dict[IPAddress, str] = {}
    known = set(held)
    for item in links:
        for entry in item.addresses:
            if entry.scope not in (SCOPE_LINK, SCOPE_HOST):
                addresses[entry.address] = item.name
            if looks_put(entry):
                known.add(entry.address)
    held = frozenset(known)
    uplinks: dict[Family, Uplink] = {}
    for address in own:
        family: Family = 4 if address.version == 4 else 6
        if family not in uplinks and address in addresses:
            uplinks[family] = _uplink(address, next(i for i in links if i.name == addresses[address]), held)
    return NodeFacts(
        node=node,
        uplinks={family: uplinks[family] for family in FAMILIES if family in uplinks},
        addresses=addresses,
        held=held,
        reply_devices=_reply_devices(ways.routes, ways.remote_pods),
        connected=_connected(ways.routes, addresses, ways.tunnels),
        devices=tuple(sorted(item.name for item in links)),
        table_devices=used.devices,
        foreign=used.foreign,
    )


def _connected(routes: Routes, own: Collection[IPAddress], tunnels: str) -> dict[IPNetwork, str]:
    """Networks on the links of the main table's devices. A host address of our own is none: an IPv6 one has a route."""
    found: dict[IPNetwork, str] = {}
    for family, protocol in product(FAMILIES, _CONFIGURED):
        for route in routes.of(family, _MAIN, protocol):
            network, device = route.destination, route.devices[0] if route.devices else ""
            host = network.prefixlen == network.max_prefixlen and network.network_address in own
            special = network.is_link_local or network.is_multicast or not network.prefixlen
            if route.on_link and device != "lo" and not device.startswith(tunnels) and not host and not special:
                found.setdefault(network, device)
    return dict(sorted(found.items(), key=lambda item: (item[0].version, item[0])))


def _table_devices(routes: Routes, table: int) -> tuple[str, ...]:
    found = {
        device
        for family, protocol in product(FAMILIES, _USERS)
        for route in routes.of(family, table, protocol)
        for device in route.devices
    }
    return tuple(sorted(found - {"lo"}))


def _daemons(routes: Routes, table: int) -> str:
    """A sentence that says who else keeps routes in a table, "" if nobody does."""
    names = [name for number, name in _DAEMONS.items() if any(routes.of(family, table, number) for family in FAMILIES)]
    return f"it has routes of {' and '.join(names)}" if names else ""


def _ruled(tables: Collection[int], route_protocol: int) -> dict[int, str]:
    """A sentence for each table that a policy rule leads to which is not ours."""
    found: dict[int, str] = {}
    wanted = {str(table): table for table in tables}
    for family in FAMILIES if wanted else ():
        for item in queries(f"ip -{family}", ["rule show"])[0]:
            if item.get("table") in wanted and item.get("protocol") != str(route_protocol):
                found[wanted[item["table"]]] = f"the rule of priority {item['priority']} leads to it, which is not ours"
    return found


def _uplink(address: IPAddress, item: Interface, held: frozenset[IPAddress]) -> Uplink:
    subnets = {
        ip_interface((entry.address, entry.length)).network
        for entry in item.addresses
        if entry.scope != SCOPE_LINK and entry.address not in held
    }
    fitting = sorted((net for net in subnets if net.version == address.version), key=str)
    return Uplink(item.name, address, tuple(fitting), item.mtu)


def _reply_devices(routes: Routes, remote_pods: Iterable[IPNetwork]) -> tuple[str, ...]:
    devices: set[str] = set()
    for network in remote_pods:
        try:
            devices.add(routes.device_to(network.network_address + 1))
        except RefusedError:
            continue  # no way there: then no reply comes from there either
    return tuple(sorted(devices - {"lo", ""}))
