"""`sallyport trace`: which way a pod's packet takes, node by node, and what decides it."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from sallyport.cli.check import Output
from sallyport.cli.columns import aligned
from sallyport.cli.failures import one_line
from sallyport.cli.plan import holding, networks
from sallyport.cli.replay import Replay, replay
from sallyport.cli.snapshot import InputError, Snapshot, from_cluster, from_files, told
from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.model.addresses import family_of, parse_address
from sallyport.model.plan import Decision
from sallyport.model.settings import Settings
from sallyport.model.state import IPAddress, PodKey
from sallyport.processes.start import now
from sallyport.trace import Packet, Trace, Verdict, underlay, walks


class Transport(StrEnum):
    """What the packet carries; only connections and what is like them are refused at an egress IP."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"


@dataclass(frozen=True, slots=True)
class Answer:
    """A packet and all ways that it may take; mostly that is one. `governed` says by which policy, in words."""

    pod: PodKey
    packet: Packet
    decision: Decision | None
    governed: str
    traces: tuple[Trace, ...]


@one_line("sallyport trace")
def trace(
    pod: Annotated[str, typer.Argument(help="NAMESPACE/NAME of the pod that sends the packet.", metavar="POD")],
    destination: Annotated[str, typer.Argument(help="The address that it is for.", metavar="DESTINATION")],
    files: Annotated[
        list[Path] | None,
        typer.Option("--files", "-f", help="Manifests, directories of them, or -, instead of a cluster; repeatable."),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print the way.")] = Output.TEXT,
    protocol: Annotated[Transport, typer.Option(help="What the packet carries.")] = Transport.TCP,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its destination port.")] = 0,
    kubeconfig: Annotated[
        str | None, typer.Option(help="Kubeconfig file; else $KUBECONFIG, the pod's account, or the user's own file.")
    ] = None,
    service_cidrs: Annotated[
        str, typer.Option(envvar="SALLYPORT_SERVICE_CIDRS", help="Service networks, separated by commas.")
    ] = "",
) -> None:
    """Tell which way a pod's packet takes, hop by hop: the node, what decides there, and to what effect.

    No packet is sent. The plans of the nodes are made as their agents make them, from the objects of the cluster, and
    the packet is walked through every set, rule and route as the kernels would:

    \b
        sallyport trace prod/web-1 198.51.100.7
        sallyport trace prod/web-1 198.51.100.7 -f cluster.yaml -f my-egress.yaml

    DESTINATION is an address outside, or of a pod or node; a packet for a Service is traced to the address of one of
    its endpoints.

    Exit status: 0 for every answer, also that the packet is dropped; 2 when there is none.
    """
    with told("sallyport trace"):
        key, there = _pod_key(pod), _address(destination)
        snapshot = _snapshot(key, files, kubeconfig, networks(service_cidrs))
        _demand(snapshot, key)
        made = replay(snapshot, Settings())
        answer = ask(made, key, there, protocol, port)
    for remark in made.remarks:
        typer.echo(remark, err=True)
    if output is Output.TEXT:
        typer.echo("\n".join(_text(answer)))
    else:
        document = _document(answer)
        text = json.dumps(document, indent=2) if output is Output.JSON else yaml.safe_dump(document, sort_keys=False)
        typer.echo(text.rstrip())


def _pod_key(text: str) -> PodKey:
    parts = text.removeprefix("pod/").removeprefix("pods/").split("/")
    if len(parts) != 2 or not all(parts):
        raise InputError(f"{text!r} names no pod: write NAMESPACE/NAME")
    return (parts[0], parts[1])


def _address(text: str) -> IPAddress:
    try:
        return parse_address(text)
    except ValueError as error:
        raise InputError(str(error)) from None


def _snapshot(key: PodKey, files: list[Path] | None, kubeconfig: str | None, services: tuple[str, ...]) -> Snapshot:
    if files:
        return from_files(files, services)

    async def ask_cluster() -> Snapshot:
        async with Client(load(kubeconfig)) as client:
            return await from_cluster(client, key, services, now())

    return asyncio.run(ask_cluster())


def _demand(snapshot: Snapshot, key: PodKey) -> None:
    """Raises InputError where there is no such pod, or one that sends nothing from an address of its own."""
    pods = (item for item in snapshot.objects.pods if (item.metadata.namespace, item.metadata.name) == key)
    pod = next(pods, None)
    name = "/".join(key)
    if pod is None:
        raise InputError(f"there is no pod {name}")
    for stands, why in (
        (pod.finished, "has ended"),
        (not pod.spec.node_name, "is not scheduled yet"),
        (pod.spec.host_network, "uses its node's own network, which no policy governs"),
        (not pod.addresses, "has no address yet"),
    ):
        if stands:
            raise InputError(f"pod {name} {why}")


def ask(made: Replay, key: PodKey, destination: IPAddress, protocol: Transport, port: int) -> Answer:
    """Walk the packet. Raises InputError where the pod cannot send it."""
    client = made.state.clients.get(key)
    name = "/".join(key)
    if client is None:
        raise InputError(f"nothing is known of namespace {key[0]}, so pod {name} is not judged")
    if client.node not in made.facts:
        raise InputError(f"pod {name} runs on node {client.node}, which is unknown")
    family = family_of(destination)
    source = next((item for item in client.addresses if item.version == family), None)
    if source is None:
        raise InputError(f"pod {name} has no IPv{family} address from which to reach {destination}")
    plans = {node: made.plan(node) for node in _concerned(made, key, client.node)}
    decided = (item for item in plans[client.node].decisions if (item.pod, item.family) == (key, family))
    decision = next(decided, None)
    packet = Packet(source, client.node, destination, protocol.value, port)
    kernels = {node: plan.objects for node, plan in plans.items()}
    return Answer(
        pod=key,
        packet=packet,
        decision=decision,
        governed=_governed(made, decision),
        traces=walks(packet, kernels, underlay(made.state, made.facts.values()), made.settings),
    )


def _concerned(made: Replay, key: PodKey, own: str) -> Iterable[str]:
    """The pod's node, and all that may hold one of its exits: no other node has a part in the way."""
    wanted = {own}
    for name, exit_ in made.state.exits.items():
        if key in exit_.clients:
            wanted |= {made.assignments[name].holder, *made.assignments[name].nodes}
    return sorted(wanted & made.facts.keys())


def _text(answer: Answer) -> Iterator[str]:
    packet = answer.packet
    port = f" port {packet.port}" if packet.port else ""
    yield f"{'/'.join(answer.pod)} {packet.source} on {packet.node} to {packet.destination}, {packet.protocol}{port}"
    yield answer.governed
    for number, way in enumerate(answer.traces, start=1):
        yield ""
        if len(answer.traces) > 1:
            yield f"way {number} of {len(answer.traces)}: several nodes answer for the egress IP"
        yield from aligned([(hop.node, hop.decided, hop.effect) for hop in way.hops])
        yield ""
        yield _verdict(way)


def _governed(made: Replay, decision: Decision | None) -> str:
    if decision is None or not decision.exit:
        return f"governed by no policy{_because(decision)}"
    assignment = made.assignments[decision.exit]
    by = made.state.exits[decision.exit].ref
    return f"governed by {by}: {assignment.address or 'no address'}, {holding(assignment)}{_because(decision)}"


def _because(decision: Decision | None) -> str:
    return f" ({decision.reason})" if decision and decision.reason else ""


def _verdict(way: Trace) -> str:
    if way.verdict is Verdict.DROPPED:
        return f"DROPPED at {way.node}"
    if way.verdict is Verdict.DELIVERED:
        return "DELIVERED within the cluster"
    own = "" if way.governed else ", which is no egress IP"
    return f"LEFT the cluster at {way.node} with source {way.source}{own}"


def _document(answer: Answer) -> dict[str, Any]:
    packet, decision = answer.packet, answer.decision
    return {
        "pod": "/".join(answer.pod),
        "node": packet.node,
        "source": str(packet.source),
        "destination": str(packet.destination),
        "protocol": packet.protocol,
        "port": packet.port,
        "exit": decision.exit if decision else "",
        "reason": decision.reason if decision else "",
        "ways": [
            {
                "verdict": way.verdict.value,
                "node": way.node,
                "source": str(way.source or ""),
                "governed": way.governed,
                "hops": [asdict(hop) for hop in way.hops],
            }
            for way in answer.traces
        ],
    }
