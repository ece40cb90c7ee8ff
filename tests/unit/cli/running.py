"""Commands run as users run them, and the texts that they are held against."""

import os
from pathlib import Path

import typer
from typer.testing import CliRunner, Result

from sallyport.cli.check import check
from sallyport.cli.plan import plan
from sallyport.cli.status import status
from sallyport.cli.trace import trace

HERE = Path(__file__).parent
CLUSTER = str(HERE / "cluster.yaml")
POLICIES = str(HERE / "policies.yaml")
FILES = ("-f", CLUSTER, "-f", POLICIES)

APP = typer.Typer(rich_markup_mode=None)
APP.command("check")(check)
APP.command("plan")(plan)
APP.command("status")(status)
APP.command("trace")(trace)


def run(*arguments: str, text: str | None = None) -> Result:
    """A command with its arguments; `text` is its standard input."""
    return CliRunner().invoke(APP, list(arguments), input=text, env={"KUBECONFIG": None})


def golden(name: str, found: str) -> str:
    """The text that is expected. With UPDATE_GOLDEN set in the environment, what was found becomes it."""
    path = HERE / "golden" / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    return path.read_text(encoding="utf-8")
