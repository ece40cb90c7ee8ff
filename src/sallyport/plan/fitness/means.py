"""What a node has to work with: rights, tools, its kernel, settings, and packets that are large enough."""

from collections.abc import Iterable, Iterator

from sallyport.model.fitness import Finding, Outcome, Severity, Surroundings, Tool, Uplink
from sallyport.model.settings import Settings
from sallyport.model.state import Family
from sallyport.plan.tunnel import OVERHEAD

PROBLEM, WARNING = Severity.PROBLEM, Severity.WARNING

SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/{device}/forwarding",
    "net/ipv6/conf/{device}/disable_ipv6",
    "net/ipv6/conf/{device}/accept_ra",
    "net/ipv4/conf/{device}/rp_filter",
    "net/ipv4/conf/{device}/src_valid_mark",
    "net/netfilter/nf_conntrack_tcp_loose",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
)
"""Settings that are looked at, those of devices for all, for new ones, and for uplinks."""
LEAST_MTU = 1280
"""Bytes that IPv6 needs of every link (RFC 8200, section 5)."""
_FULL = 0.8
"""Share of the connection table beyond which it is told."""
_RIGHTS = {
    "NET_ADMIN": (PROBLEM, "devices, routes and nftables cannot be changed"),
    "NET_RAW": (PROBLEM, "addresses that move cannot be announced"),
    "SYS_ADMIN": (WARNING, "there is no network namespace to try the kernel in"),
}


def means(seen: Surroundings, outcomes: Iterable[Outcome], settings: Settings) -> Iterator[Finding]:
    """What a node lacks, and does not have well enough."""
    yield from _rights(seen)
    yield from _tools(seen.tools)
    yield from _features(outcomes)
    yield from _settings(seen)
    yield from _sizes(seen, settings)
    if not seen.clock:
        message = "nobody keeps it in step: no decision goes by it, but tokens, certificates and the times in logs do"
        yield Finding(WARNING, "clock", message, "run chrony or another NTP client")


def _rights(seen: Surroundings) -> Iterator[Finding]:
    for name, (severity, message) in _RIGHTS.items():
        if name not in seen.capabilities:
            remedy = f"run as root, in a container with the capability {name}"
            yield Finding(severity, f"CAP_{name}", f"it is not held: {message}", remedy)
    if not seen.writable:
        remedy = "run privileged, or mount /proc/sys so that it can be written"
        yield Finding(PROBLEM, "/proc/sys", "it is read-only: settings of devices cannot be changed", remedy)


def _tools(tools: Iterable[Tool]) -> Iterator[Finding]:
    for tool in tools:
        if not tool.version:
            yield Finding(PROBLEM, tool.name, "it is not installed", f"install {tool.package}")
        elif tool.name == "bird" and not tool.version.startswith("2."):
            message = f"it is version {tool.version}; its configuration is written for BIRD 2"
            yield Finding(PROBLEM, tool.name, message, f"install {tool.package}")


def _features(outcomes: Iterable[Outcome]) -> Iterator[Finding]:
    for item in outcomes:
        if item.works is False:
            message = f"it was tried and refused ({item.reason}): it serves {item.trial.serves}"
            yield Finding(PROBLEM, item.trial.name, message, _remedy(item.trial.option))


def _remedy(option: str) -> str:
    if option.startswith("install "):
        return option
    return f"take a kernel that has CONFIG_{option}, built in or as a module, with iproute2 and nft of its age"


