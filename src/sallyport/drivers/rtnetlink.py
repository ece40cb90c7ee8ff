"""Routes of one table and one protocol, asked of the kernel itself (rtnetlink(7)).

It picks them out while it walks the table, which takes milliseconds among 100,000 routes of another protocol. `ip` asks
it to do so only where it is started anew for each question.
"""

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from sallyport.drivers.command import DriverError
from sallyport.model.state import Family, IPNetwork

_SOL_NETLINK, _STRICT = 270, 12
"""NETLINK_GET_STRICT_CHK (linux/netlink.h): what the header asks for is what is dumped."""
_GET_ROUTE, _DUMP = 26, 0x301
_ERROR, _DONE = 2, 3
_DST, _OIF, _GATEWAY, _MULTIPATH, _TABLE, _VIA = 1, 4, 5, 9, 15, 18
"""Attributes of routes (linux/rtnetlink.h)."""
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=8BI")
_ATTRIBUTE = struct.Struct("=HH")
_HOP = struct.Struct("=HBBi")
_ADDRESSES = {4: (socket.AF_INET, 4), 6: (socket.AF_INET6, 16)}


@dataclass(frozen=True, slots=True)
class Found:
    """A route: where to, by which devices (none for one that drops), and whether what it leads to is on their links."""

    destination: IPNetwork
    devices: tuple[str, ...]
    on_link: bool


class Routes:
    """A socket to ask by. Closed by `with`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setsockopt(_SOL_NETLINK, _STRICT, 1)
        self._names: dict[int, str] = {}

    def __enter__(self) -> "Routes":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def of(self, family: Family, table: int, protocol: int) -> list[Found]:
        """The routes of that protocol in a table; none where there is no such table. Raises DriverError when the kernel
        does not answer the question."""
        message = _ROUTE.pack(_ADDRESSES[family][0], 0, 0, 0, 0, protocol, 0, 0, 0)
        message += _ATTRIBUTE.pack(8, _TABLE) + struct.pack("=I", table)
        self._socket.send(_HEADER.pack(_HEADER.size + len(message), _GET_ROUTE, _DUMP, 0, 0) + message)
        return [self._found(family, payload) for payload in self._answers()]

    def _answers(self) -> Iterator[bytes]:
        while True:
            data = self._socket.recv(1 << 17)
            while data:
                length, kind, *_ = _HEADER.unpack_from(data)
                if kind in (_ERROR, _DONE):
                    (code,) = struct.unpack_from("=i", data, _HEADER.size)
                    if code not in (0, -errno.ENOENT):
                        raise DriverError(f"routes of the kernel: {os.strerror(-code)}")
                    return
                yield data[_HEADER.size : length]
                data = data[_aligned(length) :]

    def _found(self, family: Family, payload: bytes) -> Found:
        length = payload[1]
        attributes = dict(_attributes(payload[_ROUTE.size :]))
        address = attributes.get(_DST, bytes(_ADDRESSES[family][1]))
        hops = list(_hops(attributes.get(_MULTIPATH, b"")))
        if _OIF in attributes:
            hops.append((int.from_bytes(attributes[_OIF], sys.byteorder), attributes))
        devices = tuple(dict.fromkeys(self._name(index) for index, _ in hops))
        beyond = any(_GATEWAY in of or _VIA in of for _, of in hops)
        return Found(ip_network((address, length)), devices, bool(hops) and not beyond)

    def _name(self, index: int) -> str:
        if index not in self._names:
            self._names[index] = socket.if_indextoname(index)
        return self._names[index]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]


def _hops(data: bytes) -> Iterator[tuple[int, dict[int, bytes]]]:
    """Device index and attributes of each next hop."""
    while len(data) >= _HOP.size:
        length, _, _, index = _HOP.unpack_from(data)
        yield index, dict(_attributes(data[_HOP.size : length]))
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3
