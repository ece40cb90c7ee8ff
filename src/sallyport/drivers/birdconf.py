"""BIRD 2's configuration as text, made of objects and read back into them.

Each external network has a BIRD table per family, into which its sessions import and from which alone they export, so
that what one network says is never told to another. Each kernel table is filled from a BIRD table of its own, into
which pipes bring the routes of its networks: the preference that they are given there makes the first network win equal
prefixes. Each object is kept as JSON in a comment, never with the password, which stands in BIRD's own line.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_address, ip_network
from typing import TypeVar

import msgspec

from sallyport.model.kernel import Announced, Bootstrap, Fib, Peer, Session
from sallyport.model.state import FAMILIES, Family

BirdObject = Fib | Bootstrap | Announced | Session | Peer
"""What BIRD keeps for us."""

LISTEN_PORT = 8179
"""Where our BIRD listens for BGP: not 179, which belongs to the node's or its CNI's own speaker. It is our side that
connects, to whatever port the peer has."""
MAIN = 254
"""The kernel's main table, whose routes may be another BIRD's as well."""
RECOVERY = 30
"""Seconds for which a restarted BIRD waits for its peers' routes before it takes stale ones out of the kernel."""

_TAGS: dict[str, type[BirdObject]] = {
    item.__name__.lower(): item for item in (Fib, Bootstrap, Announced, Session, Peer)
}
_COMMENT = re.compile(r"# (\w+) (\{.*\})")
_PASSWORD = re.compile(r'\s*password "([^"]*)";')
_ROUTER_ID = re.compile(r"router id ([\d.]+);")
_LONGEST_NAME = 40
"""Characters of a name within a symbol of BIRD, which has 64 at most."""
_STEP = 1000
"""Between the preferences of two networks: more than any that BIRD gives of its own (200 at most), so that these go on
to decide within a network."""
_MOST_NETWORKS = 60
"""A preference has 16 bits: networks beyond these share the last place."""
_WITH_ROUTERS = Peer("", "", "")
"""Intervals of BFD with a router are those that nodes have by default."""

T = TypeVar("T", bound=BirdObject)


def flaw(item: BirdObject) -> str:
    """Why an object cannot even be written down, as a sentence; "" if it can. What BIRD makes of it is another matter:
    this keeps text from ending where it is quoted."""
    match item:
        case Fib():
            return ""
        case Bootstrap():
            wrong = _not_network(item.destination) or _not_address(item.via) or _not_quotable("device", item.device)
        case Announced():
            wrong = _not_network(item.destination)
        case Session():
            wrong = _not_address(item.address) or _not_address(item.source) or _not_quotable("device", item.device)
            wrong = wrong or _not_quotable("password", item.password)
        case Peer():
            wrong = _not_address(item.address) or _not_address(item.local) or _not_quotable("device", item.device)
    return wrong


def _not_address(text: str) -> str:
    try:
        ip_address(text or "::")
    except ValueError:
        return f"{text!r} is not an IP address"
    return ""


def _not_network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        return f"{text!r} is not a network"
    return ""


def _not_quotable(what: str, text: str) -> str:
    return "" if text.isprintable() and '"' not in text else f"the {what} has a character that BIRD cannot read"


def render(objects: Iterable[BirdObject], router_id: str, route_protocol: int) -> str:
    """The whole configuration. `route_protocol` is the kernel's number of those routes that are ours but not BIRD's."""
    held = sorted(objects, key=lambda item: str(item.key))
    fibs, bootstraps, announced = _of(Fib, held), _of(Bootstrap, held), _of(Announced, held)
    sessions, peers = _of(Session, held), _of(Peer, held)
    networks = {name for fib in fibs for name in fib.networks} | {item.network for item in sessions}
    networks |= {item.network for item in bootstraps} | {item.network for item in announced}
    lines = [
        f"router id {router_id};",
        f"graceful restart wait {RECOVERY};",
        "timeformat protocol iso short ms;",
        "protocol device sp_device { scan time 10; }",
        # Without a way to the next hop there is no route; and no egress IP of this node leads out of it.
        "filter sp_installed { if dest != RTD_UNICAST then reject; accept; }",
        f"filter sp_learned {{ if krt_source = {route_protocol} then reject; accept; }}",
    ]
    for name in sorted(networks):
        lines += [f"ipv{family} table {network_table(name, family)};" for family in FAMILIES]
    for fib in fibs:
        lines += _fib(fib)
    lines += [*_statics("boot", bootstraps), *_statics("own", announced), *_bfd(peers, sessions)]
    for session in sessions:
        lines += _session(session)
    return "\n".join([*lines, ""])


