"""`sallyport plan`: what the controller would decide and every node's kernel would hold, from manifests alone."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from sallyport import __version__
from sallyport.apis.calico.annotations import GATEWAY_LABEL
from sallyport.apis.calico.deployment import deployment, has_spare, pools_of
from sallyport.apis.calico.objects import CalicoObjects
from sallyport.apis.calico.placement import near_networks
from sallyport.apis.calico.types import EgressGateway
from sallyport.apis.core import Node
from sallyport.cli.columns import aligned
from sallyport.cli.output import Output
from sallyport.cli.replay import Replay, replay
from sallyport.cli.snapshot import InputError, from_files, told
from sallyport.model.addresses import parse_network
from sallyport.model.document import cluster_document, node_document
from sallyport.model.kernel import Fib, Session
from sallyport.model.plan import Assignment, Decision, NodePlan
from sallyport.model.settings import Settings
from sallyport.model.state import Problem
from sallyport.plan.cluster import plan_cluster
from sallyport.processes.gateways import Gateways

SHOWN = 3
"""Networks that a line of the summary has; -o yaml has all of them."""


class _Dumper(yaml.SafeDumper):
    """Writes what occurs twice twice: people and kubectl read it."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def plan(
    files: Annotated[list[Path], typer.Argument(help="Manifests, directories of them, or - for standard input.")],
    node: Annotated[str, typer.Option("--node", "-N", help="Only this node's plan.")] = "",
    output: Annotated[
        Output, typer.Option("--output", "-o", help="text: a summary. yaml, json: all decisions, every kernel object.")
    ] = Output.TEXT,
    service_cidrs: Annotated[
        str, typer.Option(envvar="SALLYPORT_SERVICE_CIDRS", help="Service networks, separated by commas.")
    ] = "",
    image: Annotated[
        str, typer.Option(envvar="SALLYPORT_IMAGE", help="Image that the pods of EgressGateways would run.")
    ] = f"sallyport:{__version__}",
) -> None:
    """Print what would be done: who holds which egress IP, and what each node's kernel is to hold.

    Nothing is contacted and nothing is changed: no cluster and no rights are needed. The files hold the policies, and
    the Nodes, Pods and Namespaces that they are about, as written or as kubectl prints them:

    \b
        kubectl get nodes,ns,pods,cm,leases -A -o yaml > cluster.yaml
        sallyport plan cluster.yaml my-egress.yaml
        sallyport plan cluster.yaml my-egress.yaml --node node-1 -o yaml

    What the controller has recorded in a status is kept; what it has not yet decided is decided as it would be. A
    node whose agent has published no facts is taken to have one uplink, which is said.

    An EgressGateway becomes a Deployment, which is printed; its pods are planned where the files hold them, with the
    label sallyport.io/gateway. Passwords are not read and not printed.

    Exit status: 0 planned, 2 a file cannot be read.
    """
    with told("sallyport plan"):
        snapshot = from_files(files, networks(service_cidrs))
        made = replay(snapshot, Settings())
        if not made.facts:
            raise InputError("the files hold no Node: there is nothing to plan for")
        if node and node not in made.facts:
            raise InputError(f"the files hold no Node {node}; they hold {', '.join(sorted(made.facts))}")
    for remark in made.remarks:
        typer.echo(remark, err=True)
    plans = [made.plan(name) for name in ([node] if node else sorted(made.facts))]
    calico = snapshot.objects.calico
    if output is Output.TEXT:
        summary = (*_cluster(made), *_gateways(calico), *_problems(made, calico))
        typer.echo("\n".join((*summary, *(line for item in plans for line in _node(item)))))
        return
    documents = [] if node else [_cluster_document(made, calico, snapshot.objects.nodes, image)]
    documents += [node_document(item) for item in plans]
    if output is Output.JSON:
        typer.echo(json.dumps(documents, indent=2))
    else:
        typer.echo(yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=120), nl=False)


def networks(text: str) -> tuple[str, ...]:
    """Networks separated by commas. Raises InputError where one is none."""
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    for part in parts:
        try:
            parse_network(part)
        except ValueError as error:
            raise InputError(f"--service-cidrs: {error}") from None
    return parts


def _cluster(made: Replay) -> Iterator[str]:
    rows: list[Sequence[str]] = []
    for name, item in sorted(made.assignments.items()):
        exit_ = made.state.exits[name]
        leads = f"on {', '.join(exit_.networks)}" if exit_.networks else ""
        rows.append((str(exit_.ref), f"id {item.id}", str(item.address or "no address"), holding(item), leads))
    yield from aligned(rows)