def _settings(seen: Surroundings) -> Iterator[Finding]:
    value = seen.sysctls.get
    if value("net/ipv4/ip_forward") == "0":
        yield _setting("net.ipv4.ip_forward", "0", "no pod's packet gets past this node", PROBLEM, "1")
    for device in dict.fromkeys(["all", *(item.device for item in seen.uplinks.values())]):
        path = f"net/ipv6/conf/{device}"
        if value(f"{path}/disable_ipv6") == "0" and value(f"{path}/forwarding") == "0":
            name = f"{path.replace('/', '.')}.forwarding"
            yield _setting(name, "0", "no pod's IPv6 packet gets past this node", PROBLEM, "1")
            break  # setting it for all sets it for each device
    yield from _ipv6(seen)
    if value("net/netfilter/nf_conntrack_tcp_loose") == "0":
        message = "a connection does not live on when its egress IP moves to this node"
        yield _setting("net.netfilter.nf_conntrack_tcp_loose", "0", message, WARNING, "1")
    count, most = (value(f"net/netfilter/nf_conntrack_{name}") or "0" for name in ("count", "max"))
    if int(most) and int(count) > _FULL * int(most):
        message = f"{count} of {most} connections: no new one is let in when it is full"
        yield Finding(WARNING, "connection table", message, "raise net.netfilter.nf_conntrack_max")


def _ipv6(seen: Surroundings) -> Iterator[Finding]:
    value = seen.sysctls.get
    if not value("net/ipv6/conf/all/disable_ipv6"):
        message = "the kernel has none: next hops of the tunnel are IPv6 ones, so IPv4 does not go either"
        yield Finding(PROBLEM, "IPv6", message, "start the kernel without ipv6.disable=1, or load the module ipv6")
    elif value("net/ipv6/conf/all/disable_ipv6") == "1":
        message = "it is switched off: IPv6 egress IPs cannot be held here; IPv4 ones can"
        yield Finding(WARNING, "IPv6", message, "sysctl net.ipv6.conf.all.disable_ipv6=0, if this node is to have IPv6")
    for uplink in seen.uplinks.values():
        path = f"net/ipv6/conf/{uplink.device}"
        if uplink.advertised and value(f"{path}/forwarding") == "1" and value(f"{path}/accept_ra") == "1":
            message = "routers are not heard any more while packets are forwarded, and the default route came from one"
            yield _setting(f"net.ipv6.conf.{uplink.device}.accept_ra", "1", message, PROBLEM, "2")


def _setting(name: str, value: str, message: str, severity: Severity, wanted: str) -> Finding:
    return Finding(severity, name, f"it is {value}: {message}", f"sysctl -w {name}={wanted}")


def _sizes(seen: Surroundings, settings: Settings) -> Iterator[Finding]:
    """The tunnel's packets have to fit the uplink with its headers."""
    for family, uplink in seen.uplinks.items():
        yield from _size(family, uplink)
    if not seen.uplinks:
        remedy = "give this node a default route; its agent goes by the addresses that the Node has"
        yield Finding(WARNING, "uplink", "there is no default route: MTU and addresses were not looked at", remedy)
    sizes = {uplink.device: uplink.mtu for uplink in seen.uplinks.values()}
    if len(set(sizes.values())) > 1:
        told = " and ".join(f"{mtu} on {device}" for device, mtu in sizes.items())
        yield Finding(WARNING, "MTU", f"it differs: {told}; each family's tunnel has its own", "make them equal")
    for device in seen.devices:
        for family, uplink in seen.uplinks.items():
            room = uplink.mtu - OVERHEAD[family]
            if device.ours and device.name == settings.device(family) and device.mtu != room:
                message = f"its MTU is {device.mtu}, and {room} fit the uplink {uplink.device}"
                yield Finding(WARNING, device.name, message, "its agent sets it within seconds; see whether it runs")


def _size(family: Family, uplink: Uplink) -> Iterator[Finding]:
    room = uplink.mtu - OVERHEAD[family]
    if room < LEAST_MTU:
        message = f"MTU {uplink.mtu} leaves {room} bytes in the tunnel, less than the {LEAST_MTU} that IPv6 needs"
        remedy = (
            f"raise the MTU of {uplink.device} to {LEAST_MTU + OVERHEAD[family]} at least, on all nodes and switches"
        )
        yield Finding(PROBLEM, uplink.device, message, remedy)
