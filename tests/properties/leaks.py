"""What the packets of a pod may look like outside of the cluster while its nodes are between plans."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from tests.fake_kernel import FakeKernel
from tests.properties import networks
from tests.properties.worlds import NAMES, Snapshot
from tests.unit.plan.build import SETTINGS, a_node

from sallyport.model.state import FAMILIES, Family, Hops, IPAddress
from sallyport.plan.clients import govern
from sallyport.trace import Host, Packet, Trace, Underlay, Verdict, walks
from sallyport.trace.packet import Translations

OUTSIDE: Mapping[Family, tuple[IPAddress, ...]] = {
    4: (ip_address("203.0.113.10"), ip_address("198.51.100.7")),
    6: (ip_address("2001:db8:ffff::10"), ip_address("2001:db8:e::7")),
}
"""Per family a destination that is never excepted, and one that sometimes is, and that network yellow does not have."""


End = tuple[IPAddress, str]
"""The source with which a packet leaves, and the device."""


@dataclass(frozen=True)
class Allowance:
    """How an address's packets may leave; `free`: by its node's uplink with the node's own address as well."""

    ends: frozenset[End]
    free: bool


def ground(snapshot: Snapshot) -> Underlay:
    """Nodes that have a way out in both families, whatever their agents know of it."""
    hosts: dict[str, Host] = {}
    for number, name in enumerate(NAMES, 1):
        own = {family: a_node(number, families=(family,)).addresses[0] for family in FAMILIES}
        here = {ip_address(address) for address, where in snapshot.statics.items() if where == number}
        present = {*own.values(), *snapshot.facts(name).addresses, *here}
        devices = dict.fromkeys(FAMILIES, "eth0")
        hosts[name] = Host(frozenset(present), own, devices, networks.LINKS, networks.REPORT)
    return Underlay(hosts, pods=snapshot.state.networks.pods)


@dataclass(frozen=True)
class Sender:
    """A pod's address on a node that the pod is or was on."""

    address: IPAddress
    node: str

    def ways(
        self, kernels: Mapping[str, FakeKernel], underlay: Underlay, opened: "Opened | None" = None
    ) -> Iterator[tuple[IPAddress, Trace]]:
        """All ways of its packets to each destination outside, on the connections that `opened` remembers."""
        held = {name: kernel.objects() for name, kernel in kernels.items()}
        for destination in OUTSIDE[4 if self.address.version == 4 else 6]:
            remembered = (opened or {}).get((self, destination), {})
            packet = Packet(self.address, self.node, destination, translated=remembered)
            for trace in walks(packet, held, underlay, SETTINGS):
                yield destination, trace


def allowance(sender: Sender, destination: IPAddress, seen: Sequence[Snapshot]) -> Allowance:
    """What is right for a sender under any of the snapshots that some agent may still go by.

    The egress IPs, in all snapshots, of the exits that govern its address for that destination in one of them, each by
    the uplink or by devices of its networks. The node's own address where in one of them no exit or policy has its pod
    or the destination, where that is excepted, or all is switched off.
    """
    names: set[str] = set()
    free = False
    for snapshot in seen:
        asked = _asked(sender, destination, snapshot)
        excepted = any(destination in network for network in snapshot.state.networks.excepted)
        closed = bool(asked) or _is_guarded(sender, snapshot)
        free |= excepted or not snapshot.state.enabled or not closed
        names.update(name for hops in asked for name in hops.exits)
    ends = [
        (snapshot.assignments[name].address, device)
        for snapshot in seen
        for name in names & snapshot.state.exits.keys()
        for device in networks.devices_of(snapshot.state.exits[name])
    ]
    return Allowance(frozenset((address, device) for address, device in ends if address is not None), free)


def _asked(sender: Sender, destination: IPAddress, snapshot: Snapshot) -> list[Hops]:
    """What is asked for of every pod that has this address: by which exits it goes, if by any."""
    state = snapshot.state
    found: list[Hops | None] = []
    for key in sorted(client.key for client in state.clients.values() if sender.address in client.addresses):
        governed = govern(state.exits, snapshot.assignments, {key: state.clients[key]})
        whole = next((item for item in governed if item.address == sender.address), None)
        rest = None if whole is None else Hops(() if whole.blocked else (whole.exit,))
        found.append(networks.ruled(key, destination, state, rest))
    return [hops for hops in found if hops is not None]


def _is_guarded(sender: Sender, snapshot: Snapshot) -> bool:
    """Whether it is nobody's address yet, within the networks in which an agent lets out known pods only."""
    clients, node = snapshot.state.clients.values(), snapshot.state.nodes.get(sender.node)
    unknown = not any(sender.address in client.addresses for client in clients if client.node == sender.node)
    return unknown and node is not None and any(sender.address in network for network in node.pod_networks)


Opened = Mapping[tuple[Sender, IPAddress], Translations]
"""Translations of open connections by their two ends."""


def senders(seen: Iterable[Snapshot]) -> list[Sender]:
    """Every address of every pod in any of the snapshots."""
    clients = [client for snapshot in seen for client in snapshot.state.clients.values()]
    return sorted({Sender(address, client.node) for client in clients for address in client.addresses}, key=str)


class Watcher:
    """Judges the packets of some senders while agents may go by any of the snapshots that were `seen`."""

    def __init__(self, some: Iterable[Sender], seen: Sequence[Snapshot]) -> None:
        self._underlay = ground(seen[-1])
        self._senders = list(some)
        self._right: dict[tuple[Sender, IPAddress], frozenset[End]] = {}
        for sender in self._senders:
            for destination in OUTSIDE[4 if sender.address.version == 4 else 6]:
                allowed = allowance(sender, destination, seen)
                own = self._underlay.hosts[sender.node].uplinks.values() if allowed.free else ()
                self._right[sender, destination] = allowed.ends.union((address, "eth0") for address in own)

    def leaks(self, kernels: Mapping[str, FakeKernel], opened: Opened | None = None) -> list[str]:
        """A line, with the whole walk, for each packet that leaves as it must not."""
        return [
            f"{sender.address} of {sender.node} to {destination} left with {trace.source}, {trace.device}:"
            f" {_told(trace)}"
            for sender in self._senders
            for destination, trace in sender.ways(kernels, self._underlay, opened)
            if trace.verdict is Verdict.LEFT and (trace.source, trace.device) not in self._right[sender, destination]
        ]


def connections(some: Iterable[Sender], kernels: Mapping[str, FakeKernel], underlay: Underlay) -> Opened:
    """What conntrack remembers once each sender has opened a connection to each destination."""
    return {
        (sender, destination): trace.translated
        for sender in some
        for destination, trace in sender.ways(kernels, underlay)
    }


def _told(trace: Trace) -> str:
    return "; ".join(f"{hop.node}: {hop.decided} -> {hop.effect}" for hop in trace.hops)
