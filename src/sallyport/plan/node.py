"""One node's plan: what its kernel is to hold so that its clients leave by their exits, and others' by it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from ipaddress import collapse_addresses, ip_network

from sallyport.model.kept import Kept
from sallyport.model.kernel import (
    ClientElement,
    Element,
    InterfaceAddress,
    KernelObject,
    Peer,
    Rule,
    Sysctl,
)
from sallyport.model.plan import Assignment, NodeFacts, NodePlan
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, ClusterState, Exit, Family, IPAddress, IPNetwork, Networks, Node, Tuning
from sallyport.plan import tunnel
from sallyport.plan.clients import Governed, govern
from sallyport.plan.holding import holds, watched, watching
from sallyport.plan.networks import networking
from sallyport.plan.rules import arranged
from sallyport.plan.skeleton import skeletons
from sallyport.plan.steering import MAIN_TABLE, Here, steer

NEVER_ROUTED: tuple[IPNetwork, ...] = tuple(
    ip_network(text) for text in ("169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32", "fe80::/10", "ff00::/8")
)
"""Link-local and multicast destinations do not leave the link, so no exit governs them (RFC 3927, 4291)."""


_MS_PER_PEER = 2
_REMEMBERED = 4096
"""Exits whose objects are not made anew in each round: several times those that a node holds."""
_tables = lru_cache(8)(skeletons)


def plan_node(
    state: ClusterState, assignments: Mapping[str, Assignment], facts: NodeFacts, settings: Settings
) -> NodePlan:
    """Desired kernel state of `facts.node`, for the clients that run there. Clients without a usable exit are steered
    into a table that holds nothing but `unreachable`: failing closed is something written down, not something
    missing."""
    if not state.enabled:
        return NodePlan(facts.node)
    state = replace(state, clients={key: item for key, item in state.clients.items() if item.node == facts.node})
    settings = tuned(settings, state.tuning)
    here = located(state, assignments, facts, settings)
    held, links = here.held, tunnel.links(facts, settings)
    governed = govern(state.exits, assignments, state.clients, state.policies)
    objects: list[KernelObject] = [*links, *_tables(settings, links), *_sysctls(facts, links, governed)]
    objects += _membership(state.nodes, state.networks, facts.node, settings.guard)
    objects += networking(here)  # what keeps an exit to its networks goes before what lets its packets out
    objects += _exits(here)
    objects += [
        Rule(family, settings.rule_priority, MAIN_TABLE, udp_port=settings.vxlan_port)
        for family in FAMILIES
        if family in facts.uplinks
    ]
    steering, decisions = steer(governed, here)
    objects += steering
    objects += _peers(state, assignments, facts, settings)
    managed = {name: address for name, address in held.items() if not assignments[name].static}
    return NodePlan(
        node=facts.node,
        objects=tuple(arranged(dict.fromkeys(objects), settings)),
        announcements=tuple(
            (device, address)
            for name, address in sorted(managed.items())
            if (device := _place(state.exits[name], address, facts)) not in ("", "lo")
        ),
        held=held,
        decisions=decisions,
        problems=state.problems,
    )


def located(state: ClusterState, assignments: Mapping[str, Assignment], facts: NodeFacts, settings: Settings) -> Here:
    """What the plan of a node goes by, and the addresses that it holds by its own lights."""
    held = {name: item.address for name, item in sorted(assignments.items()) if item.address and holds(item, facts)}
    return Here(state, assignments, held, facts, settings)


def tuned(settings: Settings, tuning: Tuning) -> Settings:
    """The settings with what an administrator has set for the whole cluster."""
    return replace(
        settings,
        vxlan_port=tuning.vxlan_port or settings.vxlan_port,
        vxlan_vni=tuning.vxlan_vni or settings.vxlan_vni,
        rule_priority=tuning.rule_priority or settings.rule_priority,
        network_rule_priority=tuning.network_rule_priority or settings.network_rule_priority,
    )


def _family(address: IPAddress) -> Family:
    return 4 if address.version == 4 else 6


def _sysctls(facts: NodeFacts, links: Iterable[KernelObject], governed: list[Governed]) -> list[KernelObject]:
    """Loose reverse-path filtering where strict would drop: decapsulated packets come from pods that are reached
    another way, and replies may come by the CNI's device although the outside is reached by the uplink (RFC 3704)."""
    devices = [link.key for link in links]
    if any(item.family == 4 for item in governed):
        uplinks = {uplink.device for uplink in facts.uplinks.values()}
        devices += [device for device in facts.reply_devices if device not in uplinks]
    return [Sysctl(f"net/ipv4/conf/{device}/rp_filter", "2") for device in devices]


