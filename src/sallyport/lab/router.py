"""BGP on a lab's outside routers: one BIRD in the namespace of each router that has `bgp` in the topology.

Such a router waits for nodes to peer with it, tells them the networks that it leads to, and learns from them the way
back to single addresses. It is the other side's equipment: nothing of the product runs on it, and it never dials.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from sallyport.drivers.command import DriverError, run
from sallyport.lab import names, namespaces
from sallyport.lab.children import Kept, spawn
from sallyport.lab.record import Record
from sallyport.lab.topology import Bgp, Router, Topology
from sallyport.model.state import FAMILIES

ESTABLISHED = "Established"
"""The state of a session that is up (RFC 4271, section 8.2.2)."""

_FIRST_ID = 1 << 24
"""Below this an IPv4 address is none (RFC 1122, section 3.2.1.3), and so no router id either."""
_LENGTH = {4: 32, 6: 128}


def render(router: Router, bgp: Bgp) -> str:
    """The router's bird.conf.

    What it announces stands in BIRD only: its kernel has these networks on its links. A host route from a node goes
    into its kernel; another kind of route does not, so that no network comes back to it by way of a node.
    """
    lines = ["log stderr all;", f"router id {router_id(router)};", "protocol device {}"]
    for family in FAMILIES:
        lines += [
            f"protocol static announced{family} {{",
            f"  ipv{family};",
            *(f"  route {network} blackhole;" for network in bgp.announces if network.version == family),
            "}",
            f"protocol kernel kernel{family} {{",
            f"  ipv{family} {{ import none; export where source = RTS_BGP; }};",
            "}",
        ]
    if bgp.bfd:
        lines.append(
            'protocol bfd { interface "*" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }'
        )
    # After an error BIRD refuses the peer for a minute and more if it is not told otherwise.
    lines += ["template bgp node {", f"  local as {bgp.asn};", "  error wait time 1, 1;"]
    if bgp.password:
        lines.append(f'  password "{bgp.password}";')
    if bgp.bfd:
        lines.append("  bfd on;")
    for family in FAMILIES:
        wanted = f"import where net.len = {_LENGTH[family]}"
        lines.append(f"  ipv{family} {{ {wanted}; export where source = RTS_STATIC; }};")
    lines.append("}")
    for index, network in enumerate(bgp.peers):
        lines.append(
            f'protocol bgp nodes{index} from node {{ neighbor range {network} external; dynamic name "node"; }}'
        )
    return "\n".join([*lines, ""])


def router_id(router: Router) -> IPv4Address:
    """Its first IPv4 address; without one, the low 32 bits of its first address, moved to where addresses are."""
    for item in router.attachments:
        if isinstance(item.address, IPv4Address):
            return item.address
    return IPv4Address(int(router.attachments[0].address) % _FIRST_ID + _FIRST_ID)


class Routers:
    """The BIRDs of a lab's routers, each kept running until it is stopped."""

    def __init__(self, topology: Topology, record: Record) -> None:
        self._topology, self._record = topology, record
        self._running: dict[str, Kept] = {}

    async def run(self) -> None:
        """Start all of them, without waiting for a session."""
        speakers = [router.name for router in self._topology.routers if router.bgp is not None]
        await asyncio.gather(*(self.start(name) for name in speakers))

    async def start(self, name: str) -> None:
        """Start the BIRD of a router. DriverError where there is none to start."""
        router, bgp = self._speaker(name)
        if name in self._running:
            raise DriverError(f"{name} runs already")
        folder = self._record.runtime(name)
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "bird.conf"
        config.write_text(render(router, bgp))
        # -f keeps it in the foreground, as a child; -s and -P keep its files apart from those of other BIRDs.
        argv = ["bird", "-f", "-c", str(config), "-s", str(control(folder)), "-P", str(folder / "bird.pid")]
        within = namespaces.command(names.namespace(self._topology.name, name), argv)
        begin = partial(spawn, within, self._record.log(child(name)), {})
        self._running[name] = Kept(child(name), begin, self._record.note)
        await self._running[name].start()

    async def stop(self, name: str) -> None:
        """End it: its peers and its kernel are told. DriverError where it does not run."""
        await self._end(name, kill=False)

    async def kill(self, name: str) -> None:
        """SIGKILL it: the routes that it learned stay in its kernel until it is started again. DriverError as above."""
        await self._end(name, kill=True)

    async def _end(self, name: str, *, kill: bool) -> None:
        self._speaker(name)
        kept = self._running.pop(name, None)
        if kept is None:
            raise DriverError(f"{name} is stopped already")
        await kept.stop(kill=kill)

    async def close(self) -> None:
        """End all of them."""
        running, self._running = self._running, {}
        await asyncio.gather(*(kept.stop() for kept in running.values()))

    def _speaker(self, name: str) -> tuple[Router, Bgp]:
        speakers = {router.name: (router, router.bgp) for router in self._topology.routers if router.bgp is not None}
        if name not in speakers:
            known = ", ".join(speakers) or "none"
            raise DriverError(f"{name} is not a router with bgp of this lab: {known}")
        return speakers[name]


def child(router: str) -> str:
    """The name of a router's BIRD among the lab's processes."""
    return f"bird-{router}"


def control(folder: Path) -> Path:
    """The control socket of a router's BIRD, in its runtime directory."""
    return folder / "bird.ctl"


@dataclass(frozen=True, slots=True)
class Session:
    """A BGP session as the router sees it: the node's address, its AS, and the state of RFC 4271, section 8.2.2."""

    neighbor: str
    asn: int
    state: str


def sessions(record: Record, router: str) -> tuple[Session, ...]:
    """The sessions that nodes have opened; none while the router's BIRD does not answer."""
    done = run(["birdc", "-s", str(control(record.runtime(router))), "show", "protocols", "all"])
    return parse_sessions(done.stdout.splitlines()) if done.returncode == 0 else ()


def parse_sessions(lines: Iterable[str]) -> tuple[Session, ...]:
    """Sessions from what `birdc show protocols all` prints. What waits for nodes has no address."""
    found: list[Session] = []
    state = neighbor = ""
    for line in lines:
        key, _, value = line.strip().partition(": ")
        if key == "BGP state":
            state = value.strip()
        elif key == "Neighbor address":
            neighbor = value.strip()
        elif key == "Neighbor AS" and neighbor:
            found.append(Session(neighbor, int(value), state))
            neighbor = ""
    return tuple(sorted(found, key=lambda item: item.neighbor))
