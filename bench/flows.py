"""Open connections over three gateways while one goes, one comes and one drains: how many of those on the others break.

Beside Sallyport, on the same kernel: a router that spreads by a plain multipath route, and one by a resilient next-hop
group, over gateways that translate as Sallyport's do.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench import scene
from bench.figures import Figure
from bench.spread import WAYS, Spread, Way
from sallyport.apis.core import PODS
from sallyport.lab import namespaces
from sallyport.lab.ask import PORTS, Echo
from sallyport.lab.driving import Lab, until

CONNECTIONS, RUNS = 400, 3
REMOVED, ADDED, DRAINED = CHANGES = ("one is removed", "one is added", "one drains")
PATIENCE = 3.0
"""Seconds within which a connection that lives sends a line back. One is made within that, too, although its port may
be that of an earlier one to an address that was given anew, which the server has still: it is tried again after one."""


@dataclass(frozen=True, slots=True)
class Held:
    """An open connection, and the source that the server saw."""

    echo: Echo
    source: str

    @property
    def alive(self) -> bool:
        """Whether a line comes back over it."""
        try:
            return self.echo.ask()[0] == self.source
        except (OSError, ValueError):
            return False


@dataclass(frozen=True, slots=True)
class Broken:
    """Connections that are dead after a change: on gateways that stay, and on the one that goes or drains. `fresh` are
    those of as many new ones that a gateway which was added gets, in percent."""

    staying: int
    going: int
    fresh: float = 0.0


@contextlib.contextmanager
def holding(namespace: str, server: str) -> Iterator[list[Held]]:
    """Connections from a namespace to a server's echo port, open while the block runs."""
    held: list[Held] = []
    with contextlib.ExitStack() as stack:

        def opened() -> None:
            for _ in range(CONNECTIONS):
                echo = stack.enter_context(Echo(server, PORTS["tcp"], PATIENCE))
                held.append(Held(echo, echo.ask()[0]))

        namespaces.inside(namespace, opened)
        yield held


def broken(held: list[Held], going: str, *, drained: bool = False) -> Broken:
    """Asks over each of them once; over those of the one that goes only where it is `drained`: else they are lost."""
    dead = [item.source for item in held if (item.source != going or drained) and not item.alive]
    return Broken(sum(source != going for source in dead), dead.count(going))


def measure() -> list[Figure]:
    """For each way of spreading and each change, connections that broke, of several runs."""
    found: dict[tuple[str, str], list[Broken]] = {}
    with scene.lab("bnf") as lab, Spread() as spread:
        scene.furnish(lab, 3)
        for _ in range(RUNS):
            for change in CHANGES:
                found.setdefault(("Sallyport", change), []).append(_ours(lab, change))
                for way in WAYS:
                    found.setdefault((way.name, change), []).append(_theirs(spread, way, change))
    return [figure for (name, change), items in found.items() for figure in _figures(name, change, items)]


def _figures(name: str, change: str, items: list[Broken]) -> Iterator[Figure]:
    of = f"of {CONNECTIONS}"
    yield Figure(f"{change}, {name}: broken on the others", of, tuple(float(item.staying) for item in items))
    if change == ADDED:
        yield Figure(f"{change}, {name}: new connections that it gets", "%", tuple(item.fresh for item in items))
    if change == DRAINED:
        yield Figure(f"{change}, {name}: broken on itself", of, tuple(float(item.going) for item in items))


def _theirs(spread: Spread, way: Way, change: str) -> Broken:
    """The last of three goes, or a fourth comes. Neither way knows what draining is: it is taken out of the route."""
    spread.begin(way, 3)
    adding = change == ADDED
    with holding(spread.client, spread.server) as held:
        time.sleep(way.quiet)  # the group's idle timer is what is shown
        spread.use(way, 4 if adding else 2)
        time.sleep(way.quiet)
        found = broken(held, "" if adding else spread.source(3), drained=change == DRAINED)
        return replace(found, fresh=share(spread.client, spread.server, {spread.source(4)})) if adding else found


def share(namespace: str, server: str, sources: set[str]) -> float:
    """How many of new connections have these sources, in percent."""
    with holding(namespace, server) as held:
        return 100 * sum(item.source in sources for item in held) / len(held)


def _ours(lab: Lab, change: str) -> Broken:
    """A pod goes by force, a replica comes, or a pod is deleted and has its time to end."""
    scene.apply(lab, scene.gateway(3))
    scene.stand(lab, 3)
    before = set(scene.ready(lab))
    space = lab.space(scene.CLIENT)
    with holding(space, scene.SERVER) as held:
        if change == ADDED:
            scene.apply(lab, scene.gateway(4))
            scene.stand(lab, 4)
            return replace(broken(held, ""), fresh=share(space, scene.SERVER, set(scene.ready(lab)) - before))
        if change == REMOVED:
            return broken(held, _remove(lab))
        return broken(held, _drain(lab), drained=True)


def _remove(lab: Lab) -> str:
    source, row = min(scene.ready(lab).items())
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
    path = PODS.path("default", row.pod)
    scene.on_api(lab, lambda client: client.request("DELETE", path, body=options))
    _leaves(lab, source)
    return source


def _drain(lab: Lab) -> str:
    source, row = min(scene.ready(lab).items())
    scene.on_api(lab, lambda client: client.delete(PODS, row.pod, "default"))
    _leaves(lab, source)
    return source


def _leaves(lab: Lab, source: str) -> None:
    """Wait until no new connection has that source: the change is in force."""
    until(lambda: all(lab.ask(scene.CLIENT, "tcp", scene.SERVER).source != source for _ in range(24)), "it goes", 20)
