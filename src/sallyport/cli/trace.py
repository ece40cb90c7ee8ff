"""`sallyport trace`: which way a pod's packet takes, node by node, and what decides it."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from sallyport.cli.columns import aligned
from sallyport.cli.failures import one_line
from sallyport.cli.output import Output
from sallyport.cli.plan import holding, networks
from sallyport.cli.reasons import Passage, Ruling, passage, ruling
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
    """A packet and all ways that it may take; mostly that is one. `governed` says by which policy, in words, and
    `passages` by what each way leads out."""

    pod: PodKey
    packet: Packet
    decision: Decision | None
    ruling: Ruling | None
    governed: str
    traces: tuple[Trace, ...]
    passages: tuple[Passage, ...]


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

    Where policies and gateways decide, each gateway that a new connection may begin with is a way, with its network,
    route and router, and why routes of other networks to the same address are not taken.

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
        typer.echo("\n".join(lines(answer)))
    else:
        tree = document(answer)
        text = json.dumps(tree, indent=2) if output is Output.JSON else yaml.safe_dump(tree, sort_keys=False)
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
    ground = underlay(made.state, made.facts.values(), made.reports)
    traces = walks(packet, kernels, ground, made.settings)
    decides = ruling(made, key, destination)
    return Answer(
        pod=key,
        packet=packet,
        decision=decision,
        ruling=decides,
        governed=_governed(made, decision) if decides is None else _ruled(decides, decision, destination),
        traces=traces,
        passages=tuple(passage(made, way, destination, plans) for way in traces),
    )


def _concerned(made: Replay, key: PodKey, own: str) -> Iterable[str]:
    """The pod's node, and all that may hold one of its exits: no other node has a part in the way."""
    state, wanted = made.state, {own}
    rules = (rule for policy in state.policies if key in policy.clients for rule in policy.destinations)
    names = {name for rule in rules if rule.hops for name in rule.hops.exits}
    names |= {name for name, exit_ in state.exits.items() if key in exit_.clients}
    for name in names & made.assignments.keys():
        wanted |= {made.assignments[name].holder, *made.assignments[name].nodes}
    return sorted(wanted & made.facts.keys())


def lines(answer: Answer) -> Iterator[str]:
    """The answer for people."""
    packet = answer.packet
    port = f" port {packet.port}" if packet.port else ""
    yield f"{'/'.join(answer.pod)} {packet.source} on {packet.node} to {packet.destination}, {packet.protocol}{port}"
    yield answer.governed
    shared = len({item.exit for item in answer.passages}) > 1
    several = "new connections are shared out among gateways" if shared else "several nodes answer for the egress IP"
    for number, (way, by) in enumerate(zip(answer.traces, answer.passages, strict=True), start=1):
        yield ""
        if len(answer.traces) > 1:
            yield f"way {number} of {len(answer.traces)}: {several}"
        yield from aligned([(hop.node, hop.decided, hop.effect) for hop in way.hops])
        yield ""
        yield _verdict(way)
        yield from aligned(list(_reasons(way, by)), "  ")


def _governed(made: Replay, decision: Decision | None) -> str:
    if decision is None or not decision.exit:
        return f"governed by no policy{_because(decision)}"
    assignment = made.assignments[decision.exit]
    by = made.state.exits[decision.exit].ref
    return f"governed by {by}: {assignment.address or 'no address'}, {holding(assignment)}{_because(decision)}"


def _ruled(decides: Ruling, decision: Decision | None, destination: IPAddress) -> str:
    """Which policy decides about the destination, and to what effect: the rest of the words is the planner's."""
    if decides.rule is None:
        return f"governed by {decides.by}: dropped ({decides.policy.blocked})"
    if decides.hops is None:
        return f"governed by {decides.by}: no gateway, the ordinary way"
    for line in decision.to if decision else ():
        network, _, to = line.partition(": ")
        if destination in ip_network(network):
            kept, _, reason = to.partition("blocked, ")
            names = [name.rpartition("/")[0] or name for name in kept.split(", ") if name]
            by = f"gateway{'s' if len(names) > 1 else ''} {', '.join(names)}{_because(decision)}"
            return f"governed by {decides.by}: {f'dropped ({reason})' if reason else by}"
    return f"governed by {decides.by}{_because(decision)}"


def _reasons(way: Trace, by: Passage) -> Iterator[tuple[str, ...]]:
    """By which gateway and network a packet leaves, and why by no other network."""
    if not by.gateway:
        return
    fault = f", whose way does not stand: {by.fault}" if by.fault else ""
    yield "gateway", f"{by.gateway}, {by.address or 'no address'}, on {by.node}{fault}"
    if by.table:
        networks = f"filled by {', then '.join(by.served)}" if by.served else "of no network"
        yield "table", f"{by.table} on {by.node}, {networks}"
    if way.network:
        route = f"{way.route} by {way.router or 'its own link'}" if way.route else "routes that BGP has brought, if any"
        yield "network", f"{way.network}: {route}, device {way.device}"
    for other in by.refused:
        router = f", by {other.router}" if other.router else ""
        also = "has" if not way.network else "also has"
        yield "not", f"network {other.network}: it {also} {other.route}{router} on {other.node}, but {other.reason}"


def _because(decision: Decision | None) -> str:
    return f" ({decision.reason})" if decision and decision.reason else ""


def _verdict(way: Trace) -> str:
    if way.verdict is Verdict.DROPPED:
        return f"DROPPED at {way.node}"
    if way.verdict is Verdict.DELIVERED:
        return "DELIVERED within the cluster"
    own = "" if way.governed else ", which is no egress IP"
    network = f" for network {way.network}" if way.network else ""
    if way.network and not way.route:
        network += ", if BGP has brought a route: none is known here"
    return f"LEFT the cluster at {way.node} with source {way.source}{own}{network}"


def document(answer: Answer) -> dict[str, Any]:
    """The answer for programs."""
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
        "policy": str(answer.ruling.policy.ref) if answer.ruling else "",
        "rule": str(answer.ruling.rule.network) if answer.ruling and answer.ruling.rule else "",
        "ways": [_way(way, by) for way, by in zip(answer.traces, answer.passages, strict=True)],
    }


def _way(way: Trace, by: Passage) -> dict[str, Any]:
    return {
        "verdict": way.verdict.value,
        "node": way.node,
        "source": str(way.source or ""),
        "governed": way.governed,
        "gateway": by.gateway,
        "network": way.network,
        "table": by.table or way.table,
        "route": way.route,
        "router": way.router,
        "device": way.device,
        "refused": [asdict(item) for item in by.refused],
        "hops": [asdict(hop) for hop in way.hops],
    }
