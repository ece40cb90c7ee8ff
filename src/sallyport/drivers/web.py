"""HTTP, as far as probes and health need it: a client that asks for one thing, and a server that answers with text."""

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

LONGEST = 4096
"""Bytes of an answer that are read; the rest is left."""


class WebError(Exception):
    """No answer was to be had; says why, in one line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and a text. Of a longer text only the beginning is read."""

    status: int
    text: str


Get = Callable[[str], Coroutine[Any, Any, Answer]]
"""Asks for a URL, as `Web.get` does."""


class Web:
    """A client. Use as `async with Web() as web`.

    Each request makes a connection of its own: it is to find out whether the way is there now. Redirections are not
    followed, proxies of the environment not used, and certificates not looked at: a probe asks for the way and not for
    who is at its end, as the kubelet's do.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        unverified = ssl.create_default_context()
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True, ssl=unverified, use_dns_cache=False),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"User-Agent": "sallyport"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, url: str) -> Answer:
        """The answer to a GET, whatever its status. Raises WebError. The caller bounds the time."""
        if self._session is None:
            raise RuntimeError("the client is used outside of `async with`")
        try:
            async with self._session.get(url, allow_redirects=False) as answer:
                return Answer(answer.status, (await _beginning(answer)).decode(errors="replace"))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise WebError(str(error) or type(error).__name__) from error


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    read = b""
    while more := await answer.content.read(LONGEST - len(read)):  # reading 0 bytes yields none
        read += more
    return read


@asynccontextmanager
async def serving(host: str, port: int, answer: Callable[[str], Answer]) -> AsyncIterator[int]:
    """Answer each GET by its path, meanwhile. Yields the port, which `port` 0 leaves to the kernel.

    `host` is an address of this machine, or "" for all of either family. Raises OSError when it cannot be bound.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"}, text="only GET\n")
        told = answer(request.path)
        return web.Response(status=told.status, text=told.text)

    listener = _listener(host, port)
    try:
        runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            yield int(listener.getsockname()[1])
        finally:
            await runner.cleanup()
    finally:
        listener.close()


def _listener(host: str, port: int) -> socket.socket:
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))
