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
    """Kernel objects that lead packets of either inner family into the tunnel towards one outer address."""

    next_hop: NextHop
    neighbor: Neighbor
    fdb: Fdb


def way(outer: IPAddress, next_hop_id: int, settings: Settings) -> Way:
    """The gateway is a link-local IPv6 address that stands for the outer one, in IPv4 routes too (RFC 5549). The outer
    address itself will not do: the kernel refuses a gateway that is an address of the node, as an egress IP still is
    while it moves away, and an IPv6 one that lies in another device's subnet."""
    device = settings.device(outer.version)
    lladdr = hardware_address(outer)
    gateway = str(IPv6Address((0xFE80 << 112) | _interface_id(outer)))
    return Way(
        next_hop=NextHop(id=next_hop_id, gateway=gateway, device=device),
        neighbor=Neighbor(device=device, address=gateway, lladdr=lladdr),
        fdb=Fdb(device=device, lladdr=lladdr, destination=str(outer)),
    )


def _interface_id(outer: IPAddress) -> int:
    """The 64 bits of an address that stand for an outer one: itself, where it is short enough, behind two letters."""
    return (0x5350 << 32) | int(outer) if outer.version == 4 else int.from_bytes(_digest(outer)[:8])


def hardware_address(outer: IPAddress) -> str:
    """A locally administered unicast MAC (second-lowest bit of the first byte set, the lowest not) that stands for an
    outer address. Should two IPv6 ones share the 46 free bits, the wrong node drops what it has no exit for."""
    if outer.version == 4:
        return (b"\x02\x53" + outer.packed).hex(":")
    digest = _digest(outer)
    return (bytes([digest[0] & 0xFC | 0x02]) + digest[1:6]).hex(":")


def _digest(outer: IPAddress) -> bytes:
    return hashlib.sha256(outer.packed).digest()
