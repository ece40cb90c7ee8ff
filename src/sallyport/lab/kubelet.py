"""Runs the pods of all of a lab's nodes, and schedules those that have no node yet."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial

import structlog

from sallyport.drivers.command import DriverError
from sallyport.kube.client import Client
from sallyport.kube.errors import ApiError, Conflict, NotFound
from sallyport.kube.watch import Reflector
from sallyport.lab.affinity import LAB_NODES
from sallyport.lab.binding import Binder
from sallyport.lab.children import RESTART_DELAY
from sallyport.lab.nodeleases import renew
from sallyport.lab.podlife import Grounds, PodLife
from sallyport.lab.podnet import PodNetwork
from sallyport.lab.pods import LAB_PODS, Key, LabPod
from sallyport.lab.podstatus import stamp
from sallyport.lab.record import Record
from sallyport.lab.topology import NodeMachine, Topology

log = structlog.get_logger(__name__)

FORGOTTEN_GRACE = 2.0
"""Seconds that a pod has to end whose object is gone already, as after `kubectl delete --force`."""


class Kubelet:
    """Follows the API's pods. `powered` names the nodes that run.

    `alone`: nobody else schedules pods, and nobody watches over nodes.
    """

    def __init__(
        self,
        client: Client,
        topology: Topology,
        record: Record,
        network: PodNetwork,
        now: Callable[[], datetime],
        *,
        alone: bool = True,
    ) -> None:
        self._client, self._now = client, now
        self._grounds = Grounds(client, topology.name, record, network, now)
        self._nodes: Mapping[str, NodeMachine] = {node.name: node for node in topology.nodes}
        self.powered = set(self._nodes)
        self._changed = asyncio.Event()
        self._pods = Reflector(client, LAB_PODS, on_change=lambda key, old, new: self._changed.set())
        self._api_nodes = Reflector(client, LAB_NODES, on_change=lambda key, old, new: self._changed.set())
        self._binder = Binder(client, self._pods.cache.objects, self._api_nodes.cache.objects, now) if alone else None
        self._running: dict[Key, PodLife] = {}
        self._busy: dict[Key, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Schedule, start and stop pods until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pods.run())
            group.create_task(self._api_nodes.run())
            await self._pods.cache.synced.wait()
            await self._api_nodes.cache.synced.wait()
            if self._binder is None:
                group.create_task(renew(self._client, self.powered, self._now))
            while True:
                self._changed.clear()
                await self._schedule()
                for key, life in self._running.items():
                    life.see(self._pods.cache.objects.get(key))
                for key in {*self._pods.cache.objects, *self._running} - self._busy.keys():
                    self._look_after(group, key)
                await self._changed.wait()

    async def _schedule(self) -> None:
        if self._binder is None:
            return
        try:
            await self._binder.schedule(self.powered)
        except ApiError as error:
            log.warning("lab.scheduling_failed", error=str(error))
            asyncio.get_running_loop().call_later(RESTART_DELAY, self._changed.set)

    def _look_after(self, group: asyncio.TaskGroup, key: Key) -> None:
        """Work on one pod, one thing at a time per pod, many pods at once."""
        work = self._next(key)
        if work is None:
            return

        async def carried_out() -> None:
            try:
                await work()
            except (ApiError, DriverError) as error:
                log.warning("lab.pod_failed", pod="/".join(key), error=str(error))
                await asyncio.sleep(RESTART_DELAY)
            finally:
                self._busy.pop(key, None)
                self._changed.set()

        self._busy[key] = group.create_task(carried_out())

    def _next(self, key: Key) -> Callable[[], Awaitable[None]] | None:
        """What is to be done for a pod now, if anything."""
        pod, here = self._pods.cache.objects.get(key), self._running.get(key)
        if here is not None and (pod is None or pod.metadata.uid != here.pod.metadata.uid):
            return partial(self._stop, here, FORGOTTEN_GRACE)
        if pod is None or pod.spec.node_name not in self._nodes:
            return None
        if pod.metadata.deletion_timestamp:
            # As in a cluster, a node that is off cannot confirm that its pod has ended.
            return partial(self._delete, pod, here) if here or pod.spec.node_name in self.powered else None
        if here is None and not pod.finished and pod.spec.node_name in self.powered:
            return partial(self._start, pod)
        return None

    async def _start(self, pod: LabPod) -> None:
        life = PodLife(pod, self._nodes[pod.spec.node_name], self._grounds)
        await life.start()
        self._running[pod.key] = life

    async def _delete(self, pod: LabPod, here: PodLife | None) -> None:
        if here is not None:
            await self._stop(here, pod.metadata.deletion_grace_period_seconds)
        try:
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.metadata.uid}}
            await self._client.request("DELETE", LAB_PODS.path(*pod.key), body=options)
        except (Conflict, NotFound) as error:
            log.debug("lab.deleted_already", pod="/".join(pod.key), error=str(error))

    async def _stop(self, here: PodLife, grace: float) -> None:
        await here.stop(grace)
        self._running.pop(here.pod.key, None)

    async def power_off(self, node: str) -> None:
        """Its pods vanish with it, unasked; the API still shows them, as it would, and soon as not ready."""
        self.powered.discard(node)
        for here in [item for item in self._running.values() if item.pod.spec.node_name == node]:
            await here.kill()
            self._running.pop(here.pod.key, None)
        self._changed.set()
        for pod in [item for item in self._pods.cache.objects.values() if item.spec.node_name == node]:
            await self._not_ready(pod)

    async def _not_ready(self, pod: LabPod) -> None:
        """What the node controller of a cluster says of the pods of a node that has fallen silent."""
        ready = pod.condition("Ready")
        if ready is None or ready.status != "True":
            return
        others = [item for item in pod.status.conditions if item.type != "Ready"]
        said = {"type": "Ready", "status": "False", "lastTransitionTime": stamp(self._now())}
        body = {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [*others, said]}}
        try:
            await self._client.patch(LAB_PODS, pod.metadata.name, body, pod.metadata.namespace, subresource="status")
        except ApiError as error:
            log.debug("lab.status_lost", pod="/".join(pod.key), error=str(error))

    def power_on(self, node: str) -> None:
        """Run its pods again."""
        self.powered.add(node)
        self._changed.set()
