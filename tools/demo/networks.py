"""Part two, egress gateways on external networks: who answers, where two networks have the same addresses.

The lab has two networks, red and yellow, each with a server 105.8.10.1 behind a BGP router of its own. The manifests of
examples/calico are applied as they stand. "Answered by" is the word of the servers, each of which notes the source and
port of every request; "network" is the router in front of which the request's first packet was captured.
"""

import ipaddress
import json
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from rich.console import Console
from tools.demo.stage import EXAMPLES, Stage, Tally

from sallyport.lab.driving import Asked, Capture, Frame, Lab, answers, until

QUESTION = """Which of two networks with the same addresses does a pod reach?
Two networks beyond the cluster, red and yellow, each have a server 105.8.10.1. Pods of the namespace red are to reach
red's, those of yellow yellow's, through gateways that BGP routers of these networks know. Each server tells its name.
"""
TOPOLOGY = "networks"
SERVER = "105.8.10.1"
SYN = f"dst host {SERVER} and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn"
"""What is captured: the first packet of each connection to a server."""
ROUTERS = {"red": "red-router", "yellow": "yellow-router", "the internet": "router"}
"""Where each network begins."""
HOSTS = {"red": "red-server", "yellow": "yellow-server"}
POOLS = {"red": ipaddress.ip_network("10.10.10.0/30"), "yellow": ipaddress.ip_network("10.10.11.0/30")}
"""Addresses of the gateways, as in examples/calico."""
RED, YELLOW, BLUE = "red/app", "yellow/app", "blue/app"
NODE = "node-1"
"""Where all three pods run."""
PATIENCE = 2.0
"""Seconds that an answer is waited for."""
BEGIN = 20
"""Requests of the red pod after which something happens."""
LOSSES = 20
"""Requests that are dropped until the router is back."""
AFTER = 40
"""Requests that are made when all is well again."""
MOST = 1000
"""Requests of the red pod in a scene, whatever has not come about by then."""
MOST_LOST = 10
"""Requests that may be lost while a gateway is replaced: those that are under way when the old one ends at once."""


