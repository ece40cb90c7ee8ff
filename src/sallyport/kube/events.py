"""Events: what `kubectl describe` shows below an object.

Core v1 Events; repetitions are counted on the first one, as k8s.io/client-go/tools/record does.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Literal

import msgspec
import structlog

from sallyport.apis.resource import Resource
from sallyport.kube.client import Client
from sallyport.kube.clock import Backoff
from sallyport.kube.errors import ApiError, NotFound, Outage
from sallyport.model.state import ObjectRef

log = structlog.get_logger(__name__)

EventType = Literal["Normal", "Warning"]


class _EventMeta(msgspec.Struct):
    name: str
    namespace: str = ""


class _Event(msgspec.Struct):
    metadata: _EventMeta


EVENTS: Resource[_Event] = Resource("", "v1", "events", "Event", True, _Event)


_Same = tuple[ObjectRef, EventType, str, str]


@dataclass(slots=True)
class _Told:
    name: str
    count: int
    last: float


class Recorder:
    """Takes events at once and sends them in the background; never fails its caller.

    `component` and `host` say who speaks. At most `capacity` events wait, as long as the server is in trouble; further
    ones are dropped and counted in `dropped`. The same words on the same object within `window` seconds are one event
    with a count. `api_versions` gives the apiVersion of a kind, where a reader should have it.
    """

    def __init__(
        self,
        client: Client,
        component: str,
        host: str = "",
        *,
        api_versions: Mapping[str, str] | None = None,
        capacity: int = 1000,
        window: float = 600.0,
        now: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> None:
        self.dropped = 0
        self._backoff = Backoff(random or Random(), first=1.0)
        self._client, self._component, self._host = client, component, host
        self._api_versions, self._now = api_versions or {}, now
        self._capacity, self._window = capacity, window
        self._waiting: OrderedDict[_Same, tuple[float, float, int]] = OrderedDict()
        self._wake = asyncio.Event()
        self._told: OrderedDict[_Same, _Told] = OrderedDict()
        self._serial = 0

    def record(self, regarding: ObjectRef, kind: EventType, reason: str, message: str, at: float | None = None) -> None:
        """Note that something happened to an object at `at`, seconds since the epoch (None: now).

        `reason` is one CamelCase word for programs, `message` a sentence for people.
        """
        when = self._now() if at is None else at
        same = (regarding, kind, reason, message[:1024])  # the API's limit
        if same in self._waiting:
            first, _, count = self._waiting[same]
            self._waiting[same] = (first, when, count + 1)
        elif len(self._waiting) >= self._capacity:
            self.dropped += 1
        else:
            self._waiting[same] = (when, when, 1)
        self._wake.set()

    async def run(self) -> None:
        """Send what was recorded, until cancelled."""
        while True:
            await self._wake.wait()
            if await self.flush():
                self._backoff.reset()
            else:
                await asyncio.sleep(self._backoff.next())

    async def flush(self) -> bool:
        """Send all that waits; False if some of it waits on, because the server is in trouble. What it refuses is
        logged and forgotten."""
        self._wake.clear()
        while self._waiting:
            same, (first, last, count) = self._waiting.popitem(last=False)
            try:
                await self._send(same, first, last, count)
            except Outage:
                self._keep(same, first, last, count)
                return False
            except ApiError as error:
                self.dropped += count
                log.warning("event.lost", reason=same[2], object=str(same[0]), error=str(error))
        return True

    def _keep(self, same: _Same, first: float, last: float, count: int) -> None:
        """Have an event wait that could not be sent, before all others."""
        if same in self._waiting:  # it has happened once more meanwhile
            _, last, more = self._waiting[same]
            count += more
        self._waiting[same] = (first, last, count)
        self._waiting.move_to_end(same, last=False)
        self._wake.set()

    async def _send(self, same: _Same, first: float, last: float, count: int) -> None:
        namespace = same[0].namespace or "default"  # where kubectl looks for events of cluster-wide kinds
        told = self._told.get(same)
        if told is not None and last - told.last <= self._window:
            patch = {"count": told.count + count, "lastTimestamp": _stamp(last)}
            try:
                await self._client.patch(EVENTS, told.name, patch, namespace)
            except NotFound:  # the server lets events go after an hour
                pass
            else:
                self._told[same] = _Told(told.name, told.count + count, last)
                self._told.move_to_end(same)
                return
        self._serial += 1
        name = f"{same[0].name[:200]}.{int(last * 1e6):x}{self._serial:x}"
        body = self._body(name, namespace, same, first, last, count)
        await self._client.create(EVENTS, body, namespace)
        self._told[same] = _Told(name, count, last)
        if len(self._told) > 4096:
            self._told.popitem(last=False)

    def _body(self, name: str, namespace: str, same: _Same, first: float, last: float, count: int) -> dict[str, object]:
        regarding, kind, reason, message = same
        about = {
            "apiVersion": self._api_versions.get(regarding.kind, ""),
            "kind": regarding.kind,
            "name": regarding.name,
            "namespace": regarding.namespace,
            "uid": regarding.uid,
        }
        source = {"component": self._component, "host": self._host}
        return {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {field: value for field, value in about.items() if value},
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {field: value for field, value in source.items() if value},
            "reportingComponent": self._component,
            "reportingInstance": self._host,
            "count": count,
            "firstTimestamp": _stamp(first),
            "lastTimestamp": _stamp(last),
        }


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
