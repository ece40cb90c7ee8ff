"""`sallyport gateway`: the process in the pods of an EgressGateway."""

import asyncio
import os

import typer

from sallyport.cli.failures import one_line
from sallyport.processes.gateway import from_environment, run_gateway
from sallyport.processes.observe import configure_logging


@one_line("sallyport gateway")
def gateway() -> None:
    """Run a gateway's health: is its way up, and does the outside answer?

    It needs no rights on the node. Its environment says all, durations in seconds; the first three are needed:

    \b
    SALLYPORT_GATEWAY_NAMESPACE         namespace of this pod
    SALLYPORT_GATEWAY_POD               name of this pod
    SALLYPORT_HOST_IP                   an address of the node, IPv4 or IPv6
    SALLYPORT_AGENT_PORT                where the node's agent answers for the gateway (9847)
    SALLYPORT_HEALTH_PORT               where /readiness and /liveness are served (8080)
    SALLYPORT_HEALTH_TIMEOUT_DATASTORE  for how long the agent's last answer holds (90)
    SALLYPORT_ICMP_PROBE_IPS            addresses to ping, separated by commas
    SALLYPORT_ICMP_PROBE_INTERVAL       between two pings, and the wait for an answer (5)
    SALLYPORT_ICMP_PROBE_TIMEOUT        without any answer, not ready after this (15)
    SALLYPORT_HTTP_PROBE_URLS           URLs to fetch, separated by commas; a status below 400 is a success
    SALLYPORT_HTTP_PROBE_INTERVAL       between two requests, and the wait for an answer (10)
    SALLYPORT_HTTP_PROBE_TIMEOUT        without any answer, not ready after this (30)
    SALLYPORT_TERMINATION_GRACE         how long to go on after SIGTERM (0)
    SALLYPORT_LOG_SEVERITY              trace, debug, info, warn, error or fatal (info)

    /readiness answers 200 while the agent says that the gateway's way stands and one target of each kind of probe has
    answered within its timeout; else 503 and the reasons, a line each.

    Exit status: 0 after SIGTERM and the grace, 2 when it could not begin.
    """
    try:
        settings = from_environment(os.environ)
    except ValueError as error:
        typer.echo(f"sallyport gateway: {error}", err=True)
        raise typer.Exit(2) from None
    configure_logging(settings.severity)
    asyncio.run(run_gateway(settings))
