"""A lab with two external networks and gateways to them, and what is seen on each of the wires out of the cluster.

Both networks have the same addresses, so where a request went is told by the wire that it was captured on: a packet on
a wrong one, or from a source that is not expected there, is a leak. What a test does to the cluster it does within
`on_wires`.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

from tests.lab.labs import await_accounts
from tests.lab.manifests import (
    CODE,
    GATEWAYS,
    SECRETS,
    STANDING,
    Object,
    asking_for,
    client,
    felix,
    gateway,
    listed,
    namespace,
    network,
    peer,
    pool,
)
from tests.lab.scene import Flows, Scene, Side, becomes

from sallyport.apis.calico.bgp import BGPFILTERS, BGPPEERS, BGPPeerStatus
from sallyport.apis.calico.pods import GATEWAY_PODS
from sallyport.apis.calico.types import EGRESSGATEWAYS, EXTERNALNETWORKS, IPPOOLS, EgressGatewayStatus
from sallyport.apis.core import PODS, Condition
from sallyport.apis.core import SECRETS as SECRET_KIND
from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.lab import names, namespaces
from sallyport.lab.driving import Capture, Frame, Lab, until

TOPOLOGY = str(Path(__file__).with_name("two-networks.yaml"))

BOTH = {4: Side(4, "105.8.10.1", "10.10.0."), 6: Side(6, "2001:db8:105::1", "fd10:10::")}
"""By family, the address that a host of red and one of yellow have, and whom the way to the internet does not know."""
INTERNET = {4: Side(4, "203.0.113.10", "10.10.0."), 6: Side(6, "2001:db8:113::10", "fd10:10::")}
"""The host on the internet."""
PRINTER = {
    "red": {4: "198.51.100.1", 6: "2001:db8:51::1"},
    "yellow": {4: "198.51.100.129", 6: "2001:db8:52::1"},
}
"""A host of each network whose address the other one has not."""
SHARED = {4: "105.8.10.0/24", 6: "2001:db8:105::/64"}
"""What both routers announce."""
ROUTERS = {"red": "red-router", "red-two": "red-two", "yellow": "yellow-router", "internet": "router"}
"""The machine at the other end of each wire."""
TABLES = {"red": 500, "yellow": 600}
AS = {"red": 63400, "yellow": 63500}
PEER = {"red": {4: "172.31.11.1", 6: "fd31:11::1"}, "yellow": {4: "172.31.12.1", 6: "fd31:12::1"}}
GATE = {4: "10.10.0.1", 6: "fd10:10::1"}
"""The router of the way to the internet."""
LINK = {"red": ("eth1", "172.31.11.", "fd31:11::"), "yellow": ("eth2", "172.31.12.", "fd31:12::")}
"""On node-2 and node-3: the device on a network's link, and what addresses begin with there."""
PLACE = {"red": "node-2", "yellow": "node-2", "either": "node-3", "hosted": "node-3", "open": "node-3"}
"""The nodes of the standing gateways: those of red and yellow share one."""
POOLS = {f"{name}-4": f"10.20.{index}.0/29" for index, name in enumerate(PLACE)}
POOLS |= {f"{name}-6": f"fd10:20:0:{index}::/125" for index, name in enumerate(PLACE)}
"""The networks of the gateways' pools, by the pools' names."""
CLIENTS = ("red", "yellow", "either", "hosted", "open", "lost", "plain")
"""Namespaces with a pod `app` on node-1, which uses the gateway of that name; `lost` selects gateways that are nowhere,
and `plain` selects none."""

_HOSTS = [side.server for side in (*BOTH.values(), *INTERNET.values())]
_HOSTS += [address for each in PRINTER.values() for address in each.values()]
# An ICMP error about an answer whose asker has gone is seen late, when another test has begun.
_ERRORS = "icmp[icmptype] == icmp-unreach or (icmp6 and ip6[40] == 1)"
_EXPRESSION = f"({' or '.join(f'dst host {host}' for host in _HOSTS)}) and not ({_ERRORS})"


def cluster() -> list[Object]:
    """What stands for all tests: two networks with a BFD-watched peer per family, and five gateways."""
    made = [felix()]
    made += [peer(f"internet-{family}", address, 63600, labels=STANDING) for family, address in GATE.items()]
    for name, table in TABLES.items():
        made.append(network(name, table, STANDING))
        made += [standing_peer(name, family) for family in (4, 6)]
    for name in PLACE:
        more = {"natOutgoing": name == "hosted"}
        made += [pool(item, POOLS[item], STANDING, **more) for item in (f"{name}-4", f"{name}-6")]
        made.append(standing_gateway(name))
    for name in CLIENTS:
        made.append(namespace(name, asking_for(name) if name != "plain" else {}))
    return made


