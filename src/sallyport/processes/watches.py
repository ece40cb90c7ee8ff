"""The objects a process follows: several reflectors, one wake-up."""

import asyncio
import base64
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from sallyport.apis.antrea.config import NAMESPACE as CONFIGURATION_NAMESPACE
from sallyport.apis.antrea.objects import Changes
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
from sallyport.kube.identity import Key
from sallyport.kube.watch import OnChange, Reflector
from sallyport.model.kept import Kept

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
        self._listed: dict[Resource[Any], tuple[Any, ...]] = {}
        self._noted: dict[Resource[Any], set[Key]] = {EGRESSES: set(), PODS: set()}
        self._passwords = Kept(passwords)
        self._calico = Kept(CalicoObjects)

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
            on_change=self._noting(resource),
        )

    def _noting(self, resource: Resource[Any]) -> OnChange[Any]:
        noted = self._noted.get(resource)

        def note(key: Key, old: Any, new: Any) -> None:
            self._listed.pop(resource, None)
            if noted is not None:
                noted.add(key)
            self._changed.set()

        return note

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors.values():
                group.create_task(reflector.run())

    async def synced(self) -> None:
        """Return once every kind has been listed whole: nothing may be written anywhere before that."""
        for reflector in self._reflectors.values():
            await reflector.cache.synced.wait()

    def objects(self, resource: Resource[Any]) -> tuple[Any, ...]:
        """The objects of a kind as last heard of, by namespace and name; the same tuple until one has changed."""
        if resource not in self._listed:
            cached = self._reflectors[resource].cache.objects
            self._listed[resource] = tuple(cached[key] for key in sorted(cached))
        return self._listed[resource]

    def known(self, resource: Resource[Any]) -> Mapping[Key, Any]:
        """The objects of a kind as last heard of; the view goes on with them."""
        return self._reflectors[resource].cache.objects

    def changes(self) -> Changes:
        """Egresses and Pods that have changed since this was asked last, as they are now."""
        egresses, pods = (self._taken(resource) for resource in (EGRESSES, PODS))
        return Changes({name: egress for (_, name), egress in egresses.items()}, pods)

    def _taken(self, resource: Resource[Any]) -> dict[Key, Any]:
        cached, noted = self._reflectors[resource].cache.objects, self._noted[resource]
        taken = {key: cached.get(key) for key in sorted(noted)}
        noted.clear()
        return taken

    def few(self, service_networks: tuple[str, ...] = ()) -> Objects:
        """All that a translation reads, as last heard of, without Egresses and Pods: these come as changes."""
        return Objects(
            pools=self.objects(POOLS),
            nodes=self.objects(NODES),
            namespaces=self.objects(NAMESPACES),
            configmaps=self.objects(CONFIGMAPS),
            service_networks=service_networks,
            calico=self._calico(
                gateways=self.objects(EGRESSGATEWAYS) if EGRESSGATEWAYS in self._reflectors else (),
                pods=self.objects(GATEWAY_PODS),
                pools=self.objects(IPPOOLS),
                policies=self.objects(EGRESSGATEWAYPOLICIES),
                networks=self.objects(EXTERNALNETWORKS),
                peers=self.objects(BGPPEERS),
                filters=self.objects(BGPFILTERS),
                bgp=self.objects(BGPCONFIGURATIONS),
                felix=self.objects(FELIXCONFIGURATIONS),
                secrets=self._passwords(self.objects(SECRETS)),
            ),
        )

    def heard(self, resource: Resource[Any]) -> float:
        """The monotonic second at which the API server last said anything of a kind."""
        return self._reflectors[resource].heard

    def unanswered(self) -> bool:
        """Whether the API server has said nothing at all yet, or cannot be asked now."""
        asked = self._reflectors.values()
        return self._client.reach.since is not None or not any(item.trouble or item.heard > 0 for item in asked)

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
