"""The objects a process follows: several reflectors, one wake-up."""

import asyncio
from collections.abc import Iterable
from typing import Any

from sallyport.apis.antrea.objects import Objects
from sallyport.apis.antrea.types import EGRESSES, POOLS
from sallyport.apis.core import CONFIGMAPS, NAMESPACES, NODES, PODS
from sallyport.apis.resource import Resource
from sallyport.kube.client import Client
from sallyport.kube.watch import Reflector


class Watches:
    """Reflectors for several kinds. `changed` is set by any change of any object."""

    def __init__(self, client: Client, changed: asyncio.Event) -> None:
        self._client = client
        self._changed = changed
        self._reflectors: dict[Resource[Any], Reflector[Any]] = {}

    def follow(self, resource: Resource[Any], *, namespace: str | None = None, field_selector: str = "") -> None:
        """Follow a kind from now on; call before `run`."""
        self._reflectors[resource] = Reflector(
            self._client,
            resource,
            namespace=namespace,
            field_selector=field_selector,
            on_change=lambda key, old, new: self._changed.set(),
        )

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors.values():
                group.create_task(reflector.run())

    async def synced(self) -> None:
        """Return once every kind has been listed whole: nothing may be written anywhere before that."""
        for reflector in self._reflectors.values():
            await reflector.cache.synced.wait()

    def objects(self, resource: Resource[Any]) -> Iterable[Any]:
        """The objects of a kind as last heard of, by namespace and name."""
        cached = self._reflectors[resource].cache.objects
        return [cached[key] for key in sorted(cached)]

    def snapshot(self, service_networks: tuple[str, ...] = ()) -> Objects:
        """All that a translation reads, as last heard of. Every kind of it must be followed."""
        return Objects(
            egresses=tuple(self.objects(EGRESSES)),
            pools=tuple(self.objects(POOLS)),
            nodes=tuple(self.objects(NODES)),
            namespaces=tuple(self.objects(NAMESPACES)),
            pods=tuple(self.objects(PODS)),
            configmaps=tuple(self.objects(CONFIGMAPS)),
            service_networks=service_networks,
        )

    def troubles(self) -> list[str]:
        """What stands between us and the API server now, a line per kind; empty while all is well."""
        return [reflector.trouble for reflector in self._reflectors.values() if reflector.trouble]
