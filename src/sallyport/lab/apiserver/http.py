"""The HTTP face: paths and query strings to verbs, and the server's life."""

import asyncio
import contextlib
import dataclasses
import random
import socket
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
import yaml
from aiohttp import web

from sallyport.lab.apiserver import discovery, openapi, protobuf, scale, table
from sallyport.lab.apiserver.admission import reviewer
from sallyport.lab.apiserver.errors import Object, StatusError, bad_request, not_found, unsupported
from sallyport.lab.apiserver.kinds import CRD_GROUP, Registry, Resource
from sallyport.lab.apiserver.lifecycle import Lifecycle
from sallyport.lab.apiserver.listing import Query, list_objects, watch
from sallyport.lab.apiserver.metadata import Source
from sallyport.lab.apiserver.rest import APPLY, Options, Rest
from sallyport.lab.apiserver.route import Target, parse
from sallyport.lab.apiserver.store import Store

log = structlog.get_logger(__name__)

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_HEALTH = ("healthz", "readyz", "livez")


def system_source() -> Source:
    """Wall clock and true randomness."""
    chance = random.SystemRandom()
    return Source(
        now=lambda: datetime.now(UTC),
        uid=lambda: str(uuid.uuid4()),
        suffix=lambda: "".join(chance.choices(_SUFFIX, k=5)),
    )


