"""What the API would say to manifests, told before they are applied, with the lines it is about."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import msgspec

from sallyport.apis.antrea.config import is_configuration
from sallyport.apis.antrea.types import EGRESSES, POOLS, Egress, ExternalIPPool
from sallyport.apis.antrea.validate import SCHEMAS as ANTREA_SCHEMAS
from sallyport.apis.antrea.validate import egress_faults, pool_faults
from sallyport.apis.calico.annotations import GATEWAY_LABEL
from sallyport.apis.calico.bgp import BGPCONFIGURATIONS, BGPFILTERS, BGPPEERS
from sallyport.apis.calico.coverage import COVERED, without_effect
from sallyport.apis.calico.objects import CalicoObjects
from sallyport.apis.calico.pods import GATEWAY_PODS
from sallyport.apis.calico.references import NOT_FOUND, Client, conflicts, missing
from sallyport.apis.calico.types import (
    EGRESSGATEWAYPOLICIES,
    EGRESSGATEWAYS,
    EXTERNALNETWORKS,
    FELIXCONFIGURATIONS,
    IPPOOLS,
)
from sallyport.apis.calico.validate import SCHEMAS as CALICO_SCHEMAS
from sallyport.apis.calico.validate import faults as calico_faults
from sallyport.apis.core import CONFIGMAPS, NAMESPACES, NODES, PODS
from sallyport.apis.definitions import DEFINITIONS
from sallyport.apis.manifests import Flaw, Manifest
from sallyport.apis.objects import Objects
from sallyport.apis.resource import Resource
from sallyport.apis.schema import Fault, check, pruned, unknown
from sallyport.model.state import ObjectRef, Problem

_CORE = {(item.api_version, item.kind): item for item in (PODS, NODES, NAMESPACES, CONFIGMAPS)}
_SCHEMAS = {**ANTREA_SCHEMAS, **CALICO_SCHEMAS}
_OURS = {
    (f"{item.resource.group}/{version.name}", item.resource.kind): item.resource
    for item in DEFINITIONS
    for version in item.versions
}
_GATEWAYS_POD = "Pod of an EgressGateway"
"""A pod that is a gateway is read twice: as a pod like others, and for what only gateways have."""
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DECODE_ERROR = re.compile(r"(?P<text>.*) - at `\$\.?(?P<path>[^`]*)`", re.DOTALL)


class Severity(StrEnum):
    """REFUSED: the API does not store it. WARNING: it is stored, and something will not be as one may think."""

    REFUSED = "refused"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark on one field; `field` is "" where it is about the whole object or file."""

    file: str
    line: int
    severity: Severity
    object: str
    field: str
    reason: str


@dataclass(slots=True)
class Review:
    """What was found, and the objects that would be stored. `skipped` are kinds that nothing is known about."""

    findings: list[Finding] = field(default_factory=list)
    objects: Objects = field(default_factory=Objects)
    skipped: list[Manifest] = field(default_factory=list)
    sources: dict[tuple[str, str, str], Manifest] = field(default_factory=dict)
    """Manifests of the stored objects by kind, namespace and name."""
    told: list[Problem] = field(default_factory=list)
    """What `problem` was given."""

    def problem(self, problem: Problem) -> None:
        """Add what a translator or planner said about an object."""
        self.told.append(problem)
        source = self.sources.get((problem.ref.kind, problem.ref.namespace, problem.ref.name))
        if source is not None:
            self.add(source, Severity.WARNING, problem.field, problem.message)

    def add(self, source: Manifest, severity: Severity, path: str, reason: str) -> None:
        """Add a remark on the field at `path` of a manifest, once."""
        reason = reason.removeprefix(f"{path}: ")
        finding = Finding(source.file, source.line_of(path), severity, _label(source), path, reason)
        if finding not in self.findings:
            self.findings.append(finding)


