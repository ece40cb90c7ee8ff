"""The commands put together."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points

import typer

COMMANDS: Mapping[str, str] = {
    "check": "Check manifests before they are applied, or this node.",
    "apply": "Apply manifests as documents print them.",
    "plan": "Print what would be done, from files alone.",
    "status": "Tell what is wrong, and how everything stands.",
    "trace": "Tell which way a pod's packet takes, hop by hop.",
    "controller": "Run the process that decides for the cluster.",
    "agent": "Run the process that keeps one node's kernel.",
    "gateway": "Run the process in an egress gateway's pod.",
}
"""What each command does. Each is the function of its name, in the module of this package of its name. A `Shape`
there is how its words are read."""
PLUGINS = "sallyport.commands"
"""Entry points of this group are commands too: so `lab`, which stands above this package, is found but not imported."""


def build(wanted: str = "") -> typer.Typer:
    """The program with all of its commands, or with the `wanted` one alone, if there is one of that name: to import
    all of them takes longer than most of them run."""
    app = typer.Typer(
        help="Egress control for Kubernetes: which node, which source IP and which network pods leave by.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_program)
    plugins = {item.name: item for item in entry_points(group=PLUGINS)}
    known = wanted in COMMANDS or wanted in plugins
    for name, does in COMMANDS.items():
        if not known or name == wanted:
            module = import_module(f"sallyport.cli.{name}")
            app.command(name, short_help=does, cls=getattr(module, "Shape", None))(getattr(module, name))
    for name in sorted(plugins):
        if not known or name == wanted:
            app.add_typer(plugins[name].load(), name=name)
    return app


def _program() -> None:
    """Nothing: with it, a program of one command still wants that command's name."""
