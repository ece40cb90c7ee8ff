"""What the controller writes for Calico's kinds: Deployments, what is recorded on pods, and statuses."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from sallyport.apis.calico.annotations import EXITS, NEXT_HOPS
from sallyport.apis.calico.bgp import BGPPEERS
from sallyport.apis.calico.deployment import deployment, has_spare, service_account
from sallyport.apis.calico.maintenance import notices
from sallyport.apis.calico.objects import CalicoObjects
from sallyport.apis.calico.placement import near_networks
from sallyport.apis.calico.pods import GATEWAY_PODS, record, record_next_hops, recorded
from sallyport.apis.calico.references import CONFLICT, NOT_FOUND, conflicts, missing
from sallyport.apis.calico.status import (
    Seen,
    gateway_status,
    network_status,
    peer_status,
    policy_status,
    pool_status,
)
from sallyport.apis.calico.types import (
    EGRESSGATEWAYPOLICIES,
    EGRESSGATEWAYS,
    EXTERNALNETWORKS,
    FELIXCONFIGURATIONS,
    GROUP,
    IPPOOLS,
    VERSION,
    EgressGateway,
)
from sallyport.apis.conditions import changes
from sallyport.apis.core import PODS, Node, ObjectMeta, Pod
from sallyport.apis.resource import Resource
from sallyport.model.state import FAMILIES, Family, IPAddress, ObjectRef, Problem
from sallyport.processes.writes import Write


class Owned(msgspec.Struct, frozen=True, gc=False):
    """What we look at of an object that we made: whether somebody has changed it since."""

    metadata: ObjectMeta


DEPLOYMENTS: Resource[Owned] = Resource("apps", "v1", "deployments", "Deployment", True, Owned)
SERVICE_ACCOUNTS: Resource[Owned] = Resource("", "v1", "serviceaccounts", "ServiceAccount", True, Owned)

Key = tuple[str, str]
"""Namespace and name."""


class Gateways:
    """Plans the writes of one controller's term. It remembers which Deployments it has applied, and what they were
    stored as: one that was changed by another hand, or is gone, is applied again."""

    def __init__(self, image: str) -> None:
        self._image = image
        self._applied: dict[Key, tuple[str, int]] = {}
        self._refused: dict[Key, str] = {}

    def writes(
        self,
        objects: CalicoObjects,
        nodes: Sequence[Node],
        pods: Mapping[Key, Pod],
        owned: Mapping[Key, Owned],
        seen: Seen,
        now: str,
    ) -> list[Write]:
        """Everything that is not yet as it should be."""
        faults = _faults(objects)
        found: list[Write] = []
        for gateway in objects.gateways:
            key = (gateway.metadata.namespace, gateway.metadata.name)
            refused = [item for item in faults if (item.ref.namespace, item.ref.name) == key]
            if not refused and not gateway.metadata.deletion_timestamp:
                found += self._deployment(gateway, objects, nodes, owned.get(key))
            if reason := self._refused.get(key):
                refused.append(Problem(ObjectRef("EgressGateway", key[1], key[0]), "DeploymentRefused", reason))
            status = gateway_status(gateway, objects.pods, refused, seen, now)
            found += _status(EGRESSGATEWAYS, gateway, status)
        found += _options(objects)
        found += _records(objects, seen)
        found += _clients(objects, pods, seen)
        found += _statuses(objects, seen, now)
        return found

    def problems(self, objects: CalicoObjects) -> list[Problem]:
        """What is wrong with gateways, and options that have no effect, to be told in events."""
        return [*_faults(objects), *(item for item in conflicts(objects, ()) if item.ref.kind == "FelixConfiguration")]

    def _deployment(
        self, gateway: EgressGateway, objects: CalicoObjects, nodes: Sequence[Node], there: Owned | None
    ) -> Iterable[Write]:
        key = (gateway.metadata.namespace, gateway.metadata.name)
        spare = has_spare(gateway, objects.gateways, objects.pools)
        near = near_networks(gateway, objects.peers, nodes)
        body = deployment(gateway, objects.pools, self._image, spare=spare, near=near)
        digest = hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()
        if there is not None and self._applied.get(key) == (digest, there.metadata.generation):
            return
        yield Write(SERVICE_ACCOUNTS, key[1], service_account(gateway), key[0], kind="apply")
        yield Write(
            DEPLOYMENTS, key[1], body, key[0], kind="apply", done=self._noting(key, digest), refused=self._refusing(key)
        )

    def _noting(self, key: Key, digest: str) -> Callable[[Any], None]:
        def note(stored: Owned) -> None:
            self._applied[key] = (digest, stored.metadata.generation)
            self._refused.pop(key, None)

        return note

    def _refusing(self, key: Key) -> Callable[[str], None]:
        def note(reason: str) -> None:
            self._refused[key] = reason

        return note


def _faults(objects: CalicoObjects) -> list[Problem]:
    """What keeps a gateway from being made as it reads. More replicas than addresses is none: those that get one work,
    and the others say what they wait for."""
    found = [*missing(objects, ()), *conflicts(objects, ())]
    return [
        item
        for item in found
        if item.ref.kind == "EgressGateway" and item.reason in (NOT_FOUND, CONFLICT) and item.field != "spec.replicas"
    ]


def _status(resource: Resource[Any], item: Any, status: msgspec.Struct) -> list[Write]:
    meta = item.metadata
    if status == item.status:
        return []
    body = {"metadata": {"resourceVersion": meta.resource_version}, "status": changes(item.status, status)}
    return [Write(resource, meta.name, body, meta.namespace or None, subresource="status")]


def _options(objects: CalicoObjects) -> Iterable[Write]:
    """The object that all options are patched into is there from the beginning, as where Calico runs."""
    if all(item.metadata.name != "default" for item in objects.felix):
        meta = {"name": "default"}
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": FELIXCONFIGURATIONS.kind, "metadata": meta, "spec": {}}
        yield Write(FELIXCONFIGURATIONS, "default", body, kind="apply")


def _records(objects: CalicoObjects, seen: Seen) -> Iterable[Write]:
    """Addresses, ids and watchers, on the gateways' pods."""
    for pod in objects.pods:
        key = f"{pod.metadata.namespace}/{pod.metadata.name}"
        exits: dict[Family, tuple[IPAddress, int]] = {}
        for family in FAMILIES:
            assignment = seen.plan.assignments.get(f"{key}/v{family}")
            if assignment is not None and assignment.address is not None and assignment.id:
                exits[family] = (assignment.address, assignment.id)
        watchers = [seen.plan.watchers.get(f"{key}/v{family}", ()) for family in FAMILIES]
        text = record(exits, {name for names in watchers for name in names})
        if exits and recorded({EXITS: text}) != recorded(pod.metadata.annotations):
            body = {"metadata": {"resourceVersion": pod.metadata.resource_version, "annotations": {EXITS: text}}}
            yield Write(GATEWAY_PODS, pod.metadata.name, body, pod.metadata.namespace)