def review(manifests: Iterable[Manifest], flaws: Iterable[Flaw]) -> Review:
    """Schema and validator over all manifests together, in the order in which they would be applied."""
    result = Review()
    for flaw in flaws:
        result.findings.append(Finding(flaw.file, flaw.line, Severity.REFUSED, "", "", flaw.message))
    stored: dict[tuple[str, str, str], Any] = {}
    for manifest in manifests:
        value = _decoded(manifest, result)
        if value is None:
            continue
        key = (manifest.kind, value.metadata.namespace, value.metadata.name)
        if (earlier := result.sources.get(key)) is not None:
            where = f"{earlier.file}:{earlier.line}"
            result.add(manifest, Severity.WARNING, "metadata.name", f"replaces the object of that name at {where}")
        result.sources[key] = manifest
        stored[key] = value
        if manifest.kind == PODS.kind and GATEWAY_LABEL in value.metadata.labels:
            stored[_GATEWAYS_POD, *key[1:]] = _converted(pruned({}, manifest.data), GATEWAY_PODS, manifest, result)
    result.objects = _gathered(stored)
    _validate(result, stored)
    _warn(result)
    return result


def _decoded(manifest: Manifest, result: Review) -> Any:
    """The object if the schema takes it, else None."""
    key = (manifest.api_version, manifest.kind)
    resource: Resource[Any] | None = _OURS.get(key) or _CORE.get(key)
    if resource is None:
        served = [version for version, kind in _OURS if kind == manifest.kind and _group(version) == _group(key[0])]
        if served:
            reason = f"{manifest.api_version} is not served; {', '.join(served)} {'is' if len(served) == 1 else 'are'}"
            result.add(manifest, Severity.REFUSED, "apiVersion", reason)
        else:
            result.skipped.append(manifest)
        return None
    found = _name_faults(manifest)
    data: Any = pruned({}, manifest.data)
    if (schema := _SCHEMAS.get(key)) is not None:
        found += check(schema, dict(manifest.data))
        for path in unknown(schema, dict(manifest.data)):
            if not path.startswith("metadata."):
                result.add(manifest, Severity.WARNING, path, "unknown field; it is not stored")
        data = pruned(schema, dict(manifest.data)) | {"metadata": data.get("metadata", {})}
    for fault in found:
        result.add(manifest, Severity.REFUSED, fault.field, fault.reason)
    return None if found else _converted(data, resource, manifest, result)


def _converted(data: Any, resource: Resource[Any], manifest: Manifest, result: Review) -> Any:
    """The object as its type has it, else None."""
    try:
        return msgspec.convert(data, resource.type)
    except msgspec.ValidationError as error:
        fault = _decode_fault(error)
        result.add(manifest, Severity.REFUSED, fault.field, fault.reason)
        return None


def _group(api_version: str) -> str:
    return api_version.partition("/")[0]


def _name_faults(manifest: Manifest) -> list[Fault]:
    metadata = manifest.data.get("metadata")
    if not isinstance(metadata, dict):
        return [Fault("metadata", "Required value")]
    name = metadata.get("name")
    if not name:
        return [] if metadata.get("generateName") else [Fault("metadata.name", "Required value")]
    if isinstance(name, str) and (len(name) > 253 or not _NAME.fullmatch(name)):
        reason = "must be lower case letters, digits, '-' or '.', beginning and ending with a letter or digit"
        return [Fault("metadata.name", f'Invalid value: "{name}": {reason}')]
    return []


def _decode_fault(error: msgspec.ValidationError) -> Fault:
    form = _DECODE_ERROR.fullmatch(str(error))
    return Fault(form["path"], form["text"].replace("`", "")) if form else Fault("", str(error))


