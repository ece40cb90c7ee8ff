"""The tunnel between a client's node and its exit: devices, and the way to one exit."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

from sallyport.model.kernel import Fdb, Link, Neighbor, NextHop
from sallyport.model.plan import NodeFacts
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, Family, IPAddress, Node

OVERHEAD: Mapping[Family, int] = {4: 50, 6: 70}
"""Bytes that VXLAN over each outer family adds: Ethernet 14, VXLAN 8, UDP 8, IP 20 or 40 (RFC 7348)."""


def links(facts: NodeFacts, settings: Settings) -> tuple[Link, ...]:
    """One VXLAN device per outer family that the node has an uplink for."""
    return tuple(
        Link(
            name=settings.device(family),
            vni=settings.vxlan_vni,
            port=settings.vxlan_port,
            local=str(facts.uplinks[family].address),
            mtu=facts.uplinks[family].mtu - OVERHEAD[family],
        )
        for family in FAMILIES
        if family in facts.uplinks
    )


def endpoint(egress_ip: IPAddress, holder: Node | None, facts: NodeFacts) -> IPAddress | None:
    """The outer destination for an exit.

    The egress IP itself where it is on-link for this node: when the address moves, the holder's announcement moves
    the tunnel with it, and no client's node has to learn anything. Otherwise the holder's own address, in the
    egress IP's family where both nodes have one, else in the other.
    """
    family: Family = 4 if egress_ip.version == 4 else 6
    uplink = facts.uplinks.get(family)
    if uplink is not None and any(egress_ip in subnet for subnet in uplink.subnets):
        return egress_ip
    if holder is None:
        return None
    for candidate in (family, *(other for other in FAMILIES if other != family)):
        address = holder.address(candidate)
        if candidate in facts.uplinks and address is not None:
            return address
    return None


@dataclass(frozen=True, slots=True)
class Way:
    """Kernel objects that lead packets of one inner family into the tunnel towards one outer address."""

    next_hop: NextHop
    neighbor: Neighbor
    fdb: Fdb


def way(outer: IPAddress, inner: Family, next_hop_id: int, settings: Settings) -> Way:
    """The inner gateway address is the outer one; for IPv6 inside IPv4 a link-local address made from it, since an
    IPv6 route cannot have an IPv4 gateway."""
    device = settings.device(outer.version)
    gateway: IPAddress = outer
    if inner == 6 and outer.version == 4:
        gateway = IPv6Address((0xFE80 << 112) | (0x5350 << 32) | int(outer))
    lladdr = hardware_address(outer)
    return Way(
        next_hop=NextHop(id=next_hop_id, gateway=str(gateway), device=device),
        neighbor=Neighbor(device=device, address=str(gateway), lladdr=lladdr),
        fdb=Fdb(device=device, lladdr=lladdr, destination=str(outer)),
    )


def hardware_address(outer: IPAddress) -> str:
    """A locally administered unicast MAC (second-lowest bit of the first byte set) that stands for an outer address."""
    tail = hashlib.sha256(str(outer).encode()).digest()[:5]
    return ":".join(f"{byte:02x}" for byte in bytes([0x02]) + tail)
