"""Events: what `kubectl describe` shows below an object.

Core v1 Events; repetitions are counted on the first one, as k8s.io/client-go/tools/record does.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import structlog

from sallyport.apis.resource import Resource
from sallyport.kube.client import Client
from sallyport.kube.errors import ApiError, NotFound
from sallyport.kube.identity import revision_of, uid_of

log = structlog.get_logger(__name__)

EventType = Literal["Normal", "Warning"]


class _EventMeta(msgspec.Struct):
    name: str
    namespace: str = ""


class _Event(msgspec.Struct):
    metadata: _EventMeta


EVENTS: Resource[_Event] = Resource("", "v1", "events", "Event", True, _Event)


@dataclass(frozen=True, slots=True)
class Regarding:
    """The object that an event is about. `namespace` is "" where the kind has none."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""

    @classmethod
    def of(cls, resource: Resource[Any], obj: Any) -> "Regarding":
        """The reference to `obj`."""
        meta = obj.metadata
        namespace = (meta.namespace or "") if resource.namespaced else ""
        return cls(resource.api_version, resource.kind, meta.name, namespace, uid_of(obj), revision_of(obj))


_Same = tuple[str, str, str, str, str, str, str]


@dataclass(slots=True)
class _Told:
    name: str
    count: int
    last: float


class Recorder:
    """Takes events at once and sends them in the background; never fails its caller.

    `component` and `host` say who speaks. At most `capacity` events wait; further ones are dropped and counted
    in `dropped`. The same words on the same object within `window` seconds are one event with a count.
    """

    def __init__(
        self, client: Client, component: str, host: str = "", *, capacity: int = 1000, window: float = 600.0
    ) -> None:
        self.dropped = 0
        self._client, self._component, self._host = client, component, host
        self._capacity, self._window = capacity, window
        self._waiting: OrderedDict[_Same, tuple[Regarding, float, float, int]] = OrderedDict()
        self._wake = asyncio.Event()
        self._told: OrderedDict[_Same, _Told] = OrderedDict()
        self._serial = 0

    def record(self, regarding: Regarding, kind: EventType, reason: str, message: str, at: float) -> None:
        """Note that something happened to an object at `at`, seconds since the epoch.

        `reason` is one CamelCase word for programs, `message` a sentence for people.
        """
        same = (
            regarding.api_version, regarding.kind, regarding.namespace, regarding.name, kind, reason,
            message[:1024],  # the API's limit
        )  # fmt: skip
        if same in self._waiting:
            about, first, _, count = self._waiting[same]
            self._waiting[same] = (about, first, at, count + 1)
        elif len(self._waiting) >= self._capacity:
            self.dropped += 1
        else:
            self._waiting[same] = (regarding, at, at, 1)
        self._wake.set()

    async def run(self) -> None:
        """Send what was recorded, until cancelled."""
        while True:
            await self._wake.wait()
            await self.flush()

    async def flush(self) -> None:
        """Send all that waits. What the server refuses is logged and forgotten."""
        self._wake.clear()
        while self._waiting:
            same, (regarding, first, last, count) = self._waiting.popitem(last=False)
            try:
                await self._send(same, regarding, first, last, count)
            except ApiError as error:
                self.dropped += count
                log.warning("event.lost", reason=same[5], object=regarding.name, error=str(error))

    async def _send(self, same: _Same, regarding: Regarding, first: float, last: float, count: int) -> None:
        namespace = regarding.namespace or "default"  # where kubectl looks for events of cluster-wide kinds
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
        name = f"{regarding.name[:200]}.{int(last * 1e6):x}{self._serial:x}"
        body = self._body(name, namespace, same, regarding, first, last, count)
        await self._client.create(EVENTS, body, namespace)
        self._told[same] = _Told(name, count, last)
        if len(self._told) > 4096:
            self._told.popitem(last=False)

    def _body(
        self,
        name: str,
        namespace: str,
        same: _Same,
        regarding: Regarding,
        first: float,
        last: float,
        count: int,
    ) -> dict[str, object]:
        about = {
            "apiVersion": regarding.api_version,
            "kind": regarding.kind,
            "name": regarding.name,
            "namespace": regarding.namespace,
            "uid": regarding.uid,
            "resourceVersion": regarding.resource_version,
        }
        source = {"component": self._component, "host": self._host}
        return {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {field: value for field, value in about.items() if value},
            "type": same[4],
            "reason": same[5],
            "message": same[6],
            "source": {field: value for field, value in source.items() if value},
            "reportingComponent": self._component,
            "reportingInstance": self._host,
            "count": count,
            "firstTimestamp": _stamp(first),
            "lastTimestamp": _stamp(last),
        }


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
