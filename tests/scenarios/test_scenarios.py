"""Manifests in, plans and packets' ways out.

A scenario is a directory here: `objects.yaml` and other manifests; `packets.txt`, in which people say what is to
become of packets; `expected.yaml` with all decisions, ways and kernel objects, which UPDATE_GOLDEN=1 writes anew.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from sallyport.cli.replay import Replay, replay
from sallyport.cli.snapshot import from_files
from sallyport.model.document import cluster_document, node_document
from sallyport.model.plan import ClusterPlan
from sallyport.model.settings import Settings
from sallyport.model.state import IPAddress, PodKey
from sallyport.trace import Packet, Trace, Verdict, underlay, walks

HERE = Path(__file__).parent
SCENARIOS = sorted(path.parent.name for path in HERE.glob("*/packets.txt"))
PACKET = re.compile(r"(?P<pod>\S+) to (?P<destination>\S+): (?P<outcome>.+)")


@dataclass(frozen=True)
class Wanted:
    """A line of `packets.txt`: `outcome` is `SOURCE at NODE` for a governed packet that leaves, `SOURCE at NODE in
    NETWORK` for one that leaves to an external network, `ungoverned at NODE` for one that leaves otherwise, `dropped`,
    or `delivered`. Where gateways share what goes there, it is what each makes of it, in order, joined by "or"."""

    pod: PodKey
    destination: IPAddress
    outcome: str

    def __str__(self) -> str:
        return f"{'/'.join(self.pod)} to {self.destination}: {self.outcome}"


def wanted(name: str) -> Iterator[Wanted]:
    for line in (HERE / name / "packets.txt").read_text(encoding="utf-8").splitlines():
        found = PACKET.fullmatch(line)
        assert found, f"{name}: what is {line!r}?"
        namespace, _, pod = found["pod"].partition("/")
        yield Wanted((namespace, pod), ip_address(found["destination"]), found["outcome"])


def replayed(name: str) -> Replay:
    """The scenario as controller and agents would see it; every manifest in it has to be taken by the API."""
    files = sorted(path for path in (HERE / name).glob("*.yaml") if path.name != "expected.yaml")
    snapshot = from_files(files, ())
    assert snapshot.remarks == ()
    return replay(snapshot, Settings())


def sent(made: Replay, packet: Wanted) -> tuple[Trace, ...]:
    """The ways of a packet through the kernels of those nodes that live."""
    client = made.state.clients[packet.pod]
    source = next(item for item in client.addresses if item.version == packet.destination.version)
    kernels = {node: made.plan(node).objects for node in made.facts if made.state.nodes[node].alive}
    ground = underlay(made.state, made.facts.values(), made.reports)
    return walks(Packet(source, client.node, packet.destination), kernels, ground, made.settings)


def outcome(traces: Iterable[Trace]) -> str:
    """That of each way, once."""
    return " or ".join(sorted(set(map(_outcome, traces))))


def _outcome(trace: Trace) -> str:
    if trace.verdict is not Verdict.LEFT:
        return trace.verdict.value
    told = f"{trace.source if trace.governed else 'ungoverned'} at {trace.node}"
    return f"{told} in {trace.network}" if trace.network else told


@pytest.mark.parametrize("name", SCENARIOS)
def test_packets_fare_as_people_say(name: str) -> None:
    made = replayed(name)
    packets = list(wanted(name))
    found = [Wanted(packet.pod, packet.destination, outcome(sent(made, packet))) for packet in packets]
    assert "\n".join(map(str, found)) == "\n".join(map(str, packets))


@pytest.mark.parametrize("name", SCENARIOS)
def test_plans_and_ways_are_those_on_file(name: str) -> None:
    path = HERE / name / "expected.yaml"
    found = printed(replayed(name), list(wanted(name)))
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


def printed(made: Replay, packets: list[Wanted]) -> str:
    """All of a scenario's outcome. The digests of the tables' texts are left out: they are no decision."""
    cluster = cluster_document(ClusterPlan(assignments=made.assignments, problems=made.problems))
    nodes = [node_document(made.plan(node)) for node in sorted(made.facts)]
    for node in nodes:
        for table in node.get("tables", ()):
            del table["digest"]
    ways = {f"{'/'.join(p.pod)} to {p.destination}": "\n".join(map(_way, sent(made, p))) for p in packets}
    document: dict[str, Any] = {"cluster": cluster, "packets": ways, "nodes": nodes}
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120, allow_unicode=True)


def _way(trace: Trace) -> str:
    hops = [f"{hop.node}: {hop.decided} -> {hop.effect}" for hop in trace.hops]
    return "\n".join([*hops, _outcome(trace)])


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def test_every_scenario_says_what_it_shows() -> None:
    texts = {name: (HERE / name / "objects.yaml").read_text(encoding="utf-8") for name in SCENARIOS}
    assert len(texts) >= 10
    assert [name for name, text in texts.items() if not text.startswith("# ")] == []
