"""Throughput, rate and latency through a gateway on another node, beside plain ways there.

All ways lead from the same pod over the same nodes, wires and router to the same server, and are measured in turn:

- plain: a VXLAN device between the nodes, routes, and no translation;
- translated: the same with one rule of source NAT on the second node;
- gateway: Sallyport's, with its tables and rules;
- pod: as translated, but the translation is in a pod's namespace on the second node, into which packets go and out of
  which they come back. Beside translated, it shows what it costs to send packets through a gateway's pod.

While another way than the gateway's is measured, the nftables tables of Sallyport and of the lab's CNI are dormant and
Sallyport's policy rules are gone: the gateway's ratios have all of these in them. Connections are tracked on every way.
CPU time is that of the processes at both ends, whose system calls carry packets through all of the nodes here.
"""

import contextlib
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from bench import scene
from bench.detours import GATEWAY, Detours, Site
from bench.figures import Figure
from bench.packets import quiet
from bench.serving import serving
from bench.traffic import SIZE
from sallyport.drivers.command import DriverError, batch
from sallyport.lab.driving import Lab, until

ROUNDS = 15
STREAMS = 4
SECONDS = 1.0
"""For each way, in each round, of each of the figures."""
BURSTS = 20
"""Rounds of small datagrams, for each way in each round."""
FIRST_PORT = 5001
"""Each measurement has a port of its own at the server, so that no connection meets what is left of an earlier one."""
_PORTS = 4
"""Of one way in one round."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes a second of one stream and of several, and seconds of CPU time per byte of one; connections a second, and
    the median time of one in seconds; the median and the 99th percentile of a request's on an open connection; CPU time
    of a small datagram in nanoseconds."""

    one: float
    several: float
    cpu: float
    rate: float
    latency: float
    answer: float
    slow_answer: float
    datagram: float


def measure() -> list[Figure]:
    """Each way in each round; ratios are of ways within a round."""
    with scene.lab("bnp") as lab:
        scene.furnish(lab, 1, "node-2")
        return compared(
            Ground(lab, GATEWAY, scene.SERVER, "red-server"),
            ("plain", "translated", "gateway", "pod"),
            (("gateway", "plain"), ("gateway", "translated"), ("pod", "translated")),
        )


@dataclass(frozen=True, slots=True)
class Ground:
    """A lab, where its ways lead, and the server at their end: its address, and its machine."""

    lab: Lab
    site: Site
    server: str
    host: str


def compared(ground: Ground, ways: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[Figure]:
    """The figures of these ways, and the ratios of these pairs of them."""
    ports = range(FIRST_PORT, FIRST_PORT + _PORTS * len(ways) * ROUNDS)
    with serving(ground.lab, ground.host, ports), Detours(ground.lab, ground.site) as detours:
        numbers = count(FIRST_PORT)
        rounds = [{way: _measured(ground, detours, way, numbers) for way in ways} for _ in range(ROUNDS)]
    return [*_absolute(rounds), *_ratios(rounds, pairs)]


def _absolute(rounds: Sequence[dict[str, Measured]]) -> Iterator[Figure]:
    for name in rounds[0]:
        mine = [item[name] for item in rounds]
        yield Figure(f"{name}: one stream", "Gbit/s", tuple(item.one * 8e-9 for item in mine))
        yield Figure(f"{name}: {STREAMS} streams", "Gbit/s", tuple(item.several * 8e-9 for item in mine))
        yield Figure(f"{name}: one stream, CPU time of a Gbit", "s", tuple(item.cpu / 8e-9 for item in mine))
        yield Figure(f"{name}: new connections, one after the other", "1/s", tuple(item.rate for item in mine))
        yield Figure(f"{name}: a new connection with its answer", "ms", tuple(item.latency * 1e3 for item in mine))
        yield Figure(f"{name}: a request on an open connection, p50", "ms", tuple(item.answer * 1e3 for item in mine))
        yield Figure(f"{name}: the same, p99", "ms", tuple(item.slow_answer * 1e3 for item in mine))
        yield Figure(f"{name}: datagrams of {SIZE} bytes, per core", "1/s", tuple(1e9 / item.datagram for item in mine))


def _ratios(rounds: Sequence[dict[str, Measured]], pairs: Sequence[tuple[str, str]]) -> Iterator[Figure]:
    """Above 1 the first way is faster, for throughput and rates; for times it is slower."""
    for first, second in pairs:
        both = [(item[first], item[second]) for item in rounds]
        of = f"{first} / {second}"
        yield Figure(f"{of}: one stream", "ratio", tuple(a.one / b.one for a, b in both))
        yield Figure(f"{of}: {STREAMS} streams", "ratio", tuple(a.several / b.several for a, b in both))
        yield Figure(f"{of}: CPU time of a Gbit", "ratio", tuple(a.cpu / b.cpu for a, b in both))
        yield Figure(f"{of}: rate of new connections", "ratio", tuple(a.rate / b.rate for a, b in both))
        yield Figure(f"{of}: time of a new connection", "ratio", tuple(a.latency / b.latency for a, b in both))
        yield Figure(f"{of}: time of a request, p50", "ratio", tuple(a.answer / b.answer for a, b in both))
        yield Figure(f"{of}: time of a request, p99", "ratio", tuple(a.slow_answer / b.slow_answer for a, b in both))
        yield Figure(f"{of}: datagrams of {SIZE} bytes", "ratio", tuple(b.datagram / a.datagram for a, b in both))


def _measured(ground: Ground, detours: Detours, way: str, ports: Iterator[int]) -> Measured:
    detours.take(way)
    until(lambda: _reaches(ground), f"{way} leads to the server", 20)
    (one, cpu), (several, _) = (
        _traffic(ground, "stream", ground.server, str(next(ports)), str(number), str(SECONDS))
        for number in (1, STREAMS)
    )
    times = _traffic(ground, "connect", ground.server, str(next(ports)), str(SECONDS))
    answers = sorted(_traffic(ground, "echo", ground.server, str(next(ports)), str(SECONDS)))
    with _packet_by_packet(ground):
        datagram = quiet(_traffic(ground, "burst", detours.client, ground.server, str(BURSTS)))
    return Measured(
        one=one,
        several=several,
        cpu=cpu,
        rate=len(times) / sum(times),
        latency=statistics.median(times),
        answer=statistics.median(answers),
        slow_answer=answers[len(answers) * 99 // 100],
        datagram=datagram,
    )


@contextlib.contextmanager
def _packet_by_packet(ground: Ground) -> Iterator[None]:
    """What the pod sends in one go is cut at once meanwhile, so that each datagram meets every rule by itself."""
    within = f"ip -n {ground.lab.space(ground.site.client)}"
    for segments in (1, 65535):
        if failures := batch(within, [f"link set dev eth0 gso_max_segs {segments}"]):
            raise DriverError(failures[0])
        if segments == 1:
            yield


def _reaches(ground: Ground) -> bool:
    return ground.lab.ask(ground.site.client, "tcp", ground.server, timeout=0.5).source != ""


def _traffic(ground: Ground, *words: str) -> list[float]:
    argv = [sys.executable, "-m", "bench.traffic", *words]
    return list(json.loads(ground.lab.execute(ground.site.client, *argv)))