def standing_peer(name: str, family: int, **more: object) -> Object:
    """The session with a network's router over a family."""
    fast = {"failureDetectionMode": "BFDIfDirectlyConnected", **more}
    return peer(f"{name}-{family}", PEER[name][family], AS[name], name, STANDING, **fast)


def standing_gateway(name: str, networks: Sequence[str] | None = None, **more: object) -> Object:
    """The gateway of that name; `networks` other than its own, if given."""
    own = {"red": ["red"], "yellow": ["yellow"], "either": ["red", "yellow"]}.get(name, [])
    whole: Mapping[str, object] = {"node": PLACE[name], "labels": STANDING, **more}
    return gateway(name, [f"{name}-4", f"{name}-6"], own if networks is None else networks, **whole)  # type: ignore[arg-type]


def connection(frame: Frame) -> tuple[str, int, str]:
    """What tells a client's connections apart; without a port there is nothing that does."""
    return frame.source, frame.port, frame.destination


@dataclass
class Networks(Scene):
    """The lab with its standing gateways and clients. `wires` are captures by name, as in ROUTERS."""

    wires: Mapping[str, Capture] = field(default_factory=dict)
    _edited: bool = False

    # Objects

    def apply(self, *objects: Object) -> None:
        """As a user does; what stood before stands again after the test."""
        self._edited = True
        self.lab.kubectl("apply", "-f", "-", text=listed(*objects))

    def delete(self, kind: str, *names: str) -> None:
        """Delete, and wait until they are gone; what stood before stands again after the test."""
        self._edited = True
        super().delete(kind, *names)

    def gateway(self, name: str) -> EgressGatewayStatus:
        """The status of a gateway."""
        return self.get(EGRESSGATEWAYS, name, GATEWAYS).status

    def peer(self, name: str) -> BGPPeerStatus:
        """The status of a peer."""
        return self.get(BGPPEERS, name).status

    def addresses_of(self, name: str, family: int, *, ready: bool = True) -> set[str]:
        """The addresses of a gateway's pods that carry traffic, or of all of them."""
        rows = [row for row in self.gateway(name).gateways if row.ready or not ready]
        return {address for row in rows for address in row.addresses if (":" in address) == (family == 6)}

    def address(self, name: str, family: int) -> str:
        """The address of a gateway of one pod."""
        (found,) = self.addresses_of(name, family)
        return found

    def ready(self, name: str) -> int:
        """How many pods of a gateway are ready and, asked now, still say so: none of these is about to be taken for
        unready because of what has been."""
        pods = [pod for pod in self.listed(GATEWAY_PODS, GATEWAYS) if pod.metadata.labels.get(CODE) == name]
        fine = [pod for pod in pods if not pod.metadata.deletion_timestamp and self._says_ready(pod.metadata.name)]
        return sum(self.get(GATEWAY_PODS, pod.metadata.name, GATEWAYS).ready for pod in fine)

    def _says_ready(self, pod: str) -> bool:
        def asked() -> bool:
            with contextlib.closing(HTTPConnection("127.0.0.1", 8080, timeout=1)) as link:
                link.request("GET", "/readiness")
                return link.getresponse().status == 200

        try:
            return namespaces.inside(self.lab.space(f"{GATEWAYS}/{pod}"), asked)
        except OSError:
            return False

    def told(self, conditions: Sequence[Condition], kind: str) -> tuple[str, str]:
        """Status and reason of a condition; "" where there is none."""
        return next(((item.status, item.reason) for item in conditions if item.type == kind), ("", ""))

    def of_network(self, name: str) -> tuple[str, str]:
        """Whether a network is ready, and why not."""
        return self.told(self.get(EXTERNALNETWORKS, name).status.conditions, "Ready")

    def of_peer(self, name: str) -> tuple[str, str]:
        """Whether a peer's sessions are established, and why not."""
        return self.told(self.peer(name).conditions, "Established")

    def of_gateway(self, name: str, kind: str) -> tuple[str, str]:
        """A condition of a gateway."""
        return self.told(self.gateway(name).conditions, kind)

    def annotations(self, space: str, name: str) -> Mapping[str, str]:
        """Those of a pod."""
        return self.get(PODS, name, space).metadata.annotations

    def command(self, *words: str) -> None:
        """`sallyport lab ...` about this lab; all is seen to be as before after the test."""
        self._edited = True
        self.lab.sallyport("lab", *words, "--name", self.lab.name)

    # Packets

    @contextlib.contextmanager
    def on_wires(self, **allowed: set[str]) -> Iterator[None]:
        """While the block runs, no request is seen on a wire but from the sources that are allowed there. What a wire
        saw of a connection before is no new request: its end may be late, by many tests."""
        before = {wire: len(capture.settle()) for wire, capture in self.wires.items()}
        yield
        for wire, capture in self.wires.items():
            frames = capture.settle()
            known = {connection(frame) for frame in frames[: before[wire]] if frame.port}
            seen = {frame.source for frame in frames[before[wire] :] if connection(frame) not in known}
            wrong = seen - allowed.get(wire, set())
            assert not wrong, f"a request went to {wire} from {wrong}; only {allowed.get(wire, set())} may"

    def served_by(self, gateway: str) -> set[str]:
        """The addresses of all pods that a gateway has, of both families."""
        return {address for family in BOTH for address in self.addresses_of(gateway, family, ready=False)}

    def served(self, *gateways: str) -> dict[str, set[str]]:
        """What `on_wires` allows where each of the gateways red and yellow serves its own network."""
        return {name: self.served_by(name) for name in gateways}

    def goes(self, pod: str, side: Side, wire: str, source: str, node: str, *, host: str = "") -> None:
        """A request to `host`, the shared address if not given, goes out on that wire with that source from that node,
        comes back, and is traced so."""
        destination = host or side.server
        before = len(self.wires[wire].settle())
        with self.on_wires(**{wire: {source}}):
            asked = self.lab.ask(pod, "http", destination)
        assert asked.source == source, f"{pod} was seen from {asked.source or asked.error}, not from {source}"
        device = {"red": "eth1", "red-two": "eth1", "yellow": "eth2"}.get(wire, "eth0")
        frames = [frame for frame in self.wires[wire].frames[before:] if frame.port == asked.port]
        assert {frame.mac for frame in frames} == {names.mac(node, device)}, f"it came by {frames}"
        becomes(lambda: self.trace(pod, destination), [(source, node)], 3.0)

    def stays(self, pod: str, side: Side) -> None:
        """A request does not leave the cluster, and is traced so."""
        with self.on_wires():
            asked = self.asked(pod, side, "http", 0.3)
        assert not asked.source, f"{pod} was seen from {asked.source}"
        becomes(lambda: self.trace(pod, side.server), [("", "")], 3.0)

    def comes_to_go(self, pod: str, side: Side, sources: set[str], seconds: float = 15.0) -> None:
        """Within some seconds requests are answered, and seen from one of these sources."""
        until(lambda: self.asked(pod, side).source in sources, f"{pod} is seen from {sources}", seconds)

    def comes_to_stay(self, pod: str, side: Side, seconds: float = 5.0) -> None:
        """Within some seconds requests are not answered any more; UDP hears of it at once."""
        until(lambda: not self.asked(pod, side).source, f"{pod} is dropped", seconds)

    @contextlib.contextmanager
    def undisturbed(self, *pods: str, protocol: str = "http") -> Iterator[Sequence[Flows]]:
        """While the block runs, the pods make 50 requests a second in each family, and each of them is answered and
        seen from where the first ones were."""
        with contextlib.ExitStack() as stack:
            flows = [stack.enter_context(self.flowing(pod, *BOTH.values(), protocol=protocol)) for pod in pods]
            yield flows
            after(flows, 10)
        for flow in flows:
            for asked in flow.values():
                other = [item for item in asked if item.source != asked[0].source or item.error]
                assert not other, f"{len(other)} of {len(asked)} requests were lost or went elsewhere: {other[:3]}"

    @contextlib.contextmanager
    def asking(self, pod: str) -> Iterator[None]:
        """While the block runs, the pod makes 50 requests a second in each family, answered or not."""
        with self.flowing(pod, *BOTH.values(), protocol="udp", timeout=0.1):
            yield

    # Nodes and routers

    def routes(self, where: str, family: int, table: int | str = "main") -> set[str]:
        """The destinations of a routing table; `unreachable` routes are left out."""
        # Asked for all tables: one without any route is not there, and asked for it, ip fails.
        found = json.loads(self.lab.execute(where, "ip", f"-{family}", "-j", "route", "show", "table", "all"))
        here = [item for item in found if item.get("table", "main") == str(table)]
        return {item["dst"] for item in here if item.get("type") != "unreachable"}

    def hops(self, where: str, family: int, table: int | str, destination: str) -> set[tuple[str, str]]:
        """Next hop and device of the routes to a destination."""
        argv = ["ip", f"-{family}", "-j", "route", "show", destination, "table", str(table)]
        found = json.loads(self.lab.execute(where, *argv) or "[]")
        flat = [hop for item in found for hop in item.get("nexthops", [item])]
        return {(hop.get("gateway", ""), hop["dev"]) for hop in flat}

    def bird(self, machine: str, *words: str, check: bool = True) -> str:
        """What the BIRD of a node or router says."""
        socket = self.lab.record.runtime(machine) / "bird.ctl"
        return self.lab.execute(machine, "birdc", "-s", str(socket), *words, check=check)

    # Back to what stands

    def restore(self) -> None:
        """If a test has changed anything: remove what it made, put back what stood, and see all ordinary ways again."""
        if not self._edited:
            return
        self._sweep()
        self.lab.kubectl("apply", "-f", "-", text=listed(*cluster()))
        until(self.is_ordinary, "the ordinary ways are back", 30)
        self._edited = False

    def _sweep(self) -> None:
        async def swept() -> None:
            async with Client(load(str(self.lab.record.kubeconfig))) as client_:
                for resource, space in (
                    (EGRESSGATEWAYS, GATEWAYS),
                    (BGPPEERS, None),
                    (BGPFILTERS, None),
                    (EXTERNALNETWORKS, None),
                    (IPPOOLS, None),
                    (SECRET_KIND, SECRETS),
                ):
                    selector = {"labelSelector": "!standing"}
                    await client_.request("DELETE", resource.path(space), params=selector)

        asyncio.run(swept())

    def has_swept(self) -> bool:
        """Whether no gateway's pod is about to end: until it has ended, one that is deleted probes on."""
        pods = [pod.metadata for pod in self.listed(GATEWAY_PODS, GATEWAYS)]
        kept = {item.metadata.name for item in self.listed(EGRESSGATEWAYS, GATEWAYS)}
        return not any(pod.deletion_timestamp or pod.labels.get(CODE) not in kept for pod in pods)

    def is_ordinary(self) -> bool:
        """Whether every network, peer and gateway is well, and clients go where they should."""
        if any(self.of_network(name)[0] != "True" for name in TABLES):
            return False
        if not self.has_swept():
            return False
        peers = [f"{name}-{family}" for name in (*TABLES, "internet") for family in BOTH]
        if any(self.of_peer(name)[0] != "True" for name in peers):
            return False
        for name in PLACE:
            status = self.gateway(name)
            if status.state != "Ready" or len(status.gateways) != 1 or self.ready(name) != 1:
                return False
        return all(
            self.asked(f"{name}/app", side).source in self.addresses_of(name, side.family)
            for name in ("red", "yellow", "either")
            for side in BOTH.values()
        )


def after(flows: Sequence[Flows], count: int) -> None:
    """Wait for so many more requests of each flow."""
    wanted = [(asked, len(asked) + count) for flow in flows for asked in flow.values()]
    until(lambda: all(len(asked) >= number for asked, number in wanted), "requests flow")


@contextlib.contextmanager
def networks_of(lab: Lab) -> Iterator[Networks]:
    """The lab with its standing gateways, clients and captures."""
    with contextlib.ExitStack() as stack:
        wires = {
            wire: stack.enter_context(lab.capture(machine, _EXPRESSION, marker="" if wire == "internet" else "node-3"))
            for wire, machine in ROUTERS.items()
        }
        net = Networks(lab, wires["internet"], wires=wires)
        pods = [client(name, "app", 1) for name in CLIENTS] + [client(space, "near", 2) for space in ("red", "plain")]
        lab.kubectl("apply", "-f", "-", text=listed(*cluster()))
        await_accounts(lab, *CLIENTS)
        lab.kubectl("apply", "-f", "-", text=listed(*pods))
        for name in CLIENTS:
            lab.kubectl("wait", "-n", name, "--for=condition=Ready", "--timeout=20s", "pod", "--all")
        until(net.is_ordinary, "all gateways serve", 30)
        yield net
