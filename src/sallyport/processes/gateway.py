"""A gateway pod's life and health.

Packets do not pass this process: the node's agent takes them through the host's own network namespace. What it says is
whether they would get anywhere: `/readiness`, asked by the kubelet and by the agents of other nodes.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from math import isfinite
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog

from sallyport.drivers.command import DriverError
from sallyport.drivers.icmp import EchoError, echo
from sallyport.drivers.web import Answer, Get, Web, WebError, serving
from sallyport.kube.clock import Clock, SystemClock, within
from sallyport.model.addresses import parse_address
from sallyport.model.probes import Health, Probe, Word
from sallyport.processes.doorstep import PORT

T = TypeVar("T")
log = structlog.get_logger(__name__)

ASKING = 1.0
"""Seconds between two questions to the node's agent."""
ANSWERING = 5.0
"""Seconds that an answer of the agent is waited for."""
SEVERITIES = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
"""Levels by the names of EgressGateway's spec.logSeverity, in lower case."""

Reach = Callable[[str], Coroutine[Any, Any, str]]
"""Probes a target once: "" when it answered, else the reason. The caller bounds the time."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What a gateway is told at start.

    `agent` is the URL at which its node's agent answers for it; `patience` the number of seconds for which the agent's
    last answer holds; `grace` the number of seconds that it lives on after SIGTERM; `severity` a level of `logging`.
    """

    agent: str
    health_port: int
    patience: float
    probes: tuple[Probe, ...]
    grace: float
    severity: int


def from_environment(environ: Mapping[str, str]) -> GatewaySettings:
    """Settings from the variables that `sallyport gateway --help` lists; one that is empty counts as not set. Raises
    ValueError with a line that names the variable."""
    host = _parsed("SALLYPORT_HOST_IP", _needed(environ, "SALLYPORT_HOST_IP"), parse_address)
    place = f"[{host}]" if host.version == 6 else str(host)
    port = _port(environ, "SALLYPORT_AGENT_PORT", PORT)
    namespace, pod = _needed(environ, "SALLYPORT_GATEWAY_NAMESPACE"), _needed(environ, "SALLYPORT_GATEWAY_POD")
    probes = (
        _probe(environ, "icmp", "SALLYPORT_ICMP_PROBE", "IPS", lambda text: str(parse_address(text)), (5, 15)),
        _probe(environ, "http", "SALLYPORT_HTTP_PROBE", "URLS", _url, (10, 30)),
    )
    severity = environ.get("SALLYPORT_LOG_SEVERITY") or "info"
    if severity.lower() not in SEVERITIES:
        raise ValueError(f"SALLYPORT_LOG_SEVERITY: {severity!r} is none of {', '.join(SEVERITIES)}")
    return GatewaySettings(
        agent=f"http://{place}:{port}/gateways/{namespace}/{pod}",
        health_port=_port(environ, "SALLYPORT_HEALTH_PORT", 8080),
        patience=_seconds(environ, "SALLYPORT_HEALTH_TIMEOUT_DATASTORE", 90),
        probes=tuple(probe for probe in probes if probe.targets),
        grace=_seconds(environ, "SALLYPORT_TERMINATION_GRACE", 0, zero=True),
        severity=SEVERITIES[severity.lower()],
    )


def _needed(environ: Mapping[str, str], name: str) -> str:
    if not (text := environ.get(name, "").strip()):
        raise ValueError(f"{name} is not set")
    return text


def _parsed(name: str, text: str, parse: Callable[[str], T]) -> T:
    """What `parse` makes of the text, or its refusal with the variable's name."""
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise ValueError(f"{name}: {text!r} is no port")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str, default: float, *, zero: bool = False) -> float:
    """A number of seconds above 0, or 0 as well if `zero`."""
    text = environ.get(name) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not isfinite(seconds) or seconds < 0 or (seconds == 0 and not zero):
        raise ValueError(f"{name}: {text!r} is no number of seconds")
    return seconds


def _probe(
    environ: Mapping[str, str],
    kind: str,
    prefix: str,
    targets: str,
    parse: Callable[[str], str],
    defaults: tuple[float, float],
) -> Probe:
    name = f"{prefix}_{targets}"
    parts = (part.strip() for part in environ.get(name, "").split(","))
    parsed = tuple(dict.fromkeys(_parsed(name, part, parse) for part in parts if part))
    interval = _seconds(environ, f"{prefix}_INTERVAL", defaults[0])
    timeout = _seconds(environ, f"{prefix}_TIMEOUT", defaults[1])
    if timeout < interval:
        raise ValueError(f"{prefix}_TIMEOUT: {timeout:g} s is less than the interval of {interval:g} s")
    return Probe(kind, parsed, interval, timeout)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError(f"{text!r} is no http or https URL")
    return text


