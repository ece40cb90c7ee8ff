"""One node's kernel, asked as its own stack asks it: members of sets, policy rules, routes, tunnel entries.

What hangs on something that is missing is missing too, as in a kernel: elements without their table, next hops,
neighbours and forwarding entries without their device, routes without their next hop.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, ip_address, ip_network

from sallyport.model.addresses import family_of
from sallyport.model.kernel import (
    Bootstrap,
    Chain,
    Element,
    Fdb,
    Fib,
    InterfaceAddress,
    KernelObject,
    Link,
    Neighbor,
    NextHop,
    Route,
    Rule,
    Skeleton,
    Sysctl,
)
from sallyport.model.settings import Settings
from sallyport.model.state import Family, IPAddress
from sallyport.trace.choices import stands
from sallyport.trace.routes import Lead, lead
from sallyport.trace.underlay import Host, Underlay

MAIN_TABLE = 254
"""RT_TABLE_MAIN of linux/rtnetlink.h."""

BROADCAST = IPv4Address("255.255.255.255")


class Way(StrEnum):
    """Where a route leads. CLUSTER is the CNI's way to a pod or service, UPLINK leads to the other nodes and out by the
    main table, NETWORK out by the table of external networks."""

    LOCAL = "local"
    TUNNEL = "tunnel"
    CLUSTER = "cluster"
    UPLINK = "uplink"
    NETWORK = "network"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Routed:
    """The outcome of a route lookup: what decided, in words, and the next hop where it leads into a tunnel.

    `devices` are those that it may leave by, none where they are not known; `lead` the routes of an external network,
    and `table` their table.
    """

    way: Way
    decided: str
    next_hop: NextHop | None = None
    devices: tuple[str, ...] = ()
    lead: Lead | None = None
    table: int = 0


@dataclass(frozen=True, slots=True)
class Flow:
    """What a route lookup sees of a packet."""

    destination: IPAddress
    mark: int = 0
    protocol: str = ""
    port: int = 0


class NodeKernel:
    """What one node's kernel holds, and its answers."""

    def __init__(self, name: str, objects: Iterable[KernelObject], ground: Underlay, settings: Settings) -> None:
        self.name = name
        self.host = ground.hosts.get(name, Host())
        self._ground = ground
        self._settings = settings
        self._sets: dict[str, dict[str, str]] = {}
        self._fibs: dict[int, tuple[str, ...]] = {}
        self._routes: dict[tuple[Family, int], list[Route]] = {}
        self._rules: dict[Family, list[Rule]] = {4: [], 6: []}
        self._skeletons: dict[str, Skeleton] = {}
        self._keyed: dict[object, KernelObject] = {}
        for item in objects:
            self._take(item)
        for rules in self._rules.values():
            rules.sort(key=lambda rule: rule.priority)
        if "inet" not in self._skeletons:
            self._sets = {}
        held = {ip_address(item.address) for item in self._keyed.values() if isinstance(item, InterfaceAddress)}
        self.addresses: frozenset[IPAddress] = self.host.addresses | held

    def _take(self, item: KernelObject) -> None:
        match item:
            case Element():
                self._sets.setdefault(item.set, {})[item.member] = item.value
            case Route():
                self._routes.setdefault((item.family, item.table), []).append(item)
            case Rule():
                self._rules[item.family].append(item)
            case Skeleton():
                self._skeletons[item.family] = item
            case Fib():
                self._fibs[item.table] = item.networks
            case _:
                self._keyed[(type(item), item.key)] = item

    @property
    def filtered(self) -> bool:
        """Whether our inet table, with the steering and the guard, is there."""
        return "inet" in self._skeletons

    def accepts_frames(self, device: str) -> bool:
        """Whether our netdev table makes frames on that tunnel device the host's own; without it they are another
        host's, by their MAC. The text is not read back from a kernel; then its digest is trusted."""
        skeleton = self._skeletons.get("netdev")
        return skeleton is not None and (not skeleton.text or f'device "{device}"' in skeleton.text)

    def value(self, name: str, member: object) -> str | None:
        """The value of a map's element, "" for a member of a set, None for what is not in it."""
        return self._sets.get(name, {}).get(str(member))

    def covers(self, name: str, address: IPAddress) -> str | None:
        """The interval of a set that holds the address, as written."""
        return next((member for member in self._sets.get(name, ()) if _holds(member, address)), None)

    def covers_pair(self, name: str, first: IPAddress, second: IPAddress) -> str | None:
        """The same of a set of two addresses: the second part of the member, whose first has the first address."""
        pairs = (member.split(" . ") for member in self._sets.get(name, ()))
        return next((part for own, part in pairs if _holds(own, first) and _holds(part, second)), None)

    def chain(self, name: str) -> Chain | None:
        """A chain that chooses among exits."""
        found = self._keyed.get((Chain, name))
        return found if isinstance(found, Chain) else None

    def client(self, address: IPAddress) -> str | None:
        """The value of a client's element, None where there is none; nor can there be one without its chains."""
        target = self.value(f"clients{address.version}", address)
        return target if target is not None and stands(target, self.chain) else None

    def wires(self, mark: int) -> frozenset[str]:
        """The devices by which packets with the mark of an exit to external networks may leave."""
        pairs = (member.split(" . ") for member in self._sets.get("wires", ()))
        return frozenset(device for own, device in pairs if own == str(mark))

    def strict(self, device: str) -> bool:
        """Whether the device drops IPv4 packets that it would not send answers by (rp_filter 1, RFC 3704)."""
        setting = self._keyed.get((Sysctl, f"net/ipv4/conf/{device}/rp_filter"))
        return isinstance(setting, Sysctl) and setting.value == "1"

    def link(self, device: str) -> Link | None:
        """A tunnel device by name."""
        found = self._keyed.get((Link, device))
        return found if isinstance(found, Link) else None

    def listening(self, sent: Link, outer: Family) -> Link | None:
        """The tunnel device that takes packets of another node's device, in that outer family."""
        for item in self._keyed.values():
            same = isinstance(item, Link) and (item.vni, item.port) == (sent.vni, sent.port)
            if same and isinstance(item, Link) and ip_address(item.local).version == outer:
                return item
        return None

    def neighbor(self, next_hop: NextHop) -> str | None:
        """The MAC of a next hop."""
        found = self._keyed.get((Neighbor, (next_hop.device, next_hop.gateway)))
        return found.lladdr if isinstance(found, Neighbor) else None

    def forwarding(self, device: str, lladdr: str) -> str | None:
        """The outer address that frames to a MAC go to."""
        found = self._keyed.get((Fdb, (device, lladdr)))
        return found.destination if isinstance(found, Fdb) else None

    def is_unicast(self, destination: IPAddress) -> bool:
        """What nft's `fib daddr type` calls neither local nor broadcast, multicast or anycast. A rule that asked for
        `unicast` would, in IPv6, ask for a route as well (net/ipv6/netfilter/nft_fib_ipv6.c)."""
        return not (destination in self.addresses or destination.is_multicast or destination == BROADCAST)

    def route(self, flow: Flow) -> Routed:
        """The policy rules in their order, the local table first, the main one last (ip-rule(8))."""
        if flow.destination in self.addresses:
            return Routed(Way.LOCAL, f"table local: {flow.destination} is this node's")
        before = ""
        for rule in self._asked(flow):
            if (
                rule.table == MAIN_TABLE
                and (routed := self._main(flow, f"rule {_words(rule)}, ")).way is not Way.NOWHERE
            ):
                return routed
            route, learned = self._lookup(rule, flow), self._lead(rule, flow)
            if learned is not None and (route is None or ip_network(route.destination).prefixlen <= learned.length):
                return _by_network(rule, learned)
            if route is not None and route.type != "throw":
                return self._by(rule, route)
            end = "throw" if route else "empty"
            before = f"rule {_words(rule)}, table {rule.table} {end}, "
        return self._main(flow, before)

    def _asked(self, flow: Flow) -> Iterator[Rule]:
        """The rules that lead a packet to tables. One that leads to a rule that is not there leads nowhere else."""
        rules, place = self._rules[family_of(flow.destination)], 0
        while place < len(rules):
            rule = rules[place]
            place += 1
            if not _selects(rule, flow):
                continue
            if rule.table:
                yield rule
            target = bisect_left(rules, rule.goto, key=lambda item: item.priority)
            if rule.goto and target < len(rules) and rules[target].priority == rule.goto:
                place = target

    def _lead(self, rule: Rule, flow: Flow) -> Lead | None:
        """What BIRD has put into the table, at better metrics than ours."""
        bootstraps = (item for item in self._keyed.values() if isinstance(item, Bootstrap))
        return lead(flow.destination, self._fibs.get(rule.table, ()), self.host.report, bootstraps)

    def _lookup(self, rule: Rule, flow: Flow) -> Route | None:
        """Of our own routes the longest prefix, then the lowest metric."""
        fitting = [
            (-network.prefixlen, route.metric, route)
            for route in self._routes.get((rule.family, rule.table), ())
            if flow.destination in (network := ip_network(route.destination)) and self._is_usable(route)
        ]
        return min(fitting, key=lambda item: item[:2])[2] if fitting else None

    def _is_usable(self, route: Route) -> bool:
        return route.type != "unicast" or self._next_hop(route) is not None

    def _next_hop(self, route: Route) -> NextHop | None:
        found = self._keyed.get((NextHop, route.next_hop))
        return found if isinstance(found, NextHop) and self.link(found.device) is not None else None

    def _by(self, rule: Rule, route: Route) -> Routed:
        decided = f"rule {_words(rule)}, table {route.table}: {route.type} {route.destination}"
        hop = self._next_hop(route)
        if hop is None:
            return Routed(Way.NOWHERE, decided)
        return Routed(Way.TUNNEL, f"{decided} via {hop.gateway}", hop)

    def _main(self, flow: Flow, before: str) -> Routed:
        """The node's own routes, as far as a walk needs them: they are not ours."""
        destination, ground = flow.destination, self._ground
        decided = f"{before}table main: "
        for network in (*ground.pods, *ground.services):
            if destination in network:
                kind = "pod" if network in ground.pods else "service"
                return Routed(Way.CLUSTER, f"{decided}{kind} network {network}")
        link_local = destination.version == 6 and destination.is_link_local
        if destination.is_multicast or destination == BROADCAST or link_local:
            return Routed(Way.NOWHERE, f"{decided}{destination} stays on its link")
        if family_of(destination) not in self.host.uplinks:
            return Routed(Way.NOWHERE, f"{decided}no route to {destination}")
        device = self.host.device(destination)
        return Routed(Way.UPLINK, f"{decided}uplink", devices=(device,) if device else ())