class Networks(Stage):
    """The scenes, in order; `wires` are the captures in front of each network's router."""

    def __init__(self, lab: Lab, console: Console, tally: Tally, wires: Mapping[str, Capture]) -> None:
        super().__init__(lab, console, tally)
        self.wires = wires

    def manifests(self) -> None:
        """Everything that the guide says, and what becomes of it."""
        self.title(f"The guide's manifests: two networks, a BGP peer and a gateway for each, and {SERVER} in both")
        self.say("   node-2 is to be the only egress node, so that both gateways, and both ways, are on one machine")
        self.kubectl("label", "node", "node-3", "egress-")
        self.say("   $ kubectl apply -f examples/calico")
        self.printed(self.lab.kubectl("apply", "-f", str(EXAMPLES / "calico")))
        self.pods("networks.yaml")
        self.lab.kubectl("wait", "egressgateway", "--all", "--for=condition=Available", "--timeout=30s")
        self.kubectl("get", "egressgateway")
        self.kubectl("get", "externalnetwork")
        self.kubectl("get", "bgppeer")

    def both_at_once(self) -> None:
        """The main case of the guide."""
        self.title(
            f"red/app and yellow/app, both on {NODE}, ask {SERVER} at the same time; so does blue/app after them"
        )
        marks = self._marks()
        with ThreadPoolExecutor() as both:
            futures = {pod: both.submit(self.lab.asking, pod, "http", SERVER, count=20) for pod in (RED, YELLOW)}
        asked = {pod: future.result() for pod, future in futures.items()}
        asked[BLUE] = self.lab.asking(BLUE, "http", SERVER, timeout=0.5, count=2)
        self.tally.requests += sum(map(len, asked.values()))
        notes, frames = self._since(marks)
        gateways = self._gateways()
        rows = []
        for pod, network in ((RED, "red"), (YELLOW, "yellow"), (BLUE, "the internet")):
            requests = asked[pod]
            sources = {item.source for item in requests}
            hosts = {notes.get((item.source, item.port), "nobody") for item in requests}
            used = {gateways.get(source, ("none", "")) for source in sources}
            answered = sum(bool(item.source) for item in requests)
            seen = self._networks_of(pod, requests, frames)
            good = (answered, hosts, seen) == (
                (len(requests), {HOSTS[network]}, {network}) if network in HOSTS else (0, {"nobody"}, {network})
            )
            cells = (_named(f"{name}{f' on {node}' if node else ''}" for name, node in used), _named(sources))
            verdict = self.verdict(good, f"{pod}: {_named(hosts)} by {_named(seen)}")
            rows.append((pod, f"{answered} of {len(requests)}", *cells, _named(seen), _named(hosts), verdict))
        self.table(("pod", "answered", "gateway", "source seen", "network", "answered by", "expected"), rows)
        self.say(
            "   blue has no gateway: it leaves as if there were none, and nobody beyond that router has the address"
        )

    def traced(self) -> None:
        """Why the red pod's packets go where they go."""
        self.title("Why? The way of red/app's packets, through every rule, set and route")
        self.sallyport("trace", RED, SERVER)

    def router_stopped(self) -> None:
        """A network is away: its clients are dropped, and no other network gets their packets."""
        self.title("BGP ends on red's router, while both pods send 20 requests a second; later it is back")
        marks = self._marks()
        asked = self._flow(self._break_and_mend, _is_back, 0.2)
        notes, frames = self._since(marks)
        red, yellow = asked[RED], asked[YELLOW]
        by_red, by_yellow = _counted(red, notes), _counted(yellow, notes)
        self.table(
            ("pod", "sent", "answered by red-server", "by yellow-server", "dropped", "expected"),
            (
                self._row(RED, by_red, set(by_red) <= {"red-server", "nobody"} and bool(red[-1].source)),
                self._row(YELLOW, by_yellow, set(by_yellow) == {"yellow-server"}),
            ),
        )
        self._leaks(frames)

    def gateway_replaced(self) -> None:
        """A rolling restart of a gateway, with another address, while its client goes on."""
        self.title("Red's gateway is replaced by a new one, with an address of its own, while both pods send requests")
        marks = self._marks()
        asked = self._flow(self._restart, _has_moved, 0.5)
        notes, frames = self._since(marks)
        by_red, by_yellow = _counted(asked[RED], notes), _counted(asked[YELLOW], notes)
        right = set(by_red) <= {"red-server", "nobody"} and by_red["nobody"] <= MOST_LOST
        self.table(
            ("pod", "sent", "answered by red-server", "by yellow-server", "dropped", "expected"),
            (
                self._row(RED, by_red, right and bool(asked[RED][-1].source)),
                self._row(YELLOW, by_yellow, set(by_yellow) == {"yellow-server"}),
            ),
        )
        sources = _sources(asked[RED])
        moved = self.verdict(len(sources) == 2, f"red/app was seen from {_named(sources)}")
        self.say(f"   red/app was seen from {', then from '.join(sources)}: {moved}")
        self._leaks(frames)

    def _row(self, pod: str, counts: Counter[str], good: bool) -> tuple[str, ...]:
        told = ", ".join(f"{count} by {host}" for host, count in sorted(counts.items()))
        numbers = (counts["red-server"], counts["yellow-server"], counts["nobody"])
        return pod, str(counts.total()), *map(str, numbers), self.verdict(good, f"{pod}: answered {told}")

    def _leaks(self, frames: Mapping[str, list[Frame]]) -> None:
        """What was captured in front of each router, and whether it belongs there."""
        strays = 0
        for network, seen in frames.items():
            own = POOLS.get(network)
            at_home = [item for item in seen if own is not None and ipaddress.ip_address(item.source) in own]
            strays += len(seen) - len(at_home)
        told = ", ".join(f"{len(seen)} of {name}" for name, seen in frames.items())
        self.say(f"   first packets captured in front of the routers: {told}")
        self.say(
            f"   of these, on another network than their gateway's: {strays}, {self.verdict(not strays, 'a leak')}"
        )

    def _break_and_mend(self, asked: list[Asked]) -> None:
        if len(asked) == BEGIN:
            self.sallyport("lab", "stop", ROUTERS["red"])
        elif not asked[-1].source and _dropped(asked) == LOSSES:
            self.kubectl("get", "externalnetwork")
            self.kubectl("get", "egressgateway")
            self.sallyport("lab", "start", ROUTERS["red"])

    def _restart(self, asked: list[Asked]) -> None:
        if len(asked) == BEGIN:
            self.kubectl("rollout", "restart", "deployment/egress-gateway")

    def _flow(
        self, act: Callable[[list[Asked]], None], enough: Callable[[list[Asked]], bool], patience: float
    ) -> dict[str, list[Asked]]:
        """Requests of the red and the yellow pod at the same time, 20 a second, until the red pod's are `enough`; `act`
        sees each of these. It waits for an answer for less long than the other: some of its requests are dropped."""
        asked: dict[str, list[Asked]] = {RED: [], YELLOW: []}
        with self._asker(RED, patience) as red, self._asker(YELLOW, PATIENCE) as yellow:
            beside = threading.Thread(target=lambda: asked[YELLOW].extend(answers(yellow)))
            beside.start()
            try:
                for answer in answers(red):
                    asked[RED].append(answer)
                    act(asked[RED])
                    if enough(asked[RED]) or len(asked[RED]) == MOST:
                        break
            finally:
                for child in (red, yellow):
                    child.send_signal(signal.SIGINT)
                beside.join()
        self.tally.requests += sum(map(len, asked.values()))
        return asked

    def _asker(self, pod: str, patience: float) -> "subprocess.Popen[str]":
        return self.lab.asker(pod, "http", SERVER, timeout=patience, count=0, interval=0.05)

    def _marks(self) -> tuple[dict[str, int], dict[str, int]]:
        """How many notes and frames there are by now."""
        return (
            {host: len(self._noted(host)) for host in HOSTS.values()},
            {network: len(capture.settle()) for network, capture in self.wires.items()},
        )

    def _since(
        self, marks: tuple[dict[str, int], dict[str, int]]
    ) -> tuple[dict[tuple[str, int], str], dict[str, list[Frame]]]:
        """Who answered, by source and port, and the frames in front of each network, since then."""
        notes, frames = marks
        found = {
            (str(note["source"]), int(note["port"])): host
            for host, count in notes.items()
            for note in map(json.loads, self._noted(host)[count:])
        }
        return found, {network: self.wires[network].settle()[count:] for network, count in frames.items()}

    def _noted(self, host: str) -> list[str]:
        file = self.lab.record.seen(host)
        return file.read_text().splitlines() if file.exists() else []

    def _networks_of(self, pod: str, requests: Iterable[Asked], frames: Mapping[str, list[Frame]]) -> set[str]:
        """The networks in front of which a pod's requests were captured. One without an answer does not know where it
        was seen from: a pod without a gateway has its node's address."""
        wanted = {(item.source, item.port) for item in requests if item.source}
        home = str(next(item for item in self.lab.topology.nodes if item.name == NODE).attachments[0].address)
        return {
            network
            for network, seen in frames.items()
            if any((item.source, item.port) in wanted or (not wanted and item.source == home) for item in seen)
        }

    def _gateways(self) -> dict[str, tuple[str, str]]:
        """Name of the EgressGateway and node, by address, as statuses say."""
        return {
            address: (item["metadata"]["name"], gateway["node"])
            for item in self.lab.objects("egressgateway")
            for gateway in item["status"].get("gateways", ())
            for address in gateway["addresses"]
        }


