"""List requests with pages, and watch requests: the read side of the API."""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import msgspec

from sallyport.lab.apiserver import selectors
from sallyport.lab.apiserver.errors import Object, StatusError, bad_request, expired, unsupported
from sallyport.lab.apiserver.kinds import Resource
from sallyport.lab.apiserver.rest import Rest
from sallyport.lab.apiserver.store import Change

INITIAL_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True)
class Query:
    """The ListOptions of a request (apimachinery's metav1.ListOptions), parsed."""

    labels: str = ""
    fields: str = ""
    limit: int = 0
    token: str = ""
    revision: str = ""
    match: str = ""
    bookmarks: bool = False
    initial: bool = False
    timeout: float = 0.0

    def predicate(self, resource: Resource) -> selectors.Predicate | None:
        """What both selectors together select. Raises 400."""
        return selectors.both(selectors.labels(self.labels), selectors.fields(self.fields, resource))


def revision_number(text: str) -> int:
    """A resourceVersion as a number; raises 400 for one that this server cannot have given out."""
    if not text.isdigit():
        raise bad_request(f"invalid resource version {text!r}")
    return int(text)


def _decode_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        revision, namespace, name = msgspec.json.decode(base64.urlsafe_b64decode(token), type=tuple[int, str, str])
    except (binascii.Error, msgspec.DecodeError, ValueError) as err:
        raise bad_request(f"continue key is not valid: {err}") from err
    return revision, (namespace, name)


def list_objects(rest: Rest, resource: Resource, namespace: str, query: Query) -> Object:
    """The list object: items in the order of their keys, a page of them if a limit was given.

    Later pages show the present state of what they list and carry the revision of the first page, so that a watch from
    there on sees every change in between. Raises 410 for a token older than the history.
    """
    selects = query.predicate(resource)
    if query.match == "Exact" and query.revision != str(rest.store.revision):
        raise unsupported("a list at an exact resource version of the past")
    revision, start = rest.store.revision, None
    if query.token:
        revision, start = _decode_token(query.token)
        try:
            rest.store.check_revision(revision)
        except StatusError as err:
            raise expired("The provided continue parameter is too old to display a consistent list result") from err
    items: list[Object] = []
    metadata: Object = {"resourceVersion": str(revision)}
    found = rest.store.objects(resource.store, namespace)
    for place, obj in enumerate(found):
        meta = obj["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        if (start is not None and key <= start) or (selects is not None and not selects(obj)):
            continue
        if query.limit and len(items) == query.limit:
            last = items[-1]["metadata"]
            token = msgspec.json.encode((revision, last.get("namespace", ""), last["name"]))
            metadata["continue"] = base64.urlsafe_b64encode(token).decode()
            if selects is None:
                metadata["remainingItemCount"] = len(found) - place
            break
        items.append(rest.present(resource, obj))
    return {"kind": resource.kind + "List", "apiVersion": resource.api_version, "metadata": metadata, "items": items}


def _bookmark(resource: Resource, revision: int, end: bool = False) -> Object:
    metadata: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
    if end:
        metadata["annotations"] = {INITIAL_END: "true"}
    return {
        "type": "BOOKMARK",
        "object": {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata},
    }


async def watch(
    rest: Rest, resource: Resource, namespace: str, query: Query, bookmark_every: float
) -> AsyncIterator[Object]:
    """The watch events, until the timeout of the query. Intervals in seconds. Raises 410 before the first event."""
    selects = query.predicate(resource)
    initial = query.initial or (query.revision in ("", "0") and query.match == "")
    after = rest.store.revision if initial else revision_number(query.revision)
    feed = rest.store.follow(resource.store, after, partial(_matches, namespace, selects))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + query.timeout if query.timeout else None
    try:
        if initial:
            for obj in rest.store.objects(resource.store, namespace):
                if selects is None or selects(obj):
                    yield {"type": "ADDED", "object": rest.present(resource, obj)}
            if query.initial and query.bookmarks:
                yield _bookmark(resource, after, end=True)
        while True:
            while feed.changes:
                yield _event(rest, resource, selects, feed.changes.popleft())
            feed.ready.clear()
            left = bookmark_every if deadline is None else min(bookmark_every, deadline - loop.time())
            try:
                await asyncio.wait_for(feed.ready.wait(), max(left, 0.0))
            except TimeoutError:
                if query.bookmarks and not feed.changes:
                    yield _bookmark(resource, rest.store.revision)
                if deadline is not None and loop.time() >= deadline:
                    return
    finally:
        rest.store.unfollow(feed)


def _matches(namespace: str, selects: selectors.Predicate | None, change: Change) -> bool:
    """Whether a watch sees anything of a change."""
    if namespace and change.last["metadata"].get("namespace") != namespace:
        return False
    return any(_before_and_after(selects, change))


def _before_and_after(selects: selectors.Predicate | None, change: Change) -> tuple[bool, bool]:
    """Whether the object was selected before a change, and whether it is after it."""
    before, after = (item is not None and (selects is None or selects(item)) for item in (change.old, change.new))
    return before, after


def _event(rest: Rest, resource: Resource, selects: selectors.Predicate | None, change: Change) -> Object:
    """A change as one watch sees it: an object that begins to match is ADDED to it, one that ceases to is DELETED."""
    before, after = _before_and_after(selects, change)
    kind = "MODIFIED" if before and after else "ADDED" if after else "DELETED"
    obj = change.last
    if kind == "DELETED" and change.new is not None and change.old is not None:
        revision = str(change.revision)
        obj = {**change.old, "metadata": {**change.old["metadata"], "resourceVersion": revision}}
    return {"type": kind, "object": rest.present(resource, obj)}
