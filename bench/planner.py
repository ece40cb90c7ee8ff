"""`python -m bench.planner KUBECONFIG`: the controller, and a line of JSON for each thing that is measured.

`planned` comes once, when the plan of all that there is has been made: seconds since the process began, seconds of CPU,
MiB of memory. Then `round`: Egresses for which something is written, at which monotonic second, and how many seconds
after the first of the changes that led to it had arrived.
"""

import asyncio
import json
import os
import resource
import sys
import time
from typing import Any

import structlog

from sallyport.apis.core import PODS
from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.model.settings import Settings
from sallyport.processes.controller import Controller
from sallyport.processes.start import now


def _tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _age() -> float:
    """Seconds since this process began, as the kernel has it."""
    with open("/proc/self/stat") as file:
        began = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began


def _memory() -> float:
    """MiB that are resident."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


class Watched:
    """A controller whose rounds are told of. It is reached into: what is measured is none of its business."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self._arrived: float | None = None
        self._planned = False
        reflector = controller._watches._reflectors[PODS]
        self._take, reflector._take = reflector._take, self._arriving  # type: ignore[method-assign]
        self._sync, controller.sync = controller.sync, self._round  # type: ignore[method-assign]
        self._writes = controller._egresses.writes
        controller._egresses.writes = self._asked  # type: ignore[method-assign, assignment]

    def _arriving(self, line: bytes) -> None:
        if self._arrived is None:
            self._arrived = time.monotonic()
        self._take(line)

    def _asked(self, *args: Any) -> Any:
        writes = self._writes(*args)
        at = time.monotonic()
        if self._planned and writes:
            _tell(round=[item.name for item in writes], at=at, after=at - (self._arrived or at))
        self._arrived = None
        return writes

    async def _round(self) -> None:
        await self._sync()
        if not self._planned:
            self._planned = True
            used = resource.getrusage(resource.RUSAGE_SELF)
            asyncio.get_running_loop().call_later(1.0, self._settled, _age(), used.ru_utime + used.ru_stime)

    def _settled(self, age: float, cpu: float) -> None:
        """Tell of the start when it is over, with its memory then."""
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        controller = self.controller
        effort = controller._translation.effort + controller._planning.effort
        _tell(planned=age, cpu=cpu, memory=_memory(), most=most, effort=effort)


async def main(kubeconfig: str) -> None:
    async with Client(load(kubeconfig)) as client:
        await Watched(Controller(client, Settings(), now, "image")).controller.run()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(sys.argv[1]))
