"""Writes to the API that a plan asks for, as values, and their carrying out."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

import structlog

from sallyport.apis.resource import Resource
from sallyport.kube.apply import apply
from sallyport.kube.client import Client
from sallyport.kube.clock import Backoff
from sallyport.kube.errors import ApiError, Conflict, NotFound, Outage

log = structlog.get_logger(__name__)

WRITERS = 16
"""Writes at a time."""
RETRY = 1.0
"""Seconds until a plan is made anew after a write that the API server did not take; doubled each time, to at most the
next one."""
LONGEST = 10.0
_ASKER = "writes"
MANAGER = "sallyport-controller"
"""Field manager of all that the controller writes, so that users see whose an address from a pool is."""


@dataclass(frozen=True, slots=True)
class Write:
    """One write. `merge` patches what the body names, and is refused if the object changed meanwhile where the body
    has a resourceVersion; `apply` makes the object, or the fields of the body as they are there.

    `done` is told of the object as it was stored, `refused` of the reason for which it was not.
    """

    resource: Resource[Any]
    name: str
    body: object
    namespace: str | None = None
    subresource: str | None = None
    kind: Literal["merge", "apply"] = "merge"
    done: Callable[[Any], None] = field(default=lambda _: None, compare=False)
    refused: Callable[[str], None] = field(default=lambda _: None, compare=False)


class Writer:
    """Carries writes out, many at a time, those of several callers too; `again` is called when some have to be planned
    anew."""

    def __init__(self, client: Client, again: Callable[[], None], random: Random | None = None) -> None:
        self._client, self._again = client, again
        self._slots = asyncio.Semaphore(WRITERS)
        self._backoff = Backoff(random or Random(), first=RETRY, cap=LONGEST)
        self._running = 0
        self._outage = False
        self._refused: set[str] = set()
        self._told: frozenset[str] = frozenset()

    async def carry_out(self, writes: Iterable[Write]) -> list[Write]:
        """All of them; one that is refused costs that one only. When the API server is in trouble, those that have not
        begun wait for the next plan, which will know better. Those are answered that have to be planned anew."""
        if not self._running:
            self._outage = False
            self._refused.clear()
        self._running += 1
        try:
            wanted = list(writes)
            taken = await asyncio.gather(*(self._guarded(write) for write in wanted))
        finally:
            self._running -= 1
        left = [write for write, done in zip(wanted, taken, strict=True) if not done]
        if not self._running:
            self._told = frozenset(self._refused)
            if not self._outage:
                self._client.reach.answered(_ASKER)
        if left:
            asyncio.get_running_loop().call_later(self._backoff.next(), self._again)
        elif not self._running:
            self._backoff.reset()
        return left

    async def _guarded(self, write: Write) -> bool:
        """Whether a write needs no more to be done about it."""
        async with self._slots:
            if self._outage:
                return False
            try:
                write.done(await self._write(write))
            except (Conflict, NotFound) as error:
                log.debug("controller.stale", error=str(error))  # the watch brings the newer object, and a new plan
            except Outage as error:
                self._outage = True
                self._client.reach.failed(_ASKER, error)
                return False
            except ApiError as error:
                self._refuse(write, str(error))
                return False
        return True

    def _refuse(self, write: Write, reason: str) -> None:
        """Tell of it once, however often it is tried."""
        if reason not in self._told:
            log.warning("controller.write_failed", error=reason)
        self._refused.add(reason)
        write.refused(reason)

    async def _write(self, write: Write) -> Any:
        if write.kind == "apply":
            return await apply(
                self._client,
                write.resource,
                write.body,
                name=write.name,
                namespace=write.namespace,
                field_manager=MANAGER,
            )
        return await self._client.patch(
            write.resource, write.name, write.body, write.namespace, subresource=write.subresource
        )
