"""One node's plan: what its kernel is to hold so that its clients leave by their exits, and others' by it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import collapse_addresses, ip_network

from sallyport.model.kernel import (
    ClientElement,
    Element,
    InterfaceAddress,
    KernelObject,
    Peer,
    Route,
    Rule,
    Sysctl,
)
from sallyport.model.plan import Assignment, Decision, NodeFacts, NodePlan
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, ClusterState, Family, IPAddress, IPNetwork, Networks
from sallyport.plan import tunnel
from sallyport.plan.clients import SHARED, Governed, govern
from sallyport.plan.holding import holds, watched
from sallyport.plan.skeleton import skeletons

MAIN_TABLE = 254
LAST_METRIC = 4294967295
WAY_METRIC = 100
NEVER_ROUTED: tuple[IPNetwork, ...] = tuple(
    ip_network(text) for text in ("169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32", "fe80::/10", "ff00::/8")
)
"""Link-local and multicast destinations do not leave the link, so no exit governs them (RFC 3927, 4291)."""


def plan_node(
    state: ClusterState, assignments: Mapping[str, Assignment], facts: NodeFacts, settings: Settings
) -> NodePlan:
    """Desired kernel state of `facts.node`, for the clients that run there. Clients without a usable exit are steered
    into a table that holds nothing but `unreachable`: failing closed is something written down, not something
    missing."""
    if not state.enabled:
        return NodePlan(facts.node)
    state = replace(state, clients={key: item for key, item in state.clients.items() if item.node == facts.node})
    held = {name: item.address for name, item in sorted(assignments.items()) if item.address and holds(item, facts)}
    links = tunnel.links(facts, settings)
    governed = govern(state.exits, assignments, state.clients)
    objects: list[KernelObject] = [*links, *skeletons(settings, links), *_sysctls(facts, links, governed)]
    objects += _membership(state, facts, settings)
    objects += _exits(state, assignments, held, facts, settings)
    steering, decisions = _steering(state, assignments, governed, held, facts, settings)
    objects += steering
    objects += _peers(state, assignments, facts, settings)
    managed = {name: address for name, address in held.items() if not assignments[name].static}
    return NodePlan(
        node=facts.node,
        objects=tuple(dict.fromkeys(objects)),
        announcements=tuple(
            (uplink.device, address)
            for _, address in sorted(managed.items())
            if (uplink := facts.uplinks.get(_family(address))) is not None
        ),
        held=held,
        decisions=decisions,
        problems=state.problems,
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


def _membership(state: ClusterState, facts: NodeFacts, settings: Settings) -> list[KernelObject]:
    made: list[KernelObject] = []
    for family in FAMILIES:
        addresses = {a for node in state.nodes.values() for a in node.addresses if a.version == family}
        made += [Element(f"nodes{family}", str(address)) for address in sorted(addresses, key=int)]
        made += [Element(f"excluded{family}", _text(network)) for network in excluded(state.networks, family)]
    own = state.nodes.get(facts.node)
    if settings.guard and own is not None:
        made += [ClientElement(f"local_pods{network.version}", _text(network)) for network in _joined(own.pod_networks)]
    return made


def _text(network: IPNetwork) -> str:
    """As nft prints members of interval sets: a single address without its length."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _exits(
    state: ClusterState,
    assignments: Mapping[str, Assignment],
    held: Mapping[str, IPAddress],
    facts: NodeFacts,
    settings: Settings,
) -> list[KernelObject]:
    made: list[KernelObject] = []
    for name, address in sorted(held.items()):
        assignment, family = assignments[name], _family(address)
        mark = str(settings.mark(assignment.id))
        made.append(Element(f"exits{family}", mark, str(address)))
        made.append(Element(f"marks{family}", mark))
        made.append(Element(f"sources{family}", f"{mark} . {address}"))
        bandwidth = state.exits[name].bandwidth
        if bandwidth is not None:
            made.append(Element("limits", mark, f"{bandwidth.rate}/{bandwidth.burst}"))
        uplink = facts.uplinks.get(family)
        put_by_others = address in facts.addresses and address not in facts.held
        if not assignment.static and not put_by_others and uplink is not None:
            made.append(Element(f"held{family}", str(address)))
            made.append(InterfaceAddress(uplink.device, str(address)))
    return made