def _gathered(stored: Mapping[tuple[str, str, str], Any]) -> Objects:
    def of_kind(kind: str) -> tuple[Any, ...]:
        return tuple(value for key, value in stored.items() if key[0] == kind and value is not None)

    return Objects(
        egresses=of_kind(EGRESSES.kind),
        pools=of_kind(POOLS.kind),
        nodes=of_kind(NODES.kind),
        namespaces=of_kind(NAMESPACES.kind),
        pods=of_kind(PODS.kind),
        configmaps=tuple(
            item for item in of_kind(CONFIGMAPS.kind) if is_configuration(item.metadata.namespace, item.metadata.name)
        ),
        calico=CalicoObjects(
            gateways=of_kind(EGRESSGATEWAYS.kind),
            pods=of_kind(_GATEWAYS_POD),
            pools=of_kind(IPPOOLS.kind),
            policies=of_kind(EGRESSGATEWAYPOLICIES.kind),
            networks=of_kind(EXTERNALNETWORKS.kind),
            peers=of_kind(BGPPEERS.kind),
            filters=of_kind(BGPFILTERS.kind),
            bgp=of_kind(BGPCONFIGURATIONS.kind),
            felix=of_kind(FELIXCONFIGURATIONS.kind),
        ),
    )


def _validate(result: Review, stored: dict[tuple[str, str, str], Any]) -> None:
    """Refuse what the webhook refuses: refused objects are taken out of the result again."""
    refused: set[tuple[str, str, str]] = set()
    accepted: list[ExternalIPPool] = []
    for pool in result.objects.pools:
        key = (POOLS.kind, "", pool.metadata.name)
        if faults := pool_faults(pool, None, accepted):
            refused.add(key)
            for fault in faults:
                result.add(result.sources[key], Severity.REFUSED, fault.field, fault.reason)
        else:
            accepted.append(pool)
    pools = {pool.metadata.name: pool for pool in result.objects.pools}
    for egress in result.objects.egresses:
        key = (EGRESSES.kind, "", egress.metadata.name)
        for fault in _egress_faults(egress, pools, result):
            refused.add(key)
            result.add(result.sources[key], Severity.REFUSED, fault.field, fault.reason)
    for key, value in stored.items():
        for fault in calico_faults(value):
            refused.add(key)
            result.add(result.sources[key], Severity.REFUSED, fault.field, fault.reason)
    for key in refused:
        del stored[key]
    result.objects = _gathered(stored)


def _warn(result: Review) -> None:
    """What is stored of Calico's kinds and will not do what it says, or not before something else is there."""
    clients: list[Client] = [*result.objects.namespaces, *result.objects.pods]
    for problem in missing(result.objects.calico, clients):
        text = f"{problem.message} in these files; it must exist where they are applied"
        result.problem(replace(problem, message=text))
    for problem in conflicts(result.objects.calico, clients):
        result.problem(problem)
    for (kind, _, _), source in result.sources.items():
        if kind in COVERED and isinstance(spec := source.data.get("spec"), dict):
            for path, reason in without_effect(kind, spec):
                result.add(source, Severity.WARNING, path, f"has no effect: {reason}")


def _egress_faults(egress: Egress, pools: Mapping[str, ExternalIPPool], result: Review) -> list[Fault]:
    source = result.sources[EGRESSES.kind, "", egress.metadata.name]
    name = egress.spec.external_ip_pool
    if name and name not in pools:
        reason = f"ExternalIPPool {name} is not in these files; it must exist where they are applied"
        ref = ObjectRef(EGRESSES.kind, egress.metadata.name, uid=egress.metadata.uid)
        result.problem(Problem(ref, NOT_FOUND, reason, "spec.externalIPPool"))
        bare = msgspec.structs.replace(egress.spec, external_ip_pool="")
        egress = msgspec.structs.replace(egress, spec=bare)
    applied = egress.spec.applied_to
    if applied.pod_selector is None and applied.namespace_selector is None:
        result.add(source, Severity.WARNING, "spec.appliedTo", "selects no pod: it has neither selector")
    return egress_faults(egress, None, pools)


def _label(source: Manifest) -> str:
    metadata = source.data.get("metadata")
    namespace = metadata.get("namespace", "") if isinstance(metadata, dict) else ""
    return str(ObjectRef(source.kind, source.name, str(namespace or "")))
