"""Routes, interfaces and addresses, asked of the kernel itself (rtnetlink(7)).

It picks routes out while it walks a table, which takes milliseconds among 100,000 of another protocol.
"""

import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address, ip_network

from sallyport.drivers.wire import Attributes, Link, attribute, attributes, number, string
from sallyport.model.state import Family, IPAddress, IPNetwork

ROUTE = struct.Struct("=8BI")
"""struct rtmsg: family, lengths of destination and source, TOS, table, protocol, scope, type, flags."""
FAMILY: Mapping[Family, int] = {4: socket.AF_INET, 6: socket.AF_INET6}
LENGTH: Mapping[Family, int] = {4: 4, 6: 16}
"""Bytes of an address."""
GET_ROUTE = 26
DST, OIF, GATEWAY, PRIORITY, MULTIPATH, TABLE, VIA, NEXT_HOP = 1, 4, 5, 6, 9, 15, 18, 30
"""Attributes of routes (linux/rtnetlink.h)."""
SCOPE_LINK, SCOPE_HOST = 253, 254
NO_DAD, DEPRECATED = 0x02, 0x20
"""Flags of addresses (linux/if_addr.h)."""

_GET_LINK, _GET_ADDRESS = 18, 22
_LINK, _ADDRESS = struct.Struct("=BxHiII"), struct.Struct("=4BI")
_UP = 1
_NAME, _MTU, _INFO, _MASK = 3, 4, 18, 29
_KIND, _DATA = 1, 2
_WITHOUT_COUNTERS = 1 << 3
"""RTEXT_FILTER_SKIP_STATS: counters are the larger part of what an interface has to say."""
_VNI, _LOCAL, _LEARNING, _PORT, _LOCAL6, _GROUP_POLICY = 1, 4, 7, 15, 17, 23
"""Attributes of VXLAN devices (linux/if_link.h)."""
_THERE, _OWN, _LABEL, _FLAGS = 1, 2, 3, 8
_HOP = struct.Struct("=HBBi")
_REMEMBERED = 1024
"""Interfaces and addresses, as the kernel describes them, that need not be worked out anew: more than a node has."""


@dataclass(frozen=True, slots=True)
class Found:
    """A route: where to, by which devices (none for one that drops), and whether what it leads to is on their links."""

    destination: IPNetwork
    devices: tuple[str, ...]
    on_link: bool


@dataclass(frozen=True, slots=True)
class Address:
    """An address of an interface; `scope` and `flags` are the kernel's."""

    address: IPAddress
    length: int
    scope: int
    flags: int
    label: str


@dataclass(frozen=True, slots=True)
class Vxlan:
    """What a VXLAN device was made with, as far as it matters to us."""

    vni: int
    port: int
    local: str
    group_policy: bool
    learning: bool


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface with its addresses; `vxlan` if it is of that kind."""

    index: int
    name: str
    mtu: int
    up: bool
    vxlan: Vxlan | None
    addresses: tuple[Address, ...]


def interfaces(link: Link) -> tuple[Interface, ...]:
    """Every interface of this namespace."""
    addresses: dict[int, list[Address]] = {}
    for body in link.dump(_GET_ADDRESS, _ADDRESS.pack(0, 0, 0, 0, 0)):
        index, address = _address(body)
        addresses.setdefault(index, []).append(address)
    asked = _LINK.pack(0, 0, 0, 0, 0) + number(_MASK, _WITHOUT_COUNTERS)
    listed = [_interface(body) for body in link.dump(_GET_LINK, asked)]
    return tuple(
        replace(item, addresses=tuple(addresses[item.index])) if item.index in addresses else item for item in listed
    )


@lru_cache(_REMEMBERED)
def _address(body: bytes) -> tuple[int, Address]:
    """The index of an interface, and an address of it."""
    _, length, _, scope, index = _ADDRESS.unpack_from(body)
    found = dict(attributes(body, _ADDRESS.size))
    flags = int.from_bytes(found.get(_FLAGS, b""), sys.byteorder)
    own = ip_address(found.get(_OWN) or found[_THERE])
    return index, Address(own, length, scope, flags, string(found.get(_LABEL, b"")))


@lru_cache(_REMEMBERED)
def _interface(body: bytes) -> Interface:
    """An interface, whose addresses are told apart."""
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = dict(attributes(body, _LINK.size))
    info = dict(attributes(found.get(_INFO, b"")))
    return Interface(
        index=index,
        name=string(found[_NAME]),
        mtu=int.from_bytes(found.get(_MTU, b""), sys.byteorder),
        up=bool(flags & _UP),
        vxlan=_vxlan(dict(attributes(info.get(_DATA, b"")))) if string(info.get(_KIND, b"")) == "vxlan" else None,
        addresses=(),
    )


def _vxlan(found: Attributes) -> Vxlan:
    local = found.get(_LOCAL) or found.get(_LOCAL6)
    return Vxlan(
        vni=int.from_bytes(found.get(_VNI, b""), sys.byteorder),
        port=int.from_bytes(found.get(_PORT, b""), "big"),
        local=str(ip_address(local)) if local and any(local) else "",
        group_policy=_GROUP_POLICY in found,
        learning=any(found.get(_LEARNING, b"")),
    )


class Routes:
    """Routes by tables and protocols. `link` is a socket for NETLINK_ROUTE."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._names: dict[int, str] = {}

    def of(self, family: Family, table: int, protocol: int) -> list[Found]:
        """The routes of that protocol in a table; none where there is no such table. Raises DriverError when the kernel
        does not answer the question."""
        return [self._found(family, body) for body in dumped(self._link, family, protocol, table)]

    def device_to(self, address: IPAddress) -> str:
        """The device by which an address is reached; RefusedError where it is not."""
        family: Family = 4 if address.version == 4 else 6
        asked = ROUTE.pack(FAMILY[family], address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0) + attribute(DST, address.packed)
        found = dict(attributes(self._link.get(GET_ROUTE, asked), ROUTE.size))
        return self._name(int.from_bytes(found[OIF], sys.byteorder)) if OIF in found else ""

    def _found(self, family: Family, body: bytes) -> Found:
        length = body[1]
        found = dict(attributes(body, ROUTE.size))
        address = found.get(DST, bytes(LENGTH[family]))
        hops = list(_hops(found.get(MULTIPATH, b"")))
        if OIF in found:
            hops.append((int.from_bytes(found[OIF], sys.byteorder), found))
        devices = tuple(dict.fromkeys(self._name(index) for index, _ in hops))
        beyond = any(GATEWAY in of or VIA in of for _, of in hops)
        return Found(ip_network((address, length)), devices, bool(hops) and not beyond)

    def _name(self, index: int) -> str:
        if index not in self._names:
            self._names[index] = socket.if_indextoname(index)
        return self._names[index]


def dumped(link: Link, family: Family, protocol: int, table: int | None = None) -> list[bytes]:
    """The routes of a protocol, of one table or of all."""
    asked = ROUTE.pack(FAMILY[family], 0, 0, 0, 0, protocol, 0, 0, 0)
    return link.dump(GET_ROUTE, asked + (number(TABLE, table) if table is not None else b""))


def _hops(data: bytes) -> Iterator[tuple[int, Attributes]]:
    """Device index and attributes of each next hop."""
    while len(data) >= _HOP.size:
        length, _, _, index = _HOP.unpack_from(data)
        yield index, dict(attributes(data[_HOP.size : length]))
        data = data[(length + 3) & ~3 :]
