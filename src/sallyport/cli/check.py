"""`sallyport check`: would the API take these manifests, and could they be honoured?"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from typer.core import TyperCommand

from sallyport.apis.calico.fitting import unfit
from sallyport.apis.calico.peering import DISABLED, NO_PASSWORD
from sallyport.apis.calico.references import NOT_FOUND, Client
from sallyport.apis.manifests import Flaw, Manifest, read_manifests
from sallyport.apis.review import Review, Severity, review
from sallyport.apis.telling import further
from sallyport.apis.translate import translate
from sallyport.cli.node import node
from sallyport.cli.output import Output
from sallyport.model.settings import Settings
from sallyport.model.state import Problem
from sallyport.plan.cluster import plan_cluster

NO_ADDRESS = "AllocationError"
SUFFIXES = (".yaml", ".yml", ".json")


class Shape(TyperCommand):
    """`check node` is a command of its own, with its own options; whatever else is checked are files."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command that is meant."""
        if args[:1] != ["node"]:
            return super().make_context(info_name, args, parent, **extra)
        app = typer.Typer(rich_markup_mode=None, add_completion=False)
        app.command("node")(node)
        return typer.main.get_command(app).make_context(f"{info_name} node", args[1:], parent, **extra)


def files_of(paths: list[Path]) -> list[Path]:
    """The files themselves, and the manifests in the directories. Raises FileNotFoundError."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(item for item in path.rglob("*") if item.suffix in SUFFIXES)
        elif str(path) == "-" or path.exists():
            found.append(path)
        else:
            raise FileNotFoundError(f"{path}: no such file")
    return found


def read_files(paths: list[Path]) -> tuple[list[Manifest], list[Flaw]]:
    """All manifests in the files ("-" is standard input). Raises OSError where one cannot be read."""
    manifests: list[Manifest] = []
    flaws: list[Flaw] = []
    for path in files_of(paths):
        name = "standard input" if str(path) == "-" else str(path)
        try:
            text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            flaws.append(Flaw(name, 1, "is not UTF-8 text"))
            continue
        read, broken = read_manifests(text, name)
        manifests += read
        flaws += broken
    return manifests, flaws


def examine(paths: list[Path]) -> Review:
    """Schema, validator, what fits together and, where the files hold nodes, the planner. Raises OSError where a file
    cannot be read."""
    result = review(*read_files(paths))
    objects, calico = result.objects, result.objects.calico
    state = translate(objects)
    problems = set(state.problems)
    if state.nodes:
        problems |= set(plan_cluster(state, Settings()).problems)
    clients: list[Client] = [*objects.namespaces, *objects.pods]
    told = [item for item in problems if not _is_moot(item, result)]
    for problem in further(result.told, told):
        result.problem(problem)
    for problem in further(result.told, unfit(calico, objects.nodes, objects.namespaces, clients, state.peerings)):
        result.problem(problem)
    return result


def _is_moot(problem: Problem, result: Review) -> bool:
    """What is only so since the files do not hold everything: Secrets never, options and pools perhaps."""
    if problem.reason == NO_PASSWORD:
        return True
    if problem.reason == DISABLED:
        return all(item.metadata.name != "default" for item in result.objects.calico.felix)
    elsewhere = {(item.ref.kind, item.ref.name) for item in result.told if item.reason == NOT_FOUND}
    return problem.reason == NO_ADDRESS and (problem.ref.kind, problem.ref.name) in elsewhere


def check(
    files: Annotated[list[Path], typer.Argument(help="Manifests, directories of them, or - for standard input.")],
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print what was found.")] = Output.TEXT,
) -> None:
    """Check manifests before they are applied; `check node` checks the node that it runs on.

    Each remark reads FILE:LINE: FIELD: REASON. A refusal is what the API would refuse too; a warning is about what
    it would store, but what would not work as it reads. Nothing is contacted: no cluster and no rights are needed.
    Files that hold Nodes (and Pods and Namespaces) are planned as well, and it is told which gateways find no
    node with a peer of their networks. What objects name is looked for in the files only.

    Exit status: 0 nothing refused, 1 something refused, 2 a file cannot be read.
    """
    try:
        result = examine(files)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        typer.echo(f"sallyport check: {reason}", err=True)
        raise typer.Exit(2) from None
    refused = sum(item.severity is Severity.REFUSED for item in result.findings)
    if output is Output.TEXT:
        _print_text(result, refused)
    else:
        document = {
            "findings": [dataclasses.asdict(item) | {"severity": item.severity.value} for item in result.findings],
            "checked": len(result.sources),
            "refused": refused,
            "skipped": [f"{item.api_version} {item.kind}/{item.name}" for item in result.skipped],
        }
        typer.echo(json.dumps(document, indent=2) if output is Output.JSON else yaml.safe_dump(document), nl=True)
    raise typer.Exit(1 if refused else 0)


def _print_text(result: Review, refused: int) -> None:
    for item in sorted(result.findings, key=lambda item: (item.file, item.line, item.field)):
        parts = [f"{item.file}:{item.line}"]
        parts += [item.field] if item.field else []
        warning = "warning: " if item.severity is Severity.WARNING else ""
        typer.echo(f"{': '.join(parts)}: {warning}{item.reason}")
    for manifest in result.skipped:
        typer.echo(f"{manifest.file}:{manifest.line}: {manifest.kind} is not checked: not a kind of ours", err=True)
    warnings = len(result.findings) - refused
    typer.echo(f"{len(result.sources)} objects: {refused} refusals, {warnings} warnings", err=True)
