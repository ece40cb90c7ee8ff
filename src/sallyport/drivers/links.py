"""Our tunnel devices, and egress IPs on interfaces: what one listing of all interfaces tells.

The devices are ours by their names. The addresses are those that our table's `held` sets name: that record is
written before an address is put on, and goes after it. IPv4 addresses carry a label besides, so that they are known
even after somebody flushed all of nftables.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from sallyport.drivers.command import GONE, batch
from sallyport.drivers.rtnetlink import DEPRECATED, NO_DAD, Address, Interface, Vxlan
from sallyport.model.kernel import InterfaceAddress, KernelObject, Link
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES

PROC = Path("/proc/sys")
ANCHOR = "192.0.0.8"
"""The dummy address (RFC 7600) that every tunnel device carries, never used as a source. Without any IPv4 address a
device fails even the loose check of reverse paths (kernel: net/ipv4/fib_frontend.c, `no_addr`)."""

_LABEL = ":sp"
"""What labels of egress IPs end with; they have to begin with the device's name (ip-address(8))."""
_LONGEST_NAME = 15
"""Characters of a label, as of a device's name (IFNAMSIZ in linux/if.h, without the end)."""


def read_links(listed: Iterable[Interface], settings: Settings) -> Mapping[object, KernelObject]:
    """Our devices. What is not our kind of device has a VNI of 0; one that is down, lacks its anchor or has IPv6
    switched off, an MTU of 0."""
    ours = {settings.device(family) for family in FAMILIES}
    found: dict[object, KernelObject] = {}
    for item in listed:
        if item.name not in ours:
            continue
        made = item.vxlan or Vxlan(0, 0, "", group_policy=False, learning=False)
        fit = made.group_policy and not made.learning
        ready = item.up and any(str(entry.address) == ANCHOR for entry in item.addresses)
        ready = ready and not _without_ipv6(item.name)
        vni, mtu = made.vni if fit else 0, item.mtu if ready else 0
        found[item.name] = Link(name=item.name, vni=vni, port=made.port, local=made.local, mtu=mtu)
    return found


def write_links(upserts: Iterable[Link], actual: Mapping[object, KernelObject]) -> list[str]:
    """Make devices, or change those in `actual`. One whose VNI, port or kind differs has to be made anew, and takes
    with it what was on it: the next round finds that missing."""
    failures: list[str] = []
    for link in upserts:
        failures += batch("ip", _lines(link, actual.get(link.key)))[:1]  # what follows on a failure says nothing more
        if _without_ipv6(link.name):
            _switch(link.name).write_text("0")
    return failures


def _switch(device: str) -> Path:
    """Of IPv6 on a device. Where nodes have it off for all that is to come, ours need it on all the same: the gateways
    of IPv4 routes, too, are link-local IPv6 addresses."""
    return PROC / f"net/ipv6/conf/{device}/disable_ipv6"


def _without_ipv6(device: str) -> bool:
    try:
        return _switch(device).read_text().strip() == "1"
    except OSError:
        return False  # the kernel has no IPv6 at all


def _lines(link: Link, have: KernelObject | None) -> list[str]:
    """UDP's checksum over IPv4 stays zero, as RFC 7348 asks: what is within has its own."""
    lines: list[str] = []
    what = f"type vxlan id {link.vni} local {link.local}"
    if isinstance(have, Link) and (have.vni, have.port) == (link.vni, link.port):
        lines.append(f"link set dev {link.name} {what}")
    else:
        if have is not None:
            lines.append(f"link del dev {link.name}")
        lines.append(f"link add dev {link.name} {what} dstport {link.port} nolearning gbp noudpcsum")
    lines.append(f"link set dev {link.name} mtu {link.mtu} up")
    lines.append(f"address replace {ANCHOR}/32 scope link dev {link.name}")
    return lines


def delete_links(links: Iterable[Link]) -> list[str]:
    """Remove devices and with them all that is on them."""
    return batch("ip", [f"link del dev {link.name}" for link in links], forgiven=GONE)


def read_addresses(listed: Iterable[Interface], held: Iterable[str]) -> Mapping[object, KernelObject]:
    """Host addresses (/32, /128) on any interface that are among `held` or carry our label."""
    wanted = set(held)
    found: dict[object, KernelObject] = {}
    for item in listed:
        for entry in item.addresses:
            if entry.length in (32, 128) and ((text := str(entry.address)) in wanted or _is_labelled(entry)):
                address = InterfaceAddress(item.name, text)
                found[address.key] = address
    return found


def looks_put(entry: Address) -> bool:
    """Whether an address has the form of those that we put on. There are no labels for IPv6, so there this is a guess,
    good enough to know an address again that is ours to hold, not to take one off."""
    if entry.address.version == 6:
        return entry.length == 128 and bool(entry.flags & NO_DAD) and bool(entry.flags & DEPRECATED)
    return _is_labelled(entry)


def _is_labelled(entry: Address) -> bool:
    return entry.label.endswith(_LABEL)


def write_addresses(upserts: Iterable[InterfaceAddress], deletes: Iterable[InterfaceAddress]) -> list[str]:
    """Put addresses on and take addresses off."""
    failures = batch("ip", [f"address replace {_host(item)} dev {item.device}{_options(item)}" for item in upserts])
    lines = [f"address del {_host(item)} dev {item.device}" for item in deletes]
    return failures + batch("ip", lines, forgiven=GONE)


def _host(item: InterfaceAddress) -> str:
    return f"{item.address}/128" if ":" in item.address else f"{item.address}/32"


def _options(item: InterfaceAddress) -> str:
    if ":" in item.address:
        return " nodad preferred_lft 0 valid_lft forever"
    label = item.device + _LABEL
    return f" label {label}" if len(label) <= _LONGEST_NAME else ""
