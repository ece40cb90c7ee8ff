"""An API server that does nothing but list, watch, and take what is written: for measuring one process against it."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

Object = dict[str, Any]
T = TypeVar("T")
_STATUS = "status"


class Streaming:
    """Objects by kind (plural) and name. Whoever watches a kind is told of every change of it, but for watches with a
    label selector, of which nothing is ever selected. Serves on `listener` in a thread of its own, until `close`."""

    def __init__(self, listener: socket.socket) -> None:
        self.writes = 0
        self._objects: dict[str, dict[str, Object]] = {}
        self._watchers: dict[str, list[asyncio.Queue[bytes]]] = {}
        self._revision = 1
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
        self._thread.start()
        self._ready.wait()

    def _serve(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        application = web.Application(client_max_size=1 << 24)
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, access_log=None)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.SockSite(runner, listener).start())
        self._ready.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(runner.cleanup())

    def close(self) -> None:
        """Serve no more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def put(self, plural: str, *objects: Object) -> None:
        """Make or change objects, as whole."""
        self._told(self._put, plural, objects)

    def remove(self, plural: str, names: Iterable[str]) -> None:
        """Remove objects."""
        self._told(self._remove, plural, names)

    def _told(self, change: Callable[[str, T], object], plural: str, items: Iterable[T]) -> None:
        done = threading.Event()

        def changed() -> None:
            for item in items:
                change(plural, item)
            done.set()

        self._loop.call_soon_threadsafe(changed)
        done.wait()

    def _put(self, plural: str, item: Object) -> Object:
        held = self._objects.setdefault(plural, {})
        name = item["metadata"]["name"]
        self._revision += 1
        stored = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self._revision)}}
        self._tell(plural, "MODIFIED" if name in held else "ADDED", stored)
        held[name] = stored
        return stored

    def _remove(self, plural: str, name: str) -> None:
        self._tell(plural, "DELETED", self._objects[plural].pop(name))

    def _tell(self, plural: str, kind: str, item: Object) -> None:
        line = msgspec.json.encode({"type": kind, "object": item}) + b"\n"
        for queue in self._watchers.get(plural, ()):
            queue.put_nowait(line)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        if parts[0] == "namespaces" and len(parts) > 2:
            parts = parts[2:]
        if request.method == "GET" and len(parts) == 1:
            selected = "labelSelector" not in request.query
            if request.query.get("watch") == "true":
                return await self._watch(request, parts[0] if selected else "")
            items = list(self._objects.get(parts[0], {}).values()) if selected else []
            return _json({"metadata": {"resourceVersion": str(self._revision)}, "items": items})
        if request.method == "GET":
            return _json({"kind": "Status", "code": 404, "reason": "NotFound"}, 404)
        return _json(self._written(parts, msgspec.json.decode(await request.read())))

    def _written(self, parts: list[str], body: Object) -> Object:
        """What is written to a status is merged; everything else is only counted."""
        self.writes += 1
        plural, name = parts[0], parts[1] if len(parts) > 1 else ""
        held = self._objects.get(plural, {}).get(name)
        if held is None or parts[2:] != [_STATUS]:
            return {"metadata": {"name": name or "new", "namespace": "x"}, "spec": {}}
        return self._put(plural, {**held, _STATUS: {**held.get(_STATUS, {}), **body.get(_STATUS, {})}})

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._watchers.setdefault(plural, []).append(queue)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(await queue.get())
        finally:
            self._watchers[plural].remove(queue)


def _json(body: Object, code: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json", status=code)
