"""A gateway pod's health: with time and outside in our hands, and over loopback from end to end."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from aiohttp import web
from tests.unit.kube.server import FakeClock, until
from tests.unit.kube.server import serving as redirecting

from sallyport.drivers.web import Answer, Web, WebError, serving
from sallyport.kube.clock import SystemClock
from sallyport.processes.doorstep import Doorstep
from sallyport.processes.gateway import Gateway, GatewaySettings, Reach, fetch, from_environment, ping

NEEDED = {"SALLYPORT_HOST_IP": "127.0.0.1", "SALLYPORT_GATEWAY_NAMESPACE": "prod", "SALLYPORT_GATEWAY_POD": "gw-1"}
ICMP = {"SALLYPORT_ICMP_PROBE_IPS": "203.0.113.1, 203.0.113.2"}
HTTP = {"SALLYPORT_HTTP_PROBE_URLS": "http://web/"}


class Scene:
    """A gateway whose agent and outside say what a test has them say; None is no answer at all."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.clock = FakeClock()
        self.agent: Answer | WebError | None = Answer(200, "stands\n")
        self.outside: dict[str, str | None] = {}
        self.asked: list[str] = []
        self.probed: list[tuple[str, float]] = []
        self.gateway = Gateway(settings, self.clock, self.get, {"icmp": self.reach, "http": self.reach})

    async def get(self, url: str) -> Answer:
        self.asked.append(url)
        if self.agent is None:
            await asyncio.Event().wait()
        if isinstance(self.agent, WebError):
            raise self.agent
        assert self.agent is not None
        return self.agent

    async def reach(self, target: str) -> str:
        self.probed.append((target, self.clock.seconds))
        failure = self.outside.get(target, "")
        if failure is None:
            await asyncio.Event().wait()
        return failure or ""

    async def pass_time(self, seconds: float) -> None:
        """In steps of half a second, after each of which everything that is due is done."""
        for _ in range(round(seconds * 2)):
            self.clock.advance(0.5)
            await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    @property
    def ready(self) -> bool:
        return self.gateway.answer("/readiness").status == 200

    @property
    def reasons(self) -> list[str]:
        return self.gateway.answer("/readiness").text.splitlines()


@asynccontextmanager
async def running(**environ: str) -> AsyncIterator[Scene]:
    """A gateway at work with these variables besides the needed ones."""
    scene = Scene(from_environment(NEEDED | environ))
    task = asyncio.create_task(scene.gateway.run())
    try:
        yield scene
        assert not task.done(), "it works until it is cancelled"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_gateway_is_ready_once_its_agent_has_vouched_for_it() -> None:
    async with running() as scene:
        assert scene.gateway.answer("/readiness").status == 503
        await scene.settle()
        assert scene.gateway.answer("/readiness") == Answer(200, "ready\n")
        assert scene.asked == ["http://127.0.0.1:9847/gateways/prod/gw-1"]
        await scene.pass_time(10)
        assert len(scene.asked) == 11, "asked every second"


async def test_a_no_of_the_agent_counts_at_once_and_so_does_its_yes() -> None:
    async with running() as scene:
        await scene.settle()
        scene.agent = Answer(503, "the network has no table\n")
        await scene.pass_time(1)
        assert scene.reasons == ["the node's agent: the network has no table"]
        scene.agent = Answer(200, "stands\n")
        await scene.pass_time(1)
        assert scene.ready


@pytest.mark.parametrize("silence", [WebError("Connection refused"), None, Answer(404, "not known here\n")])
async def test_an_agent_that_is_down_hangs_or_was_just_started_is_borne_for_the_datastore_timeout(
    silence: Answer | WebError | None,
) -> None:
    async with running(SALLYPORT_HEALTH_TIMEOUT_DATASTORE="20") as scene:
        await scene.settle()
        scene.agent = silence
        await scene.pass_time(19.5)
        assert scene.ready
        await scene.pass_time(0.5)
        assert [line.partition(":")[0] for line in scene.reasons] == ["the node's agent has not answered for 20 s"]
        scene.agent = Answer(200, "stands\n")
        await scene.pass_time(6)
        assert scene.ready


