"""Others who use what is ours, or who come before us in a packet's way."""

import re
from collections.abc import Iterator

from sallyport.model.fitness import ALL_BITS, BaseChain, Finding, Listener, Seen, Severity, Surroundings
from sallyport.model.settings import Settings
from sallyport.plan.rules import first, span
from sallyport.plan.skeleton import skeletons

PROBLEM, WARNING = Severity.PROBLEM, Severity.WARNING

BGP_PORT, DOORSTEP_PORT, BFD_PORT = 8179, 9847, 3784
_PORTS = {
    ("udp", BFD_PORT): "liveness between nodes (BFD)",
    ("tcp", BGP_PORT): "BGP with external networks",
    ("tcp", DOORSTEP_PORT): "readiness of gateways",
}
_OTHERS = {
    "antrea-egress0": "Antrea's own Egress",
    "egress.calico": "Calico's own egress gateways",
    "cilium_egress": "Cilium's own egress gateway",
}
"""Devices by which others that do the same are known."""
_CILIUM = "cilium_host"
_HOOKED = re.compile(r"chain (\w+) \{\s+type \w+ hook (\w+) (?:device \S+ )?priority (-?\d+);")


def clashes(seen: Surroundings, settings: Settings) -> Iterator[Finding]:
    """All that is known to go wrong with others on this node."""
    ours = {name: (hook, int(place)) for name, hook, place in _HOOKED.findall(skeletons(settings, ())[0].text)}
    yield from _others(seen)
    for rule in seen.rules:
        yield from _rule(rule, settings)
    yield from _numbers(seen, settings)
    for chain in seen.chains:
        yield from _marks(chain, ours["steer"][1], settings)
        yield from _translation(chain, ours["exit"][1])
        yield from _offloads(chain)
        yield from _drops(chain, settings)
    yield from _ports(seen, settings)
    for sentence in seen.unread:
        yield Finding(WARNING, "other rules", sentence, "install it here for the time of this check")


def _others(seen: Surroundings) -> Iterator[Finding]:
    for device in seen.devices:
        if device.name in _OTHERS:
            message = f"{_OTHERS[device.name]} runs here: both would steer the same pods"
            yield Finding(PROBLEM, device.name, message, "switch it off before an agent of ours runs here")
        elif device.name == _CILIUM:
            message = "Cilium runs here: its programs see packets before nftables does, and it marks with bits 0x0f00"
            remedy = "let it route natively with bpf.hostLegacyRouting=true, and its own egress gateway be off"
            yield Finding(WARNING, device.name, message, remedy)


def _rule(rule: Seen, settings: Settings) -> Iterator[Finding]:
    """What is looked up before our rules, or in their place, for packets that have our marks; and what is among them,
    where few packets come by."""
    subject = f"IPv{rule.family} rule {rule.priority}"
    begin, place = first(settings), span(settings)
    if begin <= place[0] and rule.priority in place[1:]:
        message = f"priorities {place[0]} to {place[-1]} are our rules', which lead most packets past it"
        yield Finding(PROBLEM, subject, message, f"give it a priority above {place[-1]}")
        return
    marked = not rule.mask or rule.mask & settings.mark_mask
    if rule.priority > begin or rule.table in ("local", "nop", "l3mdev") or not marked:
        return
    where = f"on at rule {rule.table[5:]}" if rule.table.startswith("goto ") else f"by table {rule.table}"
    goes = f"{rule.selector or 'everything'} goes {where}"
    if rule.mask:
        bits = rule.mask & settings.mark_mask
        message = f"it goes by bits {bits:#x} of the mark, which are ours (mark {rule.mark:#x}/{rule.mask:#x})"
        yield Finding(PROBLEM, subject, message, "let its owner use other bits")
    elif rule.selector:
        message = f"{goes} before our rules are asked: what governed pods send that way is dropped, not steered"
        yield Finding(WARNING, subject, message, f"give it a priority above {max(begin, place[-1])}")
    else:
        message = f"{goes} before our rules are asked: what governed pods send is dropped, not steered"
        yield Finding(PROBLEM, subject, message, f"give it a priority above {max(begin, place[-1])}")


