"""From a topology to the commands that build it; pure. Each machine is one namespace, each subnet one bridge.

   node-1        node-2        router          server
     │ eth0        │ eth0        │ eth0  │ eth1  │ eth0
─────┴─────────────┴─────────────┴──     ┴───────┴─────
  bridge of the underlay subnet          bridge of an outside network       (both in the wire's namespace)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from sallyport.lab import names
from sallyport.lab.topology import Attachment, Machine, NodeMachine, Router, Topology
from sallyport.model.state import FAMILIES, Family, IPAddress, IPNetwork

POD_BRIDGE = "cni0"
CUT_TABLE = "lab_cut"


@dataclass(frozen=True, slots=True)
class Wiring:
    """What makes one namespace: `sysctls` before anything else, then `links` (`ip -batch` in the root namespace,
    where the other end's namespace exists already), then `inside` (`ip -batch` in the namespace), then `nft`."""

    namespace: str
    sysctls: tuple[tuple[str, str], ...] = ()
    links: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    nft: str = ""


POD_SYSCTLS: tuple[tuple[str, str], ...] = (
    # No waiting for duplicate address detection: a lab's addresses are unique by its description.
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv4/ping_group_range", "0 2147483647"),
)
_FORWARDING = (("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1"))
# A router whose BGP has ended hands answers on to the next one and tells the host so; the host would go on with that
# one for minutes after the first is back (RFC 792, RFC 4861 section 8).
_NO_REDIRECTS = (
    ("net/ipv4/conf/all/accept_redirects", "0"),
    ("net/ipv4/conf/default/accept_redirects", "0"),
    ("net/ipv6/conf/default/accept_redirects", "0"),
)


def wire(topology: Topology) -> Wiring:
    """The switches. The table drops frames between ports that were cut from each other."""
    inside = ["link set lo up"]
    for subnet in topology.subnets:
        bridge = names.short(subnet.name)
        inside += [f"link add {bridge} type bridge mcast_snooping 0", f"link set {bridge} up"]
    table = f"""table bridge {CUT_TABLE} {{
  set pairs {{ type ifname . ifname; }}
  chain forward {{
    type filter hook forward priority 0; policy accept;
    iifname . oifname @pairs counter drop
  }}
}}
"""
    return Wiring(names.wire_namespace(topology.name), POD_SYSCTLS, (), tuple(inside), table)


def machine(topology: Topology, item: Machine) -> Wiring:
    """A machine with its links, addresses and routes."""
    own = names.namespace(topology.name, item.name)
    links = [line for index, subnet in enumerate(item.subnets()) for line in _link(topology, item, index, subnet)]
    inside = ["link set lo up"]
    for index, subnet in enumerate(item.subnets()):
        here = [entry for entry in item.attachments if entry.subnet == subnet]
        inside += [
            f"link set eth{index} up",
            *(f"address add {entry} dev eth{index}{_nodad(entry.address)}" for entry in here),
        ]
    forwards = isinstance(item, NodeMachine) or item in topology.routers
    nft = ""
    if isinstance(item, NodeMachine):
        inside += _pod_side(topology, item)
        nft = masquerade(topology)
    inside += _default_routes(topology, item)
    sysctls = POD_SYSCTLS + (_FORWARDING if forwards else _NO_REDIRECTS)
    return Wiring(own, sysctls, tuple(links), tuple(inside), nft)


def _link(topology: Topology, item: Machine, index: int, subnet: str) -> Iterator[str]:
    wire_ns = names.wire_namespace(topology.name)
    own, end = names.namespace(topology.name, item.name), names.port(item.name, index)
    mac = names.mac(item.name, f"eth{index}")  # the same one after each start, as of a machine's own card
    yield f"link add eth{index} netns {own} address {mac} type veth peer name {end} netns {wire_ns}"
    yield f"-n {wire_ns} link set {end} master {names.short(subnet)} up"


def _nodad(item: IPAddress | IPNetwork) -> str:
    return " nodad" if item.version == 6 else ""


def gateway(network: IPNetwork) -> str:
    """The node's own address in its pod network: the first one."""
    return f"{network.network_address + 1}/{network.prefixlen}"


def _pod_side(topology: Topology, item: NodeMachine) -> list[str]:
    # A bridge without a MAC of its own takes that of a port, another one whenever a pod comes or goes; pods would lose
    # their gateway until their neighbour entries run out.
    mac = names.mac(item.name, POD_BRIDGE)
    lines = [f"link add {POD_BRIDGE} address {mac} type bridge mcast_snooping 0", f"link set {POD_BRIDGE} up"]
    lines += [f"address add {gateway(net)} dev {POD_BRIDGE}{_nodad(net)}" for net in item.pod_networks]
    for other in topology.nodes:
        if other.name == item.name:
            continue
        for network in other.pod_networks:
            via = _reachable(item, other, 4 if network.version == 4 else 6)
            if via is not None:
                lines.append(f"route add {network} via {via.address}")
    return lines


def _reachable(item: Machine, other: Machine, family: Family) -> Attachment | None:
    """The address of `other` on a subnet that both are attached to."""
    return next(
        (entry for entry in other.attachments if entry.address.version == family and entry.subnet in item.subnets()),
        None,
    )


def _default_routes(topology: Topology, item: Machine) -> Iterator[str]:
    if isinstance(item, Router):
        yield from _router_routes(topology, item)
        return
    home = Machine(item.name, item.home())
    for family in FAMILIES:
        via = next((found for router in topology.routers if (found := _reachable(home, router, family))), None)
        if via is not None:
            yield f"route add default via {via.address}"


def _router_routes(topology: Topology, item: Router) -> Iterator[str]:
    """The ways from one router to the subnets that only another one is attached to."""
    if item.bgp is not None:
        yield from _next_in_line(topology, item)
    own = [network for subnet in topology.subnets if subnet.name in item.subnets() for network in subnet.networks]
    for subnet in topology.subnets:
        if subnet.name in item.subnets():
            continue
        for network in subnet.networks:
            if any(network.version == near.version and network.overlaps(near) for near in own):
                continue  # outside networks may have the same addresses; the one at hand is meant
            family: Family = 4 if network.version == 4 else 6
            others = [router for router in topology.routers if router != item and subnet.name in router.subnets()]
            via = next((found for router in others if (found := _reachable(item, router, family))), None)
            if via is not None:
                yield f"route append {network} via {via.address}"


def _next_in_line(topology: Topology, item: Router) -> Iterator[str]:
    """Hosts answer through the first router of their network. Where that one knows no way back, as its BGP has ended,
    the next one may. They lead down the file only, so that no packet goes in circles."""
    outside = {subnet.name for subnet in topology.subnets if subnet.outside}
    side = Machine(item.name, tuple(entry for entry in item.attachments if entry.subnet in outside))
    later = topology.routers[topology.routers.index(item) + 1 :]
    for family in FAMILIES:
        others = (router for router in later if router.bgp is not None)
        via = next((found for router in others if (found := _reachable(side, router, family))), None)
        if via is not None:
            yield f"route add default via {via.address}"


def masquerade(topology: Topology) -> str:
    """What a CNI does: pods leave the cluster with their node's address. nft text for a node."""
    lines = []
    for family in FAMILIES:
        word = "ip" if family == 4 else "ip6"
        pods = [network for node in topology.nodes for network in node.pod_networks if network.version == family]
        if pods:
            members = ", ".join(str(network) for network in _joined(pods))
            lines.append(f"{word} saddr {{ {members} }} {word} daddr != {{ {members} }} masquerade")
    rules = "\n    ".join(lines)
    return f"""table inet lab_cni {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    {rules}
  }}
}}
"""


def _joined(networks: list[IPNetwork]) -> list[IPNetwork]:
    seen = {str(network) for network in networks}
    return sorted((ip_network(text) for text in seen), key=lambda item: int(item.network_address))


def cut_pairs(topology: Topology, left: str, right: str) -> list[tuple[str, str]]:
    """The switch ports between which frames stop when two machines are cut; empty when no subnet joins them."""
    ends = []
    for name in (left, right):
        item = topology.machine(name)
        ends.append({} if item is None else {subnet: names.port(name, i) for i, subnet in enumerate(item.subnets())})
    pairs = [(ends[0][subnet], ends[1][subnet]) for subnet in ends[0] if subnet in ends[1]]
    return [*pairs, *((second, first) for first, second in pairs)]