def _clients(objects: CalicoObjects, pods: Mapping[Key, Pod], seen: Seen) -> Iterable[Write]:
    """Which gateways a client with limited next hops has, and that a gateway of its is about to end."""
    told = notices(objects.pods, seen.state, seen.plan.chosen)
    for key in sorted({*told, *seen.plan.chosen} & pods.keys()):
        pod = pods[key]
        wanted = dict(told.get(key, {}))
        if chosen := seen.plan.chosen.get(key):
            wanted[NEXT_HOPS] = record_next_hops(chosen)
        missing_ = {name: text for name, text in wanted.items() if pod.metadata.annotations.get(name) != text}
        if missing_:
            yield Write(PODS, pod.metadata.name, {"metadata": {"annotations": missing_}}, pod.metadata.namespace)


def _statuses(objects: CalicoObjects, seen: Seen, now: str) -> Iterable[Write]:
    for network in objects.networks:
        yield from _status(EXTERNALNETWORKS, network, network_status(network, seen, now))
    for peer in objects.peers:
        yield from _status(BGPPEERS, peer, peer_status(peer, seen, now))
    for pool in objects.pools:
        yield from _status(IPPOOLS, pool, pool_status(pool, seen))
    for policy in objects.policies:
        yield from _status(EGRESSGATEWAYPOLICIES, policy, policy_status(policy, seen, now))