def parse(text: str) -> dict[object, BirdObject]:
    """The objects of a configuration by key, sessions with their passwords. What a later version wrote and this one
    cannot read is not among them."""
    found: dict[object, BirdObject] = {}
    last: BirdObject | None = None
    for line in text.splitlines():
        if comment := _COMMENT.fullmatch(line):
            last = _decoded(comment[1], comment[2])
            if last is not None:
                found[last.key] = last
        elif isinstance(last, Session) and (password := _PASSWORD.fullmatch(line)):
            found[last.key] = replace(last, password=password[1])
    return found


def router_id(text: str) -> str:
    """The router id in a configuration; "" if there is none."""
    match = _ROUTER_ID.search(text)
    return match[1] if match else ""


def network_table(network: str, family: Family) -> str:
    """BIRD's table of an external network ("": of the main table's peers), quoted as BIRD wants it."""
    return _symbol("net" if network else "main", network, f".{family}")


def session_protocol(name: str) -> str:
    """BIRD's protocol of a session, as BIRD prints it."""
    return _symbol("bgp", name).strip("'")


def _symbol(what: str, name: str, end: str = "") -> str:
    """A name of BIRD's own for something, the same each time. What does not fit gets a digest in its place."""
    fitting = re.sub(r"[^\w.:-]", "_", name, flags=re.ASCII)
    if fitting != name or len(name) > _LONGEST_NAME:
        fitting = f"{fitting[: _LONGEST_NAME - 9]}_{sha256(name.encode()).hexdigest()[:8]}"
    return f"'{what}-{fitting}{end}'"


def _of(wanted: type[T], objects: Iterable[BirdObject]) -> list[T]:
    return [item for item in objects if isinstance(item, wanted)]


def _comment(item: BirdObject) -> str:
    written: Mapping[str, object] = msgspec.to_builtins(item)
    shown = {name: value for name, value in written.items() if name != "password"}
    return f"# {type(item).__name__.lower()} {msgspec.json.encode(shown).decode()}"


def _decoded(tag: str, text: str) -> BirdObject | None:
    try:
        return msgspec.json.decode(text, type=_TAGS[tag]) if tag in _TAGS else None
    except msgspec.DecodeError:
        return None


def _fib(fib: Fib) -> Iterator[str]:
    """A kernel table and what fills it.

    What a user has put there is learned and left alone. It belongs to the network where there is but one, whose peers'
    next hops may be reached by it. Routes outlive a BIRD that ends, except in the main table, where nobody could tell
    them from another BIRD's.
    """
    persist = "" if fib.table == MAIN else "persist; "
    own = "if source = RTS_INHERIT then accept; " if len(fib.networks) == 1 else ""
    yield _comment(fib)
    for family in FAMILIES:
        table = _symbol("fib", str(fib.table), f".{family}")
        yield f"ipv{family} table {table};"
        yield f"protocol kernel {_symbol('kernel', str(fib.table), f'.{family}')} {{"
        yield f"  kernel table {fib.table}; learn; {persist}merge paths; graceful restart; scan time 20;"
        yield f"  ipv{family} {{ table {table}; import filter sp_learned; export filter sp_installed; }};"
        yield "}"
        for place, name in enumerate(fib.networks):
            rank = (_MOST_NETWORKS - min(place, _MOST_NETWORKS - 1)) * _STEP
            yield f"protocol pipe {_symbol(f'pipe-{fib.table}', name, f'.{family}')} {{"
            yield f"  table {network_table(name, family)}; peer table {table};"
            yield "  export filter {"
            yield f"    if dest = RTD_UNREACHABLE then reject; preference = preference + {rank}; accept;"
            yield "  };"
            yield f"  import filter {{ {own}reject; }};"
            yield "}"


def _statics(what: str, items: Sequence[Bootstrap | Announced]) -> Iterator[str]:
    """Static routes of each network. The `own` ones are what is told to its peers."""
    for name in sorted({item.network for item in items}):
        for family in FAMILIES:
            mine = [item for item in items if item.network == name and _family(item.destination) == family]
            if mine:
                yield f"protocol static {_symbol(what, name, f'.{family}')} {{"
                yield f"  ipv{family} {{ table {network_table(name, family)}; }};"
                for item in mine:
                    yield _comment(item)
                    yield f"  route {item.destination} {_target(item)};"
                yield "}"


