"""The walk itself, rule by rule as plan/skeleton.py writes them and in the order in which the kernel meets them.

It takes kernels in any state, half written ones too: where something is missing, the packet goes where the kernel
would send it, to a drop or out by the node's own address. What happens to replies and to a connection's MSS is not
followed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from itertools import pairwise

from sallyport.model.addresses import family_of
from sallyport.model.kernel import KernelObject, Link, NextHop
from sallyport.model.settings import Settings
from sallyport.model.state import Family, IPAddress
from sallyport.trace.choices import choices
from sallyport.trace.lookup import Flow, NodeKernel, Routed, Way
from sallyport.trace.packet import Hop, Packet, Trace, Translation, Translations, Verdict
from sallyport.trace.underlay import Underlay

CARRIED = 0xFFFF
"""The bits of a mark that VXLAN's group policy field carries (draft-smith-vxlan-group-policy)."""


def walk(packet: Packet, kernels: Mapping[str, Iterable[KernelObject]], ground: Underlay, settings: Settings) -> Trace:
    """The way of a packet, given what our part of each node's kernel holds. Where several exits share new connections,
    the first of them by id gets it, and where several nodes answer for one egress IP, the first by name; `walks` tells
    all ways."""
    return walks(packet, kernels, ground, settings)[0]


def walks(
    packet: Packet, kernels: Mapping[str, Iterable[KernelObject]], ground: Underlay, settings: Settings
) -> tuple[Trace, ...]:
    """All ways that a packet may take: one for each exit that its connection may begin with, and one for each node that
    may get it where several answer for one address."""
    names = sorted({packet.node, *kernels, *ground.hosts})
    nodes = {name: NodeKernel(name, kernels.get(name, ()), ground, settings) for name in names}
    return tuple(_Walk(packet, nodes, settings).run())


@dataclass(frozen=True, slots=True)
class _Walker:
    """A packet on its way: at `node`, with these addresses and mark. `noted` is what a chain has put into its
    connection's mark, `came_by` the tunnel device it came out of."""

    node: NodeKernel
    source: IPAddress
    mark: int = 0
    noted: int = 0
    came_by: str = ""
    been: frozenset[str] = frozenset()
    hops: tuple[Hop, ...] = ()
    translated: Translations = field(default_factory=dict)

    def told(self, decided: str, effect: str) -> "_Walker":
        return replace(self, hops=(*self.hops, Hop(self.node.name, decided, effect, self.mark)))

    def leaving_with(self, source: IPAddress) -> "_Walker":
        """With that source from here on, and conntrack remembering it."""
        own = self.mark if self.node.filtered and self.node.value("networked", self.mark) is not None else self.noted
        return self.keeping(Translation(source, labelled=bool(self.mark) and self.node.filtered, mark=own))

    def keeping(self, made: Translation) -> "_Walker":
        """With what conntrack remembers of its connection."""
        return replace(self, source=made.source, translated={**self.translated, (self.node.name, self.source): made})

    def ended(self, verdict: Verdict, decided: str, effect: str, *, source: IPAddress | None = None) -> Trace:
        hops = self.told(decided, effect).hops
        return Trace(hops, verdict, self.node.name, source, translated=self.translated)

    def dropped(self, decided: str, effect: str = "dropped") -> Trace:
        return self.ended(Verdict.DROPPED, decided, effect)


