"""Routers outside, each of them a BIRD of its own in the namespace of a node that is used for nothing else.

The node under test is `a`, the first; a router's addresses are those that it has as a node. It speaks BGP with `a` in
both families, a session for each.
"""

import json
import os
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.netns.world import World, run, underlay

from sallyport.drivers.bird import BIRD, Bird
from sallyport.model.kernel import Session
from sallyport.model.state import FAMILIES, Family

OWN_ASN = 65000


def address(number: int, family: Family) -> str:
    """The address of a node or router on the common link."""
    return str(next(item for item in underlay(number) if item.version == family))


@dataclass
class Outside:
    """A router with AS number `asn`, which announces `prefixes` with itself as the next hop.

    `options` are lines of BIRD's for its sessions, `outgoing` statements of its export filters; `node` is where it
    looks for node a, by default on the link.
    """

    world: World
    name: str
    folder: Path
    asn: int
    prefixes: Iterable[str] = ()
    options: str = ""
    outgoing: str = ""
    bfd: bool = False
    node_asn: int = OWN_ASN
    node: Mapping[Family, str] = field(default_factory=lambda: {family: address(1, family) for family in FAMILIES})
    bird: Bird = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.bird = Bird(self.folder)

    @property
    def number(self) -> int:
        """Its number among the nodes."""
        return self.world.number(self.name)

    def session(self, network: str, family: Family = 4, **fields: object) -> Session:
        """Node a's session with it, for `network`; `fields` in the place of what is usual."""
        usual: dict[str, object] = {
            "name": f"{self.name}.{family}",
            "network": network,
            "address": address(self.number, family),
            "asn": self.asn,
            "own_asn": self.node_asn,
            "source": address(1, family),
            "device": "eth0",
        }
        return Session(**{**usual, **fields})  # type: ignore[arg-type]

    def start(self, *, recover: bool = False) -> "Outside":
        """Run it, or run it again after its end; `recover`: as one that restarts gracefully."""
        self._write()
        flag = "-R " if recover else ""
        files = f"-c {self._file('bird.conf')} -s {self._file('bird.ctl')} -P {self._file('bird.pid')}"
        run(self.name, f"{BIRD} {flag}{files}")
        return self

    def announce(self, *prefixes: str) -> None:
        """Announce exactly these from now on."""
        self.prefixes = prefixes
        self._write()
        assert any(line[:4] in ("0003", "0004") for line in self.bird.ask("configure"))

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        os.kill(int(self._file("bird.pid").read_text()), number)

    def stop(self) -> None:
        """End it at once, if it runs."""
        if self._file("bird.pid").exists():
            self.signal(signal.SIGKILL)
            self._file("bird.pid").unlink()

    def heard(self) -> set[str]:
        """The prefixes that the node has told it."""
        lines = [line.removeprefix("1007-").split() for line in self.bird.ask("show route where source = RTS_BGP")]
        return {words[0] for words in lines if words and "/" in words[0]}

    def attributes(self, prefix: str) -> dict[str, str]:
        """What came with a prefix, by BIRD's names."""
        lines = [line.removeprefix("1012-").strip() for line in self.bird.ask(f"show route for {prefix} all")]
        return {name: value for name, _, value in (line.partition(": ") for line in lines) if name.startswith("BGP.")}

    def _file(self, name: str) -> Path:
        return self.folder / name

    def _write(self) -> None:
        lines = [f"router id 198.18.0.{self.number};", "protocol device { }"]
        if self.bfd:
            lines.append('protocol bfd { interface "*" { interval 100 ms; multiplier 3; }; }')
        for family in FAMILIES:
            mine = [prefix for prefix in self.prefixes if (":" in prefix) == (family == 6)]
            lines += [f"protocol static s{family} {{ ipv{family};", *(f"route {item} blackhole;" for item in mine), "}"]
            lines += [
                f"protocol bgp b{family} {{",
                f"local {address(self.number, family)} as {self.asn};",
                f"neighbor {self.node[family]} as {self.node_asn};",
                "connect delay time 1; connect retry time 1; error wait time 1, 1;",
                self.options + ("bfd on;" if self.bfd else ""),
                f"ipv{family} {{ import all; export filter {{ {self.outgoing} accept; }}; }};",
                "}",
            ]
        self._file("bird.conf").write_text("\n".join([*lines, ""]))


def routes(table: int, family: Family = 4) -> dict[str, set[str]]:
    """The routes of node a's table: by destination their gateways, or devices where there is none."""
    found: dict[str, set[str]] = {}
    for item in json.loads(run("a", f"ip -j -{family} route show table all") or "[]"):
        if item.get("table", "main") == ("main" if table == 254 else str(table)):
            hops = item.get("nexthops", [item])
            found.setdefault(item["dst"], set()).update(hop.get("gateway", hop.get("dev", "")) for hop in hops)
    return found
