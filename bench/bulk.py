"""1,000 Egresses created at once on a real API server, with 200 nodes, until all have an address and a holder.

16 requests at a time create them, and 16 at a time write what the agents of the nodes would, which are not there.
Beside it the API server's own limit: how long as many status writes take, 16 at a time, when nobody does anything else.
Writes that are refused since the object has changed meanwhile are counted, too. All on one machine.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from bench.apiserver import ApiServer, api_server
from bench.controller import planner
from bench.figures import Figure
from bench.population import OWN, Population, egress
from sallyport.apis.antrea.status import from_holder
from sallyport.apis.antrea.types import EGRESSES, Egress
from sallyport.apis.conditions import changes
from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.kube.errors import Conflict
from sallyport.kube.watch import Reflector
from sallyport.model.addresses import parse_address

COUNT = 1_000
AT_ONCE = 16
RUNS = 3
STAMP = "2026-01-01T00:00:00Z"


class Holders:
    """Stands for all agents: the first node of each Egress says that it holds its address."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: set[str] = set()
        self.writes = self.refused = 0
        self.done = asyncio.Event()
        self.reflector = Reflector(client, EGRESSES, on_change=self._heard)

    def _heard(self, key: Any, old: Egress | None, new: Egress | None) -> None:
        if new is None:
            return
        if new.status.egress_node:
            self._held.add(new.metadata.name)
            if len(self._held) == COUNT:
                self.done.set()
        elif new.status.nodes:
            task = asyncio.create_task(self._hold(new))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _hold(self, item: Egress) -> None:
        status = from_holder(item.status, item.status.nodes[0], parse_address(item.status.allocated_ip), STAMP)
        body = {"resourceVersion": item.metadata.resource_version}
        async with self._slots:
            self.writes += 1
            try:
                patch = {"metadata": body, "status": changes(item.status, status)}
                await self._client.patch(EGRESSES, item.metadata.name, patch, subresource="status")
            except Conflict:
                self.refused += 1  # it has changed, and comes again


def measure() -> list[Figure]:
    """Times, rates, and writes for each Egress."""
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(RUNS):
        with api_server(Population(200, 0, 0, OWN).stored()) as server:
            for key, value in asyncio.run(_measured(server)).items():
                found.setdefault(key, []).append(value)
    return [Figure(name, unit, tuple(values)) for (name, unit), values in found.items()]


async def _measured(server: ApiServer) -> dict[tuple[str, str], float]:
    async with Client(load(str(server.admin))) as client, planner(server) as (_, lines):
        holders = Holders(client)
        watching = asyncio.create_task(holders.reflector.run())
        await holders.reflector.cache.synced.wait()
        rounds: list[list[str]] = []
        counting = asyncio.create_task(_count(lines, rounds))
        began = time.monotonic()
        names = [f"egress-{number:04}" for number in range(COUNT)]

        async def create(name: str) -> None:
            made = egress(name, {"app": name})
            del made["metadata"]["uid"], made["metadata"]["creationTimestamp"]
            await client.create(EGRESSES, made)

        await _many(names, create)
        created = time.monotonic() - began
        await asyncio.wait_for(holders.done.wait(), 300)
        whole = time.monotonic() - began
        await asyncio.sleep(2)  # for what may come too much
        watching.cancel()
        counting.cancel()
        limit = await _limit(client, names)
    asked = [name for names_ in rounds for name in names_]
    ours = sum(name != "pool" for name in asked) / COUNT
    return {
        (f"{COUNT} Egresses created until all have an address and a holder", "s"): whole,
        ("of these: until the last one is created", "s"): created,
        ("Egresses for each second", "/s"): COUNT / whole,
        ("writes that the API server has taken for each second of it", "/s"): (COUNT * (1 + ours) + holders.writes)
        / whole,
        ("status writes that it takes for each second when nobody does anything else", "/s"): COUNT / limit,
        ("writes of the controller for each Egress", ""): ours,
        ("writes of holders for each Egress", ""): holders.writes / COUNT,
        ("of these: refused, since it had changed meanwhile", ""): holders.refused / COUNT,
        ("writes of the controller to the pool", ""): asked.count("pool"),
    }


async def _count(lines: asyncio.StreamReader, rounds: list[list[str]]) -> None:
    while line := await lines.readline():
        rounds.append(json.loads(line)["round"])


async def _limit(client: Client, names: Iterable[str]) -> float:
    """Seconds that as many status writes take."""

    async def write(name: str) -> None:
        await client.patch(EGRESSES, name, {"status": {"clients": 7}}, subresource="status")

    began = time.monotonic()
    await _many(names, write)
    return time.monotonic() - began


async def _many(names: Iterable[str], work: Callable[[str], Awaitable[None]]) -> None:
    left = iter(names)

    async def one() -> None:
        for name in left:
            await work(name)

    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