@dataclass(frozen=True, slots=True)
class _Walk:
    packet: Packet
    nodes: Mapping[str, NodeKernel]
    settings: Settings

    @property
    def family(self) -> Family:
        return family_of(self.packet.destination)

    def run(self) -> Iterator[Trace]:
        packet = self.packet
        start = _Walker(self.nodes[packet.node], packet.source, translated=packet.translated)
        for steered in self._steered(start):
            yield from self._routed(steered)

    def _steered(self, at: _Walker) -> Iterator[_Walker]:
        """Chain `steer`: prerouting, after the destination NAT of services."""
        f = self.family
        if (passed := self._unsteered(at)) is not None:
            yield at.told(passed, "not steered")
        elif (target := at.node.client(at.source)) is None:
            yield at.told(f"steer: clients{f} lacks {at.source}", "not steered")
        else:
            yield from self._chosen(at, target)

    def _unsteered(self, at: _Walker) -> str | None:
        """What makes the chain leave a packet alone, None where it looks for its client."""
        node, destination, f = at.node, self.packet.destination, self.family
        if not node.filtered:
            return "no table of ours"
        if not self.packet.original:
            return "steer: a reply"
        if node.value(f"nodes{f}", destination) is not None:
            return f"steer: nodes{f} has {destination}"
        if (network := node.covers(f"excluded{f}", destination)) is not None:
            return f"steer: excluded{f} has {network}"
        if not node.is_unicast(destination):
            return f"steer: {destination} is not unicast from here"
        return None

    def _chosen(self, at: _Walker, target: str) -> Iterator[_Walker]:
        """What a client's element leads to: one id, or chains that choose by destination and connection."""
        settings = self.settings
        kept = at.translated.get((at.node.name, at.source))
        connection = (kept.mark & settings.mark_mask) >> settings.mark_shift if kept else 0
        asked = choices(target, self.packet.destination, connection, settings.nowhere_id, at.node.chain)
        for item in asked:
            steps = (f"steer: clients{self.family} has {at.source}", *item.steps)
            made = at
            for step, further in pairwise(steps):
                made = made.told(step, further.partition(":")[0])
            if item.id is None:
                yield made.told(steps[-1], "not steered")
                continue
            mark = settings.mark(item.id)
            made = replace(made, mark=mark, noted=mark if item.noted else 0)
            yield made.told(steps[-1], f"egress id {item.id}, mark {mark:#x}")

    def _routed(self, at: _Walker) -> Iterator[Trace]:
        """The route lookup, and what follows it."""
        packet = self.packet
        routed = at.node.route(Flow(packet.destination, at.mark, packet.protocol, packet.port))
        if routed.way is Way.LOCAL:
            yield self._received(at.told(routed.decided, "to this node itself"))
        elif routed.way is Way.NOWHERE:
            yield at.dropped(routed.decided, "dropped, answered with unreachable")
        else:
            yield from self._forwarded(at.told(routed.decided, f"by {_by(routed)}"), routed)

    def _forwarded(self, at: _Walker, routed: Routed) -> Iterator[Trace]:
        passed, decided = self._guarded(at, routed)
        if not passed:
            yield at.dropped(decided)
            return
        came_with = at.source
        at = self._translated(at.told(decided, "passes"), routed)
        if routed.next_hop is not None:
            yield from self._encapsulated(at, routed.next_hop)
            return
        passed, decided = self._verified(at, came_with)
        if not passed:
            yield at.dropped(decided)
            return
        at = at.told(decided, "passes") if decided else at
        if routed.way is Way.CLUSTER:
            yield at.ended(Verdict.DELIVERED, "network of the CNI", "delivered in the cluster", source=at.source)
        else:
            yield from self._out(at, routed)

    def _guarded(self, at: _Walker, routed: Routed) -> tuple[bool, str]:
        """Chain `guard` of the forward hook, with `marked` and `unmarked`: whether the packet passes, and by what."""
        node, mark = at.node, at.mark & self.settings.mark_mask
        into_tunnel = routed.next_hop is not None
        if not node.filtered:
            return True, "no table of ours, no guard"
        if at.came_by and into_tunnel:
            return False, "guard: out of the tunnel and into it again"
        if (self.packet.protocol, self.packet.port) == ("udp", self.settings.vxlan_port):
            return False, "guard: nodes do not forward tunnel packets"
        if mark and into_tunnel:
            return True, "guard: marked, into the tunnel"
        if mark:
            return self._marked(at, routed)
        if not self.packet.original:
            return True, "guard: a reply"
        if (kept := at.translated.get((node.name, at.source))) is not None and kept.labelled:
            return False, "guard: the connection began with a mark and has none now"
        return self._unmarked(at)

    def _marked(self, at: _Walker, routed: Routed) -> tuple[bool, str]:
        node, mark, f = at.node, at.mark & self.settings.mark_mask, self.family
        shown = ""
        if node.value("networked", mark) is not None:
            wires, devices = node.wires(mark), _devices(at, routed, self.settings)
            if not devices or not wires.issuperset(devices):
                return False, f"guard: wires lacks {mark:#x} with {' or '.join(devices) or 'any device'}"
            shown = f", wires has {' or '.join(devices)}"
        known = node.value(f"marks{f}", mark) is not None
        limit = node.value("limits", mark)
        shown += f", limited to {limit.partition('/')[0]} bit/s" if limit else ""
        return known, f"guard: marks{f} {'has' if known else 'lacks'} {mark:#x}{shown}"

    def _unmarked(self, at: _Walker) -> tuple[bool, str]:
        node, destination, f = at.node, self.packet.destination, self.family
        if node.value(f"nodes{f}", destination) is not None:
            return True, f"guard: nodes{f} has {destination}"
        if (network := node.covers(f"excluded{f}", destination)) is not None:
            return True, f"guard: excluded{f} has {network}"
        if (network := node.covers_pair(f"ordinary{f}", at.source, destination)) is not None:
            return True, f"guard: ordinary{f} has {at.source} with {network}"
        if node.value(f"governed{f}", at.source) is not None:
            return False, f"guard: governed{f} has {at.source}, which has no mark"
        if node.value(f"free{f}", at.source) is not None:
            return True, f"guard: free{f} has {at.source}"
        if (network := node.covers(f"local_pods{f}", at.source)) is not None:
            return False, f"guard: {at.source} of local_pods{f} ({network}) is neither governed nor free yet"
        return True, f"guard: {at.source} is no pod of this node"

    def _translated(self, at: _Walker, routed: Routed) -> _Walker:
        """Chain `exit` of the postrouting hook; what it leaves alone, the CNI's masquerade takes at the uplink if it
        comes from a pod."""
        node, f = at.node, self.family
        mark = at.mark & self.settings.mark_mask
        if (kept := at.translated.get((node.name, at.source))) is not None:
            told = f"source {kept.source}"
            kept = replace(kept, mark=at.noted or kept.mark)
            return at.keeping(kept).told("conntrack: the connection has its NAT already", told)
        if not self.packet.original:
            return at
        if node.filtered and routed.next_hop is not None:
            return at.leaving_with(at.source).told("exit: into the tunnel", f"keeps source {at.source}")
        if at.source in node.addresses:
            return at
        if node.filtered and mark and (address := node.value(f"exits{f}", mark)) is not None:
            return at.leaving_with(ip_address(address)).told(f"exit: exits{f} has {mark:#x}", f"source {address}")
        routers = routed.lead.routers if routed.lead else ()
        own = node.host.masquerade(ip_address(routers[0]) if routers else self.packet.destination)
        if routed.way in (Way.UPLINK, Way.NETWORK) and own is not None and not self._owners(at.source):
            return at.leaving_with(own).told("masquerade of the CNI", f"source {own}")
        return at

    def _verified(self, at: _Walker, came_with: IPAddress) -> tuple[bool, str]:
        """Chain `verify` of the postrouting hook: whether the packet passes, and by what; "" if it is not looked at."""
        node, mark, f = at.node, at.mark & self.settings.mark_mask, self.family
        if not node.filtered or not mark or node.value(f"nodes{f}", came_with) is not None:
            return True, ""
        known = node.value(f"sources{f}", f"{mark} . {at.source}") is not None
        return known, f"verify: sources{f} {'has' if known else 'lacks'} {mark:#x} with {at.source}"

    def _out(self, at: _Walker, routed: Routed) -> Iterator[Trace]:
        """By a link: to whichever nodes answer for the destination on it, else out of the cluster."""
        routers = routed.lead.routers if routed.lead else ()
        owners = [] if routers else self._owners(self.packet.destination)
        for node in owners:
            arrived = at.told(_link(routed), f"to node {node.name}")
            yield self._received(replace(arrived, node=node, mark=0))
        if not owners:
            yield self._left(at, routed)

    def _left(self, at: _Walker, routed: Routed) -> Trace:
        if not self.packet.original:
            return at.ended(Verdict.LEFT, "uplink", "leaves by the connection that it answers")
        mark = at.mark & self.settings.mark_mask
        left = at.ended(Verdict.LEFT, _link(routed), f"leaves with source {at.source}", source=at.source)
        found = routed.lead
        return replace(
            left,
            governed=bool(mark) and at.node.value(f"exits{self.family}", mark) == str(at.source),
            network=found.network if found else "",
            route=found.prefix if found else "",
            router=" or ".join(found.routers) if found else "",
            device=" or ".join(_devices(at, routed, self.settings)),
            table=routed.table,
        )

    def _received(self, at: _Walker) -> Trace:
        """Chain `input` of the node that the packet is for."""
        node, packet, f = at.node, self.packet, self.family
        if node.filtered and (packet.protocol, packet.port) == ("udp", self.settings.vxlan_port):
            if not self._is_peer(node, at.source):
                return at.dropped(f"tunnel: nodes{f} lacks {at.source}")
        elif packet.protocol in ("tcp", "udp") and node.value(f"held{f}", packet.destination) is not None:
            return at.dropped(f"input: held{f} has {packet.destination}", "dropped without an answer")
        return at.ended(Verdict.DELIVERED, "input", f"delivered to node {node.name}", source=at.source)

    def _encapsulated(self, at: _Walker, hop: NextHop) -> Iterator[Trace]:
        """The tunnel device: next hop, its MAC, the outer address behind it, and the outer packet's own route."""
        link, lladdr = at.node.link(hop.device), at.node.neighbor(hop)
        if link is None or lladdr is None:
            yield at.dropped(f"{hop.device}: no neighbour entry for {hop.gateway}")
            return
        outer = at.node.forwarding(hop.device, lladdr)
        if outer is None:
            yield at.dropped(f"{hop.device}: no forwarding entry for {lladdr}")
            return
        destination = ip_address(outer)
        routed = at.node.route(Flow(destination, at.mark, "udp", link.port))
        if routed.way in (Way.TUNNEL, Way.NOWHERE):
            yield at.dropped(
                f"{hop.device}: outer {outer}: {routed.decided}", "dropped: the tunnel has no way of its own"
            )
            return
        at = at.told(f"{hop.device}: {hop.gateway} is {lladdr}, behind {outer}", f"VXLAN from {link.local} to {outer}")
        if routed.way is Way.LOCAL:
            yield from self._decapsulated(at, hop.device)
            return
        owners = self._owners(destination)
        for node in owners:
            yield from self._arrived(replace(at, node=node), link, destination)
        if not owners:
            yield at.dropped(f"uplink: no node answers for {outer}", "lost")

    def _arrived(self, at: _Walker, sent: Link, outer: IPAddress) -> Iterator[Trace]:
        """Chain `tunnel` of the input hook, and the device that takes the outer packet."""
        peer = ip_address(sent.local)
        if at.node.filtered and not self._is_peer(at.node, peer):
            yield at.dropped(f"tunnel: nodes{peer.version} lacks {peer}")
            return
        device = at.node.listening(sent, family_of(outer))
        if device is None:
            yield at.dropped(f"no VXLAN device for VNI {sent.vni}, UDP {sent.port}, IPv{outer.version}")
            return
        at = replace(at, mark=at.mark & CARRIED)
        yield from self._decapsulated(at.told(f"tunnel: nodes{peer.version} has {peer}", "accepted"), device.name)

    def _decapsulated(self, at: _Walker, device: str) -> Iterator[Trace]:
        """Our ingress chain on the tunnel device, and what the IP stack checks of every packet."""
        node = at.node
        if not node.accepts_frames(device):
            yield at.dropped(f"{device}: no ingress chain of ours", "dropped: the frame's MAC is not the device's")
            return
        if node.name in at.been:
            yield at.dropped(f"{device}: was here before", "goes in circles until its hop limit is spent")
            return
        at = replace(at, mark=at.mark & self.settings.mark_mask, came_by=device, been=at.been | {node.name})
        at = at.told(f"{device}: ingress chain", "taken out of the tunnel")
        if self.family == 4 and (at.source in node.addresses or node.strict(device)):
            reason = (
                f"source {at.source} is its own" if at.source in node.addresses else f"rp_filter of {device} is strict"
            )
            yield at.dropped(f"IP stack: {reason}")
            return
        yield from self._routed(at)

    def _owners(self, address: IPAddress) -> list[NodeKernel]:
        return [node for node in self.nodes.values() if address in node.addresses]

    @staticmethod
    def _is_peer(node: NodeKernel, address: IPAddress) -> bool:
        return node.value(f"nodes{address.version}", address) is not None or address in node.addresses


def _devices(at: _Walker, routed: Routed, settings: Settings) -> tuple[str, ...]:
    """Those that a packet may leave by; of an external network whose routes are not known, all that the guard lets."""
    if routed.devices or routed.way is not Way.NETWORK:
        return routed.devices
    return tuple(sorted(at.node.wires(at.mark & settings.mark_mask)))


def _by(routed: Routed) -> str:
    if routed.next_hop is not None:
        return routed.next_hop.device
    if routed.way is Way.NETWORK:
        return " or ".join(routed.devices) or _link(routed)
    return "the CNI" if routed.way is Way.CLUSTER else "the uplink"


def _link(routed: Routed) -> str:
    return f"network {routed.lead.network}" if routed.lead else "uplink"
