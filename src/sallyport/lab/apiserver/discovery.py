"""What a client asks first: which groups, versions and resources are served."""

from sallyport.lab.apiserver import scale
from sallyport.lab.apiserver.errors import Object
from sallyport.lab.apiserver.kinds import VERBS, Registry, Resource

VERSION: Object = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0+sallyport-embedded",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "CPython",
    "platform": "linux",
}


def _groups(registry: Registry) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for resource in registry.all():
        versions = groups.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
    for versions in groups.values():
        versions.sort(key=_rank)
    return groups


def _rank(version: str) -> tuple[int, str]:
    """Stable versions first, then beta, then alpha, the newest of each first."""
    stage = 1 if "beta" in version else 2 if "alpha" in version else 0
    return stage, "".join(chr(0x10FFFF - ord(char)) for char in version)


def _subresources(resource: Resource) -> list[tuple[str, str]]:
    found = [("status", resource.kind)] if resource.has_status else []
    return found + [(name, name.capitalize()) for name in resource.subresources]


def legacy_versions() -> Object:
    """``/api``."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def _group(name: str, versions: list[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list(registry: Registry) -> Object:
    """``/apis``."""
    groups = [_group(name, versions) for name, versions in _groups(registry).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(registry: Registry, name: str) -> Object | None:
    """``/apis/GROUP``; None if nothing of it is served."""
    versions = _groups(registry).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if name and versions else None


def resource_list(registry: Registry, group_name: str, version: str) -> Object | None:
    """``/apis/GROUP/VERSION`` or ``/api/v1``; None if nothing of it is served."""
    entries: list[Object] = []
    for resource in registry.all():
        if (resource.group, resource.version) != (group_name, version):
            continue
        entry: Object = {
            "name": resource.plural,
            "singularName": resource.singular or resource.kind.lower(),
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(VERBS),
            "shortNames": list(resource.short_names),
            "categories": list(resource.categories),
        }
        entries.append({key: value for key, value in entry.items() if value != []})
        for name, kind in _subresources(resource):
            path, verbs = f"{resource.plural}/{name}", _verbs(name)
            sub = {"name": path, "singularName": "", "namespaced": resource.namespaced, "kind": kind, "verbs": verbs}
            entries.append(sub | ({"group": scale.GROUP, "version": scale.VERSION} if name == "scale" else {}))
    if not entries:
        return None
    served = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": served, "resources": entries}


def aggregated(registry: Registry, legacy: bool) -> Object:
    """The APIGroupDiscoveryList (apidiscovery.k8s.io/v2) of ``/api`` if legacy, else of ``/apis``."""
    items: list[Object] = []
    for name, versions in _groups(registry).items():
        if (name == "") != legacy:
            continue
        listed = [
            {
                "version": version,
                "freshness": "Current",
                "resources": [_discovered(r) for r in registry.all() if (r.group, r.version) == (name, version)],
            }
            for version in versions
        ]
        items.append({"metadata": {"name": name, "creationTimestamp": None}, "versions": listed})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _verbs(subresource: str) -> list[str]:
    return ["create"] if subresource == "binding" else ["get", "patch", "update"]


def _kind(resource: Resource, kind: str) -> Object:
    if kind == scale.KIND:
        return {"group": scale.GROUP, "version": scale.VERSION, "kind": kind}
    return {"group": resource.group, "version": resource.version, "kind": kind}


def _discovered(resource: Resource) -> Object:
    scope = "Namespaced" if resource.namespaced else "Cluster"
    found: Object = {
        "resource": resource.plural,
        "responseKind": _kind(resource, resource.kind),
        "scope": scope,
        "singularResource": resource.singular or resource.kind.lower(),
        "verbs": list(VERBS),
    }
    if resource.short_names:
        found["shortNames"] = list(resource.short_names)
    if resource.categories:
        found["categories"] = list(resource.categories)
    subresources = [
        {
            "subresource": name,
            "responseKind": _kind(resource, kind),
            "verbs": _verbs(name),
        }
        for name, kind in _subresources(resource)
    ]
    if subresources:
        found["subresources"] = subresources
    return found
