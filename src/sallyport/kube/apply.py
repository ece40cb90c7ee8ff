"""Writing what we own: statuses, and objects by server-side apply."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from sallyport.apis.resource import Resource
from sallyport.kube.client import Client, decoder
from sallyport.kube.errors import ApiError, Conflict
from sallyport.kube.identity import to_body

T = TypeVar("T")


async def patch_status(
    client: Client,
    resource: Resource[T],
    name: str,
    change: Callable[[T], object | None],
    *,
    namespace: str | None = None,
    field_manager: str | None = None,
    attempts: int = 5,
) -> T:
    """Read the object, put `change(object)` in place of its whole status, and return what is stored then.

    `change` returns a Struct or JSON values, or None for "leave it". Nothing is written when the status is so
    already. When somebody else wrote in between, all is done again, `attempts` times at most; then `Conflict`.
    """
    path = resource.path(namespace, name)
    for attempt in range(attempts):
        body = await client.request("GET", path)
        try:
            obj = decoder(resource.type).decode(body)
        except msgspec.DecodeError as error:
            raise ApiError(200, "Undecodable", f"no {resource.kind}: {error}", asked=f"get {path}") from error
        wanted = change(obj)
        stored = msgspec.json.decode(body)
        difference = {} if wanted is None else merge_difference(stored.get("status") or {}, to_body(wanted))
        if not difference:
            return obj
        revision = stored["metadata"].get("resourceVersion")
        patch = {"metadata": {"resourceVersion": revision}, "status": difference}
        try:
            return await client.patch(
                resource, name, patch, namespace, subresource="status", field_manager=field_manager
            )
        except Conflict:
            if attempt == attempts - 1:
                raise
    raise ValueError("attempts must be at least 1")


async def apply(
    client: Client,
    resource: Resource[T],
    body: object,
    *,
    name: str,
    field_manager: str,
    namespace: str | None = None,
    subresource: str | None = None,
    force: bool = True,
) -> T:
    """Server-side apply: create the object or make the fields in `body` as they are there, and no others."""
    values: dict[str, Any] = dict(to_body(body))
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    values["metadata"] = {**values.get("metadata", {}), **meta}
    return await client.patch(
        resource,
        name,
        values,
        namespace,
        kind="apply",
        subresource=subresource,
        field_manager=field_manager,
        force=force,
    )


def merge_difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that turns `old` into `new`; {} if they are equal."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := merge_difference(before, value):
                patch[name] = inner
        elif value != before or name not in old:
            patch[name] = value
    return patch
