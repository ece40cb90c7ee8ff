"""A router in namespaces that spreads connections over gateways by the kernel's own means, to compare with.

    client ── router ──┬── gateway 1 ──┬── server
                       ├── ...         │
                       └── gateway 4 ──┘

Each gateway translates to an address of its own. Packets come back by the gateway that the server answers to.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sallyport.drivers.command import GONE, DriverError, batch
from sallyport.lab import namespaces
from sallyport.lab.ask import Echo
from sallyport.lab.driving import until

GATEWAYS = 4
GROUP = 100
IDLE = 2
"""Seconds of the short idle timer. The kernel's own is 120."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the router spreads. `timer` is the idle timer of a resilient group in seconds, 0 for a plain route; `quiet`
    is for how many seconds connections are silent before and after a change: longer than the timer, or not at all."""

    name: str
    timer: int = 0
    quiet: float = 0.0


WAYS = (
    Way("plain multipath route"),
    Way("busy resilient group (idle timer 120 s)", 120),
    Way(f"silent resilient group (idle timer {IDLE} s)", IDLE, IDLE + 1.0),
)


class Spread:
    """The namespaces, there while the block runs."""

    def __init__(self) -> None:
        self._prefix = f"bnf{os.getpid()}-"
        self.client, self._router, self._server = (self._prefix + name for name in ("client", "router", "server"))
        self.server = "198.51.100.1"
        self._folder = TemporaryDirectory()
        self._host: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Spread":
        try:
            self._build()
        except (DriverError, AssertionError):
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._host is not None:
            self._host.terminate()
            self._host.wait()
        namespaces.remove(reversed(self._spaces()))
        self._folder.cleanup()

    def source(self, number: int) -> str:
        """The address that a gateway translates to."""
        return f"198.51.100.1{number}"

    def begin(self, way: Way, count: int) -> None:
        """Spread over the first so many gateways, without a history: a group's buckets stay where they have been."""
        old = ["route del default", f"nexthop del id {GROUP}"]
        _must(batch(f"ip -n {self._router}", old, forgiven=GONE))
        self.use(way, count)

    def use(self, way: Way, count: int) -> None:
        """Spread over the first so many gateways from now on."""
        within = f"ip -n {self._router}"
        if not way.timer:
            hops = " ".join(f"nexthop via 192.0.2.1{number}" for number in range(1, count + 1))
            _must(batch(within, [f"route replace default {hops}"]))
            return
        members = "/".join(str(number) for number in range(1, count + 1))
        group = f"nexthop replace id {GROUP} group {members} type resilient buckets 128 idle_timer {way.timer}"
        _must(batch(within, [group, f"route replace default nhid {GROUP}"]))

    def _spaces(self) -> list[str]:
        return [self.client, self._router, self._server, *map(self._gateway, range(1, GATEWAYS + 1))]

    def _gateway(self, number: int) -> str:
        return f"{self._prefix}g{number}"

    def _build(self) -> None:
        _must(batch("ip", [f"netns add {name}" for name in self._spaces()]))
        _must(batch(f"ip -n {self._router}", self._within_router()))
        _must(batch(f"ip -n {self._server}", self._within_server()))
        for number in range(1, GATEWAYS + 1):
            space = self._gateway(number)
            _must(batch(f"ip -n {space}", self._within_gateway(number)))
            rule = f"oifname outer snat ip to {self.source(number)}"
            chain = f"chain c {{ type nat hook postrouting priority 100; {rule}; }};"
            namespaces.nft(space, f"table ip bench {{ {chain} }};\n")
            namespaces.set_sysctls(space, [("net/ipv4/ip_forward", "1")])
        _must(
            batch(
                f"ip -n {self.client}",
                [
                    "link set lo up",
                    "link set eth0 up",
                    "address add 192.0.2.129/30 dev eth0",
                    "route add default via 192.0.2.130",
                ],
            )
        )
        hops = [f"nexthop add id {number} via 192.0.2.1{number} dev lan" for number in range(1, GATEWAYS + 1)]
        _must(batch(f"ip -n {self._router}", hops))
        # By ports too, as Sallyport does; by default the kernel takes addresses alone.
        namespaces.set_sysctls(
            self._router, [("net/ipv4/ip_forward", "1"), ("net/ipv4/fib_multipath_hash_policy", "1")]
        )
        self._serve()

    def _within_router(self) -> list[str]:
        lines = [
            "link set lo up",
            "link add lan type bridge",
            "link set lan up",
            "address add 192.0.2.1/25 dev lan",
            f"link add client type veth peer name eth0 netns {self.client}",
            "link set client up",
            "address add 192.0.2.130/30 dev client",
        ]
        for number in range(1, GATEWAYS + 1):
            lines += [
                f"link add g{number} type veth peer name inner netns {self._gateway(number)}",
                f"link set g{number} master lan up",
            ]
        return lines

    def _within_server(self) -> list[str]:
        lines = [
            "link set lo up",
            "link add lan type bridge",
            "link set lan up",
            f"address add {self.server}/24 dev lan",
        ]
        for number in range(1, GATEWAYS + 1):
            lines += [
                f"link add g{number} type veth peer name outer netns {self._gateway(number)}",
                f"link set g{number} master lan up",
            ]
        return lines

    def _within_gateway(self, number: int) -> list[str]:
        return [
            "link set lo up",
            "link set inner up",
            "link set outer up",
            f"address add 192.0.2.1{number}/25 dev inner",
            f"address add {self.source(number)}/24 dev outer",
            "route add 192.0.2.128/30 via 192.0.2.1",
        ]

    def _serve(self) -> None:
        """An outside host of the lab, which tells whom it sees."""
        folder = Path(self._folder.name)
        argv = [sys.executable, "-m", "sallyport.lab.outside", "--log", str(folder / "seen.jsonl")]
        with (folder / "output").open("wb") as output:
            self._host = subprocess.Popen(namespaces.command(self._server, argv), stdout=output, stderr=output)
        self.begin(WAYS[0], 1)
        until(self._answers, "the server answers", 20)

    def _answers(self) -> bool:
        def asked() -> bool:
            try:
                with Echo(self.server, 7, 0.5) as echo:
                    return bool(echo.ask())
            except (OSError, ValueError):
                return False

        return namespaces.inside(self.client, asked)


def _must(failures: list[str]) -> None:
    if failures:
        raise DriverError(failures[0])
