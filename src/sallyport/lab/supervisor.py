"""`python -m sallyport.lab.supervisor DIRECTORY`: builds a lab, runs its processes, and obeys commands.

It is no part of the product: what it starts on each node is, unchanged, the product's own agent.
"""

import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import structlog

from sallyport.apis.core import LEASES, NODES
from sallyport.drivers.command import DriverError
from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.kube.errors import ApiError
from sallyport.lab import forks, names, namespaces, wiring
from sallyport.lab.children import Kept, spawn
from sallyport.lab.controlplane.embedded import Embedded
from sallyport.lab.controlplane.kubernetes import Kubernetes
from sallyport.lab.controlplane.plane import PROGRAMS, Plane
from sallyport.lab.forks import Forks
from sallyport.lab.kubelet import Kubelet
from sallyport.lab.podnet import PodNetwork
from sallyport.lab.record import Child, Kind, Record, end, started
from sallyport.lab.router import Routers
from sallyport.lab.topology import Machine, NodeMachine, Topology
from sallyport.lab.topology_file import parse
from sallyport.lab.waiting import until
from sallyport.lab.workloads.controller import Workloads
from sallyport.processes.observe import configure_logging
from sallyport.processes.settings import LEASE_PREFIX, NAMESPACE

log = structlog.get_logger(__name__)

CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "250"}
"""What a node says that it has room for, so that the scheduler never finds too little: a /24 holds so many pods."""
PLANES: dict[Kind, Callable[[Topology, Record], Plane]] = {"embedded": Embedded, "kubernetes": Kubernetes}


class Request(msgspec.Struct):
    """What a `sallyport lab` command asks of the supervisor: `do` is one of the actions of `_do`."""

    do: str
    names: list[str]


class Answer(msgspec.Struct):
    """`error` is "" when it was done."""

    error: str = ""


