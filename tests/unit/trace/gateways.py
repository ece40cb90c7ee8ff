"""A cluster with gateways and two external networks that use the same addresses, as planned, for walks.

Clients run on n1, but for red/near, which is on n3. n2 and n3 are joined to network red (table 500, by device red0),
n3 to yellow (600, by yellow0) as well. Gateways, each with an address of IPv4: red/one on n3 and red/two on n2 lead to
red; yellow/one on n3 to yellow; both/one on n3 to red and yellow, red first; plain/one on n2 to none.

red/* go by the two gateways of red, yellow/* by that of yellow, both/* by that of both, plain/* by plain/one;
split/app sends 105.8.0.0/16 to red, 203.0.113.0/24 the ordinary way and all else to yellow. Of IPv6 there are red/app,
the second exit of red/one, and a network of red's.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, ip_address, ip_network

from tests.unit.trace.scene import Kernels

from sallyport.model.kernel import KernelObject
from sallyport.model.plan import Assignment, Learned, NodeFacts, NodePlan, RoutingReport, Uplink
from sallyport.model.settings import Settings
from sallyport.model.state import (
    Client,
    ClusterState,
    Destination,
    Exit,
    ExternalNetwork,
    Hops,
    IPAddress,
    Networks,
    Node,
    ObjectRef,
    Peering,
    Policy,
    Routing,
)
from sallyport.plan.node import plan_node
from sallyport.trace import Packet, Trace, Underlay, underlay, walks
from sallyport.trace.packet import Translations

SETTINGS = Settings()
SERVER = "105.8.10.1"
"""An address that each of the two networks has."""
SIX_POD, SIX_IP = ip_address("2001:db8:244:1::5"), ip_address("2001:db8:99::1")
SIX_SERVER, SIX_ROUTER = "2001:db8:105::1", ip_address("fe80::1")
PARTNER, REST = "203.0.113.80", "198.51.100.7"
ROUTERS = {"red": "172.31.11.1", "yellow": "172.31.12.1"}
TABLES = {"red": 500, "yellow": 600}
WHERE = {"red/one": "n3", "red/two": "n2", "yellow/one": "n3", "both/one": "n3", "plain/one": "n2"}
LEADS = {
    "red/one": ("red",),
    "red/two": ("red",),
    "yellow/one": ("yellow",),
    "both/one": ("red", "yellow"),
    "plain/one": (),
}
IDS = {name: number for number, name in enumerate(WHERE, 11)}
ADDRESSES = {name: IPv4Address(f"10.10.10.{number}") for name, number in IDS.items()}
PREFIXES = {"red": ("0.0.0.0/0", "105.8.10.0/24"), "yellow": ("105.8.10.0/24", "105.8.20.0/24")}


def node(number: int) -> Node:
    addresses = (ip_address(f"10.10.0.10{number}"), ip_address(f"2001:db8:10::10{number}"))
    return Node(f"n{number}", addresses, (ip_network(f"10.244.{number}.0/24"),))


def gateway(name: str) -> Exit:
    namespace, _, pod = name.partition("/")
    return Exit(
        ObjectRef("Pod", pod, namespace),
        "1",
        ADDRESSES[name],
        ("IPPool/egress",),
        node=WHERE[name],
        family=4,
        networks=LEADS[name],
    )


def client(number: int, namespace: str, name: str, on: str = "n1") -> Client:
    four = ip_address(f"10.244.{on[1:]}.{number}")
    return Client(namespace, name, on, (four, SIX_POD) if (namespace, name) == ("red", "app") else (four,))


def hops(*names: str) -> Hops:
    return Hops(tuple(f"{name}/v4" for name in names))


def policy(namespace: str, *destinations: tuple[str, Hops | None]) -> Policy:
    """Of the clients of a namespace."""
    keys = tuple(key for key in CLIENTS if key[0] == namespace)
    parts = tuple(Destination(ip_network(network), to) for network, to in destinations)
    return Policy(ObjectRef("Namespace", namespace), "1", parts, keys)


NODES = {f"n{number}": node(number) for number in (1, 2, 3)}
CLIENTS = {
    item.key: item
    for item in (
        client(5, "red", "app"),
        client(5, "red", "near", "n3"),
        client(6, "yellow", "app"),
        client(7, "both", "app"),
        client(8, "split", "app"),
        client(9, "plain", "app"),
    )
}
EXITS = {item.key: item for item in map(gateway, WHERE)}
EXITS["red/one/v6"] = replace(EXITS["red/one/v4"], requested=SIX_IP, family=6)


def peering(network: str, *nodes: str) -> Peering:
    ref = ObjectRef("BGPPeer", network)
    return Peering(ref, network, frozenset(nodes), ip_address(ROUTERS[network]), 63400, 64512, use_node_ip=False)


STATE = ClusterState(
    nodes=NODES,
    exits=EXITS,
    clients=CLIENTS,
    policies=(
        policy("red", ("0.0.0.0/0", hops("red/one", "red/two")), ("::/0", Hops(("red/one/v6",)))),
        policy("yellow", ("0.0.0.0/0", hops("yellow/one"))),
        policy("both", ("0.0.0.0/0", hops("both/one"))),
        policy("plain", ("0.0.0.0/0", hops("plain/one"))),
        policy(
            "split",
            ("105.8.0.0/16", hops("red/one", "red/two")),
            ("203.0.113.0/24", None),
            ("0.0.0.0/0", hops("yellow/one")),
        ),
    ),
    external={name: ExternalNetwork(ObjectRef("ExternalNetwork", name), table) for name, table in TABLES.items()},
    peerings=(peering("red", "n2", "n3"), peering("yellow", "n3")),
    routing=Routing(enabled=True),
    networks=Networks(pods=tuple(item for each in NODES.values() for item in each.pod_networks)),
)
ASSIGNMENTS = {f"{name}/v4": Assignment(IDS[name], ADDRESSES[name], (WHERE[name],), WHERE[name]) for name in WHERE}
ASSIGNMENTS["red/one/v6"] = Assignment(21, SIX_IP, ("n3",), "n3")


def facts(name: str) -> NodeFacts:
    item = NODES[name]
    joined: tuple[str, ...] = {"n1": (), "n2": ("red",), "n3": ("red", "yellow")}[name]
    links = {"red": "172.31.11.0/24", "yellow": "172.31.12.0/24"}
    own: dict[IPAddress, str] = {
        ip_address(links[network].replace(".0/24", f".10{name[1:]}")): f"{network}0" for network in joined
    }
    return NodeFacts(
        node=name,
        uplinks={
            4: Uplink("eth0", item.addresses[0], (ip_network("10.10.0.0/24"),), 1500),
            6: Uplink("eth0", item.addresses[1], (ip_network("2001:db8:10::/64"),), 1500),
        },
        addresses={**dict.fromkeys(item.addresses, "eth0"), **own},
        connected={ip_network("10.10.0.0/24"): "eth0", **{ip_network(links[net]): f"{net}0" for net in joined}},
        devices=("eth0", *(f"{network}0" for network in joined)),
    )


def routes(network: str, *prefixes: str) -> tuple[Learned, ...]:
    router = ip_address(ROUTERS[network])
    return tuple(Learned(ip_network(prefix), router, f"{network}0") for prefix in prefixes)


def report(*networks: str, **prefixes: tuple[str, ...]) -> RoutingReport:
    """What a node tells that has these networks' routes, or for some of them others than PREFIXES."""
    told = {name: routes(name, *prefixes.get(name, PREFIXES[name])) for name in networks}
    if "red" in told:
        told["red"] = (*told["red"], Learned(ip_network("2001:db8:105::/48"), SIX_ROUTER, "red0"))
    return RoutingReport(routes=told, counts={name: len(each) for name, each in told.items()})