def _counted(requests: Iterable[Asked], notes: Mapping[tuple[str, int], str]) -> Counter[str]:
    return Counter(notes.get((item.source, item.port), "nobody") for item in requests)


def _dropped(requests: Iterable[Asked]) -> int:
    return sum(not item.source for item in requests)


def _is_back(requests: list[Asked]) -> bool:
    return _dropped(requests) >= LOSSES and not _dropped(requests[-AFTER:])


def _has_moved(requests: list[Asked]) -> bool:
    return len(_sources(requests[:-AFTER])) > 1


def _sources(requests: Iterable[Asked]) -> list[str]:
    """Each source that was seen, once, in the order of the first sight."""
    return list(dict.fromkeys(item.source for item in requests if item.source))


def _named(things: Iterable[str]) -> str:
    return ", ".join(sorted(filter(None, things))) or "-"


def show(lab: Lab, console: Console, tally: Tally) -> None:
    """All scenes, on a lab of TOPOLOGY."""
    with ExitStack() as stack:
        wires = {network: stack.enter_context(lab.capture(router, SYN)) for network, router in ROUTERS.items()}
        scenes = Networks(lab, console, tally, wires)
        scenes.manifests()
        until(lambda: bool(lab.ask(RED, "http", SERVER, timeout=0.5).source), "red/app is answered", 15)
        scenes.both_at_once()
        scenes.traced()
        scenes.router_stopped()
        scenes.gateway_replaced()
