"""Short ways to write the planners' input."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from sallyport.model.addresses import family_of, span
from sallyport.model.plan import Liveness, NodeFacts, Uplink
from sallyport.model.settings import Settings
from sallyport.model.state import (
    AddressRange,
    Client,
    ClusterState,
    Exit,
    Family,
    IPAddress,
    Networks,
    Node,
    ObjectRef,
    Pool,
)

SETTINGS = Settings()


def an_exit(
    name: str, address: str = "", *pods: str, created: str = "", pool: str | None = "pool", **fields: Any
) -> Exit:
    """An exit of pods of namespace `prod`. What is recorded of it was decided for its address."""
    ref = ObjectRef("Egress", name, uid=f"uid-{name}")
    requested = ip_address(address) if address else None
    fields = {"decided": requested if fields.get("id") else None, **fields}
    pools = (f"ExternalIPPool/{pool}",) if pool else ()
    return Exit(ref, created, requested, pools, tuple(("prod", pod) for pod in pods), **fields)


def a_pool(name: str, *ranges: str, nodes: Iterable[str] = ("node-1", "node-2", "node-3")) -> Pool:
    """A pool of ranges written `first-last`."""
    return Pool(ObjectRef("ExternalIPPool", name), tuple(a_range(text) for text in ranges), frozenset(nodes))


def a_range(text: str) -> AddressRange:
    first, _, last = text.partition("-")
    return span(first, last or first)


def a_node(number: int, *, families: Iterable[Family] = (4, 6), **fields: Any) -> Node:
    """node-N has 10.0.0.N and fd00::N, its pods are in 10.244.N.0/24 and fd00:244:N::/64."""
    addresses = {4: f"10.0.0.{number}", 6: f"fd00::{number}"}
    networks = {4: f"10.244.{number}.0/24", 6: f"fd00:244:{number}::/64"}
    return Node(
        f"node-{number}",
        tuple(ip_address(addresses[family]) for family in families),
        tuple(ip_network(networks[family]) for family in families),
        **fields,
    )


def a_client(name: str, *addresses: str, node: int = 1) -> Client:
    return Client("prod", name, f"node-{node}", tuple(ip_address(text) for text in addresses))


def a_state(
    exits: Iterable[Exit] = (), clients: Iterable[Client] = (), pools: Iterable[Pool] = (), **fields: Any
) -> ClusterState:
    """Three nodes unless given, their pod networks excluded."""
    nodes: Mapping[str, Node] = fields.pop("nodes", {f"node-{n}": a_node(n) for n in (1, 2, 3)})
    networks = Networks(pods=tuple(sorted({net for node in nodes.values() for net in node.pod_networks}, key=str)))
    return ClusterState(
        nodes=nodes,
        pools={item.key: item for item in pools},
        exits={item.key: item for item in exits},
        clients={item.key: item for item in clients},
        **{"networks": networks, **fields},
    )


def facts_of(
    number: int,
    *extra: str,
    families: Iterable[Family] = (4, 6),
    peers: Mapping[str, Liveness] | None = None,
    reply_devices: tuple[str, ...] = ("cni0",),
) -> NodeFacts:
    """What node-N sees: eth0 in 10.0.0.0/24 and fd00::/64 with the node's addresses and `extra` ones."""
    subnets = {4: "10.0.0.0/24", 6: "fd00::/64"}
    own = {family_of(address): address for address in a_node(number, families=families).addresses}
    uplinks = {family: Uplink("eth0", address, (ip_network(subnets[family]),), 1500) for family, address in own.items()}
    addresses: dict[IPAddress, str] = dict.fromkeys((*own.values(), *map(ip_address, extra)), "eth0")
    return NodeFacts(f"node-{number}", uplinks, addresses, frozenset(), dict(peers or {}), reply_devices)
