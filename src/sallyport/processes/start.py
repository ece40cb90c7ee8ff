"""Where the processes come together: credentials, client, loop, and a clean end on SIGTERM."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sallyport.drivers.web import Web
from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.kube.lease import Elector
from sallyport.model.settings import Settings
from sallyport.processes.agent import Agent
from sallyport.processes.controller import Controller
from sallyport.processes.hands import KernelHands
from sallyport.processes.settings import NAMESPACE
from sallyport.processes.writes import MANAGER

AGENT_MANAGER = "sallyport-agent"
"""What an agent calls itself: the API server takes it for the manager of the fields that the agent writes."""


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends, or until SIGTERM or SIGINT."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


async def run_controller(kubeconfig: str | None, identity: str, image: str) -> None:
    """Lead when elected, plan while leading. `image` is what gateways' pods run."""
    async with Client(load(kubeconfig), user_agent=MANAGER) as client:
        elector = Elector(client, NAMESPACE, "sallyport-controller", identity)

        # A new one for each term: what an earlier term has heard of is stale.
        await until_told(elector.run(lambda: Controller(client, Settings(), now, image).run()))


async def run_agent(kubeconfig: str | None, node: str, runtime_dir: Path, service_networks: tuple[str, ...]) -> None:
    """Be the agent of `node` in this network namespace."""
    settings = Settings()
    hands = KernelHands(settings, runtime_dir)
    async with Client(load(kubeconfig), user_agent=AGENT_MANAGER) as client, Web() as web:
        agent = Agent(
            client, hands, node=node, settings=settings, service_networks=service_networks, now=now, get=web.get
        )
        hands.watch(asyncio.get_running_loop(), agent.heard)
        await until_told(agent.run())


def hostname() -> str:
    """The name of this machine, as the identity of a candidate for leadership."""
    return os.uname().nodename