class Gateway:
    """Asks the node's agent, probes the outside, and answers for both. `reach` is by kind of probe."""

    def __init__(self, settings: GatewaySettings, clock: Clock, get: Get, reach: Mapping[str, Reach]) -> None:
        self._settings, self._clock, self._get, self._reach = settings, clock, get, reach
        self._health = Health(settings.probes, settings.patience)
        self._ready: bool | None = None

    def answer(self, path: str) -> Answer:
        """The answer to a GET of that path: `/readiness` tells why not, a reason a line; `/liveness`."""
        if path == "/liveness":
            return Answer(200, "alive\n")
        if path != "/readiness":
            return Answer(404, "there are /readiness and /liveness\n")
        doubts = self._health.doubts(self._clock.monotonic())
        return Answer(503, "".join(f"{line}\n" for line in doubts)) if doubts else Answer(200, "ready\n")

    async def run(self) -> None:
        """Ask and probe until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._again_and_again(ASKING, self._ask_agent))
            for probe in self._settings.probes:
                for target in probe.targets:
                    group.create_task(self._again_and_again(probe.interval, partial(self._probe, probe, target)))

    async def _again_and_again(self, interval: float, work: Callable[[], Awaitable[None]]) -> None:
        """Begin `work` every `interval` seconds; later when the one before took longer."""
        while True:
            began = self._clock.monotonic()
            await work()
            self._note()
            await self._clock.sleep(max(0.0, began + interval - self._clock.monotonic()))

    async def _ask_agent(self) -> None:
        word = await self._word()  # before the health is looked at, which probes change meanwhile
        self._health = self._health.heard(word)

    async def _word(self) -> Word:
        """What is known of the agent's mind after asking it. Whatever is neither yes nor no is no answer: an agent that
        was started anew does not know of the gateway for a moment."""
        try:
            answer = await within(self._clock, ANSWERING, self._get(self._settings.agent))
        except WebError as error:
            return self._health.word.silent(str(error))
        except TimeoutError:
            return self._health.word.silent(f"no answer within {ANSWERING:g} s")
        text = " ".join(answer.text.split())
        if answer.status == 200:
            return Word("", self._clock.monotonic())
        if answer.status == 503:
            return Word(text or "the way does not stand", self._clock.monotonic())
        return self._health.word.silent(f"{answer.status} {text}")

    async def _probe(self, probe: Probe, target: str) -> None:
        try:
            failure = await within(self._clock, probe.interval, self._reach[probe.kind](target))
        except TimeoutError:
            failure = f"no answer within {probe.interval:g} s"
        if failure:
            log.debug("gateway.probe_failed", kind=probe.kind, target=target, reason=failure)
            self._health = self._health.failed(probe.kind, target, failure)
        else:
            self._health = self._health.succeeded(probe.kind, target, self._clock.monotonic())

    def _note(self) -> None:
        """Log when readiness comes and goes."""
        doubts = self._health.doubts(self._clock.monotonic())
        if (ready := not doubts) != self._ready:
            self._ready = ready
            if ready:
                log.info("gateway.ready")
            else:
                log.warning("gateway.not_ready", reasons=doubts)


async def ping(target: str) -> str:
    """Probe an IP address by an ICMP or ICMPv6 echo."""
    try:
        await echo(ip_address(target))
    except EchoError as error:
        return str(error)
    return ""


async def fetch(get: Get, target: str) -> str:
    """Probe a URL: any status below 400 will do, as for the kubelet."""
    try:
        answer = await get(target)
    except WebError as error:
        return str(error)
    return "" if answer.status < 400 else f"answers {answer.status}"


async def run_gateway(settings: GatewaySettings) -> None:
    """Be a gateway, until SIGTERM and the grace after it. Raises DriverError when the health port cannot be had."""
    async with AsyncExitStack() as stack:
        web = await stack.enter_async_context(Web())
        gateway = Gateway(settings, SystemClock(), web.get, {"icmp": ping, "http": partial(fetch, web.get)})
        try:
            await stack.enter_async_context(serving("", settings.health_port, gateway.answer))
        except OSError as error:
            raise DriverError(f"port {settings.health_port}: {error.strerror}") from error
        log.info("gateway.started", agent=settings.agent, port=settings.health_port)
        await _until_grace_is_over(gateway.run(), settings.grace)


async def _until_grace_is_over(work: Coroutine[Any, Any, None], grace: float) -> None:
    """Run `work` until `grace` seconds after SIGTERM, or SIGINT. Readiness stays as it is meanwhile: the pod's
    deletionTimestamp tells everyone to bring nothing new, and what passes already goes on."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)

    def terminate() -> None:
        log.info("gateway.terminating", grace=grace)
        loop.call_later(grace, task.cancel)

    loop.add_signal_handler(signal.SIGTERM, terminate)
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
