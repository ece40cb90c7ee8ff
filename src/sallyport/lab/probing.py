"""Asks containers for their health, as a kubelet does: from the node's namespace to the pod's address."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from sallyport.lab import namespaces
from sallyport.lab.pods import ContainerPort, HttpGet, Probe

HEALTHY = range(200, 400)
"""Answers of HTTP that are a success."""
LONGEST_BODY = 10 << 10
"""Bytes of an answer that are read, as by a kubelet."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks (a network namespace), whom (an address), and the names of ports there."""

    space: str
    address: str
    ports: Sequence[ContainerPort] = ()

    async def ask(self, probe: Probe) -> bool:
        """Whether the container is healthy: it answers as it should within the probe's timeout."""
        try:
            async with asyncio.timeout(probe.timeout_seconds):
                if probe.http_get is not None:
                    return await self._http(probe.http_get)
                if probe.tcp_socket is not None:
                    with await self._connected(probe.tcp_socket.host, probe.tcp_socket.port):
                        return True
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return False  # a TimeoutError is an OSError
        return True

    async def _connected(self, host: str, port: int | str) -> socket.socket:
        """A connection that begins in the namespace, where its socket was opened."""
        target = ip_address(host or self.address)
        family = socket.AF_INET if target.version == 4 else socket.AF_INET6
        link = namespaces.inside(self.space, partial(socket.socket, family, socket.SOCK_STREAM))
        try:
            link.setblocking(False)
            await asyncio.get_running_loop().sock_connect(link, (str(target), self._number(port)))
        except BaseException:  # the caller never hears of this socket, not even when it was cancelled
            link.close()
            raise
        return link

    def _number(self, port: int | str) -> int:
        named = {item.name: item.container_port for item in self.ports if item.name}
        number = named.get(port) if isinstance(port, str) else port
        if number is None:
            raise ValueError(f"no port is named {port}")
        return number

    async def _http(self, get: HttpGet) -> bool:
        link = await self._connected(get.host, get.port)
        reader, writer = await asyncio.open_connection(sock=link)
        try:
            host = f"[{self.address}]" if ":" in self.address else self.address
            headers = {"Host": f"{host}:{self._number(get.port)}", "User-Agent": "kube-probe/1.32", "Accept": "*/*"}
            headers |= {item.name: item.value for item in get.http_headers} | {"Connection": "close"}
            lines = [f"GET {get.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
            writer.write("\r\n".join(lines).encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            await reader.readexactly(min(_length(head), LONGEST_BODY))  # so that the other side does not see a reset
            return int(head[0].split(" ")[1]) in HEALTHY
        except IndexError:
            return False  # no status line of HTTP
        finally:
            writer.close()


def _length(head: Sequence[str]) -> int:
    """The Content-Length of an answer, 0 if it does not tell it."""
    fields = (line.partition(":") for line in head[1:])
    return next((int(text) for name, _, text in fields if name.lower() == "content-length"), 0)


class Verdict:
    """What a row of answers means: `good` is None until as many of one kind came in a row as its threshold says."""

    def __init__(self, probe: Probe) -> None:
        self._needed = {True: probe.success_threshold, False: probe.failure_threshold}
        self._last: bool | None = None
        self._count = 0
        self.good: bool | None = None

    def hear(self, answer: bool) -> bool:
        """Take in one answer; whether `good` has changed by it."""
        self._count = self._count + 1 if answer == self._last else 1
        self._last = answer
        if self._count < self._needed[answer] or self.good == answer:
            return False
        self.good = answer
        return True


async def follow(probe: Probe, ask: Callable[[Probe], Awaitable[bool]], tell: Callable[[bool], None]) -> None:
    """Ask as often as the probe says until cancelled, and tell of each turn."""
    verdict = Verdict(probe)
    await asyncio.sleep(probe.initial_delay_seconds)
    while True:
        if verdict.hear(await ask(probe)):
            tell(bool(verdict.good))
        await asyncio.sleep(probe.period_seconds)
