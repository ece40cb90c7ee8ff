"""`sallyport plan`: what the controller would decide and every node's kernel would hold, from manifests alone."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
import yaml

from sallyport.cli.check import Output
from sallyport.cli.columns import aligned
from sallyport.cli.replay import Replay, replay
from sallyport.cli.snapshot import InputError, from_files, told
from sallyport.model.addresses import parse_network
from sallyport.model.document import node_document
from sallyport.model.plan import Assignment, Decision, NodePlan
from sallyport.model.settings import Settings


def plan(
    files: Annotated[list[Path], typer.Argument(help="Manifests, directories of them, or - for standard input.")],
    node: Annotated[str, typer.Option("--node", "-N", help="Only this node's plan.")] = "",
    output: Annotated[
        Output, typer.Option("--output", "-o", help="text: a summary. yaml, json: whole plans, every kernel object.")
    ] = Output.TEXT,
    service_cidrs: Annotated[
        str, typer.Option(envvar="SALLYPORT_SERVICE_CIDRS", help="Service networks, separated by commas.")
    ] = "",
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

    Exit status: 0 planned, 2 a file cannot be read.
    """
    with told("sallyport plan"):
        made = replay(from_files(files, networks(service_cidrs)), Settings())
        if not made.facts:
            raise InputError("the files hold no Node: there is nothing to plan for")
        if node and node not in made.facts:
            raise InputError(f"the files hold no Node {node}; they hold {', '.join(sorted(made.facts))}")
    for remark in made.remarks:
        typer.echo(remark, err=True)
    plans = [made.plan(name) for name in ([node] if node else sorted(made.facts))]
    documents = [node_document(item) for item in plans]
    if output is Output.JSON:
        typer.echo(json.dumps(documents, indent=2))
    elif output is Output.YAML:
        typer.echo(yaml.safe_dump_all(documents, sort_keys=False, width=120), nl=False)
    else:
        typer.echo("\n".join((*_cluster(made), *(line for item in plans for line in _node(item)))))


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
    rows = [
        (str(made.state.exits[name].ref), f"id {item.id}", str(item.address or "no address"), holding(item))
        for name, item in sorted(made.assignments.items())
    ]
    yield from aligned(rows)
    for problem in made.problems:
        yield f"problem  {problem.ref}: {problem.message}"


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
    yield from aligned([_row(part) for part in sorted(item.decisions, key=lambda part: (part.pod, part.family))], "  ")
    counts = Counter(kernel_object.kind for kernel_object in item.objects)
    kinds = ", ".join(f"{kind.name.lower().replace('_', ' ')} {counts[kind]}" for kind in sorted(counts))
    yield f"  kernel objects: {kinds or 'none'}"


def _row(decision: Decision) -> tuple[str, ...]:
    pod = "/".join(decision.pod)
    reason = f"{decision.state}: {decision.reason}" if decision.reason else decision.state
    by = f"by {decision.exit}" if decision.exit else "by none"
    return ("pod", pod, f"IPv{decision.family}", by, reason)