class Supervisor:
    """One lab, from its first namespace to the end of this process."""

    def __init__(self, record: Record, topology: Topology) -> None:
        self._record, self._topology = record, topology
        self._agents: dict[str, Kept] = {}
        self._others: list[Kept] = []
        self._routers = Routers(topology, record)
        self._kubelet: Kubelet | None = None
        self._power = asyncio.Lock()
        self._plane: Plane = PLANES[record.kind](topology, record)
        self._forks = Forks(record.log(forks.NAME), record.note)

    async def run(self) -> None:
        """Come up, then serve until cancelled."""
        self._tell(f"{len(list(self._topology.machines()))} machines: namespaces, links and routes")
        await self._forks.start()  # it imports while the machines are made
        machines = [wiring.machine(self._topology, item) for item in self._topology.machines()]
        await asyncio.to_thread(namespaces.build, [wiring.wire(self._topology), *machines])
        await self._routers.run()
        self._tell(self._plane.title)
        await self._plane.start(self._keep)
        async with Client(load(str(self._record.kubeconfig))) as client:
            await until(lambda: _answers(client), "the API server does not answer")
            await self._plane.furnish(client, self._keep)
            async with Client(load(str(self._plane.kubelet))) as kubelet:
                await self._populate(client, kubelet)

    async def _populate(self, client: Client, own: Client) -> None:
        """Nodes, hosts and our processes; then run pods. `own` is the kubelet's client."""
        self._tell(f"{len(self._topology.nodes)} nodes, {len(self._topology.hosts)} outside hosts, controller")
        await self._register(own)
        await self._start_hosts()
        await self._start_controller()
        for node in self._topology.nodes:
            await self._start_agent(node)
        network, whole = PodNetwork(self._topology.name), self._plane.whole
        self._kubelet = Kubelet(own, self._topology, self._record, network, _now, alone=not whole)
        server = await asyncio.start_unix_server(self._serve, path=self._record.socket)
        async with server, asyncio.TaskGroup() as group:
            group.create_task(self._kubelet.run())
            if not whole:
                group.create_task(Workloads(client, _now).run())
            await self._await_agents(client)
            self._tell("ready")

    def _tell(self, line: str) -> None:
        with self._record.progress.open("a") as file:
            file.write(line + "\n")

    async def _keep(
        self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
    ) -> Kept:
        begin = partial(spawn, argv, self._record.log(name), env or {}, pass_fds=pass_fds)
        self._others.append(kept := Kept(name, begin, self._record.note))
        await kept.start()
        return kept

    async def _kept(
        self, name: str, machine: Machine, module: str, arguments: Sequence[str], env: Mapping[str, str]
    ) -> Kept:
        """`python -m MODULE ARGUMENTS` on a machine, from a copy of the fork server."""
        space = names.namespace(self._topology.name, machine.name)
        begin = partial(self._forks.spawn, module, arguments, space, self._record.log(name), env)
        kept = Kept(name, begin, self._record.note)
        await kept.start()
        return kept

    async def _register(self, client: Client) -> None:
        for node in self._topology.nodes:
            await client.create(NODES, node_object(node))

    async def _start_hosts(self) -> None:
        for host in self._topology.hosts:
            arguments, env = ["--log", str(self._record.seen(host.name))], {"SALLYPORT_HOST": host.name}
            self._others.append(await self._kept(f"host-{host.name}", host, "sallyport.lab.outside", arguments, env))

    async def _start_controller(self) -> None:
        arguments, env = ["controller", "--identity", "lab"], {"SALLYPORT_KUBECONFIG": str(self._plane.controller)}
        self._others.append(await self._kept("controller", self._topology.control, "sallyport.cli", arguments, env))

    async def _start_agent(self, node: NodeMachine) -> None:
        runtime = self._record.runtime(node.name)
        runtime.mkdir(parents=True, exist_ok=True)
        env = {
            "SALLYPORT_KUBECONFIG": str(self._plane.agent),
            "SALLYPORT_RUNTIME_DIR": str(runtime),
            "SALLYPORT_SERVICE_CIDRS": ",".join(str(network) for network in self._topology.service_networks),
        }
        arguments = ["agent", "--node", node.name]
        self._agents[node.name] = await self._kept(f"agent-{node.name}", node, "sallyport.cli", arguments, env)

    async def _await_agents(self, client: Client) -> None:
        """An agent writes its lease once it has programmed its node."""
        wanted = {f"{LEASE_PREFIX}{node.name}" for node in self._topology.nodes}

        async def all_there() -> bool:
            page = await client.list_page(LEASES, NAMESPACE)
            return wanted <= {lease.metadata.name for lease in page.items}

        self._tell(f"{len(wanted)} agents")
        await until(all_there, "not all agents came up")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer, each a JSON line."""
        try:
            request = msgspec.json.decode(await reader.readline(), type=Request)
            async with self._power:
                await self._do(request)
            answer = Answer()
        except (msgspec.DecodeError, DriverError, ApiError, OSError) as error:
            answer = Answer(error=str(error))
        writer.write(msgspec.json.encode(answer) + b"\n")
        await writer.drain()
        writer.close()

    async def _do(self, request: Request) -> None:
        actions: dict[str, Callable[..., Awaitable[None]]] = {
            "power-off": self._power_off,
            "power-on": self._power_on,
            "cut": self._cut,
            "heal": self._heal,
            "stop": self._routers.stop,
            "kill": self._routers.kill,
            "start": self._routers.start,
        }
        await actions[request.do](*request.names)

    def _node(self, name: str) -> NodeMachine:
        machine = self._topology.machine(name)
        if not isinstance(machine, NodeMachine):
            raise DriverError(f"{name} is not a node of this lab: {', '.join(n.name for n in self._topology.nodes)}")
        return machine

    async def _power_off(self, name: str) -> None:
        """As when the plug is pulled: links down first, then nobody is asked to end."""
        node = self._node(name)
        kept = self._agents.pop(name, None)
        if kept is None:
            raise DriverError(f"{name} is off already")
        space = names.namespace(self._topology.name, name)
        ends = [names.port(name, index) for index in range(len(node.subnets()))]
        await asyncio.to_thread(namespaces.unplug, names.wire_namespace(self._topology.name), ends)
        (self._record.powered_off / name).touch()
        await kept.stop(kill=True)
        if self._kubelet is not None:
            await self._kubelet.power_off(name)
        await asyncio.to_thread(namespaces.destroy, [space])
        await self._set_ready(name, "Unknown")

    async def _power_on(self, name: str) -> None:
        node = self._node(name)
        if name in self._agents:
            raise DriverError(f"{name} is on already")
        await asyncio.to_thread(namespaces.add, wiring.machine(self._topology, node))
        (self._record.powered_off / name).unlink(missing_ok=True)
        for path in self._record.runtime(name).glob("*"):
            path.unlink()  # /run is empty after a start
        await self._start_agent(node)
        if self._kubelet is not None:
            self._kubelet.power_on(name)
        await self._set_ready(name, "True")

    async def _set_ready(self, name: str, status: str) -> None:
        """What the node controller of a cluster does, at once instead of after its 40 s."""
        async with Client(load(str(self._plane.kubelet))) as client:
            body = {"status": {"conditions": [_ready(status)]}}
            await client.patch(NODES, name, body, subresource="status")

    async def _cut(self, left: str, right: str) -> None:
        await self._pairs("add", left, right)

    async def _heal(self, left: str, right: str) -> None:
        await self._pairs("delete", left, right)

    async def _pairs(self, verb: str, left: str, right: str) -> None:
        for name in (left, right):
            if self._topology.machine(name) is None:
                raise DriverError(f"{name} is not a machine of this lab")
        pairs = wiring.cut_pairs(self._topology, left, right)
        if not pairs:
            raise DriverError(f"no subnet joins {left} and {right}")
        members = ", ".join(f'"{first}" . "{second}"' for first, second in pairs)
        text = f"{verb} element bridge {wiring.CUT_TABLE} pairs {{ {members} }}\n"
        wire = names.wire_namespace(self._topology.name)
        try:
            await asyncio.to_thread(namespaces.nft, wire, text)
        except DriverError:
            if verb == "add":
                raise
            raise DriverError(f"{left} and {right} are not cut") from None

    async def stop(self) -> None:
        """End what runs, agents first; namespaces are removed by `lab down`."""
        await asyncio.gather(*(kept.stop() for kept in self._agents.values()))
        # Kubernetes' programs would first wait for those who watch; nothing of theirs is kept, so they are not asked.
        unasked = PROGRAMS if self._plane.whole else ()
        for kept in reversed(self._others):
            await kept.stop(kill=kept.name in unasked)
        await self._routers.close()
        await self._forks.stop()


def node_object(node: NodeMachine) -> dict[str, object]:
    """The Node as a kubelet would register it."""
    addresses = [{"type": "InternalIP", "address": str(item.address)} for item in node.home()]
    networks = [str(network) for network in node.pod_networks]
    labels = {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", **node.labels}
    return {
        "metadata": {"name": node.name, "labels": labels, "annotations": dict(node.annotations)},
        "spec": {"podCIDR": networks[0] if networks else "", "podCIDRs": networks},
        "status": {
            "capacity": dict(CAPACITY),
            "allocatable": dict(CAPACITY),
            "addresses": [*addresses, {"type": "Hostname", "address": node.name}],
            "conditions": [_ready("True")],
            "nodeInfo": {"operatingSystem": "linux", "kernelVersion": os.uname().release, "kubeletVersion": "lab"},
        },
    }


def _now() -> datetime:
    return datetime.now(UTC)


def _ready(status: str) -> dict[str, object]:
    reason = "KubeletReady" if status == "True" else "NodeStatusUnknown"
    stamp = _now().strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "Ready", "status": status, "reason": reason, "lastTransitionTime": stamp}


async def _answers(client: Client) -> bool:
    try:
        await client.request("GET", "/readyz")
    except ApiError:
        return False
    return True


async def _main(record: Record) -> int:
    if sys.version_info < (3, 12):
        watcher = asyncio.PidfdChildWatcher()  # the default of these versions needs a thread for each child
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.set_child_watcher(watcher)
    topology = dataclasses.replace(parse(record.topology.read_text(), str(record.topology)), name=record.lab)
    supervisor = Supervisor(record, topology)
    task = asyncio.ensure_future(supervisor.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return 0
    except (DriverError, ApiError, OSError) as error:
        with record.progress.open("a") as file:
            file.write(f"failed: {error}\n")
        log.exception("lab.failed")
        return 1
    finally:
        await supervisor.stop()
    return 0


def main() -> None:
    """Be the supervisor of the lab whose directory is given."""
    configure_logging()
    directory = Path(sys.argv[1])
    record = Record(directory.name, directory.parent)
    raise SystemExit(asyncio.run(_main(record)))


def take_down(record: Record) -> None:
    """End every process of a lab and remove every namespace, also when its supervisor has crashed."""
    own = started(os.getpid())
    end([child for child in record.noted() if child.name == "supervisor"])
    end([child for child in record.noted() if child.started != own])
    spaces = namespaces.existing(names.prefix(record.lab))
    end(Child(pid, started(pid) or 0) for pid in namespaces.members(spaces))
    namespaces.remove(spaces)
    record.erase()


if __name__ == "__main__":
    main()
