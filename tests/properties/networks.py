"""What worlds hold of gateways, policies and external networks: drawn at random, and what is right about it.

Networks red and yellow have a device each on every node, `red0` and `yellow0`. Red leads everywhere, yellow to the
first destination outside only; `blue` does not exist.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network

from hypothesis import strategies as st
from tests.unit.plan.build import a_pool
from tests.unit.plan.gateways import POOLS, a_gateway, a_network, a_peering

from sallyport.model.addresses import family_of
from sallyport.model.plan import Learned, RoutingReport
from sallyport.model.state import (
    FAMILIES,
    Client,
    ClusterState,
    Destination,
    Exit,
    ExternalNetwork,
    Hops,
    IPAddress,
    IPNetwork,
    Node,
    ObjectRef,
    Peering,
    PodKey,
    Policy,
    Pool,
)

GATEWAYS = ("gw-a", "gw-b", "gw-c")
NETWORKS: tuple[tuple[str, ...], ...] = ((), ("red",), ("yellow",), ("red", "yellow"), ("yellow", "red"), ("blue",))
DESTINATIONS = (
    ("0.0.0.0/0", "::/0"),
    ("203.0.113.0/24", "2001:db8:ffff::/48"),
    ("198.51.0.0/16", "2001:db8:e::/47"),
    ("203.0.113.8/29", "2001:db8:ffff::/64"),
)
"""In pairs of both families: a gateway without the one has no way for it."""
LINKS: Mapping[IPNetwork, str] = {
    ip_network("172.31.11.0/24"): "red0",
    ip_network("fd00:11::/64"): "red0",
    ip_network("172.31.12.0/24"): "yellow0",
    ip_network("fd00:12::/64"): "yellow0",
}
ROUTERS = {"red": ("172.31.11.1", "fd00:11::1"), "yellow": ("172.31.12.1", "fd00:12::1")}
LEARNED = {"red": ("0.0.0.0/0", "::/0"), "yellow": ("203.0.113.0/24", "2001:db8:ffff::/48")}
REPORT = RoutingReport(
    routes={
        name: tuple(
            Learned(ip_network(prefix), ip_address(router), f"{name}0")
            for prefix, router in zip(LEARNED[name], ROUTERS[name], strict=True)
        )
        for name in ROUTERS
    },
    counts=dict.fromkeys(ROUTERS, 2),
)
"""What every node's BIRD would put into the tables of networks that it serves."""


def _rarely(draw: st.DrawFn, chance: int) -> bool:
    return draw(st.sampled_from([*[False] * (chance - 1), True]))


def _some(values: Sequence[str]) -> st.SearchStrategy[list[str]]:
    subsets = [[value for bit, value in enumerate(values) if mask >> bit & 1] for mask in range(2 ** len(values))]
    return st.sampled_from(subsets)


@st.composite
def gateways(draw: st.DrawFn, nodes: Mapping[str, Node]) -> dict[str, Exit]:
    """Exits of up to three gateways. One that has been given its node's address, or is given its own by the CNI, asks
    for it from the beginning."""
    found: dict[str, Exit] = {}
    for place, name in enumerate(GATEWAYS):
        if _rarely(draw, 4):
            continue
        number = draw(st.sampled_from((1, 1, 2, 3)))
        networks = draw(st.sampled_from(NETWORKS))
        kind = draw(st.sampled_from(["pooled", "pooled", "pooled", "pooled", "carried", "node's"]))
        ready, leaving = not _rarely(draw, 6), _rarely(draw, 5)
        for family in draw(st.sampled_from([FAMILIES, FAMILIES, FAMILIES[:1], FAMILIES[1:]])):
            made = a_gateway(name, number, family=family, networks=networks, ready=ready, leaving=leaving)
            if kind == "carried":
                own = ip_address(POOLS[family].partition("-")[2]) - place
                made = replace(made, requested=own, carried=True)
            elif kind == "node's" and (node := nodes.get(made.node)) and (own_ := node.address(family)):
                made = replace(made, requested=own_, pools=())
            found[made.key] = made
    return found


def pools() -> list[Pool]:
    """The gateways', of each family one with two addresses to give and some that the CNI gives. No node may hold them
    but by a gateway."""
    ranges = {
        4: ("10.10.10.0-10.10.10.1", "10.10.10.13-10.10.10.15"),
        6: ("fd00:10::-fd00:10::1", "fd00:10::d-fd00:10::f"),
    }
    return [a_pool(f"egress{family}", *ranges[family], nodes=()) for family in FAMILIES]


def gateway_pods(exits: Mapping[str, Exit]) -> dict[PodKey, Client]:
    """The pods of the gateways, which are clients too."""
    found: dict[PodKey, Client] = {}
    for exit_ in exits.values():
        number, last = int(exit_.node[-1]), 100 + GATEWAYS.index(exit_.ref.name)
        addresses = (ip_address(f"10.244.{number}.{last}"), ip_address(f"fd00:244:{number}::{last}"))
        found["gw", exit_.ref.name] = Client("gw", exit_.ref.name, exit_.node, addresses)
    return found


