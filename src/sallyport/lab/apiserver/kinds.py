"""Which resources are served: the built-in kinds and what a CustomResourceDefinition adds."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sallyport.lab.apiserver.errors import Object, qualify

CRD_GROUP = "apiextensions.k8s.io"
CRDS = qualify("customresourcedefinitions", CRD_GROUP)
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Resource:
    """One served group, version and plural. ``schema`` and ``columns`` come from a CRD version, else are empty.

    ``bucket`` names where its objects are stored: versions of one kind share it.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    subresources: tuple[str, ...] = ()
    generation: bool = False
    bucket: str = ""
    singular: str = ""
    custom: bool = False
    schema: Object = field(default_factory=dict)
    columns: tuple[Object, ...] = ()
    selectable: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` field of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """``plural.group``, the name in messages."""
        return qualify(self.plural, self.group)

    @property
    def store(self) -> str:
        """The bucket of the store that holds its objects."""
        return self.bucket or self.qualified


def _core(plural: str, kind: str, namespaced: bool = True, *short: str, status: bool = False) -> Resource:
    subresources = ("binding", "eviction") if plural == "pods" else ()
    categories = ("all",) if plural in ("pods", "services") else ()
    return Resource("", "v1", plural, kind, namespaced, short, categories, status, subresources[:1])


def _apps(plural: str, kind: str, short: str) -> Resource:
    subresources = () if plural == "daemonsets" else ("scale",)
    return Resource("apps", "v1", plural, kind, True, (short,), ("all",), True, subresources, generation=True)


def _rbac(plural: str, kind: str, namespaced: bool) -> Resource:
    return Resource("rbac.authorization.k8s.io", "v1", plural, kind, namespaced)


BUILTIN: tuple[Resource, ...] = (
    _core("namespaces", "Namespace", False, "ns", status=True),
    _core("nodes", "Node", False, "no", status=True),
    _core("pods", "Pod", True, "po", status=True),
    _core("services", "Service", True, "svc", status=True),
    _core("endpoints", "Endpoints", True, "ep"),
    _core("configmaps", "ConfigMap", True, "cm"),
    _core("secrets", "Secret", True),
    _core("serviceaccounts", "ServiceAccount", True, "sa"),
    _core("events", "Event", True, "ev"),
    _apps("deployments", "Deployment", "deploy"),
    _apps("replicasets", "ReplicaSet", "rs"),
    _apps("daemonsets", "DaemonSet", "ds"),
    Resource("coordination.k8s.io", "v1", "leases", "Lease", True),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True),
    Resource("events.k8s.io", "v1", "events", "Event", True, ("ev",), bucket="events"),
    Resource("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", False, has_status=True),
    Resource("networking.k8s.io", "v1beta1", "servicecidrs", "ServiceCIDR", False, has_status=True),
    _rbac("roles", "Role", True),
    _rbac("rolebindings", "RoleBinding", True),
    _rbac("clusterroles", "ClusterRole", False),
    _rbac("clusterrolebindings", "ClusterRoleBinding", False),
    Resource(
        CRD_GROUP, "v1", "customresourcedefinitions", "CustomResourceDefinition", False, ("crd", "crds"),
        ("api-extensions",), has_status=True, generation=True,
    ),
)  # fmt: skip


def from_crd(crd: Object) -> Iterator[Resource]:
    """The resources that a CustomResourceDefinition serves, one per served version."""
    spec = crd["spec"]
    names = spec["names"]
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        subresources = version.get("subresources") or {}
        yield Resource(
            group=spec["group"],
            version=version["name"],
            plural=names["plural"],
            kind=names["kind"],
            namespaced=spec["scope"] == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            has_status="status" in subresources,
            generation=True,
            singular=names.get("singular") or names["kind"].lower(),
            custom=True,
            schema=(version.get("schema") or {}).get("openAPIV3Schema") or {},
            columns=tuple(version.get("additionalPrinterColumns") or ()),
            selectable=tuple(entry["jsonPath"].lstrip(".") for entry in version.get("selectableFields") or ()),
        )


class Registry:
    """The resources served now, by (group, version, plural)."""

    def __init__(self) -> None:
        self._served: dict[tuple[str, str, str], Resource] = {(r.group, r.version, r.plural): r for r in BUILTIN}
        self._custom: dict[str, list[tuple[str, str, str]]] = {}

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource of a request path, if served."""
        return self._served.get((group, version, plural))

    def all(self) -> list[Resource]:
        """Every served resource, in order of registration."""
        return list(self._served.values())

    def by_store(self, bucket: str) -> Resource | None:
        """Any served version of what a store bucket holds."""
        return next((resource for resource in self._served.values() if resource.store == bucket), None)

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        """The resource of an object's ``apiVersion`` and ``kind``."""
        for resource in self._served.values():
            if resource.kind == kind and resource.api_version == api_version:
                return resource
        return None

    def define(self, crd: Object) -> None:
        """Serve a CRD, replacing what the CRD of that name served before."""
        name = crd["metadata"]["name"]
        self.forget(name)
        resources = list(from_crd(crd))
        self._custom[name] = [(r.group, r.version, r.plural) for r in resources]
        self._served.update({(r.group, r.version, r.plural): r for r in resources})

    def forget(self, name: str) -> None:
        """Stop serving a deleted CRD."""
        for key in self._custom.pop(name, []):
            self._served.pop(key, None)
