"""Two nodes in namespaces, programmed by the product's own plan and drivers, without API, agents or BIRD.

    pods ── first ── second ── outside

Clients are on the first node, egress IPs on the second. One pod's namespace answers for all clients' addresses.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.serving import DROPPED
from bench.traffic import BURST
from sallyport.drivers.command import DriverError, batch, run
from sallyport.drivers.kernel import Kernel
from sallyport.lab import namespaces
from sallyport.model.kernel import KernelObject
from sallyport.model.plan import NodeFacts, Uplink
from sallyport.model.settings import Settings
from sallyport.model.state import Client, ClusterState, Exit, Networks, Node, ObjectRef
from sallyport.plan.cluster import recorded
from sallyport.plan.node import plan_node
from sallyport.reconcile.diff import diff
from sallyport.reconcile.sequence import sequence

PODS = ip_network("10.128.0.0/16")
POOL = IPv4Address("198.18.0.0")
SERVER = "203.0.113.1"
UNDERLAY = {"first": "192.0.2.1", "second": "192.0.2.2"}
PLAIN = 77
"""VNI and table of a VXLAN device beside ours, which no rule of ours looks at."""
MEMORY = Path("/sys/fs/cgroup/memory")


@dataclass(frozen=True, slots=True)
class Programmed:
    """What it took to write a node's part: seconds, and bytes of the kernel's memory (0 where it does not tell)."""

    seconds: float
    memory: int


class Crossing:
    """The namespaces, there while the block runs, with so many clients and egress IPs."""

    def __init__(self, name: str, clients: int, exits: int) -> None:
        self._prefix = f"bnx{os.getpid()}{name}-"
        self._folder = TemporaryDirectory()
        self._state = _state(clients, exits)
        self.client = str(PODS[10 + clients - 1])
        self.programmed: dict[str, Programmed] = {}

    def __enter__(self) -> "Crossing":
        try:
            self._build()
            for node in UNDERLAY:
                self.programmed[node] = self._program(node)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        namespaces.remove(self._space(name) for name in ("pods", *UNDERLAY, "outside"))
        self._folder.cleanup()

    def take(self, plain: bool) -> None:
        """The plain way or ours. For the plain one our tables sleep, and no rule of ours is looked at."""
        for node in UNDERLAY:
            flags = " { flags dormant; }" if plain else ""
            namespaces.nft(self._space(node), f"add table inet {Settings().table_name}{flags}\n")
        ways = {"first": f"priority 9 iif eth0 lookup {PLAIN}", "second": f"priority 9 iif plain lookup {PLAIN}"}
        for node, rule in ways.items():
            with contextlib.suppress(DriverError):
                self._ip(node, f"rule del {rule}")
            if plain:
                self._ip(node, f"rule add {rule}")
        self.warm()

    def costs(self, rounds: int) -> list[float]:
        """CPU time of a small packet from a client to the server, through both nodes: nanoseconds, of each round.
        Raises DriverError where one was lost."""
        before = self._received()
        found = self._burst(rounds)
        lost = rounds * BURST - (self._received() - before)
        if lost:
            raise DriverError(f"{lost} packets of {rounds * BURST} did not arrive")
        return found

    def warm(self) -> None:
        """Let neighbours be asked for, and the connection begin; of these packets some may be lost."""
        self._burst(3)

    def _burst(self, rounds: int) -> list[float]:
        argv = [sys.executable, "-m", "bench.traffic", "burst", self.client, SERVER, str(rounds)]
        done = run(["ip", "netns", "exec", self._space("pods"), *argv])
        return list(json.loads(done.stdout))

    def _space(self, name: str) -> str:
        return self._prefix + name

    def _received(self) -> int:
        done = run(["ip", "netns", "exec", self._space("outside"), "nft", "-j", "list", "table", "inet", "bench"])
        rules = [item["rule"] for item in json.loads(done.stdout)["nftables"] if "rule" in item]
        return int(next(part["counter"]["packets"] for part in rules[0]["expr"] if "counter" in part))

    def _ip(self, name: str, *lines: str) -> None:
        if failures := batch(f"ip -n {self._space(name)}", lines):
            raise DriverError(failures[0])

    def _build(self) -> None:
        names = ("pods", *UNDERLAY, "outside")
        if failures := batch("ip", [f"netns add {self._space(name)}" for name in names]):
            raise DriverError(failures[0])
        for name in names:
            sysctls = [("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/all/rp_filter", "0")]
            namespaces.set_sysctls(self._space(name), [*sysctls, ("net/ipv4/conf/default/rp_filter", "0")])
            self._ip(name, "link set lo up")
        for left, right in (("pods", "first"), ("first", "second"), ("second", "outside")):
            ends = f"name to-{right} netns {self._space(left)} type veth peer name eth0 netns {self._space(right)}"
            if failures := batch("ip", [f"link add {ends}"]):
                raise DriverError(failures[0])
            self._ip(left, f"link set to-{right} up")
            self._ip(right, "link set eth0 up")
        self._address()
        namespaces.nft(self._space("outside"), f"table inet bench {{\nchain c {{\n{DROPPED}\n}}\n}}\n")

    def _address(self) -> None:
        """What sends in one go is sent packet by packet (`gso_max_segs`): each meets every rule by itself."""
        self._ip(
            "pods",
            "link set to-first gso_max_segs 1",
            f"route add local {PODS} dev lo",
            "address add 10.129.0.2/24 dev to-first",
            "route add default via 10.129.0.1",
        )
        self._ip(
            "first",
            "address add 10.129.0.1/24 dev eth0",
            "address add 192.0.2.1/30 dev to-second",
            f"route add {PODS} via 10.129.0.2",
            "route add default via 192.0.2.2",
            *self._plain("192.0.2.1", "192.0.2.2"),
            f"route add default dev plain table {PLAIN} via 10.77.0.2 onlink",
        )
        self._ip(
            "second",
            "address add 192.0.2.2/30 dev eth0",
            "address add 203.0.113.2/24 dev to-outside",
            f"route add {PODS} via 192.0.2.1",
            *self._plain("192.0.2.2", "192.0.2.1"),
            f"route add 203.0.113.0/24 dev to-outside table {PLAIN}",
        )
        self._ip("outside", f"address add {SERVER}/24 dev eth0", "route add default via 203.0.113.2")

    @staticmethod
    def _plain(local: str, remote: str) -> tuple[str, ...]:
        own = local.rpartition(".")[2]
        return (
            f"link add plain mtu 1450 type vxlan id {PLAIN} dstport 4791 local {local} remote {remote}",
            f"address add 10.77.0.{own}/24 dev plain",
            "link set plain up",
        )

    def _program(self, node: str) -> Programmed:
        wanted = _plan(node, self._state)
        return namespaces.inside(self._space(node), lambda: self._apply(node, wanted))

    def _apply(self, node: str, wanted: tuple[KernelObject, ...]) -> Programmed:
        kernel = Kernel(Settings(), Path(self._folder.name) / node)
        with _accounted() as memory:
            began = time.perf_counter()
            failures = kernel.apply(sequence(diff(wanted, kernel.read())))
            made = Programmed(time.perf_counter() - began, memory())
        if failures:
            raise DriverError(failures[0])
        return made


def planned(node: str, clients: int, exits: int) -> tuple[KernelObject, ...]:
    """What a node is to hold with so many of both."""
    return _plan(node, _state(clients, exits))


def _plan(node: str, state: ClusterState) -> tuple[KernelObject, ...]:
    device = "to-second" if node == "first" else "eth0"
    address = ip_address(UNDERLAY[node])
    uplink = Uplink(device, address, (ip_network("192.0.2.0/30"),), 1500)
    facts = NodeFacts(node, uplinks={4: uplink}, addresses={address: device})
    own = {key: item for key, item in state.clients.items() if item.node == node}
    seen = replace(state, clients=own)
    return plan_node(seen, recorded(seen), facts, Settings()).objects


def _state(clients: int, exits: int) -> ClusterState:
    """Client n goes by exit n modulo their number; where there are more exits than clients, the others have none."""
    pods = [Client("default", f"pod-{n}", "first", (PODS[10 + n],)) for n in range(clients)]
    found = {
        f"exit-{n}": Exit(
            ref=ObjectRef("Egress", f"exit-{n}"),
            created="2026-01-01T00:00:00Z",
            requested=POOL + n,
            pools=("ExternalIPPool/pool",),
            clients=tuple(item.key for item in pods[n::exits]),
            decided=POOL + n,
            id=n + 1,
            nodes=("second",),
            holder="second",
        )
        for n in range(exits)
    }
    nodes = {
        "first": Node("first", (ip_address(UNDERLAY["first"]),), (PODS,)),
        "second": Node("second", (ip_address(UNDERLAY["second"]),), ()),
    }
    clients_ = {item.key: item for item in pods}
    return ClusterState(nodes, exits=found, clients=clients_, networks=Networks(pods=(PODS,)))


@contextlib.contextmanager
def _accounted() -> Iterator[Callable[[], int]]:
    """What the kernel's memory grows by, for this process and the commands that it starts meanwhile, where the machine
    has the cgroup controller that tells."""
    if not (MEMORY / "cgroup.procs").exists():
        yield lambda: 0
        return
    group = MEMORY / f"bench-{os.getpid()}-{time.monotonic_ns()}"
    group.mkdir()
    pid = str(os.getpid())
    used = group / "memory.kmem.usage_in_bytes"
    (group / "cgroup.procs").write_text(pid)
    try:
        yield lambda: int(used.read_text())
    finally:
        (MEMORY / "cgroup.procs").write_text(pid)
        with contextlib.suppress(OSError):  # one that is charged for what goes on living goes when that does
            group.rmdir()
