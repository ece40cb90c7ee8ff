"""What a node is: its uplinks, its addresses, and the devices that lead to other nodes' pods."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_interface
from typing import Any

from sallyport.drivers.command import DriverError, query
from sallyport.drivers.links import looks_put
from sallyport.model.plan import NodeFacts, Uplink
from sallyport.model.state import FAMILIES, Family, IPAddress, IPNetwork

IGNORED_DEVICES = frozenset({"kube-ipvs0"})
"""Addresses there answer for services; none of them can be an exit's. Some put a node's egress IP on `lo`, and may."""


def gather(
    node: str, own: Iterable[IPAddress], held: frozenset[IPAddress], remote_pods: Iterable[IPNetwork], tunnels: str
) -> NodeFacts:
    """Facts of `node`, whose addresses in the API are `own`. `tunnels` is the name prefix of our devices, `held` what
    our table says is held: to this are added addresses that look as if we had put them on before it was flushed."""
    links = [
        item
        for item in query(["ip", "-j", "address", "show"])
        if item["ifname"] not in IGNORED_DEVICES and not str(item["ifname"]).startswith(tunnels)
    ]
    addresses: dict[IPAddress, str] = {}
    known = set(held)
    for item in links:
        for entry in _entries(item):
            if entry.get("scope") not in ("link", "host"):
                addresses[ip_address(entry["local"])] = str(item["ifname"])
            if looks_put(entry):
                known.add(ip_address(entry["local"]))
    held = frozenset(known)
    uplinks: dict[Family, Uplink] = {}
    for address in own:
        family: Family = 4 if address.version == 4 else 6
        if family not in uplinks and address in addresses:
            uplinks[family] = _uplink(address, next(i for i in links if i["ifname"] == addresses[address]), held)
    return NodeFacts(
        node=node,
        uplinks={family: uplinks[family] for family in FAMILIES if family in uplinks},
        addresses=addresses,
        held=held,
        reply_devices=_reply_devices(remote_pods),
    )


def _entries(item: dict[str, object]) -> list[dict[str, Any]]:
    entries = item.get("addr_info", [])
    return [entry for entry in entries if "local" in entry] if isinstance(entries, list) else []


def _uplink(address: IPAddress, item: dict[str, object], held: frozenset[IPAddress]) -> Uplink:
    subnets = {
        ip_interface(f"{entry['local']}/{entry['prefixlen']}").network
        for entry in _entries(item)
        if entry.get("scope") != "link" and ip_address(entry["local"]) not in held
    }
    fitting = sorted((net for net in subnets if net.version == address.version), key=str)
    return Uplink(str(item["ifname"]), address, tuple(fitting), int(str(item["mtu"])))


def _reply_devices(remote_pods: Iterable[IPNetwork]) -> tuple[str, ...]:
    devices: set[str] = set()
    for network in remote_pods:
        try:
            found = query(["ip", "-j", "route", "get", str(network.network_address + 1)])
        except DriverError:
            continue  # no way there: then no reply comes from there either
        devices.update(str(item["dev"]) for item in found if "dev" in item)
    return tuple(sorted(devices - {"lo"}))
