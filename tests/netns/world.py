"""A small cluster of network namespaces, without API or agents, for tests that send real packets.

    pod-a ── cni0 [ a ] eth0 ──┐                    ┌── eth0 [ outside ] lo: the server's addresses
                               ├── bridge [ wire ] ─┤
    pod-b ── cni0 [ b ] eth0 ──┘                    └── the nodes' default gateway is outside's eth0

Names tell the owner. Node number n (a is 1, b is 2, ...) has 192.0.2.1n and 2001:db8::1n on the underlay and
10.244.n.0/24 and fd00:244:n::/64 for its pods; its pod has .2 and ::2. Each node routes to the others' pod networks
over the underlay, masquerades what its pods send out of the cluster as a CNI does, and filters reverse paths
strictly. Nothing is created in the namespace that the tests run in.
"""

import ctypes
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from sallyport.model.state import Family, IPAddress, IPNetwork, Networks, Node

PREFIX = f"spn-{os.getpid()}-"
PORT = 8080
UNDERLAY: dict[Family, IPNetwork] = {4: ip_network("192.0.2.0/24"), 6: ip_network("2001:db8::/64")}
PODS: dict[Family, IPNetwork] = {4: ip_network("10.244.0.0/16"), 6: ip_network("fd00:244::/32")}
EGRESS: dict[Family, IPAddress] = {4: IPv4Address("192.0.2.100"), 6: IPv6Address("2001:db8::100")}
SERVICES: dict[Family, IPNetwork] = {4: ip_network("10.96.0.0/16"), 6: ip_network("fd00:96::/112")}
SERVER: dict[Family, IPAddress] = {4: IPv4Address("198.51.100.1"), 6: IPv6Address("2001:db8:ffff::1")}
SECOND_SERVER: dict[Family, IPAddress] = {4: IPv4Address("198.51.100.2"), 6: IPv6Address("2001:db8:ffff::2")}
GATEWAY: dict[Family, IPAddress] = {4: IPv4Address("192.0.2.1"), 6: IPv6Address("2001:db8::1")}
EVERYTHING = Networks(pods=tuple(PODS.values()), services=tuple(SERVICES.values()))

_ETH_P_ALL = 0x0003
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