def own_policies(exits: Mapping[str, Exit]) -> list[Policy]:
    """What gateways send themselves goes by their own exits."""
    names = sorted({exit_.ref.name for exit_ in exits.values()})
    return [
        Policy(
            ObjectRef("Pod", name, "gw"),
            "1",
            tuple(
                Destination(ip_network(("0.0.0.0/0", "::/0")[family == 6]), Hops((key,), keep=False, own=True))
                for family in FAMILIES
                if (key := f"gw/{name}/v{family}") in exits
            ),
            (("gw", name),),
        )
        for name in names
    ]


@st.composite
def policies(draw: st.DrawFn, exits: Mapping[str, Exit], pods: Sequence[str]) -> list[Policy]:
    """Up to two, of which the first decides where both have a pod and a destination."""
    found: list[Policy] = []
    for name in ("policy-a", "policy-b"):
        keys = tuple(("prod", pod) for pod in draw(_some(pods)))
        if not keys or _rarely(draw, 4):
            continue
        rules: list[Destination] = []
        for pair in DESTINATIONS:
            if draw(st.booleans()):
                hops = draw(_hops(exits))
                rules += [Destination(ip_network(text), hops) for text in pair]
        blocked = "it does not exist" if _rarely(draw, 10) else ""
        found.append(Policy(ObjectRef("EgressGatewayPolicy", name), "1", tuple(rules), keys, blocked))
    return found


@st.composite
def _hops(draw: st.DrawFn, exits: Mapping[str, Exit]) -> Hops | None:
    if _rarely(draw, 4):
        return None
    names = draw(_some(GATEWAYS))
    keys = tuple(sorted(key for key, exit_ in exits.items() if exit_.ref.name in names))
    return Hops(keys, limit=draw(st.sampled_from([0, 0, 0, 1, 2])), prefer_local=_rarely(draw, 4))


@st.composite
def external(draw: st.DrawFn) -> dict[str, ExternalNetwork]:
    """Red and yellow, mostly."""
    return {
        name: a_network(name, None if _rarely(draw, 8) else table)
        for name, table in (("red", 500), ("yellow", 600))
        if not _rarely(draw, 8)
    }


@st.composite
def peerings(draw: st.DrawFn, nodes: Sequence[str]) -> tuple[Peering, ...]:
    """Sessions with the routers of both networks in both families, and with one of no network."""
    found = [
        a_peering(f"{name}-{family_of(ip_address(address))}", name, address, *chosen)
        for name, addresses in ROUTERS.items()
        if (chosen := draw(_some(nodes)) or nodes)
        for address in addresses
    ]
    if _rarely(draw, 3):
        found.append(a_peering("rack", "", "10.0.0.254", *nodes, use_node_ip=True))
    return tuple(replace(item, blocked="it makes no sense" if _rarely(draw, 10) else "") for item in found)


# What is right


def ruled(pod: PodKey, destination: IPAddress, state: ClusterState, rest: Hops | None = None) -> Hops | None:
    """What becomes of one destination of a pod, None for the ordinary way: the first policy that has it decides, by its
    longest prefix, and `rest` where none does. Gateways that are all of the other family leave it to what would decide
    without them, and stop it where that is the ordinary way."""
    family = family_of(destination)
    stopped: Hops | None = None
    for policy in (item for item in state.policies if pod in item.clients):
        if policy.blocked:
            return Hops(())
        fitting = [item for item in policy.destinations if destination in item.network]
        for item in sorted(fitting, key=lambda each: -each.network.prefixlen):
            if item.hops is None:
                return stopped
            if not item.hops.exits or any(state.exits[key].family in (None, family) for key in item.hops.exits):
                return item.hops
            stopped = item.hops
    return stopped if rest is None else rest


def leads_by(exit_: Exit, destination: IPAddress, state: ClusterState) -> str:
    """The device by which an exit's packets leave its node for a destination, "" where they do not."""
    if not exit_.networks:
        return "eth0"
    served = [name for name in exit_.networks if name in state.external and state.external[name].table is not None]
    wires = {
        item.network
        for item in state.peerings
        if item.network in served and exit_.node in item.nodes and not item.blocked
    }
    lengths = {
        name: max(
            (item.destination.prefixlen for item in REPORT.routes[name] if destination in item.destination), default=-1
        )
        for name in served
    }
    best = max(served, key=lambda name: lengths[name], default="")
    return f"{best}0" if best and lengths[best] >= 0 and best in wires else ""


def devices_of(exit_: Exit) -> Iterable[str]:
    """All devices that an exit's packets may ever leave by."""
    return [f"{name}0" for name in exit_.networks] or ["eth0"]
