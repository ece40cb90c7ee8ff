"""Short ways to write gateways, policies and external networks, beside those of `build`."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from tests.unit.plan.build import a_pool, a_state, facts_of

from sallyport.model.kernel import Chain, Element, KernelObject
from sallyport.model.plan import NodeFacts
from sallyport.model.state import (
    Client,
    ClusterState,
    Destination,
    Exit,
    ExternalNetwork,
    Family,
    Hops,
    ObjectRef,
    Peering,
    Policy,
    Routing,
)

POOLS: Mapping[Family, str] = {4: "10.10.10.0-10.10.10.15", 6: "fd00:10::-fd00:10::f"}


def a_gateway(name: str, node: int = 1, *, family: Family = 4, number: int = 0, **fields: Any) -> Exit:
    """One family of the gateway gw/NAME on node-N. With a `number` it has that id, and the address of that place in
    the pool of its family."""
    address = ip_address(POOLS[family].partition("-")[0]) + number if number else None
    usual: dict[str, Any] = {
        "decided": address,
        "effective": address,
        "id": number,
        "nodes": (f"node-{node}",),
        "holder": f"node-{node}",
        "allocated": number > 0,
    }
    return Exit(
        ref=ObjectRef("Pod", name, "gw", f"uid-{name}"),
        created="1",
        requested=address,
        pools=(f"ExternalIPPool/egress{family}",),
        node=f"node-{node}",
        family=family,
        **{**usual, **fields},
    )


def both_families(name: str, node: int = 1, number: int = 0, **fields: Any) -> list[Exit]:
    """The two exits of a gateway that has both; that of IPv6 has the next number."""
    six = number + 1 if number else 0
    return [a_gateway(name, node, number=number, **fields), a_gateway(name, node, family=6, number=six, **fields)]


def by(*names: str, family: Family = 4, **fields: Any) -> Hops:
    """Hops over the exits of that family of these gateways."""
    return Hops(tuple(f"gw/{name}/v{family}" for name in names), **fields)


def a_policy(name: str, rules: Mapping[str, Hops | None], *pods: str, blocked: str = "", created: str = "1") -> Policy:
    """A policy of pods of namespace `prod`, by destination."""
    destinations = tuple(Destination(ip_network(network), hops) for network, hops in rules.items())
    keys = tuple(("prod", pod) for pod in pods)
    return Policy(ObjectRef("EgressGatewayPolicy", name), created, destinations, keys, blocked)


def a_network(name: str, table: int | None) -> ExternalNetwork:
    return ExternalNetwork(ObjectRef("ExternalNetwork", name), table)


def a_peering(name: str, network: str, address: str, *nodes: str, **fields: Any) -> Peering:
    """A router that these nodes speak with, node-1 unless given; the session leaves with the interface's address."""
    return Peering(
        ref=ObjectRef("BGPPeer", name),
        network=network,
        nodes=frozenset(nodes or ("node-1",)),
        address=ip_address(address),
        **{"asn": 63400, "own_asn": 64512, "use_node_ip": False, **fields},
    )


def a_cluster(
    gateways: Iterable[Exit] = (), policies: Iterable[Policy] = (), clients: Iterable[Client] = (), **fields: Any
) -> ClusterState:
    """Three nodes, gateways and their pools, and whatever `fields` say of a state."""
    pools = [a_pool(f"egress{family}", ranges, nodes=()) for family, ranges in POOLS.items()]
    return a_state(gateways, clients, pools, policies=tuple(policies), routing=Routing(enabled=True), **fields)


def joined(number: int, **links: str) -> NodeFacts:
    """Facts of node-N that has a device for each of these links beside eth0, `red0="172.31.11.0/24"`."""
    connected = {ip_network(network): device for device, network in links.items()}
    return replace(facts_of(number), connected=connected, devices=("eth0", *links))


def members(objects: Iterable[KernelObject], name: str) -> dict[str, str]:
    """Members of a set, with the values of a map."""
    return {item.member: item.value for item in objects if isinstance(item, Element) and item.set == name}


def chains(objects: Iterable[KernelObject]) -> dict[str, Chain]:
    """The chains that choose among exits, by name."""
    return {item.name: item for item in objects if isinstance(item, Chain)}
