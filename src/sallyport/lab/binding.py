"""Carries out what the scheduler decides: binds pods to nodes, and tells of those that fit nowhere."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

import msgspec
import structlog

from sallyport.kube.client import Client
from sallyport.kube.errors import ApiError, Conflict, NotFound
from sallyport.lab.affinity import LabNode
from sallyport.lab.pods import LAB_PODS, Key, LabPod
from sallyport.lab.podstatus import stamp
from sallyport.lab.scheduler import UNREACHABLE, place

log = structlog.get_logger(__name__)


class Binder:
    """The scheduler's hands. `pods` and `nodes` are views of caches, which may trail behind what was done here."""

    def __init__(
        self,
        client: Client,
        pods: Mapping[Key, LabPod],
        nodes: Mapping[Key, LabNode],
        now: Callable[[], datetime],
    ) -> None:
        self._client, self._pods, self._nodes, self._now = client, pods, nodes, now
        self._bound: dict[str, str] = {}
        """Nodes by the uid of the pod, for pods that the cache does not yet show there."""
        self._told: dict[str, str] = {}
        """Why a pod fits nowhere, by its uid, as it was last written."""

    async def schedule(self, powered: Collection[str]) -> None:
        """Bind every pod that fits somewhere; nodes that are not `powered` count as unreachable."""
        waiting = [self._pods[key] for key in sorted(self._pods) if _waits(self._pods[key])]
        self._bound = {pod.metadata.uid: node for pod in waiting if (node := self._bound.get(pod.metadata.uid))}
        self._told = {pod.metadata.uid: why for pod in waiting if (why := self._told.get(pod.metadata.uid))}
        waiting = [pod for pod in waiting if pod.metadata.uid not in self._bound]
        if not waiting:
            return
        nodes = [_as_seen(node, powered) for _, node in sorted(self._nodes.items())]
        there = [self._placed(pod) for pod in self._pods.values()]
        for pod in waiting:
            found = place(pod, nodes, there)
            if found.node:
                if await self._bind(pod, found.node):
                    there.append(self._placed(pod))
            elif self._told.get(pod.metadata.uid) != found.why:
                await self._tell(pod, found.why)

    def _placed(self, pod: LabPod) -> LabPod:
        node = self._bound.get(pod.metadata.uid)
        return msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, node_name=node)) if node else pod

    async def _bind(self, pod: LabPod, node: str) -> bool:
        body = {"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": node}}
        try:
            await self._client.request("POST", LAB_PODS.path(*pod.key, "binding"), body=body)
        except (Conflict, NotFound) as error:
            log.debug("lab.not_bound", pod="/".join(pod.key), error=str(error))
            return False
        self._bound[pod.metadata.uid] = node
        return True

    async def _tell(self, pod: LabPod, why: str) -> None:
        """Write the condition as kube-scheduler does. Failing that, the next round tries again."""
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        old = pod.condition("PodScheduled")
        since = old.last_transition_time if old is not None and old.status == "False" else stamp(self._now())
        others = [item for item in pod.status.conditions if item.type != "PodScheduled"]
        conditions = [*others, {**condition, "lastTransitionTime": since}]
        body = {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": conditions}}
        self._told[pod.metadata.uid] = why
        try:
            await self._client.patch(LAB_PODS, pod.metadata.name, body, pod.metadata.namespace, subresource="status")
        except (Conflict, NotFound) as error:
            log.debug("lab.status_lost", pod="/".join(pod.key), error=str(error))
        except ApiError:
            del self._told[pod.metadata.uid]
            raise


def _waits(pod: LabPod) -> bool:
    return not pod.spec.node_name and not pod.metadata.deletion_timestamp and not pod.finished


def _as_seen(node: LabNode, powered: Collection[str]) -> LabNode:
    if node.metadata.name in powered:
        return node
    return msgspec.structs.replace(
        node, spec=msgspec.structs.replace(node.spec, taints=(*node.spec.taints, UNREACHABLE))
    )
