"""Requests to the API server, typed by `Resource`."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from random import Random
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

import aiohttp
import msgspec

from sallyport.apis.resource import Resource
from sallyport.kube.clock import Clock, SystemClock
from sallyport.kube.credentials import Connection, Credential, CredentialsError
from sallyport.kube.errors import ApiError, Throttled, Unauthorized, Unavailable, from_answer
from sallyport.kube.identity import to_body
from sallyport.kube.reach import Reach

T = TypeVar("T")
PatchKind = Literal["merge", "json", "apply", "strategic"]
_PATCH_TYPES: dict[str, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",  # JSON is YAML
    "strategic": "application/strategic-merge-patch+json",
}
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class ListMeta(msgspec.Struct, rename="camel"):
    """What a list says of itself: where a watch goes on from it, and the token of its next page."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _ListOf(msgspec.Struct, Generic[T]):
    metadata: ListMeta
    items: list[T] | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list.

    `continue_` is the token of the next page, "" on the last. `undecodable` holds one line for each item that
    does not fit the type: one such object must not hide all others.
    """

    items: tuple[T, ...]
    resource_version: str
    continue_: str
    undecodable: tuple[str, ...] = ()


def decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """The decoder for `kind`, built once."""
    decode: msgspec.json.Decoder[T] = _decoder(kind)  # type: ignore[arg-type]  # a generic type is hashable
    return decode


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


class Client:
    """A connection pool to one API server. Use as `async with Client(connection) as client`.

    Every method raises an `ApiError` (errors.py) when it does not get what it asked for. `ahead` is by how many seconds
    the server's clock is before ours, to a second, as its last answer said.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        timeout: float = 30.0,
        user_agent: str = "sallyport",
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self.connection = connection
        self.ahead = 0.0
        self._clock, self._random = clock or SystemClock(), random or Random()
        self.reach = Reach(self._clock, self._random)
        self._timeout = timeout
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None
        self._credential: Credential | None = None
        self._ssl: ssl.SSLContext | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=_kept_alive),
            timeout=aiohttp.ClientTimeout(total=None),
            # Uncompressed, as Kubernetes' own controllers ask: to pack and unpack a large list takes both sides longer
            # than to send it.
            headers={"User-Agent": self._user_agent, "Accept": "application/json", "Accept-Encoding": "identity"},
            auto_decompress=True,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, resource: Resource[T], name: str, namespace: str | None = None) -> T:
        """The object of that name."""
        path = resource.path(namespace, name)
        return self._decode(resource, await self.request("GET", path), f"get {path}")

    async def list_page(
        self,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        limit: int = 500,
        continue_: str = "",
        field_selector: str = "",
        label_selector: str = "",
    ) -> Page[T]:
        """Up to `limit` objects (0: all), of all namespaces if none is given. `Gone` when the token expired."""
        params = {"fieldSelector": field_selector, "labelSelector": label_selector, "continue": continue_}
        params = {name: value for name, value in params.items() if value}
        if limit:
            params["limit"] = str(limit)
        path = resource.path(namespace)
        body = await self.request("GET", path, params=params, verb="list")
        return _page(resource, body, f"list {path}")

    async def create(self, resource: Resource[T], obj: object, namespace: str | None = None) -> T:
        """`obj`, a Struct or a dict, as the server stored it. `AlreadyExists` if the name is taken."""
        path = resource.path(namespace)
        body = await self.request("POST", path, body=self._typed(resource, obj))
        return self._decode(resource, body, f"create {path}")

    async def replace(
        self,
        resource: Resource[T],
        obj: object,
        name: str,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
    ) -> T:
        """`obj` put in place of the stored one. Only for types that hold every field; see `patch` for others."""
        path = resource.path(namespace, name, subresource)
        body = await self.request("PUT", path, body=self._typed(resource, obj))
        return self._decode(resource, body, f"update {path}")

    async def patch(
        self,
        resource: Resource[T],
        name: str,
        body: object,
        namespace: str | None = None,
        *,
        kind: PatchKind = "merge",
        subresource: str | None = None,
        field_manager: str | None = None,
        force: bool = False,
    ) -> T:
        """The object after the patch. `apply` needs a `field_manager`; `force` takes fields from other managers.

        A merge patch that carries `metadata.resourceVersion` is refused with `Conflict` if the object changed.
        """
        params = {"fieldManager": field_manager} if field_manager else {}
        if kind == "apply":
            if not field_manager:
                raise ValueError("server-side apply needs a field manager")
            params["force"] = "true" if force else "false"
            body = self._typed(resource, body)
        path = resource.path(namespace, name, subresource)
        answer = await self.request("PATCH", path, params=params, body=body, content_type=_PATCH_TYPES[kind])
        return self._decode(resource, answer, f"patch {path}")

    async def delete(
        self,
        resource: Resource[Any],
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] | None = None,
    ) -> None:
        """Delete the object, only the one with `uid` if given (`Conflict` otherwise)."""
        body: dict[str, object] = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if uid:
            body["preconditions"] = {"uid": uid}
        if propagation:
            body["propagationPolicy"] = propagation
        await self.request("DELETE", resource.path(namespace, name), body=body)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        verb: str = "",
        timeout: float | None = None,
    ) -> bytes:
        """The body of a successful answer. `body` is bytes, a Struct or JSON values; `timeout` is in seconds."""
        data = body if isinstance(body, bytes | None) else msgspec.json.encode(to_body(body))
        asked = f"{verb or _VERBS.get(method, method.lower())} {path}"
        limit = aiohttp.ClientTimeout(total=timeout or self._timeout)
        for attempt in range(3):
            try:
                async with self._open(method, path, asked, params, data, content_type, limit) as answer:
                    return await _read(answer, asked)
            except Throttled as error:
                if attempt == 2 or error.retry_after is None:
                    raise
                # Not all who were sent away are to come back in the same moment.
                await self._clock.sleep(min(error.retry_after, self._timeout) * (1 + self._random.random() / 2))
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def stream(
        self, path: str, *, params: Mapping[str, str] | None = None, verb: str = "watch"
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer whose body is read bit by bit and may never end. A broken connection is `Unavailable`."""
        limit = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout)
        asked = f"{verb} {path}"
        async with self._open("GET", path, asked, params, None, "", limit) as answer:
            if answer.status >= 300:
                await _read(answer, asked)
            yield answer

    @asynccontextmanager
    async def _open(
        self,
        method: str,
        path: str,
        asked: str,
        params: Mapping[str, str] | None,
        data: bytes | None,
        content_type: str,
        limit: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request. After a 401 it is sent once more with credentials read anew."""
        for attempt in range(2):
            answer, used = await self._send(method, path, asked, params, data, content_type, limit)
            if answer.status == 401 and attempt == 0:
                answer.close()
                self.connection.source.forget(used)
                continue
            try:
                yield answer
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise Unavailable(0, "Unavailable", _words(error), asked=asked) from error
            finally:
                answer.close()
            return

    async def _send(
        self,
        method: str,
        path: str,
        asked: str,
        params: Mapping[str, str] | None,
        data: bytes | None,
        content_type: str,
        limit: aiohttp.ClientTimeout,
    ) -> tuple[aiohttp.ClientResponse, Credential]:
        """The answer's beginning, and by which credential it was asked for."""
        if self._session is None:
            raise RuntimeError("the client is used outside its async with block")
        try:
            credential = await self.connection.source.current()
            if credential != self._credential:
                self._ssl = self.connection.ssl_context(credential)
                self._credential = credential
        except CredentialsError as error:
            raise Unauthorized(0, "Unauthorized", str(error), asked=asked) from error
        headers = dict(credential.headers())
        if data is not None:
            headers["Content-Type"] = content_type
        try:
            # A stream has no end, but it has a beginning: a server that is frozen takes connections and says nothing.
            async with asyncio.timeout(self._timeout if limit.total is None else None):
                answer = await self._session.request(
                    method,
                    self.connection.server + path,
                    params=params,
                    data=data,
                    headers=headers,
                    timeout=limit,
                    ssl=self._ssl if self._ssl is not None else True,
                    server_hostname=self.connection.tls_server_name,
                    proxy=self.connection.proxy,
                    allow_redirects=False,
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(0, "Unavailable", _words(error), asked=asked) from error
        self._set_ahead(answer.headers.get("Date", ""))
        return answer, credential

    def _set_ahead(self, date: str) -> None:
        with suppress(ValueError):  # not every proxy gives a date
            self.ahead = parsedate_to_datetime(date).timestamp() - self._clock.now()

    @staticmethod
    def _typed(resource: Resource[Any], obj: object) -> dict[str, object]:
        return {"apiVersion": resource.api_version, "kind": resource.kind, **to_body(obj)}

    @staticmethod
    def _decode(resource: Resource[T], body: bytes, asked: str) -> T:
        try:
            return decoder(resource.type).decode(body)
        except msgspec.DecodeError as error:
            raise ApiError(200, "Undecodable", f"the answer is no {resource.kind}: {error}", asked=asked) from error


async def _read(answer: aiohttp.ClientResponse, asked: str) -> bytes:
    body = await answer.read()
    if answer.status >= 300:
        raise from_answer(answer.status, body, asked=asked, retry_after=answer.headers.get("Retry-After"))
    return body


def _page(resource: Resource[T], body: bytes, asked: str) -> Page[T]:
    try:
        whole = decoder(_ListOf[resource.type]).decode(body)  # type: ignore[name-defined]
        return Page(tuple(whole.items or ()), whole.metadata.resource_version, whole.metadata.continue_)
    except msgspec.DecodeError:
        pass  # item by item below: all but the bad ones
    try:
        raw = decoder(_ListOf[msgspec.Raw]).decode(body)
    except msgspec.DecodeError as error:
        raise ApiError(200, "Undecodable", f"the answer is no list: {error}", asked=asked) from error
    items: list[T] = []
    bad: list[str] = []
    for item in raw.items or ():
        try:
            items.append(decoder(resource.type).decode(item))
        except msgspec.DecodeError as error:
            bad.append(f"{resource.kind} {name_in(item)}: {error}")
    return Page(tuple(items), raw.metadata.resource_version, raw.metadata.continue_, tuple(bad))


class _Named(msgspec.Struct):
    class Meta(msgspec.Struct):
        name: str = ""
        namespace: str = ""

    metadata: Meta


def name_in(body: bytes | msgspec.Raw) -> str:
    """`namespace/name` of an object that may not fit its type, for a message."""
    try:
        meta = decoder(_Named).decode(body).metadata
    except msgspec.DecodeError:
        return "without a name"
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


def _kept_alive(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that notices within about 30 s that the other machine is gone, even while nothing is sent.

    The kernel's own default is two hours (tcp(7)); a watch may be silent for minutes.
    """
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
    return sock
