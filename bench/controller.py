"""The controller on a real API server, with 200 nodes: cold start until all is planned, and one pod more.

Each Egress selects 20 pods, and each pod is in two Egresses. Everything has been decided before, so that a start lists,
plans, and has nothing to write. Memory is that which is resident a second after. One pod more is *known* where five
others have its labels, and *new* where none has. It counts from the moment at which its event arrives, or the request
that makes it is sent, until the controller has decided what to write for it; 200 pods, one each 30 ms. All on one
machine.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.apiserver import ApiServer, api_server
from bench.figures import Figure
from bench.population import OWN, SHARED, Population
from sallyport.apis.core import PODS
from sallyport.kube.client import Client
from sallyport.kube.credentials import load

SIZES = ((200, 2_000, 20_000), (200, 10_000, 100_000))
STARTS = 3
MORE = 200
PAUSE = 0.03


def measure() -> list[Figure]:
    """All sizes, with both kinds of label sets."""
    figures: list[Figure] = []
    for size in SIZES:
        for alike in (SHARED, OWN):
            population = Population(*size, alike)
            with api_server(population.stored()) as server:
                figures += asyncio.run(_measured(population, server))
    return figures


async def _measured(population: Population, server: ApiServer) -> list[Figure]:
    starts: list[dict[str, Any]] = []
    for _ in range(STARTS - 1):
        async with planner(server) as (told, _):
            starts.append(told)
    async with planner(server) as (told, lines), Client(load(str(server.admin))) as client:
        starts.append(told)
        more = await _more(population, client, lines)
    names = {"planned": ("s", "cold start until all is planned"), "cpu": ("s", "of these: CPU of the controller")}
    names |= {"memory": ("MiB", "its memory then"), "most": ("MiB", "its memory at most")}
    figures = [
        Figure(f"{text}, {population}", unit, tuple(told[key] for told in starts))
        for key, (unit, text) in names.items()
    ]
    kind = "known" if population.alike > 1 else "new"
    for text, values in zip(("arrived", "is asked for"), more, strict=True):
        figures += [
            Figure(f"one pod more of {kind} labels {text} until planned, {part}, {population}", "ms", (value,))
            for part, value in (("p50", _at(values, 0.5)), ("p99", _at(values, 0.99)))
        ]
    return figures


@asynccontextmanager
async def planner(server: ApiServer) -> AsyncIterator[tuple[dict[str, Any], asyncio.StreamReader]]:
    """A controller that has planned all that there is: what it told of its start, and its further lines."""
    argv = [sys.executable, "-m", "bench.planner", str(server.controller)]
    child = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=2**24
    )
    try:
        assert child.stdout is not None
        told = json.loads(await child.stdout.readline())
        yield told, child.stdout
    finally:
        child.terminate()
        await child.wait()


async def _more(population: Population, client: Client, lines: asyncio.StreamReader) -> tuple[list[float], list[float]]:
    """Milliseconds from each pod's arrival, and from the request, until it is planned."""
    step = population.pods // MORE
    arrived: list[float] = []
    asked: list[float] = []
    for number in range(0, population.pods, step):
        pod = population.pod(number, fresh=True)
        egress = population.egresses_of(number)[0]
        del pod["metadata"]["uid"], pod["metadata"]["creationTimestamp"], pod["status"]
        began = time.monotonic()
        await client.create(PODS, pod, pod["metadata"]["namespace"])
        told = await asyncio.wait_for(_round_of(egress, lines), 30)
        asked.append((told["at"] - began) * 1e3)
        arrived.append(told["after"] * 1e3)
        await asyncio.sleep(PAUSE)
    return arrived, asked


async def _round_of(egress: str, lines: asyncio.StreamReader) -> dict[str, Any]:
    while True:
        told: dict[str, Any] = json.loads(await lines.readline())
        if egress in told["round"]:
            return told


def _at(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]
