"""What the built-in kinds get filled in, and the few checks that kubectl users run into."""

import base64

from sallyport.lab.apiserver import podrules, rules, workloads
from sallyport.lab.apiserver.errors import Cause, Object, bad_request
from sallyport.lab.apiserver.kinds import CRDS, Resource


def _required(field: str) -> Cause:
    return Cause(field, "FieldValueRequired", "Required value")


def on_create(resource: Resource, obj: Object) -> None:
    """Initial state of a new object of a built-in kind, or the absence of a status for a custom one."""
    store = resource.store
    if resource.custom:
        if resource.has_status:
            obj.pop("status", None)
    elif store == "namespaces":
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}
    elif store == "pods":
        obj["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
    elif resource.group == "apps":
        obj["status"] = {}


_FIELDS: dict[str, tuple[str, ...]] = {
    "configmaps": ("data", "binaryData", "immutable"),
    "secrets": ("data", "stringData", "type", "immutable"),
    "serviceaccounts": ("secrets", "imagePullSecrets", "automountServiceAccountToken"),
    "endpoints": ("subsets",),
    "endpointslices": ("addressType", "endpoints", "ports"),
    "roles": ("rules",),
    "clusterroles": ("rules", "aggregationRule"),
    "rolebindings": ("subjects", "roleRef"),
    "clusterrolebindings": ("subjects", "roleRef"),
}


def prune(resource: Resource, obj: Object) -> list[str]:
    """Drop what is no field of a built-in kind, at the top level only; answers what was dropped."""
    if resource.store == "events":
        return []
    known = {"apiVersion", "kind", "metadata", *_FIELDS.get(resource.plural, ("spec", "status"))}
    unknown = [key for key in obj if key not in known]
    for key in unknown:
        del obj[key]
    return unknown


def fill(resource: Resource, obj: Object) -> None:
    """Defaults that hold for every write of a built-in kind. Raises 400 for a spec or status that is no object."""
    store = resource.store
    for part in ("spec", "status"):
        if obj.get(part) is None:
            obj.pop(part, None)
        elif not isinstance(obj[part], dict):
            raise bad_request(f"{resource.kind} cannot be handled: {part} is not an object")
    if store == "namespaces":
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    elif store == "pods" and isinstance(obj.get("spec"), dict):
        podrules.fill(obj["spec"])
    elif store == "services":
        _fill_service(obj.setdefault("spec", {}))
    elif store == "secrets":
        obj.setdefault("type", "Opaque")
        for key, text in (obj.pop("stringData", None) or {}).items():
            obj.setdefault("data", {})[key] = base64.b64encode(str(text).encode()).decode()
    elif resource.group == "apps" and isinstance(obj.get("spec"), dict):
        workloads.fill(resource, obj["spec"])


def _fill_service(spec: Object) -> None:
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))


def check(resource: Resource, obj: Object, old: Object | None) -> list[Cause]:
    """What is wrong with an object of a built-in kind. CRDs are checked where they are defined."""
    if resource.store == "pods":
        return podrules.check(obj.get("spec") or {}, (old or {}).get("spec"), "spec")
    if resource.group == "apps":
        return workloads.check(resource, obj.get("spec") or {}, (old or {}).get("spec"))
    if resource.store == "secrets" and old and old.get("type") != obj.get("type"):
        return [Cause("type", "FieldValueInvalid", f'Invalid value: "{obj.get("type")}": field is immutable')]
    if resource.store == CRDS:
        return _check_crd(obj)
    return []


def _check_crd(crd: Object) -> list[Cause]:
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    causes = [_required(f"spec.{need}") for need in ("group", "scope", "versions") if not spec.get(need)]
    causes += [_required(f"spec.names.{need}") for need in ("plural", "kind") if not names.get(need)]
    if causes:
        return causes
    wanted = f"{names['plural']}.{spec['group']}"
    name = crd["metadata"]["name"]
    if name != wanted:
        text = f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group'
        causes.append(Cause("metadata.name", "FieldValueInvalid", text))
    if spec["scope"] not in ("Namespaced", "Cluster"):
        text = f'Unsupported value: "{spec["scope"]}": supported values: "Cluster", "Namespaced"'
        causes.append(Cause("spec.scope", "FieldValueNotSupported", text))
    stored = sum(1 for version in spec["versions"] if version.get("storage"))
    if stored != 1:
        text = "Invalid value: must have exactly one version marked as storage version"
        causes.append(Cause("spec.versions", "FieldValueInvalid", text))
    for place, version in enumerate(spec["versions"]):
        path = f"spec.versions[{place}].schema.openAPIV3Schema"
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        causes += rules.check_schema(schema, path) if schema else [_required(path)]
    strategy = (spec.get("conversion") or {}).get("strategy", "None")
    if strategy != "None":
        text = f'Unsupported value: "{strategy}": conversion webhooks are not supported by the embedded control plane, '
        causes.append(
            Cause("spec.conversion.strategy", "FieldValueNotSupported", text + "use --control-plane kubernetes")
        )
    return causes
