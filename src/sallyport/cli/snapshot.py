"""What `plan` and `trace` work on: the objects of a cluster at one moment, out of files or from the API server."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec
import typer

from sallyport.apis.antrea.types import EGRESSES, POOLS
from sallyport.apis.calico.annotations import GATEWAY_LABEL
from sallyport.apis.calico.bgp import BGPCONFIGURATIONS, BGPFILTERS, BGPPEERS, BGPPeer
from sallyport.apis.calico.objects import CalicoObjects
from sallyport.apis.calico.pods import GATEWAY_PODS
from sallyport.apis.calico.types import (
    EGRESSGATEWAYPOLICIES,
    EGRESSGATEWAYS,
    EXTERNALNETWORKS,
    FELIXCONFIGURATIONS,
    IPPOOLS,
)
from sallyport.apis.core import CONFIGMAPS, LEASES, NAMESPACES, NODES, PODS, Lease, Namespace, ObjectMeta
from sallyport.apis.leases import renewed
from sallyport.apis.manifests import Manifest
from sallyport.apis.objects import Objects
from sallyport.apis.resource import Resource
from sallyport.apis.review import Severity, review
from sallyport.cli.check import read_files
from sallyport.kube.client import Client
from sallyport.kube.errors import NotFound
from sallyport.model.state import PodKey
from sallyport.processes.settings import NAMESPACE

T = TypeVar("T")

UNREAD = "?"
"""Stands for a password: Secrets are not read here, and no packet's way depends on them."""

NAME_LABEL = "kubernetes.io/metadata.name"
"""The label that the API server gives every namespace (KEP-2161)."""
CONFIGURATION_NAMESPACE = "kube-system"


class InputError(Exception):
    """What the user gave cannot be used; `str()` is one line that names it."""


