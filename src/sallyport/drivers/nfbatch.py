"""Transactions on members of our sets, as messages for the kernel (linux/netfilter/nf_tables.h).

They are for the changes that pods and exits bring: members that are addresses or marks, and chains that set one mark.
Networks, limits and rules go to it by `nft`, which knows how the kernel keeps them.
"""

import re
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

from sallyport.drivers.nfnetlink import FAMILIES, GENERIC
from sallyport.drivers.wire import ACK, CREATE, REQUEST, attribute, message, nest, text
from sallyport.model.kernel import Element
from sallyport.model.settings import Settings

_SUBSYSTEM = 10
_BEGIN, _END = 0x10, 0x11
_NEW_CHAIN, _DEL_CHAIN, _NEW_RULE, _DEL_RULE, _NEW_ELEMENT, _DEL_ELEMENT = (
    _SUBSYSTEM << 8 | kind for kind in (3, 5, 6, 8, 12, 14)
)
_APPEND = 0x800
_TABLE, _SET, _ELEMENTS = 1, 2, 3
_CHAIN, _EXPRESSIONS, _CHAIN_NAME = 2, 4, 3
_ITEM = 1
_KEY, _DATA, _TIMEOUT = 1, 2, 4
_VALUE, _VERDICT = 1, 2
_CODE, _TARGET = 1, 2
_JUMP = struct.pack("!i", -3)
_NAME, _ABOUT = 1, 2
_DREG, _META_KEY, _SREG = 1, 2, 3
_MARK = struct.pack("!I", 3)
_BIT_SREG, _BIT_DREG, _BIT_LENGTH, _BIT_MASK, _BIT_XOR = 1, 2, 3, 4, 5
_REGISTER = struct.pack("!I", 1)
_AT_ONCE = 256
"""Members in one message: an attribute holds 64 KiB."""
_LARGEST = 1 << 17
"""Bytes of a transaction that the socket takes in any case."""
_ADDRESSES = re.compile(r"^(nodes|governed|free|held|clients)[46]$")
_MARKS = re.compile(r"^(networked|marks[46]|exits[46])$")
_BOTH = re.compile(r"^sources[46]$")

Part = tuple[int, int, bytes]
"""Type, flags and body of a message, without who it is for."""


class Unfit(ValueError):  # noqa: N818  (it is no error: `nft` takes it)
    """Something that these messages do not say."""


def elements(table: str, items: Iterable[Element], *, wanted: bool) -> Iterator[Part]:
    """Put members into their sets, or take them out. Raises Unfit for others than those of addresses and marks."""
    groups: dict[str, list[bytes]] = {}
    for item in items:
        groups.setdefault(item.set, []).append(_member(item, wanted=wanted))
    for name, packed in groups.items():
        for first in range(0, len(packed), _AT_ONCE):
            listed = nest(_ELEMENTS, *packed[first : first + _AT_ONCE])
            body = text(_TABLE, table) + text(_SET, name) + listed
            yield (_NEW_ELEMENT, CREATE, body) if wanted else (_DEL_ELEMENT, 0, body)


def _member(item: Element, *, wanted: bool) -> bytes:
    try:
        key = nest(_KEY, attribute(_VALUE, _key(item)))
    except ValueError as error:
        raise Unfit(str(error)) from error
    if not wanted or not item.value:
        return nest(_ITEM, key)
    if item.set.startswith("exits"):
        return nest(_ITEM, key, nest(_DATA, attribute(_VALUE, ip_address(item.value).packed)))
    chain = f"mark_{item.value}" if item.value.isdecimal() else item.value
    return nest(_ITEM, key, nest(_DATA, nest(_VERDICT, attribute(_CODE, _JUMP), text(_TARGET, chain))))


def _key(item: Element) -> bytes:
    if _ADDRESSES.match(item.set):
        return ip_address(item.member).packed
    if _MARKS.match(item.set):
        return _marked(item.member)
    if _BOTH.match(item.set):
        mark, _, address = item.member.partition(" . ")
        return _marked(mark) + ip_address(address).packed
    raise Unfit(item.set)


def _marked(written: str) -> bytes:
    return _own(int(written))


def _own(value: int) -> bytes:
    """A number of 32 bits in the machine's byte order."""
    if not 0 <= value < 1 << 32:
        raise Unfit(str(value))
    return value.to_bytes(4, sys.byteorder)


def marking(table: str, chain: str, number: int, settings: Settings) -> Iterator[Part]:
    """Make a chain that sets the mark of an egress id and nothing else, whatever it was before."""
    place = text(_TABLE, table) + text(_CHAIN, chain)
    yield _NEW_CHAIN, CREATE, text(_TABLE, table) + text(_CHAIN_NAME, chain)
    yield _DEL_RULE, 0, place
    kept, mark = _own(0xFFFFFFFF ^ settings.mark_mask), _own(settings.mark(number))
    steps = (
        _expression("meta", attribute(_META_KEY, _MARK), attribute(_DREG, _REGISTER)),
        _expression(
            "bitwise",
            attribute(_BIT_SREG, _REGISTER),
            attribute(_BIT_DREG, _REGISTER),
            attribute(_BIT_LENGTH, struct.pack("!I", 4)),
            nest(_BIT_MASK, attribute(_VALUE, kept)),
            nest(_BIT_XOR, attribute(_VALUE, mark)),
        ),
        _expression("meta", attribute(_META_KEY, _MARK), attribute(_SREG, _REGISTER)),
    )
    yield _NEW_RULE, CREATE | _APPEND, place + nest(_EXPRESSIONS, *steps)


def _expression(name: str, *about: bytes) -> bytes:
    return nest(_ITEM, text(_NAME, name), nest(_ABOUT, *about))


def sweeping(table: str, chain: str) -> Part:
    """Take a chain away."""
    return _DEL_CHAIN, 0, text(_TABLE, table) + text(_CHAIN_NAME, chain)


def renewal(table: str, name: str, port: int, seconds: int) -> list[Part]:
    """Have a port's time begin anew. Kernels before 6.12 do not extend a living element's time when it is added again,
    so it is added, deleted and added."""
    deleted, added = prolonging(table, name, port, seconds)
    return [added, deleted, added]


def prolonging(table: str, name: str, port: int, seconds: int) -> list[Part]:
    """The same for a port that is there. Where its time has run out, the kernel has nothing to delete, and refuses."""
    key = nest(_KEY, attribute(_VALUE, struct.pack("!H", port)))
    timed = nest(_ITEM, key, attribute(_TIMEOUT, struct.pack("!Q", seconds * 1000)))
    place = text(_TABLE, table) + text(_SET, name)
    added = (_NEW_ELEMENT, CREATE, place + nest(_ELEMENTS, timed))
    return [(_DEL_ELEMENT, 0, place + nest(_ELEMENTS, nest(_ITEM, key))), added]


def transaction(parts: Sequence[Part]) -> list[bytes]:
    """Messages that the kernel carries out together or not at all. Of those between the first and the last, the last
    one asks for an answer. Raises Unfit for more than a socket takes."""
    around = GENERIC.pack(0, 0, _SUBSYSTEM)
    head = GENERIC.pack(FAMILIES["inet"], 0, 0)
    made = [message(_BEGIN, REQUEST, around, 1)]
    for place, (kind, flags, body) in enumerate(parts, 2):
        asking = ACK if place == len(parts) + 1 else 0
        made.append(message(kind, REQUEST | flags | asking, head + body, place))
    made.append(message(_END, REQUEST, around, len(parts) + 2))
    if sum(map(len, made)) > _LARGEST:
        raise Unfit("too much for one transaction")
    return made