REPORTS = {"n2": report("red"), "n3": report("red", "yellow")}


def ground(reports: Mapping[str, RoutingReport] = REPORTS) -> Underlay:
    return underlay(STATE, [facts(name) for name in NODES], reports)


def plan(name: str, state: ClusterState = STATE) -> NodePlan:
    return plan_node(state, ASSIGNMENTS, facts(name), SETTINGS)


@cache
def _planned() -> dict[str, tuple[KernelObject, ...]]:
    return {name: plan(name).objects for name in NODES}


def planned() -> Kernels:
    """What all kernels hold once their plans are carried out."""
    return dict(_planned())


def with_gateways(leaving: tuple[str, ...] = (), unready: tuple[str, ...] = ()) -> Kernels:
    """The kernels when these gateways are leaving, and those not ready."""
    exits = {
        key: replace(item, leaving=key.rpartition("/")[0] in leaving, ready=key.rpartition("/")[0] not in unready)
        for key, item in EXITS.items()
    }
    return {name: plan(name, replace(STATE, exits=exits)).objects for name in NODES}


def ways(
    pod: str,
    destination: str,
    kernels: Kernels | None = None,
    *,
    reports: Mapping[str, RoutingReport] = REPORTS,
    translated: Translations | None = None,
) -> tuple[Trace, ...]:
    """All ways of a packet of a pod, written NAMESPACE/NAME; `translated` is what an earlier one left behind."""
    namespace, _, name = pod.partition("/")
    sender = CLIENTS[namespace, name]
    there = ip_address(destination)
    source = next(item for item in sender.addresses if item.version == there.version)
    sent = Packet(source, sender.node, there, translated=translated or {})
    return walks(sent, kernels or planned(), ground(reports), SETTINGS)


def ends(traces: tuple[Trace, ...]) -> list[tuple[str, str, str, str, str]]:
    """Verdict or node, source, network, router and device of each way."""
    return [
        (way.node if way.verdict == "left" else way.verdict, str(way.source or ""), way.network, way.router, way.device)
        for way in traces
    ]