def _steering(
    state: ClusterState,
    assignments: Mapping[str, Assignment],
    governed: list[Governed],
    held: Mapping[str, IPAddress],
    facts: NodeFacts,
    settings: Settings,
) -> tuple[list[KernelObject], tuple[Decision, ...]]:
    made: list[KernelObject] = [
        Rule(family, settings.rule_priority, MAIN_TABLE, udp_port=settings.vxlan_port)
        for family in FAMILIES
        if family in facts.uplinks
    ]
    decisions: list[Decision] = []
    seen = set()
    for item in governed:
        assignment = assignments[item.exit]
        objects, exit_id, where, reason = _towards(item, assignment, held, state, facts, settings)
        made += objects
        made.append(ClientElement(f"clients{item.family}", str(item.address), str(exit_id)))
        made.append(ClientElement(f"governed{item.family}", str(item.address)))
        decisions.append(Decision(item.client.key, item.family, item.exit, where, reason))
        seen.add(item.address)
    steered = {decision.pod for decision in decisions}
    for key in sorted(state.clients.keys() - steered):
        for address in state.clients[key].addresses:
            if address in seen:
                decisions.append(Decision(key, _family(address), "", "blocked", SHARED))
            else:
                made.append(ClientElement(f"free{address.version}", str(address)))
                decisions.append(Decision(key, _family(address), "", "free"))
    return made, tuple(decisions)


def _towards(
    item: Governed,
    assignment: Assignment,
    held: Mapping[str, IPAddress],
    state: ClusterState,
    facts: NodeFacts,
    settings: Settings,
) -> tuple[list[KernelObject], int, str, str]:
    """The table that a client's mark leads to, its egress id, where it goes (`local`, `remote`, `blocked`) and why."""
    family, blocked = item.family, item.blocked
    outer: IPAddress | None = None
    local = item.exit in held and not blocked
    if not blocked and not local:
        if not assignment.holder or assignment.address is None or not assignment.id:
            blocked = "no node holds its egress IP"
        elif (outer := tunnel.endpoint(assignment.address, state.nodes.get(assignment.holder), facts)) is None:
            blocked = f"node {assignment.holder}, which holds its egress IP, cannot be reached from here"
    exit_id = settings.nowhere_id if blocked else assignment.id
    table = settings.table(exit_id)
    made: list[KernelObject] = [
        Route(family, table, _everything(family), LAST_METRIC, "unreachable"),
        Rule(family, settings.rule_priority + 1, table, mark=settings.mark(exit_id), mask=settings.mark_mask),
    ]
    if local:
        made.append(Route(family, table, _everything(family), WAY_METRIC, "throw"))
        return made, exit_id, "local", ""
    if outer is None or blocked:
        return made, exit_id, "blocked", blocked
    next_hop = settings.next_hop_base + exit_id
    way = tunnel.way(outer, next_hop, settings)
    made += [way.next_hop, way.neighbor, way.fdb]
    made.append(Route(family, table, _everything(family), WAY_METRIC, "unicast", next_hop))
    return made, exit_id, "remote", ""


def _everything(family: Family) -> str:
    return "0.0.0.0/0" if family == 4 else "::/0"


def _peers(
    state: ClusterState, assignments: Mapping[str, Assignment], facts: NodeFacts, settings: Settings
) -> list[KernelObject]:
    made: list[KernelObject] = []
    for name in sorted(watched(assignments, facts.node)):
        node = state.nodes.get(name)
        for family in FAMILIES:
            address = node.address(family) if node else None
            if address is not None and family in facts.uplinks:
                uplink = facts.uplinks[family]
                made.append(
                    Peer(str(address), str(uplink.address), uplink.device, settings.interval_ms, settings.multiplier)
                )
                break
    return made
