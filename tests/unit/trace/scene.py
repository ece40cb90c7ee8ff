"""A cluster of three nodes as planned, for walks: one pooled exit of IPv4 at n3, and a static one of IPv6 at n2.

prod/web runs on n1, prod/near on n3 (the exit's own node), prod/six on n1 goes by the static exit, prod/free on n1 by
none. Their addresses end in 5, 6, 7 and 8.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from ipaddress import ip_address, ip_network

from sallyport.model.kernel import KernelObject
from sallyport.model.plan import Assignment, NodeFacts, NodePlan, Uplink
from sallyport.model.settings import Settings
from sallyport.model.state import Bandwidth, Client, ClusterState, Exit, IPAddress, Networks, Node, ObjectRef
from sallyport.plan.node import plan_node
from sallyport.trace import Packet, Protocol, Trace, Underlay, underlay, walk, walks

SETTINGS = Settings()
EGRESS_IP = ip_address("10.10.0.11")
STATIC_IP = ip_address("2001:db8:10::102")
OUTSIDE = {4: "198.51.100.7", 6: "2001:db8:ffff::7"}
Kernels = dict[str, tuple[KernelObject, ...]]


def node(number: int) -> Node:
    return Node(
        name=f"n{number}",
        addresses=(ip_address(f"10.10.0.10{number}"), ip_address(f"2001:db8:10::10{number}")),
        pod_networks=(ip_network(f"10.244.{number}.0/24"), ip_network(f"2001:db8:244:{number}::/64")),
    )


def client(name: str, on: int, tail: int) -> Client:
    addresses = (ip_address(f"10.244.{on}.{tail}"), ip_address(f"2001:db8:244:{on}::{tail}"))
    return Client("prod", name, f"n{on}", addresses)


NODES = {f"n{number}": node(number) for number in (1, 2, 3)}
CLIENTS = {
    item.key: item for item in (client("web", 1, 5), client("near", 3, 6), client("six", 1, 7), client("free", 1, 8))
}
STATE = ClusterState(
    nodes=NODES,
    exits={
        "pooled": Exit(
            ObjectRef("Egress", "pooled"),
            "1",
            EGRESS_IP,
            ("ExternalIPPool/pool",),
            (("prod", "near"), ("prod", "web")),
            Bandwidth(8, 8),
        ),
        "static": Exit(ObjectRef("Egress", "static"), "2", STATIC_IP, (), (("prod", "six"),)),
    },
    clients=CLIENTS,
    networks=Networks(
        pods=tuple(network for item in NODES.values() for network in item.pod_networks),
        services=(ip_network("10.96.0.0/12"),),
        excepted=(ip_network("192.0.2.0/24"), ip_network("203.0.113.9/32")),
    ),
)


def facts(name: str) -> NodeFacts:
    item = NODES[name]
    return NodeFacts(
        node=name,
        uplinks={
            4: Uplink("eth0", item.addresses[0], (ip_network("10.10.0.0/16"),), 1500),
            6: Uplink("eth0", item.addresses[1], (ip_network("2001:db8:10::/64"),), 1500),
        },
        addresses=dict.fromkeys(item.addresses, "eth0"),
    )


GROUND = underlay(STATE, [facts(name) for name in NODES])


def plan(name: str, holder: str = "n3") -> NodePlan:
    """One node's plan, n3 or another node holding the pooled address."""
    order = (holder, *(item for item in NODES if item != holder))
    assignments = {
        "pooled": Assignment(21, EGRESS_IP, order, holder),
        "static": Assignment(22, STATIC_IP, (), "n2", static=True),
    }
    local = {key: item for key, item in CLIENTS.items() if item.node == name}
    return plan_node(replace(STATE, clients=local), assignments, facts(name), SETTINGS)


@cache
def _planned(holder: str) -> dict[str, tuple[KernelObject, ...]]:
    return {name: plan(name, holder).objects for name in NODES}


def planned(holder: str = "n3") -> Kernels:
    """What all kernels hold once their plans are carried out."""
    return dict(_planned(holder))


def without(kernels: Kernels, where: str, *lost: Callable[[KernelObject], bool]) -> Kernels:
    """The same, but what one of the predicates picks is missing on that node."""
    left: Iterable[KernelObject] = kernels[where]
    return {**kernels, where: tuple(item for item in left if not any(is_lost(item) for is_lost in lost))}


def packet(name: str, destination: str, *, protocol: Protocol = "tcp", port: int = 0, original: bool = True) -> Packet:
    """A packet of a pod of ours, from its address of the destination's family."""
    there = ip_address(destination)
    pod = CLIENTS["prod", name]
    source: IPAddress = next(item for item in pod.addresses if item.version == there.version)
    return Packet(source, pod.node, there, protocol, port, original)


def traced(what: Packet, kernels: Kernels | None = None, ground: Underlay = GROUND) -> Trace:
    return walk(what, kernels or planned(), ground, SETTINGS)


def all_ways(what: Packet, kernels: Kernels, ground: Underlay = GROUND) -> tuple[Trace, ...]:
    return walks(what, kernels, ground, SETTINGS)
