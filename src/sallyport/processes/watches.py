"""The objects a process follows: several reflectors, one wake-up."""

import asyncio
import base64
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from sallyport.apis.antrea.config import NAMESPACE as CONFIGURATION_NAMESPACE
from sallyport.apis.antrea.types import EGRESSES, POOLS
from sallyport.apis.calico.annotations import GATEWAY_LABEL
from sallyport.apis.calico.bgp import BGPCONFIGURATIONS, BGPFILTERS, BGPPEERS
from sallyport.apis.calico.objects import CalicoObjects
from sallyport.apis.calico.pods import GATEWAY_PODS
from sallyport.apis.calico.types import (
    EGRESSGATEWAYPOLICIES,
    EGRESSGATEWAYS,
    EXTERNALNETWORKS,
    FELIXCONFIGURATIONS,
    IPPOOLS,
)
from sallyport.apis.core import CONFIGMAPS, NAMESPACES, NODES, PODS, SECRETS, Secret
from sallyport.apis.objects import Objects
from sallyport.apis.resource import Resource
from sallyport.kube.client import Client
from sallyport.kube.watch import Reflector

SHARED: tuple[Resource[Any], ...] = (
    EGRESSES,
    POOLS,
    NODES,
    NAMESPACES,
    IPPOOLS,
    EGRESSGATEWAYPOLICIES,
    EXTERNALNETWORKS,
    FELIXCONFIGURATIONS,
    BGPPEERS,
    BGPFILTERS,
    BGPCONFIGURATIONS,
)
"""Kinds that the controller and every agent follow whole: policy objects, and what there are few of."""


class Watches:
    """Reflectors for several kinds. `changed` is set by any change of any object."""

    def __init__(self, client: Client, changed: asyncio.Event) -> None:
        self._client = client
        self._changed = changed
        self._reflectors: dict[Resource[Any], Reflector[Any]] = {}

    def follow_shared(self, namespace: str) -> None:
        """Follow what controller and agents both need; `namespace` is that of the Secrets that peers name."""
        for resource in SHARED:
            self.follow(resource)
        self.follow(CONFIGMAPS, namespace=CONFIGURATION_NAMESPACE)
        self.follow(GATEWAY_PODS, label_selector=GATEWAY_LABEL)
        self.follow(SECRETS, namespace=namespace)

    def follow(
        self,
        resource: Resource[Any],
        *,
        namespace: str | None = None,
        field_selector: str = "",
        label_selector: str = "",
    ) -> None:
        """Follow a kind from now on; call before `run`."""
        self._reflectors[resource] = Reflector(
            self._client,
            resource,
            namespace=namespace,
            field_selector=field_selector,
            label_selector=label_selector,
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
        """All that a translation reads, as last heard of."""
        return Objects(
            egresses=tuple(self.objects(EGRESSES)),
            pools=tuple(self.objects(POOLS)),
            nodes=tuple(self.objects(NODES)),
            namespaces=tuple(self.objects(NAMESPACES)),
            pods=tuple(self.objects(PODS)),
            configmaps=tuple(self.objects(CONFIGMAPS)),
            service_networks=service_networks,
            calico=CalicoObjects(
                gateways=tuple(self.objects(EGRESSGATEWAYS)) if EGRESSGATEWAYS in self._reflectors else (),
                pods=tuple(self.objects(GATEWAY_PODS)),
                pools=tuple(self.objects(IPPOOLS)),
                policies=tuple(self.objects(EGRESSGATEWAYPOLICIES)),
                networks=tuple(self.objects(EXTERNALNETWORKS)),
                peers=tuple(self.objects(BGPPEERS)),
                filters=tuple(self.objects(BGPFILTERS)),
                bgp=tuple(self.objects(BGPCONFIGURATIONS)),
                felix=tuple(self.objects(FELIXCONFIGURATIONS)),
                secrets=passwords(self.objects(SECRETS)),
            ),
        )

    def heard(self, resource: Resource[Any]) -> float:
        """The monotonic second at which the API server last said anything of a kind."""
        return self._reflectors[resource].heard

    def troubles(self) -> list[str]:
        """Kinds of which nothing is heard now, each with the moment since when and the reason; none while all is
        well."""
        return [
            f"{resource.plural} since {_stamp(item.since)}: {item.trouble}"
            for resource, item in self._reflectors.items()
            if item.trouble
        ]


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def passwords(secrets: Iterable[Secret]) -> dict[tuple[str, str], str]:
    """Values of secrets by the secret's name and the key; those that are no text in base64 are left out."""
    found: dict[tuple[str, str], str] = {}
    for secret in secrets:
        for key, text in secret.data.items():
            with suppress(ValueError):
                found[secret.metadata.name, key] = base64.b64decode(text, validate=True).decode()
    return found
