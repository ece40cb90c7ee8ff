"""What a controller manager does in the background: garbage collection of dependents and emptying of namespaces."""

import asyncio

from sallyport.lab.apiserver.errors import Object, StatusError
from sallyport.lab.apiserver.rest import Rest
from sallyport.lab.apiserver.store import Change, Key


class Lifecycle:
    """Follows removals. Deletes objects whose owners are all gone, and what is left in a namespace being deleted."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._orphans: set[str] = set()
        self._wake = asyncio.Event()
        rest.store.listeners.append(self._note)

    def _note(self, change: Change) -> None:
        if change.new is None:
            uid = change.last["metadata"].get("uid", "")
            if self._rest.store.dependents(uid):
                self._orphans.add(uid)
            self._wake.set()
        elif change.bucket == "namespaces" and change.new["metadata"].get("deletionTimestamp"):
            self._wake.set()
        elif change.old is None:
            self._note_owners(change.new)

    def _note_owners(self, new: Object) -> None:
        """An object may be made for an owner that is gone already, by a controller that has not heard of it yet."""
        meta = new["metadata"]
        for owner in meta.get("ownerReferences") or ():
            served = self._rest.registry.by_kind(owner.get("apiVersion", ""), owner.get("kind", ""))
            if served is not None and not self._alive(owner, meta.get("namespace", "")):
                self._orphans.add(owner.get("uid", ""))
                self._wake.set()

    async def run(self) -> None:
        """Work whenever something was removed, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self.step()

    def step(self) -> None:
        """Collect what is due now. What waits for a finalizer or a kubelet is left for a later step."""
        store = self._rest.store
        while self._orphans:
            uid = self._orphans.pop()
            for bucket, key in store.dependents(uid):
                obj = store.get(bucket, key)
                owners = (obj or {}).get("metadata", {}).get("ownerReferences") or ()
                if obj and not any(self._alive(owner, key[0]) for owner in owners):
                    self._delete(bucket, key)
        for namespace in store.objects("namespaces"):
            if namespace["metadata"].get("deletionTimestamp"):
                self._empty(namespace["metadata"]["name"])

    def _alive(self, owner: dict[str, str], namespace: str) -> bool:
        """Whether the owner of an object in a namespace ("" for none) exists."""
        resource = self._rest.registry.by_kind(owner.get("apiVersion", ""), owner.get("kind", ""))
        if resource is None:
            return False
        found = self._rest.store.get(resource.store, self._rest.key(resource, namespace, owner.get("name", "")))
        return found is not None and found["metadata"].get("uid") == owner.get("uid")

    def _empty(self, namespace: str) -> None:
        store = self._rest.store
        left = False
        for bucket in store.buckets():
            resource = self._rest.registry.by_store(bucket)
            if resource is None or not resource.namespaced:
                continue
            for key in [key for key in store.keys(bucket) if key[0] == namespace]:
                obj = store.get(bucket, key)
                if obj and not obj["metadata"].get("deletionTimestamp"):
                    self._delete(bucket, key)
                left = left or store.get(bucket, key) is not None
        found = store.get("namespaces", ("", namespace))
        if found and not left and not found["metadata"].get("finalizers"):
            store.remove("namespaces", ("", namespace))

    def _delete(self, bucket: str, key: Key) -> None:
        resource = self._rest.registry.by_store(bucket)
        if resource is None:
            return
        try:
            self._rest.delete(resource, key[0], key[1], {})
        except StatusError as err:
            if err.code != 404:
                raise
