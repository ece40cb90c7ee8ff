"""What a process knows of its way to the API server: told once when it is lost, and once when it is there again."""

import asyncio
from random import Random

import structlog

from sallyport.kube.clock import Clock, within
from sallyport.kube.errors import ApiError, Throttled, Unauthorized, Unavailable

log = structlog.get_logger(__name__)

EFFECT = "existing egress goes on as it is, changes wait"
"""What it means for the cluster that the API server cannot be asked."""
SPREAD = 2.0
"""Seconds over which those who waited ask again once another was answered."""
_SERVER_ERROR = 500


def trouble(error: ApiError) -> str:
    """What an error says of the API server, or of the way to it; "" where it is about the request only."""
    if isinstance(error, Unauthorized):
        return "the API server does not accept our credentials"
    if isinstance(error, Throttled):
        return "the API server has too much to do"
    if isinstance(error, Unavailable) and not error.status:
        return "the API server cannot be reached"
    return "the API server fails" if error.status >= _SERVER_ERROR else ""


class Reach:
    """Whoever asks the API server again and again says here how it went.

    A trouble lasts from the first failure until nobody has any more. Each kind of it is logged once, however many
    requests fail meanwhile; `since` is when it began, in seconds since the epoch, None while all is well.
    """

    def __init__(self, clock: Clock, random: Random | None = None) -> None:
        self.since: float | None = None
        self._clock, self._random = clock, random or Random()
        self._turn = asyncio.Event()
        self._began = 0.0
        self._failing: set[str] = set()
        self._told: set[str] = set()

    def failed(self, asker: str, error: ApiError) -> bool:
        """Whether the error is one of the API server, and so is told here."""
        kind = trouble(error)
        if not kind:
            self.answered(asker)
            return False
        if self.since is None:
            self.since, self._began = self._clock.now(), self._clock.monotonic()
        self._failing.add(asker)
        if kind not in self._told:
            self._told.add(kind)
            log.warning("api.trouble", trouble=kind, error=str(error), effect=EFFECT)
        return True

    def answered(self, asker: str) -> None:
        """It got what it asked for, or a reason that lies in the request."""
        if asker in self._failing:
            self._failing.discard(asker)
            self._turn.set()
            self._turn = asyncio.Event()
        if self.since is not None and not self._failing:
            log.info("api.well", seconds=round(self._clock.monotonic() - self._began, 1))
            self.since = None
            self._told.clear()

    async def wait(self, seconds: float) -> None:
        """Return after that long, or earlier where another's trouble is over: then ours may be, too."""
        try:
            await within(self._clock, seconds, self._turn.wait())
        except TimeoutError:
            return
        await self._clock.sleep(SPREAD * self._random.random())

    def forget(self) -> None:
        """Those who asked have ended: a trouble is over when the next one is answered."""
        self._failing.clear()