def _numbers(seen: Surroundings, settings: Settings) -> Iterator[Finding]:
    """Names and numbers by which an agent knows what is its own."""
    for table, names in seen.tables.items():
        message = f"it has routes of {', '.join(names)}; tables from {settings.table_base} on are exits'"
        yield Finding(PROBLEM, f"table {table}", message, "let its owner use another number")
    for number in seen.hops:
        message = f"it is somebody else's; next hops from {settings.next_hop_base} on are exits'"
        yield Finding(PROBLEM, f"next hop {number}", message, "let its owner use another number")
    for device in seen.devices:
        if device.name in (settings.device(4), settings.device(6)) and not device.ours:
            message = f"it is a {device.kind or 'device'} of somebody else's; an agent would remove it"
            yield Finding(PROBLEM, device.name, message, "give it another name")
        elif device.port == settings.vxlan_port and not device.name.startswith(settings.device_prefix):
            message = f"it has UDP port {device.port}, which is our tunnel's"
            yield Finding(PROBLEM, device.name, message, "let its owner use another port")


def _marks(chain: BaseChain, steer: int, settings: Settings) -> Iterator[Finding]:
    """Bits of ours that a chain sets; or clears, where packets may have theirs already."""
    early = chain.hook == "prerouting" and chain.priority < steer
    bits = (chain.mark.ones if early else chain.mark.ones | ALL_BITS & ~chain.mark.kept) & settings.mark_mask
    if bits and chain.hook in ("prerouting", "forward", "output", "postrouting"):
        message = f"it changes bits {bits:#x} of packets' marks at {chain.hook}, which are ours"
        yield Finding(PROBLEM, _named(chain), message, "let its owner use other bits, or only set bits with a mask")


def _translation(chain: BaseChain, exit_: int) -> Iterator[Finding]:
    if chain.translates and chain.type == "nat" and chain.hook == "postrouting" and chain.priority <= exit_:
        message = (
            f"it changes sources at priority {chain.priority}, before we do at {exit_}: what is governed is dropped"
        )
        yield Finding(PROBLEM, _named(chain), message, f"give it a priority above {exit_}, such as srcnat (100)")


def _offloads(chain: BaseChain) -> Iterator[Finding]:
    """The kernel forwards what is in a flowtable from device to device, past forward and postrouting (its
    Documentation/networking/nf_flowtable.rst)."""
    if chain.offloads:
        message = "it puts flows into a flowtable: they pass our guard by, and go on as they began, come what may"
        yield Finding(PROBLEM, _named(chain), message, "let its owner keep pods' flows out of flowtables")


def _drops(chain: BaseChain, settings: Settings) -> Iterator[Finding]:
    if not chain.drops or chain.table.split()[0] in ("netdev", "bridge", "arp"):
        return
    if chain.hook == "forward":
        devices = f"{settings.device(4)} and {settings.device(6)}"
        message = "it drops what it does not know, and pods' packets are forwarded"
        yield Finding(WARNING, _named(chain), message, f"see that it accepts pods' packets into and out of {devices}")
    elif chain.hook == "input":
        message = "it drops what it does not know, and nodes speak to each other"
        remedy = f"accept from nodes UDP {settings.vxlan_port} and {BFD_PORT}, and what peers of external networks send"
        yield Finding(WARNING, _named(chain), message, remedy)


def _named(chain: BaseChain) -> str:
    return f"chain {chain.name} of {chain.table}"


def _ports(seen: Surroundings, settings: Settings) -> Iterator[Finding]:
    running = seen.programmed is not None and seen.programmed.renewed is not None
    # The kernel's own socket of our tunnel has no process; that of another device is told with that device.
    tunnels = any(device.port == settings.vxlan_port for device in seen.devices)
    for item in seen.listeners:
        serves = _PORTS.get((item.protocol, item.port), "")
        if (item.protocol, item.port) == ("udp", settings.vxlan_port) and (item.process or not tunnels):
            serves = "the tunnel between nodes"
        if serves and not item.ours and (item.process or not running):
            yield _taken(item, serves)


def _taken(item: Listener, serves: str) -> Finding:
    who = item.process or "somebody"
    message = f"{who} listens there: it is for {serves}"
    return Finding(PROBLEM, f"{item.protocol.upper()} port {item.port}", message, f"let {who} listen on another port")
