"""Routes of external networks: what BIRD has put into a table that it fills, as far as its node has told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from sallyport.model.kernel import Bootstrap
from sallyport.model.plan import Learned, RoutingReport
from sallyport.model.state import IPAddress


@dataclass(frozen=True, slots=True)
class Lead:
    """Where a table leads by what BIRD put there: the routes of one network to the longest prefix; several share it.

    Without `routes` they are not known here, and `network` has the names that come into question, joined by "or".
    `partial`: the node has told of a part of its routes only, so that there may be longer prefixes.
    """

    network: str
    routes: tuple[Learned, ...]
    partial: bool = False

    @property
    def length(self) -> int:
        """That of the prefix; 0 where it is not known."""
        return self.routes[0].destination.prefixlen if self.routes else 0

    @property
    def prefix(self) -> str:
        """The prefix itself; "" where it is not known."""
        return str(self.routes[0].destination) if self.routes else ""

    @property
    def routers(self) -> tuple[str, ...]:
        """The next routers' addresses, none of routes that end on their link."""
        return tuple(dict.fromkeys(str(item.via) for item in self.routes if item.via is not None))

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that the routes lead out by."""
        return tuple(dict.fromkeys(item.device for item in self.routes))


def lead(
    destination: IPAddress, networks: Sequence[str], report: RoutingReport | None, bootstraps: Iterable[Bootstrap] = ()
) -> Lead | None:
    """The longest prefix of all networks, of equal ones that of the first network in the list, as in the table; None
    where none of them leads there. The ways to a network's peers count as its routes, before what peers say."""
    if report is None:
        return Lead(" or ".join(networks), ()) if networks else None
    own = tuple(bootstraps)
    found = [item for name in networks if (item := _longest(name, destination, report, own)) is not None]
    partly = [name for name in networks if report.counts.get(name, 0) > len(report.routes.get(name, ()))]
    if found:
        return replace(max(found, key=lambda item: item.length), partial=bool(partly))
    return Lead(" or ".join(partly), (), partial=True) if partly else None


def _longest(
    network: str, destination: IPAddress, report: RoutingReport, bootstraps: Sequence[Bootstrap]
) -> Lead | None:
    own = [_learned(item, bootstraps) for item in bootstraps if item.network == network]
    fitting = [item for item in (*own, *report.routes.get(network, ())) if destination in item.destination]
    length = max((item.destination.prefixlen for item in fitting), default=0)
    equal = [item for item in fitting if item.destination.prefixlen == length]
    direct = [item for item in equal if item in own]
    return Lead(network, tuple(dict.fromkeys(direct or equal))) if equal else None


def _learned(item: Bootstrap, bootstraps: Iterable[Bootstrap]) -> Learned:
    """As BIRD has it: a way by a router goes by the device of the link that the router is on."""
    via = ip_address(item.via) if item.via else None
    links = (other for other in bootstraps if other.network == item.network and other.device)
    on_link = (other.device for other in links if via is not None and via in ip_network(other.destination))
    return Learned(ip_network(item.destination), via, item.device or next(on_link, ""))
