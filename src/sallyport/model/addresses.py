"""Addresses, networks and ranges from text, and which of them may be handed out.

Pools follow Antrea's rules: of a network, the first address is reserved and, in IPv4, the last one too; of a range
with a start and an end nothing is. No range hands out more than RANGE_LIMIT addresses.
"""

import bisect
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

from sallyport.model.state import AddressRange, Family, IPAddress, IPNetwork

RANGE_LIMIT = 65536


def family_of(value: IPAddress | IPNetwork) -> Family:
    """4 or 6."""
    return 4 if value.version == 4 else 6


def parse_address(text: str) -> IPAddress:
    """An address without zone. Raises ValueError with a sentence that names the text."""
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None
    if "%" in text:
        raise ValueError(f"{text!r} has a zone, which means nothing outside of its node")
    return address


def parse_network(text: str) -> IPNetwork:
    """A network as address/length; host bits are cleared. Raises ValueError with a sentence that names the text."""
    address, slash, length = text.partition("/")
    if not slash or not length.isdecimal():
        raise ValueError(f"{text!r} is not a network in CIDR notation")
    try:
        return ip_network(f"{parse_address(address)}/{length}", strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not a network in CIDR notation") from None


def whole(network: IPNetwork) -> AddressRange:
    """All addresses of a network."""
    return AddressRange(network.network_address, network.broadcast_address)


def span(start: str, end: str) -> AddressRange:
    """From one address to another, both included. Raises ValueError where they make no range."""
    first, last = parse_address(start), parse_address(end)
    if first.version != last.version:
        raise ValueError(f"start {first} and end {last} are of different IP families")
    if int(first) > int(last):
        raise ValueError(f"start {first} is greater than end {last}")
    return AddressRange(first, last)


def bounds(text: str) -> tuple[int, int]:
    """First and last address, as numbers, of a network, an address, or a range `first-last`: the forms in which nft
    prints members of interval sets. Raises ValueError for anything else."""
    first, dash, last = text.partition("-")
    if dash:
        return int(parse_address(first)), int(parse_address(last))
    network = ip_network(text)
    return int(network.network_address), int(network.broadcast_address)


def usable(part: AddressRange, network: bool) -> AddressRange | None:
    """What may be handed out of a range, `network` telling that it is a whole network; None when nothing is left."""
    first, last = int(part.first), int(part.last)
    if network:
        first += 1
        last -= 1 if part.first.version == 4 else 0
    if first > last:
        return None
    make = type(part.first)
    return AddressRange(make(first), make(min(last, first + RANGE_LIMIT - 1)))


@dataclass(slots=True)
class Claims:
    """Ranges that do not overlap, each with its owner."""

    _starts: dict[Family, list[int]] = field(default_factory=lambda: {4: [], 6: []})
    _claims: dict[Family, list[tuple[int, str]]] = field(default_factory=lambda: {4: [], 6: []})

    def holder(self, part: AddressRange) -> str | None:
        """The owner of a range that shares an address with this one."""
        family = family_of(part.first)
        starts, claims = self._starts[family], self._claims[family]
        place = bisect.bisect_right(starts, int(part.last))
        if place and claims[place - 1][0] >= int(part.first):
            return claims[place - 1][1]
        return None

    def claim(self, part: AddressRange, owner: str) -> str | None:
        """Make a range `owner`'s, or return who has some of it already."""
        if (other := self.holder(part)) is not None:
            return other
        family = family_of(part.first)
        place = bisect.bisect_right(self._starts[family], int(part.first))
        self._starts[family].insert(place, int(part.first))
        self._claims[family].insert(place, (int(part.last), owner))
        return None
