"""What the API would say to manifests, told before they are applied, with the lines it is about."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from sallyport.apis.antrea.config import is_configuration
from sallyport.apis.antrea.objects import Objects
from sallyport.apis.antrea.types import EGRESSES, GROUP, POOLS, VERSIONS, Egress, ExternalIPPool
from sallyport.apis.antrea.validate import SCHEMAS, egress_faults, pool_faults
from sallyport.apis.core import CONFIGMAPS, NAMESPACES, NODES, PODS
from sallyport.apis.manifests import Flaw, Manifest
from sallyport.apis.resource import Resource
from sallyport.apis.schema import Fault, check, pruned, unknown
from sallyport.model.state import ObjectRef, Problem

_CORE = {(item.api_version, item.kind): item for item in (PODS, NODES, NAMESPACES, CONFIGMAPS)}
_OURS = {(f"{GROUP}/{version}", item.kind): item for item in (EGRESSES, POOLS) for version in VERSIONS}
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

    def problem(self, problem: Problem) -> None:
        """Add what a translator or planner said about an object."""
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
    result.objects = _gathered(stored)
    _validate(result, stored)
    return result


def _decoded(manifest: Manifest, result: Review) -> Any:
    """The object if the schema takes it, else None."""
    key = (manifest.api_version, manifest.kind)
    resource: Resource[Any] | None = _OURS.get(key) or _CORE.get(key)
    if resource is None:
        if manifest.api_version.partition("/")[0] == GROUP and manifest.kind in (EGRESSES.kind, POOLS.kind):
            served = ", ".join(f"{GROUP}/{version}" for version in VERSIONS)
            result.add(manifest, Severity.REFUSED, "apiVersion", f"{manifest.api_version} is not served; {served} are")
        else:
            result.skipped.append(manifest)
        return None
    found = _name_faults(manifest)
    data: Any = pruned({}, manifest.data)
    if (schema := SCHEMAS.get(key)) is not None:
        found += check(schema, dict(manifest.data))
        for path in unknown(schema, dict(manifest.data)):
            if not path.startswith("metadata."):
                result.add(manifest, Severity.WARNING, path, "unknown field; it is not stored")
        data = pruned(schema, dict(manifest.data)) | {"metadata": data.get("metadata", {})}
    if not found:
        try:
            return msgspec.convert(data, resource.type)
        except msgspec.ValidationError as error:
            found.append(_decode_fault(error))
    for fault in found:
        result.add(manifest, Severity.REFUSED, fault.field, fault.reason)
    return None


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
        return tuple(value for key, value in stored.items() if key[0] == kind)

    return Objects(
        egresses=of_kind(EGRESSES.kind),
        pools=of_kind(POOLS.kind),
        nodes=of_kind(NODES.kind),
        namespaces=of_kind(NAMESPACES.kind),
        pods=of_kind(PODS.kind),
        configmaps=tuple(
            item for item in of_kind(CONFIGMAPS.kind) if is_configuration(item.metadata.namespace, item.metadata.name)
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
    for key in refused:
        del stored[key]
    result.objects = _gathered(stored)


def _egress_faults(egress: Egress, pools: Mapping[str, ExternalIPPool], result: Review) -> list[Fault]:
    source = result.sources[EGRESSES.kind, "", egress.metadata.name]
    name = egress.spec.external_ip_pool
    if name and name not in pools:
        reason = f"ExternalIPPool {name} is not in these files; it must exist where they are applied"
        result.add(source, Severity.WARNING, "spec.externalIPPool", reason)
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
