"""OpenAPI v3, as far as ``kubectl explain``, its field validation and its completion need it."""

import copy
from typing import Any

import msgspec
from aiohttp import web

from sallyport.lab.apiserver.builtinschemas import builtin_schema
from sallyport.lab.apiserver.errors import Object, unsupported
from sallyport.lab.apiserver.kinds import Registry, Resource

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_TYPES: Object = {
    "apiVersion": {
        "type": "string",
        "description": "APIVersion defines the versioned schema of this representation of an object.",
    },
    "kind": {"type": "string", "description": "Kind is the REST resource this object represents."},
}
_OBJECT_META: Object = {
    "type": "object",
    "description": "ObjectMeta is metadata that all persisted resources must have.",
    "properties": {
        "name": {"type": "string", "description": "Name must be unique within a namespace."},
        "generateName": {"type": "string", "description": "A prefix for a unique name given by the server."},
        "namespace": {"type": "string", "description": "The space within which each name must be unique."},
        "uid": {"type": "string", "description": "The unique in time and space value for this object."},
        "resourceVersion": {"type": "string", "description": "The internal version of this object."},
        "generation": {"type": "integer", "format": "int64", "description": "A sequence number of the desired state."},
        "creationTimestamp": {"type": "string", "format": "date-time", "description": "When the server created it."},
        "deletionTimestamp": {"type": "string", "format": "date-time", "description": "When it will be deleted."},
        "deletionGracePeriodSeconds": {"type": "integer", "description": "Seconds it may take to terminate."},
        "labels": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Map of string keys and values to organize and select objects.",
        },
        "annotations": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Unstructured data set by external tools.",
        },
        "finalizers": {"type": "array", "items": {"type": "string"}, "description": "Must be empty before deletion."},
        "ownerReferences": {
            "type": "array",
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "description": "Objects depended on by this object.",
        },
        "managedFields": {
            "type": "array",
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "description": "Which manager owns which fields.",
        },
    },
}


def answer(registry: Registry, path: str) -> web.Response:
    """The response for a path under ``openapi``. Raises 404."""
    if path == "openapi/v2":
        # kubectl reads it as protobuf, and an empty message as "nothing known here": it then uses v3 and its own types.
        return web.Response(body=b"", content_type="application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
    groups = {
        (f"apis/{r.group}/{r.version}" if r.group else f"api/{r.version}"): (r.group, r.version) for r in registry.all()
    }
    if path == "openapi/v3":
        listed = {name: {"serverRelativeURL": f"/openapi/v3/{name}"} for name in groups}
        return _json({"paths": listed})
    wanted = groups.get(path.removeprefix("openapi/v3/"))
    if wanted is None:
        raise unsupported(f"the path /{path}", 404)
    return _json(document(registry, *wanted))


def _json(body: Object) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def document(registry: Registry, group: str, version: str) -> Object:
    """The OpenAPI v3 document of one group version."""
    schemas: Object = {_META: _OBJECT_META}
    paths: Object = {}
    for resource in registry.all():
        if (resource.group, resource.version) == (group, version):
            schemas[_name(resource)] = _schema(resource)
            paths.update(_paths(resource))
    info = {"title": "Sallyport embedded control plane", "version": "v1.32.0"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _name(resource: Resource) -> str:
    """The component's name: the group reversed, as upstream names custom types."""
    if not resource.custom:
        return f"io.k8s.api.{resource.group.split('.')[0] or 'core'}.{resource.version}.{resource.kind}"
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _gvk(resource: Resource) -> Object:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _schema(resource: Resource) -> Object:
    schema: Object = copy.deepcopy(resource.schema) if resource.custom else builtin_schema(resource)
    properties = schema.setdefault("properties", {})
    properties.update(_TYPES)
    properties["metadata"] = {
        "allOf": [{"$ref": f"#/components/schemas/{_META}"}],
        "description": "Standard object's metadata.",
        "default": {},
    }
    schema["type"] = "object"
    schema["x-kubernetes-group-version-kind"] = [_gvk(resource)]
    return schema


def _parameters(*names: str) -> list[Object]:
    return [{"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for name in names]


def _operation(resource: Resource, action: str, *parameters: str) -> Object:
    ref = {"schema": {"$ref": f"#/components/schemas/{_name(resource)}"}}
    found: Object = {
        "responses": {"200": {"description": "OK", "content": {"application/json": ref}}},
        "parameters": _parameters("dryRun", "fieldManager", *parameters) if parameters else [],
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(resource),
    }
    if action == "patch":
        media = ("application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json")
        found["requestBody"] = {"content": {name: {"schema": {"type": "object"}} for name in media}}
    elif action in ("post", "put"):
        found["requestBody"] = {"content": {"*/*": ref}}
    return found


def _paths(resource: Resource) -> dict[str, Any]:
    base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    if resource.namespaced:
        base += "/namespaces/{namespace}"
    many = f"{base}/{resource.plural}"
    one = {
        "get": _operation(resource, "get"),
        "put": _operation(resource, "put", "fieldValidation"),
        "patch": _operation(resource, "patch", "fieldValidation", "force"),
        "delete": _operation(resource, "delete"),
    }
    return {
        many: {"get": _operation(resource, "list"), "post": _operation(resource, "post", "fieldValidation")},
        many + "/{name}": one,
    }
