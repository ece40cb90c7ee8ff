"""`sallyport agent`: the process that keeps one node's kernel."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from sallyport.cli.failures import one_line
from sallyport.drivers.requirements import require
from sallyport.model.addresses import parse_network
from sallyport.processes.observe import configure_logging
from sallyport.processes.start import run_agent


@one_line("sallyport agent")
def agent(
    node: Annotated[str, typer.Option(envvar=["SALLYPORT_NODE_NAME", "NODE_NAME"], help="Name of this node.")],
    kubeconfig: Annotated[
        str | None, typer.Option(envvar="SALLYPORT_KUBECONFIG", help="Kubeconfig file; in-cluster when not given.")
    ] = None,
    runtime_dir: Annotated[
        Path, typer.Option(envvar="SALLYPORT_RUNTIME_DIR", help="Where BIRD's socket and configuration live.")
    ] = Path("/run/sallyport"),
    service_networks: Annotated[
        str,
        typer.Option(
            "--service-cidrs", envvar="SALLYPORT_SERVICE_CIDRS", help="Service networks, separated by commas."
        ),
    ] = "",
) -> None:
    """Run the agent of this node, in the node's network namespace, as root.

    It programs the kernel so that pods leave by their egress IPs, holds the IPs that are this node's, and leaves
    everything as it is when it ends: a restart disturbs no packet.
    """
    configure_logging()
    require("ip", "nft", "bird", "conntrack")
    networks = tuple(part.strip() for part in service_networks.split(",") if part.strip())
    for text in networks:
        try:
            parse_network(text)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--service-cidrs") from None
    asyncio.run(run_agent(kubeconfig, node, runtime_dir, networks))