def _by_network(rule: Rule, found: Lead) -> Routed:
    decided = f"rule {_words(rule)}, table {rule.table}: "
    if not found.routes:
        decided += f"routes of {found.network} come by BGP and are not known here"
        return Routed(Way.NETWORK, decided, lead=found, table=rule.table)
    decided += f"{found.network}'s {found.prefix} via {' or '.join(found.routers) or 'its link'}"
    if found.partial:
        decided += ", of those that are known"
    return Routed(Way.NETWORK, decided, devices=found.devices, lead=found, table=rule.table)


def _holds(member: str, address: IPAddress) -> bool:
    """Whether an interval has the address, written as a network, an address, or from first to last."""
    first, _, last = member.partition("-")
    if last:
        return int(ip_address(first)) <= int(address) <= int(ip_address(last))
    return address in ip_network(member)


def _selects(rule: Rule, flow: Flow) -> bool:
    """Rules of external networks' devices (`iif`) are for replies: what a pod sends comes in by another one. Those to
    routers are for the node's own packets."""
    if rule.iif or rule.to or bool((flow.mark ^ rule.mark) & rule.mask) is not rule.inverted:
        return False
    return not rule.udp_port or (flow.protocol, flow.port) == ("udp", rule.udp_port)


def _words(rule: Rule) -> str:
    selector = f"udp dport {rule.udp_port}" if rule.udp_port else f"fwmark {rule.mark:#x}/{rule.mask:#x}"
    return f"{rule.priority} {selector}"