def excluded(networks: Networks, family: Family) -> list[IPNetwork]:
    """Destinations that no exit governs, adjacent networks joined."""
    everything = (*networks.pods, *networks.services, *networks.excepted, *NEVER_ROUTED)
    return _joined(part for part in everything if part.version == family)


def _joined(networks: Iterable[IPNetwork]) -> list[IPNetwork]:
    """The same addresses by as few networks as can be: the kernel refuses members of a set that overlap."""
    parts = list(networks)
    return [
        network
        for family in FAMILIES
        for network in collapse_addresses(part for part in parts if part.version == family)  # type: ignore[type-var]
    ]


def _members(nodes: Mapping[str, Node], networks: Networks, here: str, guard: bool) -> list[KernelObject]:
    made: list[KernelObject] = []
    for family in FAMILIES:
        addresses = {a for node in nodes.values() for a in node.addresses if a.version == family}
        made += [Element(f"nodes{family}", str(address)) for address in sorted(addresses, key=int)]
        made += [Element(f"excluded{family}", _text(network)) for network in excluded(networks, family)]
    own = nodes.get(here)
    if guard and own is not None:
        made += [ClientElement(f"local_pods{network.version}", _text(network)) for network in _joined(own.pod_networks)]
    return made


_membership = Kept(_members)
"""Nodes and networks seldom change, and there may be hundreds of them."""


def _text(network: IPNetwork) -> str:
    """As nft prints members of interval sets: a single address without its length."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _exits(here: Here) -> list[KernelObject]:
    """What translates and lets out the packets of the exits that are on this node, and puts their addresses on it."""
    settings, facts = here.settings, here.facts
    made: list[KernelObject] = []
    for name, address in sorted(here.held.items()):
        assignment, exit_ = here.assignments[name], here.state.exits[name]
        mark = str(settings.mark(assignment.id))
        made += _let_out(mark, address)
        if exit_.bandwidth is not None:
            made.append(Element("limits", mark, f"{exit_.bandwidth.rate}/{exit_.bandwidth.burst}"))
        device = _place(exit_, address, facts)
        put_by_others = address in facts.addresses and address not in facts.held
        if not assignment.static and not put_by_others and device:
            made += _put_on(device, address)
    return made


@lru_cache(_REMEMBERED)
def _let_out(mark: str, address: IPAddress) -> tuple[KernelObject, ...]:
    family, text = _family(address), str(address)
    return (
        Element(f"exits{family}", mark, text),
        Element(f"marks{family}", mark),
        Element(f"sources{family}", f"{mark} . {text}"),
    )


@lru_cache(_REMEMBERED)
def _put_on(device: str, address: IPAddress) -> tuple[KernelObject, ...]:
    text = str(address)
    return (Element(f"held{_family(address)}", text), InterfaceAddress(device, text))


def _place(exit_: Exit, address: IPAddress, facts: NodeFacts) -> str:
    """The device that an egress IP is put on, "" for none: the uplink. One that is bound to this node and lies on no
    subnet of the uplink is reached by routes alone, and is on the loopback."""
    uplink = facts.uplinks.get(_family(address))
    if exit_.carried:
        return ""
    if exit_.node and not (uplink and any(address in subnet for subnet in uplink.subnets)):
        return "lo"
    return uplink.device if uplink else ""


def _peers(
    state: ClusterState, assignments: Mapping[str, Assignment], facts: NodeFacts, settings: Settings
) -> list[KernelObject]:
    """BFD sessions. A node that many others watch sends to each of them more rarely, so that it never sends more than
    some hundreds of packets a second; the two ends of a session keep to the slower one (RFC 5880, section 6.8.2)."""
    made: list[KernelObject] = []
    names = sorted(watched(assignments, facts.node) | watching(state.exits, facts.node))
    interval = max(settings.interval_ms, len(names) * _MS_PER_PEER)
    for name in names:
        node = state.nodes.get(name)
        for family in FAMILIES:
            address = node.address(family) if node else None
            if address is not None and family in facts.uplinks:
                uplink = facts.uplinks[family]
                made.append(Peer(str(address), str(uplink.address), uplink.device, interval, settings.multiplier))
                break
    return made
