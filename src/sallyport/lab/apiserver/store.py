"""All objects, in memory, under one revision counter, with the bounded history that watches resume from."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sallyport.lab.apiserver.errors import Object, expired

Key = tuple[str, str]  # namespace ("" for cluster scope), name


@dataclass(frozen=True, slots=True)
class Change:
    """One write. ``old`` is None for a creation, ``new`` is None for a removal (``last`` is then what was removed)."""

    revision: int
    bucket: str
    old: Object | None
    new: Object | None
    last: Object


@dataclass(slots=True, eq=False)
class Feed:
    """The changes of one bucket that a watch has not yet read; of no others than `wanted` it ever hears."""

    bucket: str
    wanted: Callable[[Change], bool]
    changes: deque[Change] = field(default_factory=deque)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def push(self, change: Change) -> None:
        """Add a change that is wanted, and wake the reader. Fifty nodes watch pods, and each pod concerns one."""
        if self.wanted(change):
            self.changes.append(change)
            self.ready.set()


class Store:
    """Objects by bucket and key. Stored objects are never changed in place: a write replaces them."""

    def __init__(self, history: int = 20000) -> None:
        self.revision = 1
        self._objects: dict[str, dict[Key, Object]] = {}
        self._history: deque[Change] = deque(maxlen=history)
        self._forgotten = 0
        self._feeds: dict[str, set[Feed]] = {}
        self._dependents: dict[str, set[tuple[str, Key]]] = {}
        self.listeners: list[Callable[[Change], None]] = []

    def get(self, bucket: str, key: Key) -> Object | None:
        """The object, not to be changed."""
        return self._objects.get(bucket, {}).get(key)

    def keys(self, bucket: str) -> list[Key]:
        """Every key of a bucket, in order."""
        return sorted(self._objects.get(bucket, {}))

    def objects(self, bucket: str, namespace: str = "") -> list[Object]:
        """Objects of a bucket, of one namespace or of all, in the order of their keys."""
        found = self._objects.get(bucket, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def buckets(self) -> list[str]:
        """The buckets that hold something."""
        return [bucket for bucket, found in self._objects.items() if found]

    def dependents(self, uid: str) -> list[tuple[str, Key]]:
        """Objects with an ownerReference to this uid."""
        return sorted(self._dependents.get(uid, ()))

    def put(self, bucket: str, key: Key, obj: Object) -> Object:
        """Create or replace; sets ``resourceVersion`` on the object given and returns it."""
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        objects = self._objects.setdefault(bucket, {})
        old = objects.get(key)
        objects[key] = obj
        self._index(bucket, key, old, obj)
        self._publish(Change(self.revision, bucket, old, obj, obj))
        return obj

    def remove(self, bucket: str, key: Key) -> Object:
        """Remove an object that exists and return its last state, with the revision of the removal."""
        self.revision += 1
        old = self._objects[bucket].pop(key)
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.revision)}}
        self._index(bucket, key, old, None)
        self._publish(Change(self.revision, bucket, old, None, last))
        return last

    def _index(self, bucket: str, key: Key, old: Object | None, new: Object | None) -> None:
        for owner in (old or {}).get("metadata", {}).get("ownerReferences") or ():
            found = self._dependents.get(owner.get("uid", ""), set())
            found.discard((bucket, key))
            if not found:
                self._dependents.pop(owner.get("uid", ""), None)
        for owner in (new or {}).get("metadata", {}).get("ownerReferences") or ():
            self._dependents.setdefault(owner.get("uid", ""), set()).add((bucket, key))

    def _publish(self, change: Change) -> None:
        if len(self._history) == self._history.maxlen:
            self._forgotten = self._history[0].revision
        self._history.append(change)
        for feed in self._feeds.get(change.bucket, ()):
            feed.push(change)
        for listener in self.listeners:
            listener(change)

    def check_revision(self, revision: int) -> None:
        """Raise 410 for a revision whose later changes are no longer all known."""
        if revision > self.revision:  # given out by an earlier life of the server
            raise expired(f"too large resource version: {revision}, current: {self.revision}")
        if revision < self._forgotten:
            raise expired(f"too old resource version: {revision} ({self._forgotten})")

    def follow(self, bucket: str, after: int, wanted: Callable[[Change], bool]) -> Feed:
        """A feed of the wanted changes after a revision. Raises 410 when the history no longer reaches back to it."""
        self.check_revision(after)
        feed = Feed(bucket, wanted)
        for change in self._history:
            if change.bucket == bucket and change.revision > after:
                feed.push(change)
        self._feeds.setdefault(bucket, set()).add(feed)
        return feed

    def unfollow(self, feed: Feed) -> None:
        """End a feed."""
        self._feeds.get(feed.bucket, set()).discard(feed)

    def watchers(self, bucket: str) -> int:
        """How many feeds a bucket has."""
        return len(self._feeds.get(bucket, ()))
