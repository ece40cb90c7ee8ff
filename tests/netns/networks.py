"""What tests of external networks begin with: a node, its BIRD, and routers of two networks with the same addresses."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.moments import seconds
from tests.netns.routers import Outside, address
from tests.netns.world import PREFIX, World, eventually, inside, run

from sallyport.drivers.bird import Bird
from sallyport.drivers.birdconf import BirdObject, session_protocol
from sallyport.drivers.routing import Router
from sallyport.model.kernel import Bootstrap, Fib
from sallyport.model.state import FAMILIES, Family

RED, YELLOW, MERGED = 500, 600, 700
SHARED: dict[Family, str] = {4: "105.8.10.0/24", 6: "fd00:105:8::/48"}
ONLY_RED: dict[Family, str] = {4: "10.50.0.0/16", 6: "fd00:50::/32"}
ONLY_YELLOW: dict[Family, str] = {4: "10.60.0.0/16", 6: "fd00:60::/32"}
LINKS = [
    Bootstrap(network, link, "eth0") for network in ("red", "yellow") for link in ("192.0.2.0/24", "2001:db8::/64")
]
FIBS = [Fib(RED, ("red",)), Fib(YELLOW, ("yellow",)), Fib(MERGED, ("red", "yellow"))]


@dataclass
class Scene:
    """Node a with its BIRD, and the routers outside."""

    world: World
    folder: Path
    ending: ExitStack = field(default_factory=ExitStack)

    @property
    def bird(self) -> Bird:
        """The node's, each time as an agent has it that has just started."""
        return Bird(self.folder / "a")

    @property
    def sessions(self) -> dict[str, str]:
        """State of the BGP sessions."""
        return dict(Router(self.bird).sessions())

    def router(self, name: str, asn: int, *prefixes: str, **fields: object) -> Outside:
        """A router that runs."""
        made = Outside(self.world, name, self.folder / name, asn, prefixes, **fields)  # type: ignore[arg-type]
        self.ending.callback(made.stop)
        return made.start()

    def red(self, *more: str, **fields: object) -> Outside:
        """The router of network red."""
        return self.router("red", 65001, *SHARED.values(), *ONLY_RED.values(), *more, **fields)

    def yellow(self, **fields: object) -> Outside:
        """The router of network yellow."""
        return self.router("yellow", 65002, *SHARED.values(), *ONLY_YELLOW.values(), **fields)

    def change(self, *upserts: BirdObject, deletes: Iterable[BirdObject] = ()) -> list[str]:
        """Put that in force on the node; what failed."""
        with inside("a"):
            return self.bird.change(upserts, deletes)

    def have(self, *objects: BirdObject) -> None:
        """Have the node's BIRD hold exactly these."""
        wanted = {item.key for item in objects}
        others = [item for key, item in self.bird.configured().items() if key not in wanted]
        assert self.change(*objects, deletes=others) == []

    def kill(self, number: signal.Signals) -> None:
        """Send the node's BIRD a signal that ends it, and wait until it has."""
        pid = int((self.folder / "a" / "bird.pid").read_text())
        os.kill(pid, number)
        assert soon(lambda: not any(self.bird.read().values()) and not Path(f"/proc/{pid}/net").exists())


def soon(condition: Callable[[], bool]) -> bool:
    """Whether `condition` comes true within the time that BGP may take."""
    return eventually(condition, 15)


def via(router: Outside, family: Family = 4) -> set[str]:
    """The next hop of routes by a router: over IPv6 it is its link-local address."""
    if family == 4:
        return {address(router.number, 4)}
    with inside(router.name):
        text = subprocess.run(
            ["ip", "-6", "-o", "addr", "show", "eth0", "scope", "link"], capture_output=True, text=True
        )
    return {text.stdout.split()[3].partition("/")[0]}


def both(red: Outside, yellow: Outside, **fields: object) -> list[BirdObject]:
    """All that two networks and their merged table need, with sessions in both families."""
    speaking = [
        router.session(name, family, **fields)
        for name, router in (("red", red), ("yellow", yellow))
        for family in FAMILIES
    ]
    return [*FIBS, *LINKS, *speaking]


def since(scene: Scene, router: Outside, family: Family = 4) -> float:
    """The moment since when a session is up, in seconds of the day, as soon as it is."""
    name = session_protocol(router.session("", family).name)

    def columns() -> list[str]:
        (line,) = [line.split() for line in scene.bird.ask("show protocols") if line.split()[:1] == [name]]
        return line

    assert soon(lambda: columns()[3] == "up")
    return seconds(columns()[4])


@contextmanager
def monitored(path: Path) -> Iterator[Callable[[], list[str]]]:
    """What `ip monitor` tells of node a's routes meanwhile, so far."""
    with path.open("w") as output:
        monitor = subprocess.Popen(["ip", "netns", "exec", f"{PREFIX}a", "ip", "monitor", "route"], stdout=output)
    try:
        run("a", "ip route add 198.18.99.0/24 dev eth0")
        assert soon(lambda: touched("a", path))
        yield lambda: path.read_text().splitlines()
    finally:
        monitor.terminate()
        monitor.wait()
        run("a", "ip route del 198.18.99.0/24 dev eth0")


def touched(node: str, path: Path) -> bool:
    """Whether a change of a route, made here and now, is heard of."""
    run(node, "ip route replace 198.18.99.0/24 dev eth0 metric 0 mtu 1400")
    run(node, "ip route replace 198.18.99.0/24 dev eth0 metric 0 mtu 1401")
    return bool(path.read_text())