class Server:
    """An API server in memory. ``crds`` are CustomResourceDefinitions served from the start.

    ``history`` is how many changes watches can resume over; ``bookmark_every`` is in seconds.
    """

    def __init__(
        self,
        crds: Sequence[Object] = (),
        *,
        source: Source | None = None,
        history: int = 20000,
        bookmark_every: float = 30.0,
    ) -> None:
        self.registry = Registry()
        self.store = Store(history)
        self.rest = Rest(self.registry, self.store, source or system_source())
        self.rest.review = reviewer(self.store)
        self.lifecycle = Lifecycle(self.rest)
        self._bookmark_every = bookmark_every
        self._watches: set[asyncio.Task[Any]] = set()
        quiet = Options(manager="kube-apiserver")
        for name in ("default", "kube-system", "sallyport-system"):
            self._create("", "v1", "namespaces", {"metadata": {"name": name}}, quiet)
        for crd in crds:
            self._create(CRD_GROUP, "v1", "customresourcedefinitions", crd, quiet)

    def _create(self, group: str, version: str, plural: str, obj: Object, options: Options) -> None:
        resource = self.registry.find(group, version, plural)
        assert resource is not None
        self.rest.create(resource, "", obj, options)

    def run(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on listening sockets until SIGINT or SIGTERM. Blocks."""
        import signal

        async def main() -> None:
            stop = asyncio.Event()
            for name in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(name, stop.set)
            await self.serve(sockets, stop)

        asyncio.run(main())

    async def serve(self, sockets: Sequence[socket.socket], stop: asyncio.Event) -> None:
        """Serve on listening sockets until ``stop`` is set; open watches are then ended."""
        app = web.Application(client_max_size=8 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await runner.setup()
        background = asyncio.create_task(self.lifecycle.run())
        try:
            for listening in sockets:
                await web.SockSite(runner, listening).start()
            await stop.wait()
        finally:
            background.cancel()
            for task in list(self._watches):
                task.cancel()
            await runner.cleanup()
            with contextlib.suppress(asyncio.CancelledError):
                await background

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._route(request)
        except StatusError as err:
            return _answer(err.status(), err.code)
        except Exception as err:  # the process boundary: one bad request must not end the server without a Status
            log.exception("request failed", method=request.method, path=request.path)
            failure = StatusError(500, "InternalError", f"Internal error occurred: {type(err).__name__}: {err}")
            return _answer(failure.status(), 500)

    async def _route(self, request: web.Request) -> web.StreamResponse:
        path = request.path.strip("/")
        if path.split("/")[0] in _HEALTH:
            return web.Response(text="ok")
        if path == "version":
            return _answer(discovery.VERSION)
        if path.startswith("openapi"):
            return openapi.answer(self.registry, path)
        target = parse(path)
        if target is None or not target.plural:
            return self._discover(request, path)
        resource = self.registry.find(target.group, target.version, target.plural)
        if resource is None:
            raise unsupported(f"the resource {target.plural}.{target.version}.{target.group}".rstrip("."), 404)
        if target.namespace and not resource.namespaced:
            raise not_found(target.group, target.plural, target.name)
        if target.name:
            return await self._one(request, resource, target)
        return await self._many(request, resource, target)

    def _discover(self, request: web.Request, path: str) -> web.Response:
        accept = request.headers.get("Accept", "")
        parts = path.split("/") if path else []
        if (
            path in ("api", "apis")
            and "as=APIGroupDiscoveryList" in accept
            and "v=v2;" in accept.replace(" ", "") + ";"
        ):
            body = discovery.aggregated(self.registry, legacy=path == "api")
            media = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            return _answer(body, media=media)
        found: Object | None = None
        if path == "api":
            found = discovery.legacy_versions()
        elif path == "api/v1":
            found = discovery.resource_list(self.registry, "", "v1")
        elif path == "apis":
            found = discovery.group_list(self.registry)
        elif parts[:1] == ["apis"] and len(parts) == 2:
            found = discovery.group(self.registry, parts[1])
        elif parts[:1] == ["apis"] and len(parts) == 3:
            found = discovery.resource_list(self.registry, parts[1], parts[2])
        elif not path:
            found = {
                "paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
            }
        if found is None:
            raise unsupported(f"the path /{path}", 404)
        return _answer(found)

    async def _many(self, request: web.Request, resource: Resource, target: Target) -> web.StreamResponse:
        if request.method == "GET":
            query = _query(request)
            if request.query.get("watch") in ("1", "true"):
                return await self._watch(request, resource, target.namespace, query)
            listed = list_objects(self.rest, resource, target.namespace, query)
            return self._show(request, resource, listed)
        if request.method == "POST":
            if resource.namespaced and not target.namespace:
                raise bad_request("an empty namespace may not be set during creation")
            warnings: list[str] = []
            body = await _body(request)
            made = self.rest.create(resource, target.namespace, body, _options(request, target, warnings.append))
            return self._show(request, resource, made, 201, warnings)
        if request.method == "DELETE":
            wish = await _wish(request)
            listed = list_objects(self.rest, resource, target.namespace, _query(request))
            for item in listed["items"]:
                meta = item["metadata"]
                with contextlib.suppress(StatusError):
                    self.rest.delete(resource, meta.get("namespace", ""), meta["name"], wish)
            return self._show(request, resource, listed)
        raise unsupported(f"{request.method} of {resource.qualified}", 405)

    async def _one(self, request: web.Request, resource: Resource, target: Target) -> web.StreamResponse:
        self._check_subresource(resource, target)
        rest, where = self.rest, (resource, target.namespace, target.name)
        if target.subresource == "binding":
            rest.bind(target.namespace, target.name, await _body(request))
            return _answer(
                {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201
            )
        if target.subresource == "scale":
            return await self._scale(request, resource, target)
        if request.method == "GET":
            return self._show(request, resource, rest.get(*where))
        warnings: list[str] = []
        if request.method == "PUT":
            body = await _body(request)
            return self._show(
                request, resource, rest.update(*where, body, _options(request, target, warnings.append)), 200, warnings
            )
        if request.method == "PATCH":
            body = await _body(request)
            options = _options(request, target, warnings.append)
            changed, created = rest.patch(*where, request.content_type, body, options)
            return self._show(request, resource, changed, 201 if created else 200, warnings)
        if request.method == "DELETE" and not target.subresource:
            answer = rest.delete(*where, await _wish(request))
            if rest.store.get(resource.store, rest.key(resource, target.namespace, target.name)) is not None:
                return self._show(request, resource, answer)
            details = {
                "name": target.name,
                "group": resource.group,
                "kind": resource.plural,
                "uid": answer["metadata"]["uid"],
            }
            return _answer(
                {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
            )
        raise unsupported(f"{request.method} of {resource.qualified}", 405)

    async def _scale(self, request: web.Request, resource: Resource, target: Target) -> web.Response:
        where = (self.rest, resource, target.namespace, target.name)
        if request.method == "GET":
            return _answer(scale.of(self.rest.get(resource, target.namespace, target.name)))
        if request.method not in ("PUT", "PATCH"):
            raise unsupported(f"{request.method} of the subresource {resource.plural}/scale", 405)
        media = request.content_type if request.method == "PATCH" else ""
        options = dataclasses.replace(_options(request, target, lambda _: None), subresource="")
        return _answer(scale.change(*where, media, await _body(request), options))

    def _check_subresource(self, resource: Resource, target: Target) -> None:
        sub = target.subresource
        if not sub or (sub == "status" and resource.has_status) or sub in resource.subresources:
            return
        if resource.custom or sub == "status":
            raise not_found(resource.group, resource.plural, f"{target.name}/{sub}")
        raise unsupported(f"the subresource {resource.plural}/{sub}")

    def _show(
        self, request: web.Request, resource: Resource, obj: Object, code: int = 200, warnings: Sequence[str] = ()
    ) -> web.Response:
        if table.wanted(request.headers.get("Accept", "")):
            include = request.query.get("includeObject", "Metadata")
            obj = table.of(resource, obj, self.rest.source.now(), include)
        response = _answer(obj, code)
        for text in warnings:
            quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
            response.headers.add("Warning", f'299 - "{quoted}"')
        return response

    async def _watch(
        self, request: web.Request, resource: Resource, namespace: str, query: Query
    ) -> web.StreamResponse:
        as_table = table.wanted(request.headers.get("Accept", ""))
        include = request.query.get("includeObject", "Metadata")
        events = watch(self.rest, resource, namespace, query, self._bookmark_every)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        first = True
        try:
            query.predicate(resource)
            await response.prepare(request)
            async for event in events:
                if as_table:
                    shown = table.of(resource, event["object"], self.rest.source.now(), include)
                    if not first:
                        shown["columnDefinitions"] = []
                    event, first = {**event, "object": shown}, False
                await response.write(msgspec.json.encode(event) + b"\n")
        except StatusError as err:
            if not response.prepared:
                raise
            await response.write(msgspec.json.encode({"type": "ERROR", "object": err.status()}) + b"\n")
        except (asyncio.CancelledError, ConnectionError):
            return response
        finally:
            self._watches.discard(task)
            await events.aclose()  # type: ignore[attr-defined]
        await response.write_eof()
        return response


def _answer(obj: Object, code: int = 200, media: str = "application/json") -> web.Response:
    return web.Response(body=msgspec.json.encode(obj), status=code, headers={"Content-Type": media})


async def _body(request: web.Request) -> Any:
    """The decoded body: JSON, or YAML where the API takes it. Raises 400 and 415."""
    data = await request.read()
    media = request.content_type
    try:
        if media in (APPLY, "application/yaml"):
            return yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if media == protobuf.MEDIA:
            return protobuf.decode(data)
        if media.endswith("json") or media == "application/octet-stream":
            return msgspec.json.decode(data)
    except (msgspec.DecodeError, yaml.YAMLError) as err:
        raise bad_request(f"the body of the request does not parse: {err}") from err
    raise unsupported(f"the content type {media}", 415)


async def _wish(request: web.Request) -> Object:
    """The DeleteOptions of a request, from its body and its query string."""
    body = await _body(request) if request.can_read_body else {}
    wish: Object = body if isinstance(body, dict) else {}
    if "gracePeriodSeconds" in request.query:
        wish["gracePeriodSeconds"] = _integer(request, "gracePeriodSeconds")
    if "dryRun" in request.query:
        wish["dryRun"] = [request.query["dryRun"]]
    if "Orphan" in (wish.get("propagationPolicy"), request.query.get("propagationPolicy")) or wish.get(
        "orphanDependents"
    ):
        raise unsupported("deleting an object without its dependents (propagationPolicy Orphan)")
    return wish


def _integer(request: web.Request, name: str) -> int:
    text = request.query.get(name, "0")
    try:
        return int(text)
    except ValueError:
        raise bad_request(f"{name} is not a number: {text!r}") from None


def _options(request: web.Request, target: Target, warn: Callable[[str], None]) -> Options:
    manager = request.query.get("fieldManager", "")
    if request.content_type == APPLY and not manager:
        raise bad_request(
            'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
        )
    return Options(
        manager=manager or request.headers.get("User-Agent", "unknown").split("/")[0][:128],
        dry_run="dryRun" in request.query,
        unknown=request.query.get("fieldValidation", "Warn"),
        subresource=target.subresource,
        force=request.query.get("force") == "true",
        warn=warn,
    )


def _query(request: web.Request) -> Query:
    query = request.query
    return Query(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        limit=_integer(request, "limit"),
        token=query.get("continue", ""),
        revision=query.get("resourceVersion", ""),
        match=query.get("resourceVersionMatch", ""),
        bookmarks=query.get("allowWatchBookmarks") in ("1", "true"),
        initial=query.get("sendInitialEvents") in ("1", "true"),
        timeout=float(_integer(request, "timeoutSeconds")),
    )
