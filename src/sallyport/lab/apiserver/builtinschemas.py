"""Short descriptions of the built-in kinds for ``kubectl explain``: the fields that matter to egress control."""

from sallyport.lab.apiserver.errors import Object
from sallyport.lab.apiserver.kinds import Resource

_DESCRIPTIONS = {
    "Pod": "Pod is a collection of containers that can run on a host.",
    "Node": "Node is a worker node in Kubernetes.",
    "Namespace": "Namespace provides a scope for Names.",
    "Service": "Service is a named abstraction of software service.",
    "ConfigMap": "ConfigMap holds configuration data for pods to consume.",
    "Secret": "Secret holds secret data of a certain type.",
    "Event": "Event is a report of an event somewhere in the cluster.",
    "Lease": "Lease defines a lease concept.",
    "Deployment": "Deployment enables declarative updates for Pods and ReplicaSets.",
    "ReplicaSet": "ReplicaSet ensures that a specified number of pod replicas are running at any given time.",
}


def _text(description: str) -> Object:
    return {"type": "string", "description": description}


def _open(description: str) -> Object:
    return {"type": "object", "description": description, "x-kubernetes-preserve-unknown-fields": True}


_STRINGS: Object = {"type": "object", "additionalProperties": {"type": "string"}}
_CONTAINER: Object = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": _text("Name of the container."),
        "image": _text("Image; the lab does not use it."),
        "command": {"type": "array", "items": {"type": "string"}, "description": "Command to run."},
        "args": {"type": "array", "items": {"type": "string"}, "description": "Its arguments."},
    },
    "x-kubernetes-preserve-unknown-fields": True,
}
_POD: Object = {
    "type": "object",
    "description": "Specification of the desired behavior of the pod.",
    "properties": {
        "containers": {"type": "array", "items": _CONTAINER, "description": "List of containers belonging to the pod."},
        "nodeName": _text("NodeName indicates in which node this pod is scheduled."),
        "nodeSelector": {**_STRINGS, "description": "Labels that the node must have."},
        "hostNetwork": {"type": "boolean", "description": "Use the host's network namespace."},
        "terminationGracePeriodSeconds": {"type": "integer", "description": "Seconds the pod needs to end gracefully."},
    },
    "x-kubernetes-preserve-unknown-fields": True,
}
_REPLICAS: Object = {
    "replicas": {"type": "integer", "description": "Number of desired pods. Defaults to 1."},
    "selector": _open("Label selector for pods; it must match the pod template's labels, and never changes."),
    "template": {
        "type": "object",
        "description": "Template describes the pods that will be created.",
        "properties": {"metadata": _open("Labels and annotations of the pods."), "spec": _POD},
        "x-kubernetes-preserve-unknown-fields": True,
    },
    "minReadySeconds": {"type": "integer", "description": "Seconds a pod is ready before it counts as available."},
}
_DEPLOYMENT: Object = {
    **_REPLICAS,
    "strategy": _open("How new pods replace old ones: RollingUpdate or Recreate."),
    "revisionHistoryLimit": {"type": "integer", "description": "Number of old ReplicaSets to keep. Defaults to 10."},
    "progressDeadlineSeconds": {"type": "integer", "description": "Seconds without progress until it has failed."},
    "paused": {"type": "boolean", "description": "Indicates that the deployment is paused."},
}


def _spec(properties: Object) -> Object:
    return {**_open("Specification of the desired state."), "properties": properties}


_FIELDS: dict[str, Object] = {
    "Deployment": {"spec": _spec(_DEPLOYMENT)},
    "ReplicaSet": {"spec": _spec(_REPLICAS)},
    "Pod": {"spec": _POD},
    "Node": {
        "spec": {
            "type": "object",
            "description": "Spec defines the behavior of a node.",
            "properties": {
                "podCIDR": _text("PodCIDR represents the pod IP range assigned to the node."),
                "podCIDRs": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "The same, of both families.",
                },
                "unschedulable": {"type": "boolean", "description": "Whether new pods are kept off the node."},
            },
            "x-kubernetes-preserve-unknown-fields": True,
        }
    },
    "ConfigMap": {"data": {**_STRINGS, "description": "Data contains the configuration data."}},
    "Secret": {
        "data": {**_STRINGS, "description": "Data contains the secret data, in base64."},
        "type": _text("Its type."),
    },
}


def builtin_schema(resource: Resource) -> Object:
    """The schema of a built-in kind, open where it says nothing."""
    properties: Object = dict(_FIELDS.get(resource.kind, {}))
    properties.setdefault("spec", _open("Specification of the desired state."))
    if resource.has_status:
        properties.setdefault("status", _open("Most recently observed status."))
    if resource.kind in ("ConfigMap", "Secret", "Event", "Endpoints", "ServiceAccount"):
        properties.pop("spec", None) if "spec" not in _FIELDS.get(resource.kind, {}) else None
    return {
        "type": "object",
        "description": _DESCRIPTIONS.get(resource.kind, f"{resource.kind} of {resource.api_version}."),
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": True,
    }