@contextmanager
def told(command: str) -> Iterator[None]:
    """An `InputError` becomes one line on standard error and exit status 2."""
    try:
        yield
    except InputError as error:
        typer.echo(f"{command}: {error}", err=True)
        raise typer.Exit(2) from None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Objects and agents' leases. `moment` is when it was taken by the API server's clock, by which leases are judged;
    None where nobody says.
    `recorded` is true of a living cluster, whose controller has written into the objects all that agents go by.
    `remarks` are lines about what was left out."""

    objects: Objects
    leases: tuple[Lease, ...] = ()
    moment: datetime | None = None
    recorded: bool = False
    remarks: tuple[str, ...] = ()


def from_files(paths: list[Path], service_networks: tuple[str, ...]) -> Snapshot:
    """Manifests as written, or what `kubectl get -o yaml` printed; objects that the API would refuse are left out.

    The moment is the last at which any agent renewed its lease. Raises InputError where a file cannot be read.
    """
    try:
        manifests, flaws = read_files(paths)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from None
    if flaws:
        raise InputError(f"{flaws[0].file}:{flaws[0].line}: {flaws[0].message}")
    examined = review(manifests, ())
    leases = tuple(_lease(item) for item in manifests if (item.api_version, item.kind) == _LEASE)
    remarks = tuple(
        f"{item.file}:{item.line}: {item.object} is left out: {item.field}: {item.reason}"
        for item in examined.findings
        if item.severity is Severity.REFUSED
    )
    return Snapshot(
        objects=replace(_as_stored(examined.objects), service_networks=service_networks),
        leases=tuple(item for item in leases if item.metadata.namespace == NAMESPACE),
        moment=max((moment for item in leases if (moment := renewed(item)) is not None), default=None),
        remarks=remarks,
    )


_LEASE = (LEASES.api_version, LEASES.kind)


def _lease(manifest: Manifest) -> Lease:
    try:
        lease = msgspec.convert(manifest.data, Lease)
        if (text := lease.spec.renew_time) and datetime.fromisoformat(text).tzinfo is None:
            raise ValueError(f"spec.renewTime {text!r} has no time zone")
    except (msgspec.ValidationError, ValueError) as error:
        raise InputError(f"{manifest.file}:{manifest.line}: Lease/{manifest.name}: {error}") from None
    return lease


def _as_stored(objects: Objects) -> Objects:
    """Written manifests leave out what the API server adds: the namespace `default`, the namespaces' own label. The
    namespaces of pods are taken to exist."""
    pods = tuple(
        item if item.metadata.namespace else msgspec.structs.replace(item, metadata=_in_default(item.metadata))
        for item in objects.pods
    )
    written = {item.metadata.name: item for item in objects.namespaces}
    names = sorted({*written, *(item.metadata.namespace for item in pods)})
    namespaces = [written.get(name, Namespace(metadata=ObjectMeta(name=name))) for name in names]
    return replace(
        objects,
        calico=replace(objects.calico, secrets=_passwords(objects.calico.peers)),
        pods=pods,
        namespaces=tuple(msgspec.structs.replace(item, metadata=_labelled(item.metadata)) for item in namespaces),
    )


def _passwords(peers: Iterable[BGPPeer]) -> dict[tuple[str, str], str]:
    """One for each that a peer names, as if all were there."""
    wanted = [item.spec.password.secret_key_ref for item in peers if item.spec.password]
    return {(item.name, item.key): UNREAD for item in wanted if item is not None}


def _in_default(meta: ObjectMeta) -> ObjectMeta:
    return msgspec.structs.replace(meta, namespace="default")


def _labelled(meta: ObjectMeta) -> ObjectMeta:
    return msgspec.structs.replace(meta, labels={**meta.labels, NAME_LABEL: meta.name})


async def from_cluster(client: Client, pod: PodKey, service_networks: tuple[str, ...], now: datetime) -> Snapshot:
    """What concerns one pod: the policies, the nodes, and the pods of its own node. Raises ApiError; InputError where
    there is no such pod."""
    namespace, name = pod
    try:
        found = await client.get(PODS, name, namespace)
    except NotFound:
        raise InputError(f"there is no pod {namespace}/{name} at {client.connection.server}") from None
    remarks: list[str] = []
    on_its_node = f"spec.nodeName={found.spec.node_name}"
    return Snapshot(
        objects=Objects(
            egresses=await _listed(client, EGRESSES, remarks),
            pools=await _listed(client, POOLS, remarks),
            nodes=await _listed(client, NODES, remarks),
            namespaces=await _listed(client, NAMESPACES, remarks),
            pods=await _listed(client, PODS, remarks, field_selector=on_its_node) if found.spec.node_name else (found,),
            configmaps=await _listed(client, CONFIGMAPS, remarks, namespace=CONFIGURATION_NAMESPACE),
            service_networks=service_networks,
            calico=await _calico(client, remarks),
        ),
        leases=await _listed(client, LEASES, remarks, namespace=NAMESPACE),
        moment=now + timedelta(seconds=client.ahead),
        recorded=True,
        remarks=tuple(remarks),
    )


async def whole(client: Client, now: datetime) -> Snapshot:
    """Everything that there is of a cluster. A kind that is not served counts as one without objects, and is remarked.
    Raises ApiError."""
    remarks: list[str] = []
    calico = await _calico(client, remarks)
    return Snapshot(
        objects=Objects(
            egresses=await _listed(client, EGRESSES, remarks),
            pools=await _listed(client, POOLS, remarks),
            nodes=await _listed(client, NODES, remarks),
            namespaces=await _listed(client, NAMESPACES, remarks),
            pods=await _listed(client, PODS, remarks),
            configmaps=await _listed(client, CONFIGMAPS, remarks, namespace=CONFIGURATION_NAMESPACE),
            calico=replace(calico, gateways=await _listed(client, EGRESSGATEWAYS, remarks)),
        ),
        leases=await _listed(client, LEASES, remarks, namespace=NAMESPACE),
        moment=now + timedelta(seconds=client.ahead),
        recorded=True,
        remarks=tuple(remarks),
    )


async def _calico(client: Client, remarks: list[str]) -> CalicoObjects:
    """Gateways' pods, wherever they run, and what else of Calico's kinds an agent plans by."""
    peers = await _listed(client, BGPPEERS, remarks)
    return CalicoObjects(
        pods=await _listed(client, GATEWAY_PODS, remarks, label_selector=GATEWAY_LABEL),
        pools=await _listed(client, IPPOOLS, remarks),
        policies=await _listed(client, EGRESSGATEWAYPOLICIES, remarks),
        networks=await _listed(client, EXTERNALNETWORKS, remarks),
        peers=peers,
        filters=await _listed(client, BGPFILTERS, remarks),
        bgp=await _listed(client, BGPCONFIGURATIONS, remarks),
        felix=await _listed(client, FELIXCONFIGURATIONS, remarks),
        secrets=_passwords(peers),
    )


async def _listed(
    client: Client,
    resource: Resource[T],
    remarks: list[str],
    *,
    namespace: str | None = None,
    field_selector: str = "",
    label_selector: str = "",
) -> tuple[T, ...]:
    """All objects of a kind, page by page; none of a kind that is not served, which is remarked."""
    items: list[T] = []
    token = ""
    while True:
        try:
            page = await client.list_page(
                resource, namespace, field_selector=field_selector, label_selector=label_selector, continue_=token
            )
        except NotFound:
            remarks.append(f"{resource.kind} of {resource.api_version} is not served; are its CRDs installed?")
            return ()
        items += page.items
        remarks += [f"{line} is left out" for line in page.undecodable]
        token = page.continue_
        if not token:
            return tuple(items)
