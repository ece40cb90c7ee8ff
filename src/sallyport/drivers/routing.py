"""What BIRD knows of external networks: its BGP sessions and what they brought."""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network

from sallyport.drivers.bird import Bird
from sallyport.drivers.birdconf import network_table, session_protocol
from sallyport.drivers.filling import prefix
from sallyport.model.kernel import Announced, Bootstrap, Fib, Session
from sallyport.model.plan import Learned
from sallyport.model.state import FAMILIES, IPNetwork

_CHOSEN = "primary where (source = RTS_BGP || source = RTS_INHERIT) && dest != RTD_UNREACHABLE"
"""The best route of each prefix, if peers told it or a user put it into the network's table: neither the links by which
the peers are reached, nor what this node announces."""
_HOP = re.compile(r"\s+(?:via (?P<via>\S+) on|dev) (?P<device>\S+)")
_COUNT = re.compile(r"1007-(\d+) of ")
_RECOVERY = "Graceful restart recovery in progress"
_STATE, _ERROR = 5, 6
"""Columns of `show protocols`: the state of a protocol's own, and why it is not another."""


class Router:
    """BIRD, asked. While it does not answer there are no sessions and no routes."""

    def __init__(self, bird: Bird) -> None:
        self._bird = bird
        self._parsed: dict[str, dict[str, IPNetwork]] = {}

    def sessions(self) -> Mapping[str, str]:
        """BIRD's state of each BGP session by name (RFC 4271, section 8.2.2), such as `Established`; after a colon
        follows the last error, for a session that is not. A peer that cannot be reached is `Idle` or `Active`."""
        known = [item.name for item in self._bird.configured().values() if isinstance(item, Session)]
        found = {session_protocol(name): name for name in known}
        states: dict[str, str] = {}
        for line in self._lines("show protocols"):
            words = line.removeprefix("1002-").split(maxsplit=_ERROR)
            if words and words[0] in found:
                states[found[words[0]]] = ": ".join(word.strip().rstrip(":") for word in words[_STATE:])
        return states

    def recovering(self) -> bool:
        """Whether BIRD does not answer, or was started again and waits for what its peers still have: the kernel has
        the routes of the one before, of which it knows nothing yet."""
        lines = list(self._lines("show status"))
        return not lines or any(_RECOVERY in line for line in lines)

    def networks(self) -> tuple[str, ...]:
        """Names of the networks that BIRD has tables for, without that of the main table's peers."""
        names: set[str] = set()
        for item in self._bird.configured().values():
            match item:
                case Fib():
                    names.update(item.networks)
                case Bootstrap() | Announced() | Session():
                    names.add(item.network)
        return tuple(sorted(names - {""}))

    def counts(self) -> Mapping[str, int]:
        """The number of prefixes of each network, of both families."""
        return {name: sum(self._count(name)) for name in self.networks()}

    def _count(self, network: str) -> Iterator[int]:
        for family in FAMILIES:
            for line in self._lines(f"show route table {network_table(network, family)} {_CHOSEN} count"):
                if match := _COUNT.match(line):
                    yield int(match[1])

    def learned(self, network: str, limit: int) -> tuple[Learned, ...]:
        """The first `limit` routes of a network, IPv4 first, each with the first of its next hops."""
        found: list[Learned] = []
        for family in FAMILIES:
            where: IPNetwork | None = None
            for line in self._lines(f"show route table {network_table(network, family)} {_CHOSEN}"):
                if len(found) == limit:
                    break
                if hop := _HOP.fullmatch(line.partition(" weight")[0].partition(" onlink")[0]):
                    if where is not None:
                        via = ip_address(hop["via"].partition("%")[0]) if hop["via"] else None
                        found.append(Learned(where, via, hop["device"]))
                    where = None
                elif text := prefix(line):
                    where = ip_network(text)
        return tuple(found)

    def prefixes(self, network: str) -> frozenset[IPNetwork]:
        """All prefixes of a network. What was there at the last call is not parsed again."""
        before, now = self._parsed.get(network, {}), {}
        for family in FAMILIES:
            for line in self._lines(f"show route table {network_table(network, family)} {_CHOSEN}"):
                if text := prefix(line):
                    now[text] = before.get(text) or ip_network(text)
        self._parsed[network] = now
        return frozenset(now.values())

    def _lines(self, command: str) -> Iterator[str]:
        try:
            yield from self._bird.answer(command)
        except OSError:
            return
