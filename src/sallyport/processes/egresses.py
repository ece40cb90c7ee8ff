"""What the controller writes for Egresses and their pools."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from sallyport.apis.antrea.objects import Changes
from sallyport.apis.antrea.status import from_controller
from sallyport.apis.antrea.translate import ALLOCATED_ANNOTATION
from sallyport.apis.antrea.types import EGRESSES, POOLS, Egress, ExternalIPPool, ExternalIPPoolStatus, IPPoolUsage
from sallyport.apis.conditions import changes
from sallyport.apis.core import ObjectMeta
from sallyport.apis.incremental import Translation
from sallyport.apis.resource import Resource
from sallyport.kube.identity import Key
from sallyport.model.plan import Assignment
from sallyport.model.state import ClusterState
from sallyport.plan.incremental import Planning
from sallyport.processes.writes import Write


class Egresses:
    """Plans the writes of one controller's term.

    It remembers which objects it has asked to be written, and on what they were based: until the watch brings another
    version, they are not asked for again.
    """

    def __init__(self, translation: Translation, planning: Planning) -> None:
        self._translation, self._planning = translation, planning
        self._asked: dict[tuple[Resource[Any], str], str] = {}
        self._assumed: dict[str, Egress] = {}
        self._failed: set[str] = set()

    def amended(self, changes: Changes, known: Mapping[Key, Egress]) -> Changes:
        """Changes, and what the writes of addresses that are under way make of their Egresses: others that come in the
        meantime, and would come before them, are not given the same address. `known` has all as the watch has them."""
        failed = {name: known.get(("", name)) for name in self._failed}
        assumed, self._assumed = self._assumed, {}
        return replace(changes, egresses={**assumed, **failed, **changes.egresses})

    def failed(self, writes: Iterable[Write]) -> None:
        """Take note of writes that were not carried out, so that they are asked for again."""
        for write in writes:
            if self._asked.pop((write.resource, write.name), None) is not None and write.resource is EGRESSES:
                self._failed.add(write.name)

    def writes(self, names: set[str], pools: Iterable[ExternalIPPool], state: ClusterState, stamp: str) -> list[Write]:
        """Where these Egresses, and pools, do not say yet what is planned; the writes that failed are added."""
        names, self._failed = names | self._failed, set()
        found: list[Write] = []
        for name in sorted(names):
            egress, assignment = self._translation.egresses.get(name), self._planning.assignments.get(name)
            if egress is None:
                self._asked.pop((EGRESSES, name), None)
            elif assignment is not None and not self._is_asked(EGRESSES, egress.metadata):
                found += self._egress(egress, assignment, state, stamp)
        for pool in pools:
            if not self._is_asked(POOLS, pool.metadata):
                found += self._pool(pool)
        return found

    def _is_asked(self, resource: Resource[Any], meta: ObjectMeta) -> bool:
        """Whether a write is under way, or done, that this version does not have in it yet."""
        return self._asked.get((resource, meta.name), "") == meta.resource_version != ""

    def _ask(
        self, resource: Resource[Any], meta: ObjectMeta, body: dict[str, Any], subresource: str | None = None
    ) -> list[Write]:
        self._asked[resource, meta.name] = meta.resource_version
        return [Write(resource, meta.name, body, subresource=subresource)]

    def _egress(self, egress: Egress, assignment: Assignment, state: ClusterState, stamp: str) -> list[Write]:
        name, meta = egress.metadata.name, egress.metadata
        if assignment.address is not None and assignment.address != state.exits[name].requested:
            notes = {ALLOCATED_ANNOTATION: str(assignment.address)}
            spec = {"egressIP": str(assignment.address)}
            # The write comes back as a change of the object, and the status is written then: agents must not see
            # an id before the address that it stands for.
            based = {"resourceVersion": meta.resource_version, "annotations": notes}
            self._assumed[name] = msgspec.structs.replace(
                egress,
                metadata=msgspec.structs.replace(meta, annotations={**meta.annotations, **notes}),
                spec=msgspec.structs.replace(egress.spec, egress_ip=str(assignment.address)),
            )
            return self._ask(EGRESSES, meta, {"metadata": based, "spec": spec})
        status = from_controller(
            egress.status,
            assignment,
            clients=self._planning.clients.get(name, 0),
            problems=(
                *self._translation.findings.of(("Egress", name)),
                *self._planning.problems(state.exits[name].ref),
            ),
            overlaps=self._planning.overlaps_of(name),
            name=name,
            holder_gone=_holder_gone(egress, assignment, state),
            now=stamp,
        )
        if status == egress.status:
            return []
        body = {"metadata": {"resourceVersion": meta.resource_version}, "status": changes(egress.status, status)}
        return self._ask(EGRESSES, meta, body, "status")

    def _pool(self, pool: ExternalIPPool) -> list[Write]:
        usage = self._planning.usage.get(f"ExternalIPPool/{pool.metadata.name}")
        if usage is None:
            return []
        status = ExternalIPPoolStatus(usage=IPPoolUsage(total=usage.total, used=usage.used))
        if status == pool.status:
            return []
        return self._ask(POOLS, pool.metadata, {"status": msgspec.to_builtins(status)}, "status")


def _holder_gone(egress: Egress, assignment: Assignment, state: ClusterState) -> bool:
    """Whether nobody holds the address: no node may (pooled), or the one that did is gone (static)."""
    holder = state.nodes.get(egress.status.egress_node)
    return not (holder is not None and holder.alive) if assignment.static else not assignment.nodes


def static(assignments: Mapping[str, Assignment]) -> set[str]:
    """Exits whose holder's life decides what is said of them."""
    return {name for name, item in assignments.items() if item.static}
