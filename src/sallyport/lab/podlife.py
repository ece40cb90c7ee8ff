"""One pod on its node, from its first address to the end of its last process."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import structlog

from sallyport.kube.client import Client
from sallyport.kube.errors import ApiError, Conflict, NotFound
from sallyport.lab import names, namespaces, podfields, podstatus
from sallyport.lab.children import RESTART_CAP, RESTART_DELAY, STABLE, spawn
from sallyport.lab.podfields import Placed
from sallyport.lab.podnet import PodNetwork
from sallyport.lab.pods import LAB_PODS, Container, LabPod, argv
from sallyport.lab.podstatus import PodState
from sallyport.lab.probing import Asker, follow
from sallyport.lab.record import Record
from sallyport.lab.topology import NodeMachine

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Grounds:
    """What all pods of a lab live on."""

    client: Client
    lab: str
    record: Record
    network: PodNetwork
    now: Callable[[], datetime]


class PodLife:
    """Attaches a pod, runs its init containers and then its command, asks its probes, and writes its status.

    `pod` is the object as last heard of; of what changes in it, only its metadata matters.
    """

    def __init__(self, pod: LabPod, node: NodeMachine, grounds: Grounds) -> None:
        self.pod, self._node, self._grounds = pod, node, grounds
        self._state = PodState(
            since=grounds.now(),
            hosts=tuple(entry.address for entry in node.home()),
            inits=(podstatus.ContainerState(),) * len(pod.spec.init_containers),
        )
        self._since: Mapping[str, tuple[str, str]] = {
            item.type: (item.status, item.last_transition_time or "") for item in pod.status.conditions
        }
        self._child: asyncio.subprocess.Process | None = None
        self._spawning = asyncio.Lock()
        self._stopping = False
        self._gone = False
        self._hurry = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._probes: list[asyncio.Task[None]] = []

    # Told from outside

    async def start(self) -> None:
        """Attach it and let it live. DriverError when the pod network refuses."""
        if self.pod.spec.host_network:
            addresses = self._state.hosts
        else:
            addresses = await asyncio.to_thread(self._grounds.network.attach, self._node, self.pod.key)
        self._state = replace(self._state, addresses=addresses)
        self._write_volumes()
        self._tasks = [asyncio.create_task(self._live()), asyncio.create_task(self._publish())]

    def see(self, pod: LabPod | None) -> None:
        """Take in the object as it is now, None when it is gone: then nothing is waited for any more."""
        if pod is self.pod or self._gone:
            return
        self._gone = pod is None or pod.metadata.uid != self.pod.metadata.uid
        if pod is None or self._gone:
            self._hasten()
            return
        old, self.pod = self.pod.metadata, pod
        if pod.metadata.deletion_grace_period_seconds < old.deletion_grace_period_seconds:
            self._hasten()
        if (old.labels, old.annotations) != (pod.metadata.labels, pod.metadata.annotations):
            self._write_volumes()

    def _hasten(self) -> None:
        if self._stopping:
            self._hurry.set()

    async def stop(self, grace: float) -> None:
        """End it: asked to, and after `grace` seconds not asked. Until then it is networked, and its probes go on."""
        async with self._spawning:
            self._stopping = True
        child = self._child
        if child is not None and child.returncode is None:
            _signal(child, signal.SIGTERM if grace > 0 else signal.SIGKILL)
            ends = [asyncio.create_task(child.wait()), asyncio.create_task(self._hurry.wait())]
            await asyncio.wait(ends, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
        await self.kill()

    async def kill(self) -> None:
        """End it at once, as by a power cut; its namespace, link and files go with it."""
        self._stopping = True
        for task in (*self._tasks, *self._probes):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._probes, return_exceptions=True)
        if self._child is not None and self._child.returncode is None:
            _signal(self._child, signal.SIGKILL)
            await self._child.wait()
        await self._detach()
        shutil.rmtree(self._volumes, ignore_errors=True)

    # Its processes

    async def _live(self) -> None:
        for place, container in enumerate(self.pod.spec.init_containers):
            if not await self._initialize(place, container):
                return
        delay = RESTART_DELAY
        loop = asyncio.get_running_loop()
        while (child := await self._spawn(self.pod.main)) is not None:
            began = loop.time()
            self._turn(phase="Running", initialized=True, main=podstatus.started(self._grounds.now()))
            self._watch_over(self.pod.main, child)
            code = await child.wait()
            self._forget_probes()
            if self._stopping:
                return
            if self._is_last(code):
                await self._finish(code)
                return
            delay = RESTART_DELAY if loop.time() - began > STABLE else delay
            before = podstatus.ended(code, self._grounds.now())
            message = f"back-off {delay:g}s restarting failed container={self.pod.main.name}"
            self._turn(ready=False, main=podstatus.waiting("CrashLoopBackOff", message), ended_before=before)
            await asyncio.sleep(delay)
            delay = min(delay * 2, RESTART_CAP)
            self._turn(restarts=self._state.restarts + 1)

    async def _initialize(self, place: int, container: Container) -> bool:
        """Run an init container until it has succeeded; False when that is not to be."""
        delay = RESTART_DELAY
        while (child := await self._spawn(container)) is not None:
            self._turn_init(place, podstatus.started(self._grounds.now()))
            code = await child.wait()
            self._turn_init(place, podstatus.ended(code, self._grounds.now()))
            if code == 0 and not self._stopping:
                return True
            if self._stopping:
                return False
            if self.pod.spec.restart_policy == "Never":
                await self._finish(code)
                return False
            await asyncio.sleep(delay)
            delay = min(delay * 2, RESTART_CAP)
        return False

    def _is_last(self, code: int) -> bool:
        policy = self.pod.spec.restart_policy
        return policy == "Never" or (policy == "OnFailure" and code == 0)

    async def _finish(self, code: int) -> None:
        """Say how it ended, once its address is free, as a container runtime does: another pod may have it then."""
        await self._detach()
        phase = "Succeeded" if code == 0 else "Failed"
        main = podstatus.ended(code, self._grounds.now()) if self._state.initialized else self._state.main
        self._turn(phase=phase, ready=False, main=main)

    async def _spawn(self, container: Container) -> asyncio.subprocess.Process | None:
        """Start a container's command; None when the pod is to end, or this machine cannot run it."""
        space = names.namespace(self._grounds.lab, self._node.name)
        if not self.pod.spec.host_network:
            space = names.pod_namespace(self._grounds.lab, self.pod.key)
        output = self._grounds.record.log(f"pod-{self.pod.key[0]}-{self.pod.key[1]}")
        within = namespaces.command if container.command else namespaces.entering  # nobody looks around in a pause
        command = within(space, argv(container))
        async with self._spawning:
            if self._stopping:
                return None
            try:
                self._child = await spawn(command, output, self._environment(container))
            except (OSError, ValueError) as error:
                self._turn(main=podstatus.waiting("RunContainerError", str(error)))
                return None
        return self._child

    def _environment(self, container: Container) -> dict[str, str]:
        """What the container asks for, where its volumes are, and this Python's programs before all others."""
        path = os.pathsep.join([str(Path(sys.executable).parent), namespaces.environment({})["PATH"]])
        volumes = {
            podfields.volume_variable(item.name): str(self._volumes / item.name)
            for item in self.pod.spec.volumes
            if item.downward_api is not None
        }
        return {"PATH": path, **volumes, **podfields.variables(self.pod, self._placed, container)}

    async def _detach(self) -> None:
        if not self.pod.spec.host_network:
            await asyncio.to_thread(self._grounds.network.detach, self._node.name, self.pod.key)

    # Its health

    def _watch_over(self, container: Container, child: asyncio.subprocess.Process) -> None:
        """Ask the probes of a container that has just been started; one without a readiness probe is ready at once."""
        space = names.namespace(self._grounds.lab, self._node.name)
        asker = Asker(space, str(self._state.addresses[0]), container.ports)
        if container.readiness_probe is None:
            self._turn(ready=True)
        else:
            turn = follow(container.readiness_probe, asker.ask, lambda good: self._turn(ready=good))
            self._probes.append(asyncio.create_task(turn))
        if container.liveness_probe is not None:
            ask = follow(container.liveness_probe, asker.ask, lambda good: None if good else self._renew(child))
            self._probes.append(asyncio.create_task(ask))

    def _renew(self, child: asyncio.subprocess.Process) -> None:
        """End a container that is not healthy; it is started again as one that has ended by itself."""

        async def ended() -> None:
            _signal(child, signal.SIGTERM)
            try:
                await asyncio.wait_for(child.wait(), self.pod.spec.termination_grace_period_seconds)
            except TimeoutError:
                _signal(child, signal.SIGKILL)

        if not self._stopping:
            self._tasks.append(asyncio.create_task(ended()))

    def _forget_probes(self) -> None:
        for task in self._probes:
            task.cancel()
        self._probes = []

    # What the API is told

    def _turn(self, **changes: object) -> None:
        self._state = replace(self._state, **changes)  # type: ignore[arg-type]
        self._since = podstatus.turned(self._state, self._since, self._grounds.now())
        self._changed.set()

    def _turn_init(self, place: int, state: podstatus.ContainerState) -> None:
        before, after = self._state.inits[:place], self._state.inits[place + 1 :]
        self._turn(inits=(*before, state, *after))

    async def _publish(self) -> None:
        """Write the state whenever it has changed, the newest one only. A pod that is gone needs none."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            meta = self.pod.metadata
            body = {"metadata": {"uid": meta.uid}, "status": podstatus.status(self.pod, self._state, self._since)}
            try:
                await self._grounds.client.patch(LAB_PODS, meta.name, body, meta.namespace, subresource="status")
            except (Conflict, NotFound) as error:
                log.debug("lab.status_lost", pod="/".join(self.pod.key), error=str(error))  # deleted meanwhile
                return
            except ApiError as error:
                log.warning("lab.status_unwritten", pod="/".join(self.pod.key), error=str(error))
                self._changed.set()
                await asyncio.sleep(RESTART_DELAY)

    # Its files

    @property
    def _volumes(self) -> Path:
        return self._grounds.record.volumes / ".".join(self.pod.key)

    @property
    def _placed(self) -> Placed:
        return Placed(self._state.addresses, self._state.hosts)

    def _write_volumes(self) -> None:
        for name, contents in podfields.files(self.pod, self._placed).items():
            for path, text in contents.items():
                _write(self._volumes / name / path, text)


def _write(path: Path, text: str) -> None:
    """Put a text in the place of another; a reader sees one or the other whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.replace(path)


def _signal(child: asyncio.subprocess.Process, number: int) -> None:
    """To all processes of a container, which its first one leads."""
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return  # it has just ended
