"""A node's facts, and what its agent sees of its external networks, as the agent publishes them: JSON in annotations of
its Lease.

They are for people, for statuses and for the command line, which plans a node as its agent does; no agent plans by
another's.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from itertools import islice

import msgspec
from msgspec import Struct

from sallyport.model.addresses import parse_address, parse_network
from sallyport.model.plan import Conflict, Learned, Liveness, NodeFacts, RoutingReport, Uplink
from sallyport.model.state import FAMILIES, Family, IPAddress, IPNetwork

FACTS_ANNOTATION = "sallyport.io/facts"
ROUTING_ANNOTATION = "sallyport.io/routing"
UNHEARD_ANNOTATION = "sallyport.io/unheard"
"""What an agent hears nothing of at present, a line for each kind with its reason; "" while it hears of everything."""
MOST_ROUTES = 256
"""Routes of a network that are published: all annotations of an object have to fit into 256 KiB."""
MOST_PREFIXES = 32
"""Prefixes of a conflict that are published."""


class _Uplink(Struct, frozen=True):
    device: str
    address: str
    subnets: tuple[str, ...]
    mtu: int


class _Facts(Struct, frozen=True, rename="camel", omit_defaults=True):
    node: str
    uplinks: dict[str, _Uplink] = {}
    addresses: dict[str, str] = {}
    held: tuple[str, ...] = ()
    peers: dict[str, Liveness] = {}
    reply_devices: tuple[str, ...] = ()
    connected: dict[str, str] = {}
    devices: tuple[str, ...] = ()
    table_devices: dict[str, tuple[str, ...]] = {}
    foreign: dict[str, str] = {}
    failed: tuple[str, ...] = ()


class _Conflict(Struct, frozen=True, omit_defaults=True):
    winner: str
    loser: str
    prefixes: tuple[str, ...]
    hidden: bool = False


class _Conflicts(Struct, frozen=True):
    networks: tuple[str, ...]
    conflicts: tuple[_Conflict, ...]


class _Report(Struct, frozen=True, omit_defaults=True):
    sessions: dict[str, str] = {}
    counts: dict[str, int] = {}
    routes: dict[str, tuple[tuple[str, str, str], ...]] = {}
    conflicts: tuple[_Conflicts, ...] = ()
    standing: dict[str, str] = {}


def encode(facts: NodeFacts) -> str:
    """Facts as one line of JSON; equal facts give equal text, so that an unchanged annotation is not written again."""
    return msgspec.json.encode(
        _Facts(
            node=facts.node,
            uplinks={str(family): _written(facts.uplinks[family]) for family in sorted(facts.uplinks)},
            addresses={str(item): facts.addresses[item] for item in sorted(facts.addresses, key=_place)},
            held=tuple(str(item) for item in sorted(facts.held, key=_place)),
            peers={name: facts.peers[name] for name in sorted(facts.peers)},
            reply_devices=facts.reply_devices,
            connected={str(item): facts.connected[item] for item in sorted(facts.connected, key=_place)},
            devices=facts.devices,
            table_devices={str(table): facts.table_devices[table] for table in sorted(facts.table_devices)},
            foreign={str(table): facts.foreign[table] for table in sorted(facts.foreign)},
            failed=tuple(sorted(facts.failed)),
        )
    ).decode()


def decode(text: str) -> NodeFacts:
    """Facts from an annotation. Raises ValueError, a sentence that says what is wrong with the text."""
    try:
        written = msgspec.json.decode(text, type=_Facts)
    except msgspec.DecodeError as error:
        raise ValueError(f"these are no facts of a node: {error}") from None
    return NodeFacts(
        node=written.node,
        uplinks={_family(name): _uplink(_family(name), item) for name, item in written.uplinks.items()},
        addresses={parse_address(address): device for address, device in written.addresses.items()},
        held=frozenset(parse_address(item) for item in written.held),
        peers=written.peers,
        reply_devices=written.reply_devices,
        connected={parse_network(network): device for network, device in written.connected.items()},
        devices=written.devices,
        table_devices={_table(text): names for text, names in written.table_devices.items()},
        foreign={_table(text): sentence for text, sentence in written.foreign.items()},
        failed=frozenset(written.failed),
    )


def encode_report(report: RoutingReport) -> str:
    """A report as one line of JSON, equal text for equal reports. At most MOST_ROUTES routes of a network and
    MOST_PREFIXES prefixes of a conflict go into it; `counts` tells how many routes there are."""
    return msgspec.json.encode(
        _Report(
            sessions={name: report.sessions[name] for name in sorted(report.sessions)},
            counts={name: report.counts[name] for name in sorted(report.counts)},
            routes={name: _first(report.routes[name]) for name in sorted(report.routes)},
            conflicts=tuple(
                _Conflicts(networks, tuple(_conflict(item) for item in report.conflicts[networks]))
                for networks in sorted(report.conflicts)
            ),
            standing={key: report.standing[key] for key in sorted(report.standing)},
        )
    ).decode()


def decode_report(text: str) -> RoutingReport:
    """A report from an annotation. Raises ValueError, a sentence that says what is wrong with the text."""
    try:
        written = msgspec.json.decode(text, type=_Report)
    except msgspec.DecodeError as error:
        raise ValueError(f"this is no report of a node's routing: {error}") from None
    return RoutingReport(
        sessions=written.sessions,
        counts=written.counts,
        routes={
            name: tuple(
                Learned(parse_network(destination), parse_address(via) if via else None, device)
                for destination, via, device in listed
            )
            for name, listed in written.routes.items()
        },
        conflicts={
            part.networks: tuple(
                Conflict(item.winner, item.loser, tuple(map(parse_network, item.prefixes)), item.hidden)
                for item in part.conflicts
            )
            for part in written.conflicts
        },
        standing=written.standing,
    )


def _first(routes: Iterable[Learned]) -> tuple[tuple[str, str, str], ...]:
    """The first routes as destination, next hop ("": on the link) and device."""
    return tuple((str(item.destination), str(item.via or ""), item.device) for item in islice(routes, MOST_ROUTES))


def _conflict(item: Conflict) -> _Conflict:
    return _Conflict(item.winner, item.loser, tuple(map(str, item.prefixes[:MOST_PREFIXES])), item.hidden)


def _place(item: IPAddress | IPNetwork) -> tuple[int, int, int]:
    """Sort key: IPv4 first, then by number and length."""
    if isinstance(item, IPv4Address | IPv6Address):
        return (item.version, int(item), item.max_prefixlen)
    return (item.version, int(item.network_address), item.prefixlen)


def _table(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} is not the number of a table")
    return int(text)


def _written(uplink: Uplink) -> _Uplink:
    subnets = tuple(str(item) for item in uplink.subnets)
    return _Uplink(uplink.device, str(uplink.address), subnets, uplink.mtu)


def _uplink(family: Family, written: _Uplink) -> Uplink:
    address = parse_address(written.address)
    subnets = tuple(parse_network(item) for item in written.subnets)
    for part in (address, *subnets):
        if part.version != family:
            raise ValueError(f"the IPv{family} uplink has {part}, which is not IPv{family}")
    return Uplink(written.device, address, subnets, written.mtu)


def _family(name: str) -> Family:
    for family in FAMILIES:
        if name == str(family):
            return family
    raise ValueError(f"there is an uplink for family {name!r}, which is neither 4 nor 6")
