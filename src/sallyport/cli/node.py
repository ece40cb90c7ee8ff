"""`sallyport check node`: can this node do the work, and does anybody here get into our way?"""

import dataclasses
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from sallyport.cli.columns import aligned
from sallyport.cli.failures import one_line
from sallyport.cli.output import Output
from sallyport.drivers.bird import Bird
from sallyport.drivers.node.surroundings import look
from sallyport.drivers.node.trying import attempt
from sallyport.drivers.requirements import require
from sallyport.model.fitness import Finding, Outcome, Severity, Surroundings, Trial
from sallyport.model.settings import Settings
from sallyport.plan.fitness import judge
from sallyport.plan.fitness.means import SYSCTLS
from sallyport.plan.fitness.trials import routing, trials

_BIRD = Trial("BIRD's configuration", "liveness between nodes, and BGP", "install bird2")


@one_line("sallyport check node")
def node(
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print what was found.")] = Output.TEXT,
    runtime_dir: Annotated[
        Path, typer.Option(envvar="SALLYPORT_RUNTIME_DIR", help="Where the agent's BIRD has socket and configuration.")
    ] = Path("/run/sallyport"),
) -> None:
    """Tell whether this node can do the work, what is wrong first, and what to do about each.

    What the kernel is to do is tried in a network namespace that goes with this command; what there is on the node is
    only read: tools, settings, MTU, rights, rules and tables of others, ports, and the agent if one runs. As root, in
    the node's network namespace. No cluster is contacted.

    \b
        sallyport check node
        sallyport lab exec node-1 -- sallyport check node

    Exit status: 0 no problem (there may be warnings), 1 problems, 2 it cannot be told.
    """
    require("ip", "nft")
    settings = Settings()
    seen = look(settings, runtime_dir, SYSCTLS)
    outcomes = _try(seen, settings)
    findings = judge(seen, outcomes, settings)
    if output is Output.TEXT:
        typer.echo("\n".join(lines(findings, outcomes, seen)))
    else:
        tree = document(findings, outcomes, seen)
        text = json.dumps(tree, indent=2) if output is Output.JSON else yaml.safe_dump(tree, sort_keys=False)
        typer.echo(text.rstrip())
    raise typer.Exit(1 if any(item.severity is Severity.PROBLEM for item in findings) else 0)


def _try(seen: Surroundings, settings: Settings) -> list[Outcome]:
    """Every trial; none where there can be no network namespace to make them in, which is a finding of its own."""
    wanted = trials(settings)
    with tempfile.TemporaryDirectory() as folder:
        if "SYS_ADMIN" in seen.capabilities:
            outcomes = attempt(wanted, settings, Path(folder))
        else:
            outcomes = [Outcome(trial, None, "there is no network namespace to try it in") for trial in wanted]
        if any(tool.name == "bird" and tool.version for tool in seen.tools):
            refusal = Bird(Path(folder), settings.route_protocol).refusal(routing())
            outcomes.append(Outcome(_BIRD, not refusal, refusal))
    return outcomes


def lines(findings: tuple[Finding, ...], outcomes: list[Outcome], seen: Surroundings) -> Iterator[str]:
    """All of it for people."""
    count = sum(item.severity is Severity.PROBLEM for item in findings)
    yield f"{_counted(count, 'problem')}, {_counted(len(findings) - count, 'warning')}"
    for item in findings:
        yield ""
        yield f"{'warning: ' if item.severity is Severity.WARNING else ''}{item.subject}: {item.message}"
        yield f"    {item.remedy}"
    yield ""
    told = {True: "yes", False: "no", None: "not tried"}
    rows = [[item.trial.name, told[item.works], item.trial.serves] for item in outcomes]
    yield from aligned([["KERNEL", "WORKS", "FOR"], *rows])
    yield ""
    yield from aligned([["TOOL", "VERSION", "PACKAGE"], *([t.name, t.version or "-", t.package] for t in seen.tools)])
    if seen.uplinks:
        yield ""
        ways = [[f"IPv{family}", item.device, str(item.mtu)] for family, item in seen.uplinks.items()]
        yield from aligned([["UPLINK", "DEVICE", "MTU"], *ways])
    yield ""
    yield from aligned([["AGENT", "RENEWED", "OBJECTS", "BIRD"], _agent(seen)])


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def _agent(seen: Surroundings) -> list[str]:
    found = seen.programmed
    if found is None:
        return ["absent", "-", "-", "-"]
    renewed = "-" if found.renewed is None else f"{found.renewed:.0f} s ago"
    bird = "running" if found.answering else "down" if found.configured else "-"
    return ["silent" if found.renewed is None else "running", renewed, str(found.objects), bird]


def document(findings: tuple[Finding, ...], outcomes: list[Outcome], seen: Surroundings) -> dict[str, Any]:
    """All of it for programs."""
    return {
        "findings": [dataclasses.asdict(item) | {"severity": item.severity.value} for item in findings],
        "kernel": [
            {"name": item.trial.name, "works": item.works, "serves": item.trial.serves, "reason": item.reason}
            for item in outcomes
        ],
        "tools": [dataclasses.asdict(item) for item in seen.tools],
        "uplinks": {f"IPv{family}": {"device": way.device, "mtu": way.mtu} for family, way in seen.uplinks.items()},
        "sysctls": dict(seen.sysctls),
        "agent": dataclasses.asdict(seen.programmed) if seen.programmed else None,
    }
