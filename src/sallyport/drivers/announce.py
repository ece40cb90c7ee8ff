"""Telling a link where an address is: gratuitous ARP (RFC 5227) and unsolicited neighbour advertisement (RFC 4861)."""

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from sallyport.drivers.icmp import checksum

_ETH_ARP, _ETH_IPV6 = 0x0806, 0x86DD


def announce(device: str, address: IPv4Address | IPv6Address) -> None:
    """Send the announcement out of `device`; OSError when the device is gone."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((device, 0))
        mac: bytes = link.getsockname()[4]
        frames = arp(mac, address) if isinstance(address, IPv4Address) else [advertisement(mac, address)]
        for frame in frames:
            link.send(frame)


def arp(mac: bytes, address: IPv4Address) -> list[bytes]:
    """Gratuitous ARP as request and as reply: some hosts heed only the one, some only the other."""
    header = b"\xff" * 6 + mac + struct.pack("!H", _ETH_ARP)
    fixed = struct.pack("!HHBB", 1, 0x0800, 6, 4)
    request = fixed + struct.pack("!H", 1) + mac + address.packed + b"\x00" * 6 + address.packed
    reply = fixed + struct.pack("!H", 2) + mac + address.packed + b"\xff" * 6 + address.packed
    return [header + request, header + reply]


def advertisement(mac: bytes, address: IPv6Address) -> bytes:
    """Unsolicited NA to all nodes with the override flag, so that caches that know another MAC take this one."""
    everyone = IPv6Address("ff02::1").packed
    body = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + address.packed + b"\x02\x01" + mac
    pseudo = address.packed + everyone + struct.pack("!I3xB", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + address.packed + everyone
    return b"\x33\x33\x00\x00\x00\x01" + mac + struct.pack("!H", _ETH_IPV6) + header + body
