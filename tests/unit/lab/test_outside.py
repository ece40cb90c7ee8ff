"""The program of outside hosts: it tells every client which source it sees."""

import asyncio
import io
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sallyport.lab.outside import Ports, Witness, plain, serve

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
LOOPBACKS = ("127.0.0.1", "::1")


@dataclass(slots=True)
class Host:
    """A host that is running in this process."""

    ports: Ports
    log: io.BytesIO = field(default_factory=io.BytesIO)

    def seen(self) -> list[dict[str, Any]]:
        """All lines of its log."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def url(self, address: str, path: str) -> str:
        """Where it answers HTTP on its first port."""
        return f"http://{f'[{address}]' if ':' in address else address}:{self.ports.http[0]}{path}"


async def started(ports: Ports, host: Host) -> "asyncio.Task[None]":
    ready = asyncio.Event()

    def take(known: Ports) -> None:
        host.ports = known
        ready.set()

    task = asyncio.create_task(serve(Witness("web", host.log, lambda: NOON), ports, take))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return task


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    running = Host(Ports())
    task = await started(Ports((0, 0), 0, 0), running)
    yield running
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.parametrize("address", LOOPBACKS)
async def test_http_tells_the_source_on_any_path_and_writes_it_down(host: Host, address: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(host.url(address, "/a/b?c")) as response:
        line = await response.read()
        answer = json.loads(line)
        assert response.content_type == "application/json"
    port = answer.pop("port")
    assert 0 < port < 65536
    time = NOON.isoformat()
    assert answer == {"source": address, "protocol": "http", "host": "web", "time": time, "path": "/a/b"}
    assert host.log.getvalue() == line


async def test_http_answers_on_each_of_its_ports(host: Host) -> None:
    assert len(set(host.ports.http)) == 2
    async with aiohttp.ClientSession() as session:
        for port in host.ports.http:
            async with session.get(f"http://127.0.0.1:{port}/") as response:
                assert json.loads(await response.read())["source"] == "127.0.0.1"


@pytest.mark.parametrize("count", [0, 1, 65536, 200_001])
async def test_a_get_of_bytes_sends_that_many_zeros(host: Host, count: int) -> None:
    async with aiohttp.ClientSession() as session, session.get(host.url("::1", f"/bytes/{count}")) as response:
        assert await response.read() == bytes(count)
    assert [item["path"] for item in host.seen()] == [f"/bytes/{count}"]


@pytest.mark.parametrize("path", ["/bytes/", "/bytes/-1", "/bytes/many", "/bytes/1/2", "/bytes/9999999999999999"])
async def test_a_path_that_is_no_number_of_bytes_is_like_any_other(host: Host, path: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(host.url("::1", path)) as response:
        assert json.loads(await response.read())["path"] == path


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_body_is_counted_and_timed(host: Host, method: str) -> None:
    body = bytes(3_000_000)
    async with aiohttp.ClientSession() as session, session.request(method, host.url("::1", "/"), data=body) as response:
        answer = json.loads(await response.read())
    assert answer["bytes"] == 3_000_000
    assert answer["seconds"] > 0


@pytest.mark.parametrize("address", LOOPBACKS)
async def test_tcp_begins_with_the_source_and_then_echoes(host: Host, address: str) -> None:
    reader, writer = await asyncio.open_connection(address, host.ports.tcp)
    own = writer.get_extra_info("sockname")
    assert await reader.readline() == f"source {address} {own[1]}\n".encode()
    for part in (b"one\n", bytes(500_000)):
        writer.write(part)
        assert await reader.readexactly(len(part)) == part
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    assert [(item["source"], item["port"], item["protocol"]) for item in host.seen()] == [(address, own[1], "tcp")]


async def test_a_client_that_resets_its_connection_costs_the_others_nothing(host: Host) -> None:
    reader, writer = await asyncio.open_connection("::1", host.ports.tcp)
    await reader.readline()
    linger = b"\x01\0\0\0\0\0\0\0"  # struct linger: on, 0 s, which makes close() a reset
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.close()
    reader, writer = await asyncio.open_connection("::1", host.ports.tcp)
    assert (await reader.readline()).startswith(b"source ::1 ")
    writer.close()


@pytest.mark.parametrize(("own", "to"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.9", "127.0.0.7"), ("::1", "::1")])
async def test_a_datagram_is_answered_from_the_address_that_it_was_sent_to(host: Host, own: str, to: str) -> None:
    family = socket.AF_INET6 if ":" in own else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as link:
        link.bind((own, 0))
        link.connect((to, host.ports.udp))  # from here on it takes answers from that address only
        link.send(b"")
        async with asyncio.timeout(10):
            answer = json.loads(await asyncio.get_running_loop().sock_recv(link, 1000))
        assert (answer["source"], answer["port"]) == (own, link.getsockname()[1])
    assert host.seen() == [answer]


async def test_a_port_that_is_taken_is_an_error_and_closes_the_others(host: Host) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
        probe.bind(("::1", 0))
        free = probe.getsockname()[1]
    task = await started(Ports((free, host.ports.tcp), 0, 0), Host(Ports()))
    with pytest.raises(OSError, match="in use"):
        await task
    again = Host(Ports())
    task = await started(Ports((free,), 0, 0), again)
    assert again.ports.http == (free,)
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
    ],
)
def test_an_address_is_told_without_zone_and_as_ipv4_where_it_is_mapped(text: str, told: str) -> None:
    assert plain(text) == told


def test_the_program_adds_to_its_log_and_ends_on_sigterm_while_clients_are_connected(tmp_path: Path) -> None:
    log = tmp_path / "web.jsonl"
    log.write_text("{}\n")
    command = [sys.executable, "-m", "sallyport.lab.outside", "--log", str(log), "--name", "web"]
    with subprocess.Popen([*command, "--http", "0", "--echo", "0"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        ports = json.loads(child.stdout.readline())
        with socket.create_connection(("::1", ports["tcp"]), timeout=10) as link, link.makefile("rb") as lines:
            assert lines.readline().startswith(b"source ::1 ")
            first, second = log.read_text().splitlines()
            child.send_signal(signal.SIGTERM)
            assert child.wait(10) == 0
            assert lines.readline() == b""
    assert first == "{}"
    assert json.loads(second)["host"] == "web"
