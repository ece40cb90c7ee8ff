"""The `scale` subresource: how many pods a workload is to have, as an object of its own (autoscaling/v1, Scale)."""

from typing import Any

from sallyport.lab.apiserver import patch
from sallyport.lab.apiserver.errors import Cause, Object, bad_request, conflict, invalid, unsupported
from sallyport.lab.apiserver.kinds import Resource
from sallyport.lab.apiserver.rest import JSON, MERGE, STRATEGIC, Options, Rest

GROUP, VERSION, KIND = "autoscaling", "v1", "Scale"


def of(obj: Object) -> Object:
    """The Scale of a Deployment or ReplicaSet."""
    meta, spec = obj["metadata"], obj.get("spec") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    labels = ((spec.get("selector") or {}).get("matchLabels") or {}).items()
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {field: meta[field] for field in kept if field in meta},
        "spec": {"replicas": spec.get("replicas", 1)},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels)),
        },
    }


def change(
    rest: Rest, resource: Resource, namespace: str, name: str, media: str, body: Any, options: Options
) -> Object:
    """Take in a Scale (`media` "": a whole one, else a patch of it); answers the new one. Raises 404, 409, 415, 422."""
    old = of(rest.get(resource, namespace, name))
    new = body
    if media == MERGE:
        new = patch.merge(old, body)
    elif media == STRATEGIC:
        new = patch.strategic(old, body)
    elif media == JSON:
        new = patch.json_patch(old, body)
    elif media:
        raise unsupported(f"the patch type {media!r}", 415)
    if not isinstance(new, dict) or not isinstance(new.get("spec"), dict):
        raise bad_request("the body of the request is no Scale: spec is not an object")
    revision = (new.get("metadata") or {}).get("resourceVersion")
    if revision and revision != old["metadata"]["resourceVersion"]:
        raise conflict(resource.group, resource.plural, name)
    replicas = new["spec"].get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        text = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid(GROUP, KIND, name, [Cause("spec.replicas", "FieldValueInvalid", text)])
    changed, _ = rest.patch(resource, namespace, name, MERGE, {"spec": {"replicas": replicas}}, options)
    return of(changed)