async def test_an_agent_that_has_not_answered_since_the_start_is_not_borne() -> None:
    async with running() as scene:
        scene.agent = WebError("Connection refused")
        await scene.settle()
        assert scene.reasons == ["the node's agent has not answered yet: Connection refused"]


async def test_one_target_of_each_kind_keeps_a_gateway_ready_and_none_of_one_kind_does_not() -> None:
    async with running(**ICMP, **HTTP) as scene:
        scene.outside = {"203.0.113.1": "No route to host", "203.0.113.2": None}
        await scene.settle()
        await scene.pass_time(5)
        assert scene.reasons == [
            "no icmp probe has succeeded yet (203.0.113.1: No route to host; 203.0.113.2: no answer within 5 s)"
        ]
        scene.outside["203.0.113.2"] = ""
        await scene.pass_time(0.5)
        assert scene.ready, "the next ping comes as soon as the last one is given up"
        scene.outside["203.0.113.2"] = None
        await scene.pass_time(14.5)
        assert scene.ready
        await scene.pass_time(0.5)
        assert [line.partition(" (")[0] for line in scene.reasons] == ["no icmp probe has succeeded for 15 s"]


async def test_targets_are_probed_once_an_interval_also_while_they_do_not_answer() -> None:
    async with running(**ICMP) as scene:
        scene.outside = {"203.0.113.2": None}
        await scene.settle()
        await scene.pass_time(20)
        started = scene.probed[0][1]
        for target in ("203.0.113.1", "203.0.113.2"):
            moments = [moment - started for probed, moment in scene.probed if probed == target]
            assert moments[:4] == pytest.approx([0, 5, 10, 15], abs=2)


async def test_liveness_does_not_depend_on_anything() -> None:
    async with running() as scene:
        scene.agent = Answer(503, "no")
        await scene.pass_time(2)
        assert scene.gateway.answer("/liveness").status == 200
        assert scene.gateway.answer("/").status == 404


def test_the_environment_says_all() -> None:
    settings = from_environment(
        NEEDED
        | {
            "SALLYPORT_HOST_IP": "2001:db8::1",
            "SALLYPORT_AGENT_PORT": "1234",
            "SALLYPORT_HEALTH_PORT": "8181",
            "SALLYPORT_HEALTH_TIMEOUT_DATASTORE": "30",
            "SALLYPORT_ICMP_PROBE_IPS": "203.0.113.1,2001:db8::2,203.0.113.1",
            "SALLYPORT_ICMP_PROBE_INTERVAL": "1",
            "SALLYPORT_ICMP_PROBE_TIMEOUT": "1",
            "SALLYPORT_TERMINATION_GRACE": "0",
            "SALLYPORT_LOG_SEVERITY": "Warn",
        }
    )
    assert settings.agent == "http://[2001:db8::1]:1234/gateways/prod/gw-1"
    assert (settings.health_port, settings.patience, settings.grace, settings.severity) == (8181, 30, 0, 30)
    (probe,) = settings.probes
    assert probe.targets == ("203.0.113.1", "2001:db8::2")
    assert (probe.kind, probe.interval, probe.timeout) == ("icmp", 1, 1)


