"""Runs the pods of all of a lab's nodes: a namespace with an address each, and the pod's command inside of it."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial

import structlog

from sallyport.apis.core import NODES
from sallyport.drivers.command import DriverError
from sallyport.kube.client import Client
from sallyport.kube.errors import ApiError, Conflict, NotFound
from sallyport.kube.watch import Reflector
from sallyport.lab import names, namespaces
from sallyport.lab.children import RESTART_CAP, RESTART_DELAY, spawn
from sallyport.lab.podnet import PodNetwork
from sallyport.lab.pods import LAB_PODS, Container, Key, LabPod, argv, ended, failed_to_start, running
from sallyport.lab.record import Record
from sallyport.lab.scheduler import choose
from sallyport.lab.topology import NodeMachine, Topology
from sallyport.model.state import IPAddress

log = structlog.get_logger(__name__)


class Running:
    """One pod on its node: its addresses, its command's process, and the task that looks after both."""

    def __init__(self, pod: LabPod, addresses: tuple[IPAddress, ...]) -> None:
        self.pod, self.addresses = pod, addresses
        self.restarts = 0
        self.child: asyncio.subprocess.Process | None = None
        self.task: asyncio.Task[None] | None = None


class Kubelet:
    """Follows the API's pods. `powered` names the nodes that run."""

    def __init__(
        self, client: Client, topology: Topology, record: Record, network: PodNetwork, now: Callable[[], datetime]
    ) -> None:
        self._client, self._topology, self._record, self._network, self._now = client, topology, record, network, now
        self._nodes: Mapping[str, NodeMachine] = {node.name: node for node in topology.nodes}
        self.powered = set(self._nodes)
        self._changed = asyncio.Event()
        self._pods = Reflector(client, LAB_PODS, on_change=lambda key, old, new: self._changed.set())
        self._api_nodes = Reflector(client, NODES, on_change=lambda key, old, new: self._changed.set())
        self._running: dict[Key, Running] = {}
        self._busy: dict[Key, asyncio.Task[None]] = {}
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Schedule, start and stop pods until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pods.run())
            group.create_task(self._api_nodes.run())
            await self._pods.cache.synced.wait()
            await self._api_nodes.cache.synced.wait()
            while True:
                self._changed.clear()
                await self._schedule()
                for key in {*self._pods.cache.objects, *self._running} - self._busy.keys():
                    self._look_after(group, key)
                await self._changed.wait()

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

    def _next(self, key: Key) -> Callable[[], asyncio.Future[None]] | None:
        """What is to be done for a pod now, if anything."""
        pod, here = self._pods.cache.objects.get(key), self._running.get(key)
        step = None
        if here is not None and (pod is None or pod.metadata.uid != here.pod.metadata.uid):
            step = partial(self._stop, here)
        elif pod is None or pod.spec.node_name not in self._nodes:
            step = None
        elif pod.metadata.deletion_timestamp:
            step = partial(self._delete, pod, here)
        elif here is None and not pod.finished and pod.spec.node_name in self.powered:
            step = partial(self._start, pod)
        return step  # type: ignore[return-value]  # a partial of a coroutine function

    async def _schedule(self) -> None:
        pods = self._pods.cache.objects
        load: dict[str, int] = {}
        for pod in pods.values():
            load[pod.spec.node_name] = load.get(pod.spec.node_name, 0) + 1
        on = [node for node in self._api_nodes.cache.objects.values() if node.metadata.name in self.powered]
        for key in sorted(pods):
            pod = pods[key]
            if pod.spec.node_name or pod.metadata.deletion_timestamp or pod.finished:
                continue
            node = choose(pod, on, load)
            if node is not None:
                load[node] = load.get(node, 0) + 1
                await self._bind(pod, node)

    async def _bind(self, pod: LabPod, node: str) -> None:
        body = {"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": node}}
        try:
            await self._client.request("POST", LAB_PODS.path(*pod.key, "binding"), body=body)
        except (Conflict, NotFound) as error:
            log.debug("lab.not_bound", pod="/".join(pod.key), error=str(error))

    async def _start(self, pod: LabPod) -> None:
        """Attach the pod, run its command, and only then say so: as with a real kubelet, the pod may talk first."""
        node = self._nodes[pod.spec.node_name]
        host = next((entry.address for entry in node.attachments), None)
        if pod.spec.host_network:
            addresses = tuple(entry.address for entry in node.attachments)
        else:
            async with self._lock:
                addresses = await asyncio.to_thread(self._network.attach, node, pod.key)
        here = Running(pod, addresses)
        self._running[pod.key] = here
        try:
            await self._launch(here)
        except OSError as error:
            await self._status(pod, failed_to_start(pod, f"{argv(_main(pod))[0]}: {error.strerror}"))
            return
        here.task = asyncio.create_task(self._follow(here))
        await self._status(pod, running(pod, addresses, str(host), here.restarts, self._now()))

    async def _launch(self, here: Running) -> None:
        pod = here.pod
        container = _main(pod)
        space = names.namespace(self._topology.name, pod.spec.node_name)
        if not pod.spec.host_network:
            space = names.pod_namespace(self._topology.name, pod.key)
        variables = {item.name: item.value for item in container.env}
        output = self._record.log(f"pod-{pod.key[0]}-{pod.key[1]}")
        here.child = await spawn(namespaces.command(space, argv(container)), output, variables)

    async def _follow(self, here: Running) -> None:
        """Wait for the end of the command; run it again, or say how it ended."""
        delay = RESTART_DELAY
        while here.child is not None:
            code = await here.child.wait()
            policy = here.pod.spec.restart_policy
            if policy == "Never" or (policy == "OnFailure" and code == 0):
                await self._detach(here)  # as a container runtime does: another pod may have the address from now on
                await self._status(here.pod, ended(here.pod, code, here.restarts, self._now()))
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, RESTART_CAP)
            here.restarts += 1
            await self._launch(here)

    async def _status(self, pod: LabPod, status: dict[str, object]) -> None:
        body = {"metadata": {"uid": pod.metadata.uid}, "status": status}
        try:
            await self._client.patch(LAB_PODS, pod.metadata.name, body, pod.metadata.namespace, subresource="status")
        except (Conflict, NotFound) as error:
            log.debug("lab.status_lost", pod="/".join(pod.key), error=str(error))  # deleted meanwhile

    async def _delete(self, pod: LabPod, here: Running | None) -> None:
        if here is not None:
            await self._stop(here, pod.metadata.deletion_grace_period_seconds)
        elif pod.spec.node_name not in self.powered:
            return  # as in a cluster: a node that is off cannot confirm that its pod has ended
        try:
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.metadata.uid}}
            await self._client.request("DELETE", LAB_PODS.path(*pod.key), body=options)
        except (Conflict, NotFound) as error:
            log.debug("lab.deleted_already", pod="/".join(pod.key), error=str(error))

    async def _stop(self, here: Running, grace: float = 2.0) -> None:
        if here.task is not None:
            here.task.cancel()
        if here.child is not None and here.child.returncode is None:
            os.killpg(here.child.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(here.child.wait(), grace)
            except TimeoutError:
                os.killpg(here.child.pid, signal.SIGKILL)
                await here.child.wait()
        await self._forget(here)

    async def _forget(self, here: Running) -> None:
        await self._detach(here)
        self._running.pop(here.pod.key, None)

    async def _detach(self, here: Running) -> None:
        if not here.pod.spec.host_network:
            async with self._lock:
                await asyncio.to_thread(self._network.detach, here.pod.spec.node_name, here.pod.key)

    async def power_off(self, node: str) -> None:
        """Its pods vanish with it, unasked; the API still shows them, as it would."""
        self.powered.discard(node)
        for here in [item for item in self._running.values() if item.pod.spec.node_name == node]:
            if here.task is not None:
                here.task.cancel()
            if here.child is not None and here.child.returncode is None:
                os.killpg(here.child.pid, signal.SIGKILL)
                await here.child.wait()
            await self._forget(here)

    def power_on(self, node: str) -> None:
        """Run its pods again."""
        self.powered.add(node)
        self._changed.set()


def _main(pod: LabPod) -> Container:
    """The first container's command is the pod's; others are not run by the lab."""
    return pod.spec.containers[0] if pod.spec.containers else Container("pause")