_MASQUERADE = """table inet cni {
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 counter masquerade
    ip6 saddr fd00:244::/32 ip6 daddr != fd00:244::/32 counter masquerade
  }
}"""


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Have this thread, the sockets it opens and the children it starts in that network namespace meanwhile."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{PREFIX}{namespace}") as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def run(namespace: str, command: str, text: str = "") -> str:
    """The output of a command in that namespace; it must succeed."""
    with inside(namespace):
        done = subprocess.run(command.split(), input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def underlay(number: int) -> tuple[IPAddress, ...]:
    """The addresses of a node."""
    return (ip_address(f"192.0.2.1{number}"), ip_address(f"2001:db8::1{number}"))


def pod(number: int) -> dict[Family, IPAddress]:
    """The addresses of the pod on a node."""
    return {4: ip_address(f"10.244.{number}.2"), 6: ip_address(f"fd00:244:{number}::2")}


@dataclass
class World:
    """The namespaces and the servers in them. Its parts are made by `build`."""

    nodes: Sequence[str]
    _closing: ExitStack = field(default_factory=ExitStack)

    def number(self, node: str) -> int:
        return self.nodes.index(node) + 1

    def members(self) -> dict[str, Node]:
        """The nodes as the planner sees them."""
        return {
            name: Node(
                name,
                underlay(self.number(name)),
                (ip_network(f"10.244.{self.number(name)}.0/24"), ip_network(f"fd00:244:{self.number(name)}::/64")),
            )
            for name in self.nodes
        }

    def serve(self, namespace: str, *addresses: IPAddress, port: int = PORT) -> None:
        """Answer every connection to `addresses` with the address that it comes from, as text."""
        for address in addresses:
            with inside(namespace):
                family = socket.AF_INET if address.version == 4 else socket.AF_INET6
                listener = socket.create_server((str(address), port), family=family)
            self._closing.callback(listener.close)
            self._closing.callback(_interrupt, listener)
            threading.Thread(target=_answer, args=(listener,), daemon=True).start()

    def close(self) -> None:
        self._closing.close()


def _answer(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, peer = listener.accept()
            with connection:
                connection.sendall(peer[0].encode())


def _interrupt(listener: socket.socket) -> None:
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)


def build(nodes: Sequence[str] = ("a", "b")) -> World:
    """Make the namespaces, with a server outside. The caller closes the world."""
    world = World(nodes)
    with ExitStack() as unfinished:
        unfinished.callback(world.close)
        _furnish(world)
        unfinished.pop_all()
    return world


def _furnish(world: World) -> None:
    nodes = world.nodes
    names = ["wire", "outside", *nodes, *(f"pod-{name}" for name in nodes)]
    for name in names:
        world._closing.callback(subprocess.run, ["ip", "netns", "del", PREFIX + name], check=False)
        subprocess.run(["ip", "netns", "add", PREFIX + name], check=True)
        with inside(name):
            _set("net/ipv6/conf/all/accept_dad", "net/ipv6/conf/default/accept_dad", to="0")
            _set("net/ipv4/conf/all/rp_filter", to="0")
            _set("net/ipv4/conf/default/rp_filter", to="1" if name in nodes else "0")
            if name in nodes or name == "outside":
                _set("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", to="1")
    _ip("wire", ["link add br0 type bridge mcast_snooping 0", "link set br0 up"])
    _outside()
    for name in nodes:
        _node(world, name)
    world.serve("outside", *SERVER.values(), *SECOND_SERVER.values())


def _set(*paths: str, to: str) -> None:
    for path in paths:
        Path("/proc/sys", path).write_text(to)


def _ip(namespace: str, lines: Iterable[str]) -> None:
    run(namespace, "ip -batch -", "\n".join(lines) + "\n")


def _plug(name: str) -> None:
    """A veth pair from `name`'s eth0 to the bridge."""
    _ip(
        "wire",
        [
            f"link add to-{name} type veth peer name eth0 netns {PREFIX}{name}",
            f"link set to-{name} master br0",
            f"link set to-{name} up",
        ],
    )


def _outside() -> None:
    _plug("outside")
    servers = (*SERVER.values(), *SECOND_SERVER.values())
    _ip(
        "outside",
        [
            "link set lo up",
            "link set eth0 up",
            *(f"address add {address} dev lo" for address in servers),
            f"address add {GATEWAY[4]}/24 dev eth0",
            f"address add {GATEWAY[6]}/64 dev eth0 nodad",
        ],
    )


def _node(world: World, name: str) -> None:
    number = world.number(name)
    _plug(name)
    own = pod(number)
    lines = [
        "link set lo up",
        "link set eth0 up",
        "link add cni0 type bridge mcast_snooping 0",
        f"link add pod type veth peer name eth0 netns {PREFIX}pod-{name}",
        "link set pod master cni0",
        "link set pod up",
        "link set cni0 up",
        f"address add 10.244.{number}.1/24 dev cni0",
        f"address add fd00:244:{number}::1/64 dev cni0 nodad",
        f"address add 192.0.2.1{number}/24 dev eth0",
        f"address add 2001:db8::1{number}/64 dev eth0 nodad",
        f"route add default via {GATEWAY[4]}",
        f"route add default via {GATEWAY[6]}",
    ]
    for other in range(1, len(world.nodes) + 1):
        if other != number:
            lines.append(f"route add 10.244.{other}.0/24 via 192.0.2.1{other}")
            lines.append(f"route add fd00:244:{other}::/64 via 2001:db8::1{other}")
    _ip(name, lines)
    run(name, "nft -f -", _MASQUERADE)
    _ip(
        f"pod-{name}",
        [
            "link set lo up",
            "link set eth0 up",
            f"address add {own[4]}/24 dev eth0",
            f"address add {own[6]}/64 dev eth0 nodad",
            f"route add default via 10.244.{number}.1",
            f"route add default via fd00:244:{number}::1",
        ],
    )
    world.serve(f"pod-{name}", *own.values())


def ask(namespace: str, server: IPAddress, *, port: int = PORT, seconds: float = 2.0) -> IPAddress:
    """The address that `server` saw a TCP connection from that namespace come from. OSError if there was none."""
    with inside(namespace):
        link = socket.socket(socket.AF_INET if server.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    with link:
        link.settimeout(seconds)
        link.connect((str(server), port))
        return ip_address(link.recv(100).decode())


def answers_echo(namespace: str, address: IPAddress) -> bool:
    """Whether `address` answers one ICMP echo request from that namespace within a second."""
    with inside(namespace):
        argv = ["ping", "-n", "-c", "1", "-W", "1", str(address)]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0


class Capture:
    """Frames that pass a device, from now on."""

    def __init__(self, namespace: str, device: str = "eth0") -> None:
        with inside(namespace):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind((device, _ETH_P_ALL))
        self._socket.setblocking(False)

    def packets(self) -> list["Packet"]:
        """The IP packets seen since the last call, without neighbour discovery and what else is for the link alone: the
        kernel reports its multicast groups (RFC 3810) at moments of its own."""
        found = []
        with suppress(BlockingIOError):
            while True:
                frame = self._socket.recv(65536)
                kind = int.from_bytes(frame[12:14], "big")
                if kind == 0x0800:
                    offset = 14 + (frame[14] & 15) * 4
                    found.append(Packet(ip_address(frame[26:30]), ip_address(frame[30:34]), frame[23], frame[offset:]))
                elif kind == 0x86DD and frame[20] != 58 and frame[38:40] != b"\xff\x02":
                    found.append(Packet(ip_address(frame[22:38]), ip_address(frame[38:54]), frame[20], frame[54:]))
        return found

    def close(self) -> None:
        self._socket.close()


@dataclass(frozen=True)
class Packet:
    """An IP packet: addresses, protocol number, and what follows the header."""

    source: IPAddress
    destination: IPAddress
    protocol: int
    payload: bytes


@contextmanager
def capture(namespace: str, device: str = "eth0") -> Iterator[Capture]:
    """What passes a device meanwhile."""
    made = Capture(namespace, device)
    try:
        yield made
    finally:
        made.close()


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether `condition` comes true within that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
