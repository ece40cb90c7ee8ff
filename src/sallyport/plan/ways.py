"""What decides about each destination of a client, where policies do: every address has one answer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network, summarize_address_range

from sallyport.model.state import Family, Hops, IPNetwork, Policy

EVERYTHING: dict[Family, IPNetwork] = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
NOWHERE = Hops(())
"""No exit at all: what goes there is dropped."""


@dataclass(frozen=True, slots=True)
class Part:
    """A network and the exits that it goes by; None is the ordinary way. `wanted` is the destination as its policy
    writes it, of which this is all or a part: a client's limited choice of exits is recorded for that."""

    network: IPNetwork
    hops: Hops | None
    wanted: str = ""


@dataclass(frozen=True, slots=True)
class _Span:
    first: int
    last: int
    hops: Hops | None
    wanted: str = ""


def divide(
    policies: Sequence[Policy], rest: Hops | None, family: Family, of_family: frozenset[str]
) -> tuple[Part, ...]:
    """Networks, none inside another, that cover all addresses of a family.

    `policies` are a client's, the first one winning; within each the longest prefix does. `rest` is what becomes of
    addresses that none of them has. Where a policy has exits but none of this family (`of_family` has those that may
    be), what is in `rest` keeps it; where nothing is, it is blocked.
    """
    spans = [_Span(0, int(EVERYTHING[family].broadcast_address), rest)]
    for policy in reversed(policies):
        if policy.blocked:
            spans = [_Span(0, spans[-1].last, NOWHERE)]
            continue
        fitting = [item for item in policy.destinations if item.network.version == family]
        for item in sorted(fitting, key=lambda each: each.network.prefixlen):
            first, last = int(item.network.network_address), int(item.network.broadcast_address)
            new = _Span(first, last, item.hops, str(item.network))
            lacking = item.hops is not None and bool(item.hops.exits) and of_family.isdisjoint(item.hops.exits)
            spans = _painted(spans, new, only_ordinary=lacking)
    return tuple(_parts(spans, family))


def _painted(spans: Iterable[_Span], new: _Span, *, only_ordinary: bool) -> list[_Span]:
    """The spans with `new` laid over them, over those alone that are ordinary where it has to leave the others."""
    found: list[_Span] = []
    for old in spans:
        first, last = max(old.first, new.first), min(old.last, new.last)
        if first > last or (only_ordinary and old.hops is not None):
            found.append(old)
            continue
        if old.first < first:
            found.append(_Span(old.first, first - 1, old.hops, old.wanted))
        found.append(_Span(first, last, new.hops, new.wanted))
        if last < old.last:
            found.append(_Span(last + 1, old.last, old.hops, old.wanted))
    return found


def _parts(spans: Iterable[_Span], family: Family) -> Iterable[Part]:
    joined: list[_Span] = []
    for span in spans:
        if joined and (joined[-1].hops, joined[-1].wanted) == (span.hops, span.wanted):
            span = _Span(joined.pop().first, span.last, span.hops, span.wanted)
        joined.append(span)
    for span in joined:
        for network in _networks(span, family):
            yield Part(network, span.hops, span.wanted)


def _networks(span: _Span, family: Family) -> Iterable[IPNetwork]:
    if family == 4:
        return summarize_address_range(IPv4Address(span.first), IPv4Address(span.last))
    return summarize_address_range(IPv6Address(span.first), IPv6Address(span.last))
