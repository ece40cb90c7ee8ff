"""`sallyport status`: the whole at a glance, what is wrong first."""

import asyncio
import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from sallyport.apis.overview import CONTROLLER, Leases, Overview, Trouble, overview
from sallyport.cli.columns import aligned
from sallyport.cli.failures import one_line
from sallyport.cli.output import Output
from sallyport.cli.snapshot import InputError, Snapshot, from_files, told, whole
from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.kube.errors import ApiError
from sallyport.kube.reach import EFFECT, trouble
from sallyport.processes.settings import LEASE_PREFIX
from sallyport.processes.start import now

PATIENCE = 15.0
"""Seconds that one request may take."""
SHOWN = 5
"""Entries of a list that a cell shows, and problems of a kind of object; -o json has all of them."""
MOST_ROWS = 50
"""Rows of a section that are shown."""


@one_line("sallyport status")
def status(
    files: Annotated[
        list[Path] | None,
        typer.Option("--files", "-f", help="Manifests, directories of them, or -, instead of a cluster; repeatable."),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print what was found.")] = Output.TEXT,
    kubeconfig: Annotated[
        str | None, typer.Option(help="Kubeconfig file; else $KUBECONFIG, the pod's account, or the user's own file.")
    ] = None,
) -> None:
    """Tell what is wrong, what to do about it, and how everything stands.

    Problems come first, causes before what follows from them; then nodes and their agents, egress IPs, gateways,
    external networks, BGP peers, policies and pools. Only the API is read: statuses, and the Leases in which agents
    tell what they see. Nothing is asked of the nodes themselves.

    \b
        sallyport status
        kubectl get nodes,ns,pods,cm,leases,eg,eip -A -o yaml | sallyport status -f -

    Exit status: 0 nothing is wrong, 1 something is, 2 it cannot be told.
    """
    with told("sallyport status"):
        snapshot = from_files(files, ()) if files else asyncio.run(_ask(kubeconfig))
    found = overview(snapshot.objects, _leases(snapshot))
    for remark in snapshot.remarks:
        typer.echo(remark, err=True)
    if snapshot.moment is None:
        typer.echo("no Lease is known: nothing is told of controller and agents", err=True)
    if output is Output.TEXT:
        typer.echo("\n".join(lines(found)))
    else:
        tree = document(found)
        text = json.dumps(tree, indent=2) if output is Output.JSON else yaml.safe_dump(tree, sort_keys=False)
        typer.echo(text.rstrip())
    raise typer.Exit(1 if found.problems else 0)


async def _ask(kubeconfig: str | None) -> Snapshot:
    async with Client(load(kubeconfig), timeout=PATIENCE) as client:
        try:
            return await whole(client, now())
        except ApiError as error:
            if not (found := trouble(error)):
                raise
            raise InputError(f"{found} from here: {error}; {EFFECT}") from None


def _leases(snapshot: Snapshot) -> Leases:
    by_name = {item.metadata.name: item for item in snapshot.leases}
    agents = {name.removeprefix(LEASE_PREFIX): item for name, item in by_name.items() if name.startswith(LEASE_PREFIX)}
    return Leases(agents, by_name.get(CONTROLLER.name), snapshot.moment)


def lines(found: Overview) -> Iterator[str]:
    """The overview for people."""
    count = len(found.problems)
    yield f"{count or 'no'} problem{'' if count == 1 else 's'}"
    yield from _problems(found.problems)
    for rows in _sections(found).values():
        if rows:
            yield ""
            heads = [item.name.upper() for item in dataclasses.fields(rows[0])]
            yield from aligned([heads, *([_cell(value) for value in _values(row)] for row in rows[:MOST_ROWS])])
            if len(rows) > MOST_ROWS:
                yield f"and {len(rows) - MOST_ROWS} more: -o json has all of them"


def _problems(found: Sequence[Trouble]) -> Iterator[str]:
    """The first of each kind of object: what a hundred nodes have together need not be read a hundred times."""
    counts = Counter(problem.ref.kind for problem in found)
    shown = Counter[str]()
    for problem in found:
        kind = problem.ref.kind
        shown[kind] += 1
        if shown[kind] <= SHOWN:
            yield ""
            yield f"{problem.ref}: {problem.message}"
            yield f"    {problem.remedy}"
        if shown[kind] == SHOWN and counts[kind] > SHOWN:
            yield ""
            yield f"{kind}: {counts[kind] - SHOWN} problems more: -o json has all of them"


def _sections(found: Overview) -> dict[str, tuple[Any, ...]]:
    return {item.name: getattr(found, item.name) for item in dataclasses.fields(found) if item.name != "problems"}


def _values(row: Any) -> list[object]:
    return [getattr(row, item.name) for item in dataclasses.fields(row)]


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, timedelta):
        return f"{int(value.total_seconds())} s ago"
    if isinstance(value, tuple):
        more = f" and {len(value) - SHOWN} more" if len(value) > SHOWN else ""
        return ", ".join(str(item) for item in value[:SHOWN]) + more or "-"
    return "-" if value in (None, "") else str(value)


def document(found: Overview) -> dict[str, Any]:
    """The overview for programs: every section, also those that have nothing; times are seconds ago."""
    sections = {name: [_plain(dataclasses.asdict(row)) for row in rows] for name, rows in _sections(found).items()}
    return {"problems": [_problem(item) for item in found.problems], **sections}


def _problem(item: Trouble) -> dict[str, str]:
    return {"object": str(item.ref), "message": item.message, "remedy": item.remedy}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return int(value.total_seconds()) if isinstance(value, timedelta) else value
