"""`python -m bench.rounds NODE COUNT`: times rounds of a second agent of a node, in that node's namespace.

It is given the environment of a node's agent. As long as the other agent's kernel is in order, it finds nothing to do.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from sallyport.drivers.web import Web
from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.model.settings import Settings
from sallyport.processes.agent import Agent
from sallyport.processes.hands import KernelHands
from sallyport.processes.start import now

NETWORKS = ("red", "yellow")


async def timed(node: str, count: int) -> dict[str, list[float]]:
    """Seconds of each round (`sync`), and of each look at BIRD's sessions and routes (`look`)."""
    settings, runtime = Settings(), Path(os.environ["SALLYPORT_RUNTIME_DIR"])
    services = tuple(os.environ["SALLYPORT_SERVICE_CIDRS"].split(","))
    found: dict[str, list[float]] = {"sync": [], "look": []}
    async with Client(load(os.environ["SALLYPORT_KUBECONFIG"])) as client, Web() as web:
        hands = KernelHands(settings, runtime)
        agent = Agent(client, hands, node=node, settings=settings, service_networks=services, now=now, get=web.get)
        watching = asyncio.create_task(agent._watches.run())  # its own loop would plan and program by itself
        await agent._watches.synced()
        for _ in range(count):
            began = time.perf_counter()
            await agent.sync()
            found["sync"].append(time.perf_counter() - began)
            fresh = KernelHands(settings, runtime)  # one that has looked before reads the routes only now and then
            began = time.perf_counter()
            fresh.routing(NETWORKS, ())
            found["look"].append(time.perf_counter() - began)
        watching.cancel()
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(timed(sys.argv[1], int(sys.argv[2])))))
