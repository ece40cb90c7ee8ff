"""List and watch: a copy of one kind's objects that follows the API server.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes and
k8s.io/client-go/tools/cache, Reflector.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from random import Random
from types import MappingProxyType
from typing import Generic, TypeVar

import aiohttp
import msgspec
import structlog

from sallyport.apis.resource import Resource
from sallyport.kube.client import Client, ListMeta, decoder, name_in
from sallyport.kube.clock import Backoff, Clock, SystemClock
from sallyport.kube.errors import ApiError, Gone, Unavailable, from_answer
from sallyport.kube.identity import Key, key_of, revision_of, uid_of

T = TypeVar("T")
OnChange = Callable[[Key, T | None, T | None], None]
"""Called with the key, the object before (None: it is new) and the object now (None: it is gone)."""

log = structlog.get_logger(__name__)

BOOKMARKED = 90.0
"""Seconds without a byte after which a watch is taken for dead that has had a bookmark: an API server sends one each
minute, up to a quarter later (k8s.io/apiserver/pkg/storage/cacher)."""
LASTING = 10.0
"""Seconds after which a watch has been one: when it ends then, the next is asked for at once."""
STEADY = 120.0
"""Seconds without a 410 after which the next one is the first again."""


class Cache(Generic[T]):
    """The objects of one kind as last heard of. Only a `Reflector` changes it.

    `objects` is a read-only view that changes with the cache; `synced` is set once a whole list was taken in.
    """

    def __init__(self, on_change: OnChange[T] | None = None) -> None:
        self._objects: dict[Key, T] = {}
        self._on_change = on_change
        self.objects: Mapping[Key, T] = MappingProxyType(self._objects)
        self.synced = asyncio.Event()

    def put(self, obj: T) -> None:
        """Take in a new or changed object; one already known at this resourceVersion is no change."""
        key = key_of(obj)
        old = self._objects.get(key)
        if old is not None and revision_of(old) and revision_of(old) == revision_of(obj):
            return
        if old is not None and uid_of(old) != uid_of(obj):  # deleted and made anew unseen by us
            self.drop(key)
            old = None
        self._objects[key] = obj
        self._tell(key, old, obj)

    def drop(self, key: Key) -> None:
        """Forget an object that was deleted, if it was known."""
        old = self._objects.pop(key, None)
        if old is not None:
            self._tell(key, old, None)

    def replace(self, objects: Iterable[T]) -> None:
        """Take in a whole list: what it lacks was deleted while nobody watched."""
        listed = {key_of(obj): obj for obj in objects}
        for key in [key for key in self._objects if key not in listed]:
            self.drop(key)
        for obj in listed.values():
            self.put(obj)
        self.synced.set()

    def _tell(self, key: Key, old: T | None, new: T | None) -> None:
        if self._on_change is not None:
            self._on_change(key, old, new)


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct):
    metadata: ListMeta


class Reflector(Generic[T]):
    """Keeps `cache` equal to what the API server holds, for as long as `run` runs.

    Lists in pages of `page_limit`, then watches from there, again and again with the last resourceVersion seen;
    lists again when that is too old. The server ends a watch after `watch_seconds` to twice that; one that is 10 s
    overdue is taken for dead, and of a server that sends bookmarks one on which not a byte came for `silence` seconds.
    An object that does not fit the type is reported and left out, and hides no other.

    `heard` is the clock's monotonic second at which the server last said anything; `trouble` is the present
    error in one line, "" while all is well, and `since` when it began, in seconds since the epoch.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource[T],
        *,
        on_change: OnChange[T] | None = None,
        namespace: str | None = None,
        field_selector: str = "",
        label_selector: str = "",
        clock: Clock | None = None,
        random: Random | None = None,
        page_limit: int = 500,
        watch_seconds: float = 240.0,
        silence: float = BOOKMARKED,
    ) -> None:
        self.cache: Cache[T] = Cache(on_change)
        self.resource = resource
        self.heard = float("-inf")
        self.trouble = ""
        self.since = 0.0
        self._client = client
        self._namespace = namespace
        self._field_selector = field_selector
        self._label_selector = label_selector
        self._clock = clock or SystemClock()
        self._random = random or Random()
        self._page_limit = page_limit
        self._watch_seconds = watch_seconds
        self._silence = silence
        self._backoff = Backoff(self._random)
        self._relists = Backoff(self._random, first=1.0)
        self._expired = float("-inf")
        self._revision = ""
        self._bookmarked = False
        self._bookmarks = 0

    async def run(self) -> None:
        """List and watch until cancelled. Errors of the API server never end it; they make it wait."""
        while True:
            try:
                if not self._revision:
                    await self._list()
                await self._watch()
            except Gone as error:
                log.debug("watch.relist", resource=self.resource.plural, reason=str(error))
                self._revision = ""
                await self._clock.sleep(self._relist_wait())
            except ApiError as error:
                self._note(error)
                # What the server asks for, and some more: all others were told the same.
                wait = self._backoff.next() + (error.retry_after or 0)
                await (self._clock.sleep(wait) if error.retry_after else self._client.reach.wait(wait))

    def _relist_wait(self) -> float:
        """Seconds until all is listed anew. They are few for the first time in a while; but a server that goes on
        saying 410 is not to be asked for lists all the time, whatever it says in between."""
        now, before = self._clock.monotonic(), self._expired
        self._expired = now
        if now - before > STEADY:
            self._relists.reset()
        return self._relists.next()

    def _note(self, error: ApiError) -> None:
        told = self._client.reach.failed(self._asker, error)
        if str(error) != self.trouble and not told:
            log.warning("watch.trouble", resource=self.resource.plural, error=str(error))
        if not self.trouble:
            self.since = self._clock.now()
        self.trouble = str(error)

    @property
    def _asked(self) -> str:
        return f"watch {self.resource.path(self._namespace)}"

    @property
    def _asker(self) -> str:
        return f"{self._asked} {self._field_selector} {self._label_selector}"

    def _alive(self) -> None:
        self.heard = self._clock.monotonic()
        if self.trouble:
            self.trouble = ""
            self._client.reach.answered(self._asker)

    async def _list(self) -> None:
        objects, revision = await self._pages(self._page_limit)
        self._alive()
        self.cache.replace(objects)
        self._revision = revision

    async def _pages(self, limit: int) -> tuple[list[T], str]:
        objects: list[T] = []
        token = ""
        while True:
            try:
                page = await self._client.list_page(
                    self.resource,
                    self._namespace,
                    limit=limit,
                    continue_=token,
                    field_selector=self._field_selector,
                    label_selector=self._label_selector,
                )
            except Gone:
                if not token:
                    raise
                return await self._pages(0)  # the token expired between two pages: all at once, as client-go does
            objects += page.items
            for line in page.undecodable:
                log.error("watch.undecodable", object=line)
            token = page.continue_
            if not token:
                return objects, page.resource_version

    async def _watch(self) -> None:
        """Follow one watch to its end."""
        started = self._clock.monotonic()
        seconds = self._watch_seconds * (1 + self._random.random())
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._revision,
            "timeoutSeconds": str(int(seconds)),
        }
        if self._field_selector:
            params["fieldSelector"] = self._field_selector
        if self._label_selector:
            params["labelSelector"] = self._label_selector
        async with self._client.stream(self.resource.path(self._namespace), params=params) as answer:
            self._alive()
            async for line in self._lines(answer, seconds + 10):
                self._take(line)
                if self.heard - started > LASTING:
                    self._backoff.reset()
        if self._clock.monotonic() - started < LASTING:
            raise Unavailable(0, "Unavailable", "the server ended the watch at once", asked=self._asked)
        self._backoff.reset()

    async def _lines(self, answer: aiohttp.ClientResponse, seconds: float) -> AsyncIterator[bytes]:
        """The lines of the answer, of any length. `Unavailable` after too long without a byte."""
        guard = asyncio.create_task(self._guard(answer, self._clock.monotonic() + seconds))
        before = self._bookmarks
        parts: list[bytes] = []
        try:
            async for chunk in answer.content.iter_any():
                self._alive()
                first, *others = chunk.split(b"\n")
                parts.append(first)
                for other in others:
                    line = b"".join(parts)
                    parts = [other]
                    if line:
                        yield line
        except aiohttp.ClientError:
            if not guard.done():
                raise
        finally:
            guard.cancel()
        if guard.done():
            self._bookmarked = self._bookmarks > before  # another server may have taken over that sends none
            message = f"the watch was silent for {self._clock.monotonic() - self.heard:.0f} s"
            raise Unavailable(0, "Unavailable", message, asked=self._asked)

    async def _guard(self, answer: aiohttp.ClientResponse, end: float) -> None:
        """Close an answer that is silent, or overdue at monotonic second `end`. One task for the whole watch: a timer
        for each chunk would cost more."""
        while (left := self._deadline(end) - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left, self._silence))
        answer.close()

    def _deadline(self, end: float) -> float:
        return min(end, self.heard + self._silence) if self._bookmarked else end

    def _take(self, line: bytes) -> None:
        try:
            event = decoder(_Event).decode(line)
        except msgspec.DecodeError as error:
            raise Unavailable(200, "Undecodable", f"no watch event: {error}", asked=self._asked) from error
        if event.type == "ERROR":
            raise from_answer(0, bytes(event.object), asked=self._asked)
        self._revision = decoder(_Bookmark).decode(event.object).metadata.resource_version or self._revision
        if event.type == "BOOKMARK":
            self._bookmarked = True
            self._bookmarks += 1
            return
        try:
            obj = decoder(self.resource.type).decode(event.object)
        except msgspec.DecodeError as error:
            log.error("watch.undecodable", object=f"{self.resource.kind} {name_in(event.object)}: {error}")
            return
        if event.type == "DELETED":
            self.cache.drop(key_of(obj))
        else:
            self.cache.put(obj)
