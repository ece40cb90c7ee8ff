"""What the kernel has of a table of ours, asked of the kernel itself (linux/netfilter/nf_tables.h).

`nft` would take longer to start than the kernel to answer, and would ask for the tables of everybody first. Numbers are
in network byte order here, but for those in keys that packets are compared with: a mark is in the machine's own.
"""

import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from sallyport.drivers.wire import Attributes, Link, RefusedError, attributes, string, text

NETFILTER = 12
FAMILIES = {"inet": 1, "netdev": 5}
_SUBSYSTEM = 10 << 8
GET_TABLE, GET_CHAIN, GET_RULE, GET_SET, GET_ELEMENT = (_SUBSYSTEM | kind for kind in (1, 4, 7, 10, 13))
GENERIC = struct.Struct("!BBH")
"""struct nfgenmsg: family, version, and for whom it is."""

_TABLE, _NAME = 1, 2
_CHAIN_NAME = 3
_USERDATA = 7
_COMMENT = 0
_SET_FLAGS, _KEY_TYPE = 3, 4
_ANONYMOUS, _INTERVAL, _MAP = 0x1, 0x4, 0x8
_ELEMENTS = 3
_KEY, _DATA, _FLAGS, _TIMEOUT, _REFERENCE, _KEY_END = 1, 2, 3, 4, 9, 10
_VALUE, _VERDICT = 1, 2
_TARGET = 2
_END = 1
_BITS = 6
"""Of nft's number of a type, within that of a concatenation."""
_WIDTH = {7: 4, 8: 16, 13: 2, 19: 4, 41: 16}
"""Bytes of a key by nft's number of its type: IPv4, IPv6, port, mark, name of an interface."""
_SETS, _RULES = 64, 1024
"""Answers whose meaning is known, so that it is worked out once: some more than our tables have."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a set or map as nft writes it. A map's value is a text, or in `target` the chain that it jumps to, or
    in `reference` the object that it names. `seconds` is its timeout, 0 for none."""

    set: str
    key: str
    value: str = ""
    target: str = ""
    reference: str = ""
    seconds: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """A table. `rules` has for each rule its chain and its comment, in their order."""

    chains: tuple[str, ...]
    rules: tuple[tuple[str, str], ...]
    members: tuple[Member, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of rules by chain."""
        return Counter(chain for chain, _ in self.rules)


def listing(link: Link, family: str, table: str, wanted: Callable[[str], bool]) -> Listing | None:
    """A table with the members of those sets whose names are wanted; None where there is no such table."""
    head = GENERIC.pack(FAMILIES[family], 0, 0)
    named = head + text(_TABLE, table)
    try:
        link.get(GET_TABLE, named)
    except RefusedError:
        return None
    own = table.encode() + b"\0"
    chains = [dict(attributes(body, GENERIC.size)) for body in link.dump(GET_CHAIN, head)]
    members: list[Member] = []
    for body in link.dump(GET_SET, named):
        found = dict(attributes(body, GENERIC.size))
        name, flags = string(found[_NAME]), _number(found.get(_SET_FLAGS, b""))
        if not flags & _ANONYMOUS and wanted(name):
            members += _members(link, named + text(_NAME, name), name, found)
    return Listing(
        chains=tuple(string(item[_CHAIN_NAME]) for item in chains if item.get(_TABLE) == own),
        rules=tuple(_rule(_after_head(body)) for body in link.dump(GET_RULE, named)),
        members=tuple(members),
    )


def members(link: Link, family: str, table: str, name: str) -> tuple[Member, ...]:
    """The members of one set; none where it is not there."""
    asked = GENERIC.pack(FAMILIES[family], 0, 0) + text(_TABLE, table) + text(_NAME, name)
    try:
        found = dict(attributes(link.get(GET_SET, asked), GENERIC.size))
    except RefusedError:
        return ()
    return _members(link, asked, name, found)


def _after_head(body: bytes) -> bytes:
    """Without what numbers the kernel's transactions, of which there is one each second."""
    return body[GENERIC.size :]


@lru_cache(_RULES)
def _rule(body: bytes) -> tuple[str, str]:
    chain, data = "", b""
    for kind, value in attributes(body):
        if kind == _NAME:
            chain = string(value)
        elif kind == _USERDATA:
            data = value
    while len(data) >= 2:
        kind, length = data[0], data[1]
        if kind == _COMMENT:
            return chain, string(data[2 : 2 + length])
        data = data[2 + length :]
    return chain, ""


def _members(link: Link, asked: bytes, name: str, about: Attributes) -> tuple[Member, ...]:
    types = tuple(_types(_number(about.get(_KEY_TYPE, b""))))
    flags = _number(about.get(_SET_FLAGS, b""))
    return _meant(name, types, flags, tuple(map(_after_head, link.dump(GET_ELEMENT, asked))))


@lru_cache(_SETS)
def _meant(name: str, types: tuple[int, ...], flags: int, bodies: tuple[bytes, ...]) -> tuple[Member, ...]:
    """The members of a set, of its types and flags, that the kernel's answer has in it."""
    return tuple(_parsed(name, types, flags, [dict(attributes(item)) for body in bodies for item in _listed(body)]))


def _parsed(name: str, types: Sequence[int], flags: int, found: Sequence[Attributes]) -> Iterator[Member]:
    if flags & _INTERVAL and len(types) == 1:
        for first, last in _intervals(found, _WIDTH.get(types[0], 4)):
            yield Member(name, _span(first, last))
        return
    for item in found:
        first = _bare(item.get(_KEY, b""))
        last = _bare(item[_KEY_END]) if _KEY_END in item else first
        key = " . ".join(_part(kind, start, end) for kind, start, end in _parts(types, first, last))
        value, target = _data(item.get(_DATA, b"")) if flags & _MAP else ("", "")
        reference = string(item.get(_REFERENCE, b""))
        yield Member(name, key, value, target, reference, _number(item.get(_TIMEOUT, b"")) // 1000)


def _listed(body: bytes) -> Iterator[bytes]:
    for kind, value in attributes(body):
        if kind == _ELEMENTS:
            for _, item in attributes(value):
                yield item


def _types(number: int) -> list[int]:
    """The types that a key is put together of."""
    found: list[int] = []
    while number:
        found.insert(0, number & ((1 << _BITS) - 1))
        number >>= _BITS
    return found


def _parts(types: Sequence[int], first: bytes, last: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The parts of a key, each of which fills whole registers."""
    place = 0
    for kind in types:
        width = _WIDTH.get(kind, 4)
        yield kind, first[place : place + width], last[place : place + width]
        place += (width + 3) & ~3


def _part(kind: int, first: bytes, last: bytes) -> str:
    match kind:
        case 19:
            return str(int.from_bytes(first, sys.byteorder))
        case 41:
            return string(first)
        case 13:
            return str(int.from_bytes(first, "big"))
        case 7 | 8:
            return _span(first, last)
        case _:
            return first.hex()


def _intervals(found: Sequence[Attributes], width: int) -> Iterator[tuple[bytes, bytes]]:
    """First and last of each interval. The kernel keeps where one begins and where it has ended, in this order where
    one follows another; the last one of all may have no end."""
    bounds = sorted(
        (int.from_bytes(_bare(item.get(_KEY, b"")), "big"), not _number(item.get(_FLAGS, b"")) & _END) for item in found
    )
    start: int | None = None
    for bound, begins in bounds:
        if begins:
            start = bound
        elif start is not None:
            yield start.to_bytes(width, "big"), (bound - 1).to_bytes(width, "big")
            start = None
    if start is not None:
        yield start.to_bytes(width, "big"), b"\xff" * width


def _span(first: bytes, last: bytes) -> str:
    """As nft writes it: one address without its length, a network, or a range that is neither."""
    begin, end = ip_address(first), ip_address(last)
    if begin == end:
        return str(begin)
    free = int(begin) ^ int(end)
    whole = not free & (free + 1) and not int(begin) & free
    return f"{begin}/{begin.max_prefixlen - free.bit_length()}" if whole else f"{begin}-{end}"


def _bare(value: bytes) -> bytes:
    """What is in a piece of data."""
    return next((data for kind, data in attributes(value) if kind == _VALUE), b"")


def _data(value: bytes) -> tuple[str, str]:
    """A map's value: a text, or the chain that a verdict leads to."""
    for kind, data in attributes(value):
        if kind == _VERDICT:
            return "", string(dict(attributes(data)).get(_TARGET, b""))
        if kind == _VALUE:
            return (str(ip_address(data)) if len(data) in (4, 16) else data.hex()), ""
    return "", ""


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")