def _gateways(calico: CalicoObjects) -> Iterator[str]:
    """What becomes of each EgressGateway, and that nothing is planned for pods that the files do not hold."""
    refused = {(item.ref.namespace, item.ref.name) for item in _faults(calico)}
    there = {(item.metadata.namespace, item.metadata.labels.get(GATEWAY_LABEL)) for item in calico.pods}
    rows: list[Sequence[str]] = []
    for gateway in calico.gateways:
        key = (gateway.metadata.namespace, gateway.metadata.name)
        replicas = gateway.spec.replicas
        made = "no Deployment" if key in refused else f"Deployment of {replicas} pod{'' if replicas == 1 else 's'}"
        pools = ", ".join(pool.metadata.name for pool in pools_of(gateway, calico.pools))
        leads = f"on {', '.join(gateway.spec.external_networks)}" if gateway.spec.external_networks else ""
        without = "" if key in there else "no pod of it is in these files"
        rows.append((f"EgressGateway/{'/'.join(key)}", made, f"pools {pools}", leads, without))
    yield from aligned(rows)


def _faults(calico: CalicoObjects) -> list[Problem]:
    """Why EgressGateways get no Deployment."""
    return Gateways("").problems(calico)


def _problems(made: Replay, calico: CalicoObjects) -> Iterator[str]:
    for problem in sorted({*made.problems, *_faults(calico)}):
        yield f"problem  {problem.ref}: {problem.message}"


def _cluster_document(made: Replay, calico: CalicoObjects, nodes: Sequence[Node], image: str) -> dict[str, Any]:
    """The controller's decisions, those that it has recorded before those that it would make, and its Deployments."""
    refused = {(item.ref.namespace, item.ref.name) for item in _faults(calico)}
    plan = replace(plan_cluster(made.state, made.settings), assignments=made.assignments, problems=made.problems)
    deployments = [
        _deployment(item, calico, nodes, image)
        for item in calico.gateways
        if (item.metadata.namespace, item.metadata.name) not in refused
    ]
    document = cluster_document(plan) | ({"deployments": deployments} if deployments else {})
    return {"cluster": document}


def _deployment(gateway: EgressGateway, calico: CalicoObjects, nodes: Sequence[Node], image: str) -> dict[str, Any]:
    spare = has_spare(gateway, calico.gateways, calico.pools)
    near = near_networks(gateway, calico.peers, nodes)
    made = deployment(gateway, calico.pools, image, spare=spare, near=near)
    return {"apiVersion": "apps/v1", "kind": "Deployment", **made}


def holding(assignment: Assignment) -> str:
    """Who holds an exit's address and who would next, in words."""
    if not assignment.holder:
        return "held by nobody"
    others = [name for name in assignment.nodes if name != assignment.holder]
    return f"held by {assignment.holder}" + (f", then {', '.join(others)}" if others else "")


def _node(item: NodePlan) -> Iterator[str]:
    yield ""
    yield f"node {item.node}"
    announced = {address: device for device, address in item.announcements}
    yield from aligned(
        [
            ("holds", str(address), f"for {name}", f"announced on {announced[address]}" if address in announced else "")
            for name, address in sorted(item.held.items())
        ],
        "  ",
    )
    decisions = sorted(item.decisions, key=lambda part: (part.pod, part.family))
    yield from aligned([row for part in decisions for row in _rows(part)], "  ")
    yield from aligned([_table(part) for part in item.objects if isinstance(part, Fib)], "  ")
    yield from aligned([_session(part) for part in item.objects if isinstance(part, Session)], "  ")
    counts = Counter(kernel_object.kind for kernel_object in item.objects)
    kinds = ", ".join(f"{kind.name.lower().replace('_', ' ')} {counts[kind]}" for kind in sorted(counts))
    yield f"  kernel objects: {kinds or 'none'}"


def _rows(decision: Decision) -> Iterator[tuple[str, ...]]:
    """One, or one for each choice of exits where a pod's destinations differ."""
    pod, family = "/".join(decision.pod), f"IPv{decision.family}"
    reason = f"{decision.state}: {decision.reason}" if decision.reason else decision.state
    if not decision.to:
        yield ("pod", pod, family, f"by {decision.exit}" if decision.exit else "by none", reason)
    by: dict[str, list[str]] = {}
    for line in decision.to:
        network, _, exits = line.partition(": ")
        by.setdefault(exits, []).append(network)
    for exits, networks_ in by.items():
        more = f" and {len(networks_) - SHOWN} more" if len(networks_) > SHOWN else ""
        way = exits if exits.startswith("blocked") else f"by {'the ordinary way' if exits == 'ordinary' else exits}"
        yield ("pod", pod, family, f"{', '.join(networks_[:SHOWN])}{more} {way}", reason)


def _table(fib: Fib) -> tuple[str, ...]:
    return ("table", str(fib.table), f"filled by {', then '.join(fib.networks)}")


def _session(session: Session) -> tuple[str, ...]:
    network = f"of network {session.network}" if session.network else "of no network"
    secured = "with a password" if session.digest else ""
    return ("session", session.name, f"{session.address} AS {session.asn}", network, secured)
