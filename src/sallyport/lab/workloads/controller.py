"""The loop that carries out what Deployments and ReplicaSets want done."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

import structlog

from sallyport.apis.resource import Resource
from sallyport.kube.client import Client
from sallyport.kube.errors import AlreadyExists, ApiError, Conflict, NotFound
from sallyport.kube.watch import Reflector
from sallyport.lab.pods import LAB_PODS, LabPod
from sallyport.lab.workloads import deployments, replicasets
from sallyport.lab.workloads.kinds import (
    DEPLOYMENTS,
    REPLICA_SETS,
    Action,
    Create,
    Decision,
    Delete,
    Deployment,
    Patch,
    ReplicaSet,
)

log = structlog.get_logger(__name__)

RETRY = 2.0
"""Seconds until what the API server refused is tried again."""

T = TypeVar("T", Deployment, ReplicaSet, LabPod)


class Workloads:
    """The controllers of a lab. Watches only wake them: they decide on fresh lists, so that what they have just written
    is never unknown to them, and no pod is made twice."""

    def __init__(self, client: Client, now: Callable[[], datetime]) -> None:
        self._client, self._now = client, now
        self._changed = asyncio.Event()
        wake = self._changed.set
        self._deployments = Reflector(client, DEPLOYMENTS, on_change=lambda key, old, new: wake())
        self._replica_sets = Reflector(client, REPLICA_SETS, on_change=lambda key, old, new: wake())
        self._pods = Reflector(client, LAB_PODS, on_change=self._pod_changed)
        self._failures: dict[str, str] = {}
        """Why the last object of an owner could not be made, by its uid."""

    def _pod_changed(self, key: object, old: LabPod | None, new: LabPod | None) -> None:
        if any(pod is not None and pod.metadata.controller for pod in (old, new)):
            self._changed.set()

    async def run(self) -> None:
        """Decide and do whenever something has changed, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in (self._deployments, self._replica_sets, self._pods):
                group.create_task(reflector.run())
            while True:
                self._changed.clear()
                try:
                    again = await self._round()
                except ApiError as error:
                    log.warning("lab.workloads_failed", error=str(error))
                    again = RETRY
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), again)

    async def _round(self) -> float | None:
        """Everything that is due now; in how many seconds something may be due by itself."""
        if not self._deployments.cache.objects and not self._replica_sets.cache.objects:
            return None
        now = self._now()
        found, owned = await self._list(DEPLOYMENTS), await self._list(REPLICA_SETS)
        pods = await self._list(LAB_PODS)
        by_owner: dict[str, list[LabPod]] = {}
        for pod in pods:
            by_owner.setdefault(pod.metadata.controller, []).append(pod)
        held = {uid for uid, mine in by_owner.items() if not all(pod.finished for pod in mine)}
        waits: list[float | None] = []
        for deployment in found:
            uid = deployment.metadata.uid
            decision = deployments.decide(deployment, _of(uid, owned), now, held)
            waits.append(await self._carry_out(uid, decision))
        owned = await self._list(REPLICA_SETS)
        for each in owned:
            uid = each.metadata.uid
            decision = replicasets.decide(each, by_owner.get(uid, ()), now, self._failures.get(uid, ""))
            waits.append(await self._carry_out(uid, decision))
        self._failures = {each.metadata.uid: why for each in owned if (why := self._failures.get(each.metadata.uid))}
        return min((wait for wait in waits if wait is not None), default=None)

    async def _list(self, resource: Resource[T]) -> Sequence[T]:
        """All objects of a kind, of one moment."""
        return (await self._client.list_page(resource, limit=0)).items

    async def _carry_out(self, uid: str, decision: Decision) -> float | None:
        """Do what was decided for an owner. What is refused is tried again later; the rest is done nevertheless."""
        refused = ""
        again = decision.again
        for action in decision.actions:
            if refused and isinstance(action, Create):
                continue
            try:
                await self._do(action)
            except (Conflict, NotFound, AlreadyExists) as error:
                log.debug("lab.workload_overtaken", error=str(error))
                again = RETRY
            except ApiError as error:
                log.warning("lab.workload_refused", error=str(error))
                refused, again = error.message, RETRY
        if refused:
            self._failures[uid] = refused
        elif any(isinstance(action, Create) for action in decision.actions):
            self._failures.pop(uid, None)
        return again

    async def _do(self, action: Action) -> None:
        match action:
            case Create(resource, namespace, body):
                await self._client.create(resource, body, namespace)
            case Delete(resource, namespace, name, uid):
                await self._client.delete(resource, name, namespace, uid=uid)
            case Patch(resource, namespace, name, body, status):
                sub = "status" if status else None
                await self._client.patch(resource, name, body, namespace, subresource=sub)


def _of(uid: str, items: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    """Those that an owner controls, and that are to stay."""
    return [item for item in items if item.metadata.controller == uid and not item.metadata.deletion_timestamp]
