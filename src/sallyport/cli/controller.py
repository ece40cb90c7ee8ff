"""`sallyport controller`: the process that decides for the whole cluster."""

import asyncio
from typing import Annotated

import typer

from sallyport import __version__
from sallyport.cli.failures import one_line
from sallyport.processes.observe import configure_logging
from sallyport.processes.start import hostname, run_controller


@one_line("sallyport controller")
def controller(
    kubeconfig: Annotated[
        str | None, typer.Option(envvar="SALLYPORT_KUBECONFIG", help="Kubeconfig file; in-cluster when not given.")
    ] = None,
    identity: Annotated[str, typer.Option(help="Name in the leader election; this host's by default.")] = "",
    image: Annotated[
        str, typer.Option(envvar="SALLYPORT_IMAGE", help="Image that the pods of EgressGateways run.")
    ] = f"sallyport:{__version__}",
) -> None:
    """Run the controller: addresses, ids and ranks of all Egresses, statuses and events.

    Several may run; one leads. It needs no rights on any node.
    """
    configure_logging()
    asyncio.run(run_controller(kubeconfig, identity or hostname(), image))
