"""Egress IPs on interfaces. Ours are those that our table's `held` sets name: that record is written first."""

from collections.abc import Iterable, Mapping
from typing import Any

from sallyport.drivers.command import batch, query
from sallyport.model.kernel import InterfaceAddress, KernelObject


def read_addresses(held: Iterable[str]) -> Mapping[object, KernelObject]:
    """Host addresses (/32, /128) on any interface that are among `held`."""
    wanted = set(held)
    found: dict[object, KernelObject] = {}
    if not wanted:
        return found
    for link in query(["ip", "-j", "address", "show"]):
        entries: Any = link.get("addr_info", [])
        for entry in entries:
            if entry.get("local") in wanted and entry.get("prefixlen") in (32, 128):
                item = InterfaceAddress(str(link["ifname"]), str(entry["local"]))
                found[item.key] = item
    return found


def write_addresses(upserts: Iterable[InterfaceAddress], deletes: Iterable[InterfaceAddress]) -> list[str]:
    """Put addresses on and take addresses off."""
    lines = [f"address replace {_host(item)} dev {item.device}{_options(item)}" for item in upserts]
    gone = ("Cannot assign requested address", "Cannot find device")
    failures = batch("ip", lines)
    return failures + batch("ip", [f"address del {_host(item)} dev {item.device}" for item in deletes], forgiven=gone)


def _host(item: InterfaceAddress) -> str:
    return f"{item.address}/128" if ":" in item.address else f"{item.address}/32"


def _options(item: InterfaceAddress) -> str:
    return " nodad preferred_lft 0 valid_lft forever" if ":" in item.address else ""