def _target(item: Bootstrap | Announced) -> str:
    if isinstance(item, Announced):
        return "blackhole"
    if not item.via:
        return f'via "{item.device}"'
    return f"via {item.via}" + (f"%'{item.device}'" if ip_address(item.via).is_link_local else "")


def _bfd(peers: Sequence[Peer], sessions: Sequence[Session]) -> Iterator[str]:
    """One protocol for all: sessions with nodes, and with those routers that are watched (RFC 5880, 5881, 5882)."""
    routers = any(session.bfd and _is_direct(session) for session in sessions)
    if not (peers or routers):
        return
    intervals = {peer.device: peer for peer in reversed(peers)}
    yield "protocol bfd sp_bfd {"
    for device, peer in [*sorted(intervals.items()), *([("*", _WITH_ROUTERS)] if routers else [])]:
        yield f'  interface "{device}" {{'
        yield f"    min rx interval {peer.interval} ms; min tx interval {peer.interval} ms;"
        yield f"    idle tx interval {max(peer.interval, 300)} ms; multiplier {peer.multiplier};"
        yield "  };"
    for peer in peers:
        yield _comment(peer)
        yield f'  neighbor {peer.address} dev "{peer.device}" local {peer.local};'
    yield "}"


def _session(session: Session) -> Iterator[str]:
    """A BGP session (RFC 4271). The times are short because BIRD's own keep a peer that is back away for minutes."""
    family = _family(session.address)
    yield _comment(session)
    yield f"protocol bgp '{session_protocol(session.name)}' {{"
    # All listen on one socket: BIRD could not bind one for each, of which some are bound to a device and some are not.
    yield f"  local {f'{session.source} ' if session.source else ''}port {LISTEN_PORT} as {session.own_asn};"
    yield f"  neighbor {session.address} port {session.port} as {session.asn};"
    yield from (f"  {line};" for line in (*_reach(session), *_restart(session)))
    yield "  connect delay time 1; connect retry time 2; error wait time 1, 10; startup hold time 10;"
    if session.keepalive:
        yield f"  keepalive time {session.keepalive}; hold time {3 * session.keepalive};"
    if session.own_asn_in_path:
        yield f"  allow local as {session.own_asn_in_path};"
    if session.password:
        yield f'  password "{session.password}";'
    yield f"  ipv{family} {{"
    yield f"    table {network_table(session.network, family)}; igp table {network_table(session.network, family)};"
    yield f"    gateway {'direct' if ip_address(session.address).is_link_local else 'recursive'};"
    if session.next_hop in ("self", "keep"):
        yield f"    next hop {session.next_hop};"
    yield from _filter("import", session, family)
    yield from _filter("export", session, family, 'if proto !~ "own-*" then reject;')
    yield "  };"
    yield "}"


def _is_direct(session: Session) -> bool:
    """Whether the peer is on a link of ours: it is known which, or no packet of its may have met a router."""
    return not session.via and (session.hops == 1 or (bool(session.device) and not session.hops))


def _reach(session: Session) -> Iterator[str]:
    """How the peer is reached and watched. BFD is for peers on a link alone, as upstream says."""
    if not _is_direct(session):
        yield f"multihop {session.hops}" if session.hops else "multihop"
    else:
        yield "direct"
        if session.device:
            yield f'interface "{session.device}"'
        if session.bfd:
            yield "bfd graceful"
    if session.hops:
        yield "ttl security on"


def _restart(session: Session) -> Iterator[str]:
    """RFC 4724 and, for the long-lived kind, RFC 9494."""
    yield "graceful restart on"
    if session.long_lived:
        yield "long lived graceful restart on"
    if session.restart_time:
        yield f"{'long lived stale' if session.long_lived else 'graceful restart'} time {session.restart_time}"


def _filter(direction: str, session: Session, family: Family, first: str = "") -> Iterator[str]:
    texts = [text for way, of, text in session.filters if (way, of) == (direction, family)]
    yield f"    {direction} filter {{"
    yield from (f"      {line}" for text in (first, *texts, "accept;") for line in text.splitlines())
    yield "    };"


def _family(text: str) -> Family:
    return 6 if ":" in text else 4