def test_what_the_environment_does_not_say_is_as_upstream_has_it() -> None:
    settings = from_environment(NEEDED | ICMP | HTTP | {"SALLYPORT_HEALTH_PORT": ""})
    assert (settings.health_port, settings.patience, settings.grace) == (8080, 90, 0)
    assert [(probe.kind, probe.interval, probe.timeout) for probe in settings.probes] == [
        ("icmp", 5, 15),
        ("http", 10, 30),
    ]
    assert from_environment(NEEDED).probes == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SALLYPORT_HOST_IP", ""),
        ("SALLYPORT_HOST_IP", "node-1"),
        ("SALLYPORT_GATEWAY_POD", " "),
        ("SALLYPORT_AGENT_PORT", "0"),
        ("SALLYPORT_HEALTH_PORT", "65536"),
        ("SALLYPORT_HEALTH_TIMEOUT_DATASTORE", "0"),
        ("SALLYPORT_HEALTH_TIMEOUT_DATASTORE", "inf"),
        ("SALLYPORT_ICMP_PROBE_IPS", "203.0.113.1,host"),
        ("SALLYPORT_ICMP_PROBE_INTERVAL", "5s"),
        ("SALLYPORT_ICMP_PROBE_TIMEOUT", "4"),
        ("SALLYPORT_HTTP_PROBE_URLS", "ftp://web/"),
        ("SALLYPORT_HTTP_PROBE_URLS", "http://web:port/"),
        ("SALLYPORT_HTTP_PROBE_TIMEOUT", "9"),
        ("SALLYPORT_TERMINATION_GRACE", "-1"),
        ("SALLYPORT_LOG_SEVERITY", "loud"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_variable(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name) as refusal:
        from_environment(NEEDED | {name: value})
    assert "\n" not in str(refusal.value)


def test_a_doorstep_knows_no_gateway_before_it_was_told_and_says_what_it_was_told() -> None:
    doorstep = Doorstep(FakeClock())
    assert doorstep.answer("/gateways/prod/gw-1").status == 404
    assert doorstep.answer("/healthz").status == 200
    doorstep.tell({"prod/gw-1": "", "prod/gw-2": "no table"})
    assert doorstep.answer("/gateways/prod/gw-1").status == 200
    assert doorstep.answer("/gateways/prod/gw-2") == Answer(503, "no table\n")
    assert doorstep.answer("/gateways/prod/gw-3").status == 404
    assert doorstep.answer("prod/gw-1").status == 404
    doorstep.tell({})
    assert doorstep.answer("/gateways/prod/gw-1").status == 404


async def test_a_doorstep_opens_when_its_address_can_be_bound_and_the_others_do_not_wait_for_it() -> None:
    clock = FakeClock()
    doorstep = Doorstep(clock)
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        task = asyncio.create_task(doorstep.serve(["127.0.0.2", "127.0.0.3", "192.0.2.1"], port))
        async with Web() as http:
            await until(partial(listening, "127.0.0.3", port))
            assert (await http.get(f"http://127.0.0.3:{port}/healthz")).status == 200
            taken.close()
            clock.advance(1)
            await until(partial(listening, "127.0.0.2", port))
            assert (await http.get(f"http://127.0.0.2:{port}/gateways/a/b")).status == 404
    assert not task.done(), "192.0.2.1 is on no interface, and is still tried"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def listening(host: str, port: int) -> bool:
    with socket.socket() as link:
        return link.connect_ex((host, port)) == 0


async def test_a_client_follows_no_redirection_since_that_it_is_sent_elsewhere_is_answer_enough() -> None:
    async def elsewhere(request: web.Request) -> web.StreamResponse:
        assert request.path == "/", "where it was sent"
        raise web.HTTPFound("/there")

    async with redirecting(elsewhere) as client, Web() as http:
        assert (await http.get(client.connection.server)).status == 302
        assert await fetch(http.get, client.connection.server) == ""


async def test_a_server_answers_get_alone_and_a_client_reads_no_endless_answer() -> None:
    answers = {"/big": Answer(200, "x" * 1_000_000), "/gone": Answer(410, "")}
    async with serving("127.0.0.1", 0, answers.__getitem__) as port, Web() as http:
        root = f"http://127.0.0.1:{port}"
        assert len((await http.get(f"{root}/big")).text) == 4096
        assert await fetch(http.get, f"{root}/gone") == "answers 410"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert b"405" in await reader.readline()
        writer.close()
    with pytest.raises(WebError, match="onnect"):
        async with Web() as http:
            await http.get(f"{root}/big")


async def test_from_end_to_end_a_gateway_is_as_ready_as_its_agent_and_the_outside_let_it_be() -> None:
    doorstep, outside = Doorstep(SystemClock()), Answer(200, "hello")
    async with (
        serving("127.0.0.1", 0, doorstep.answer) as agent,
        serving("127.0.0.1", 0, lambda path: outside) as target,
        Web() as http,
    ):
        settings = from_environment(
            NEEDED
            | {
                "SALLYPORT_AGENT_PORT": str(agent),
                "SALLYPORT_HTTP_PROBE_URLS": f"http://127.0.0.1:{target}/",
                "SALLYPORT_HTTP_PROBE_INTERVAL": "0.2",
                "SALLYPORT_HTTP_PROBE_TIMEOUT": "1",
            }
        )
        reach: dict[str, Reach] = {"icmp": ping, "http": partial(fetch, http.get)}
        gateway = Gateway(settings, SystemClock(), http.get, reach)
        task = asyncio.create_task(gateway.run())
        async with serving("127.0.0.1", 0, gateway.answer) as port:
            url = f"http://127.0.0.1:{port}/readiness"
            assert (await http.get(url)).status == 503
            doorstep.tell({"prod/gw-1": ""})
            await said(http, url, Answer(200, "ready\n"))
            outside = Answer(500, "")
            reason = f"no http probe has succeeded for 1 s (http://127.0.0.1:{target}/: answers 500)\n"
            await said(http, url, Answer(503, reason))
            outside = Answer(204, "")
            await said(http, url, Answer(200, "ready\n"))
            doorstep.tell({"prod/gw-1": "the tunnel is down"})
            await said(http, url, Answer(503, "the node's agent: the tunnel is down\n"))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def said(http: Web, url: str, expected: Answer) -> None:
    """Return once a GET of the URL has that answer, which must be soon."""
    answer = Answer(0, "")
    try:
        async with asyncio.timeout(10):
            while answer != expected:
                answer = await http.get(url)
    except TimeoutError:
        assert answer == expected


@asynccontextmanager
async def command(**environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`sallyport gateway` as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sallyport.cli", "gateway"),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environ,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_after_sigterm_a_gateway_answers_as_before_until_the_grace_is_over() -> None:
    doorstep, port = Doorstep(SystemClock()), free_port()
    doorstep.tell({"prod/gw-1": ""})
    async with serving("127.0.0.1", 0, doorstep.answer) as agent, Web() as http:
        environ = NEEDED | {"SALLYPORT_AGENT_PORT": str(agent), "SALLYPORT_HEALTH_PORT": str(port)}
        async with command(**environ, SALLYPORT_TERMINATION_GRACE="1") as process:
            await line_with(process, "gateway.ready")
            process.send_signal(signal.SIGTERM)
            await line_with(process, "gateway.terminating")
            told = asyncio.get_running_loop().time()
            url = f"http://127.0.0.1:{port}/readiness"
            assert await http.get(url) == Answer(200, "ready\n")
            assert await asyncio.wait_for(process.wait(), 10) == 0
            assert asyncio.get_running_loop().time() - told > 0.9, "it lived on for the grace of a second"


async def line_with(process: asyncio.subprocess.Process, word: str) -> None:
    """Return once the process has logged it."""
    assert process.stderr is not None
    async with asyncio.timeout(30):
        seen = b""
        while word.encode() not in seen:
            line = await process.stderr.readline()
            assert line, f"it ended: {seen.decode()}"
            seen += line


@pytest.mark.parametrize("broken", [{"SALLYPORT_ICMP_PROBE_IPS": "router"}, {"SALLYPORT_HEALTH_PORT": "taken"}])
async def test_what_keeps_a_gateway_from_beginning_is_told_in_one_line(broken: dict[str, str]) -> None:
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        environ = NEEDED | {name: port if value == "taken" else value for name, value in broken.items()}
        async with command(**environ) as process:
            _, told = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 2
    assert told.decode().startswith("sallyport gateway: ")
    assert len(told.decode().splitlines()) == 1
