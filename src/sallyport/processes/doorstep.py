"""Where a node's gateways ask its agent whether their way stands: a small HTTP server on the node's own addresses."""

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from sallyport.drivers.web import Answer, serving
from sallyport.kube.clock import Clock

log = structlog.get_logger(__name__)

PORT = 9847
"""Port that gateways ask at, unless they are told another (SALLYPORT_AGENT_PORT)."""
RETRY = 1.0
"""Seconds until an address is tried again that could not be bound."""


class Doorstep:
    """Answers `GET /gateways/NAMESPACE/POD` with 200 when the gateway's way stands, with 503 and the reason when it
    does not, and with 404 when nothing is known of it; and `GET /healthz` with 200.

    Before the first `tell` nothing is known of any gateway: an agent that has just been started has no opinion, and
    a gateway takes a 404 for no answer, so that it stays as it is meanwhile.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._states: Mapping[str, str] = {}

    def tell(self, states: Mapping[str, str]) -> None:
        """What to answer from now on: by NAMESPACE/POD "" for a way that stands, or the reason why it does not."""
        self._states = dict(states)

    def answer(self, path: str) -> Answer:
        """The answer to a GET of that path."""
        if path == "/healthz":
            return Answer(200, "ok\n")
        gateway = path.removeprefix("/gateways/")
        reason = self._states.get(gateway) if gateway != path else None
        if reason is None:
            return Answer(404, "not known here\n")
        return Answer(503, f"{reason}\n") if reason else Answer(200, "stands\n")

    async def serve(self, hosts: Iterable[str], port: int = PORT) -> None:
        """Serve on each of these addresses ("" for all of the machine) until cancelled. One that cannot be bound, as
        one that is not on an interface yet, is tried again until it can; the others do not wait for it."""
        async with asyncio.TaskGroup() as group:
            for host in dict.fromkeys(hosts):
                group.create_task(self._serve(host, port))

    async def _serve(self, host: str, port: int) -> None:
        told = ""
        while True:
            try:
                async with serving(host, port, self.answer) as bound:
                    log.info("agent.doorstep_open", address=host, port=bound)
                    await asyncio.Event().wait()
            except OSError as error:
                if (reason := error.strerror or str(error)) != told:
                    log.warning("agent.doorstep_closed", address=host, port=port, reason=reason)
                told = reason
            await self._clock.sleep(RETRY)
