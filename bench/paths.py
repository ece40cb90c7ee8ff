"""Throughput, rate and latency of new connections: through a gateway on another node, beside plain ways there.

All ways lead from the same pod over the same nodes, wires and router to the same server, and are measured in turn:

- plain: a VXLAN device between the nodes, routes, and no translation;
- translated: the same with one rule of source NAT on the second node;
- gateway: Sallyport's, with its tables and rules;
- pod: as translated, but the translation is in a pod's namespace on the second node, into which packets go and out of
  which they come back. Beside translated, it shows what it costs to send packets through a gateway's pod.

While another way than the gateway's is measured, the nftables tables of Sallyport and of the lab's CNI are dormant:
the gateway's ratios have all of their rules in them. Connections are tracked on every way.
"""

import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from bench import scene
from bench.detours import WAYS, Detours
from bench.figures import Figure
from sallyport.lab.driving import Lab, until

ROUNDS = 15
STREAMS = 4
SECONDS = 1.0
"""For each way, in each round, of each of the figures."""
FIRST_PORT = 5001
"""Each measurement has a port of its own at the server, so that no connection meets what is left of an earlier one."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes a second of one stream and of several, connections a second, and the median time of one in seconds."""

    one: float
    several: float
    rate: float
    latency: float


def measure() -> list[Figure]:
    """Each way in each round; ratios are of ways within a round."""
    with scene.lab("bnp") as lab:
        scene.furnish(lab, 1, "node-2")
        with _serving(lab), Detours(lab) as detours:
            ports = count(FIRST_PORT)
            rounds = [{way.name: _measured(lab, detours, way.name, ports) for way in WAYS} for _ in range(ROUNDS)]
    return [*_absolute(rounds), *_ratios(rounds)]


def _absolute(rounds: Sequence[dict[str, Measured]]) -> Iterator[Figure]:
    for name in rounds[0]:
        mine = [item[name] for item in rounds]
        yield Figure(f"{name}: one stream", "Gbit/s", tuple(item.one * 8e-9 for item in mine))
        yield Figure(f"{name}: {STREAMS} streams", "Gbit/s", tuple(item.several * 8e-9 for item in mine))
        yield Figure(f"{name}: new connections, one after the other", "1/s", tuple(item.rate for item in mine))
        yield Figure(f"{name}: a new connection with its answer", "ms", tuple(item.latency * 1e3 for item in mine))


def _ratios(rounds: Sequence[dict[str, Measured]]) -> Iterator[Figure]:
    """Above 1 the first way is faster, for throughput and rate; for latency it is slower."""
    for first, second in (("gateway", "plain"), ("gateway", "translated"), ("pod", "translated")):
        pairs = [(item[first], item[second]) for item in rounds]
        of = f"{first} / {second}"
        yield Figure(f"{of}: one stream", "ratio", tuple(a.one / b.one for a, b in pairs))
        yield Figure(f"{of}: {STREAMS} streams", "ratio", tuple(a.several / b.several for a, b in pairs))
        yield Figure(f"{of}: rate of new connections", "ratio", tuple(a.rate / b.rate for a, b in pairs))
        yield Figure(f"{of}: time of a new connection", "ratio", tuple(a.latency / b.latency for a, b in pairs))


def _measured(lab: Lab, detours: Detours, way: str, ports: Iterator[int]) -> Measured:
    detours.take(way)
    until(lambda: _reaches(lab), f"{way} leads to the server", 20)
    one, several = (_traffic(lab, "stream", next(ports), str(number), str(SECONDS))[0] for number in (1, STREAMS))
    times = _traffic(lab, "connect", next(ports), str(SECONDS))
    return Measured(one, several, len(times) / sum(times), statistics.median(times))


def _reaches(lab: Lab) -> bool:
    return lab.ask(scene.CLIENT, "tcp", scene.SERVER, timeout=0.5).source != ""


def _traffic(lab: Lab, what: str, port: int, *words: str) -> list[float]:
    argv = [sys.executable, "-m", "bench.traffic", what, scene.SERVER, str(port), *words]
    return list(json.loads(lab.execute(scene.CLIENT, *argv)))


@contextlib.contextmanager
def _serving(lab: Lab) -> Iterator[None]:
    """The server of the streams, beside the lab's own."""
    argv = [sys.executable, "-m", "bench.traffic", "serve", str(FIRST_PORT), str(3 * len(WAYS) * ROUNDS)]
    with subprocess.Popen(lab.command("red-server", *argv)) as child:
        try:
            yield
        finally:
            child.kill()
