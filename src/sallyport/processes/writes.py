"""Writes to the API that a plan asks for, as values, and their carrying out."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from sallyport.apis.resource import Resource
from sallyport.kube.apply import apply
from sallyport.kube.client import Client
from sallyport.kube.errors import ApiError, Conflict, NotFound

log = structlog.get_logger(__name__)

WRITERS = 16
"""Writes at a time."""
RETRY = 1.0
"""Seconds until a plan is made anew after a write that the API server did not take."""
MANAGER = "sallyport-controller"
"""Field manager of what is applied."""


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
    """Carries writes out, many at a time; `again` is called when one has to be planned anew."""

    def __init__(self, client: Client, again: Callable[[], None]) -> None:
        self._client, self._again = client, again
        self._slots = asyncio.Semaphore(WRITERS)

    async def carry_out(self, writes: Iterable[Write]) -> None:
        """All of them; one that fails costs that one only."""
        await asyncio.gather(*(self._guarded(write) for write in writes))

    async def _guarded(self, write: Write) -> None:
        async with self._slots:
            try:
                write.done(await self._write(write))
            except (Conflict, NotFound) as error:
                log.debug("controller.stale", error=str(error))  # the watch brings the newer object, and a new plan
            except ApiError as error:
                log.warning("controller.write_failed", error=str(error))
                write.refused(str(error))
                asyncio.get_running_loop().call_later(RETRY, self._again)

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
