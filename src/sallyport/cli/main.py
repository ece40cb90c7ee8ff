"""The commands put together."""

from importlib.metadata import entry_points

import typer

from sallyport.cli import agent, apply, check, controller, gateway, plan, status, trace

PLUGINS = "sallyport.commands"
"""Entry points of this group are commands too: so `lab`, which stands above this package, is found but not imported."""


def build() -> typer.Typer:
    """The program with all of its commands."""
    app = typer.Typer(
        help="Egress control for Kubernetes: which node, which source IP and which network pods leave by.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command("check", short_help="Check manifests before they are applied.")(check.check)
    app.command("apply", short_help="Apply manifests as documents print them.")(apply.apply)
    app.command("plan", short_help="Print what would be done, from files alone.")(plan.plan)
    app.command("status", short_help="Tell what is wrong, and how everything stands.")(status.status)
    app.command("trace", short_help="Tell which way a pod's packet takes, hop by hop.")(trace.trace)
    app.command("controller", short_help="Run the process that decides for the cluster.")(controller.controller)
    app.command("agent", short_help="Run the process that keeps one node's kernel.")(agent.agent)
    app.command("gateway", short_help="Run the process in an egress gateway's pod.")(gateway.gateway)
    for plugin in sorted(entry_points(group=PLUGINS), key=lambda item: item.name):
        app.add_typer(plugin.load(), name=plugin.name)
    return app
