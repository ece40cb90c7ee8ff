"""What a packet test says of a lab: objects in a few words, and expectations that are checked on the wire.

Every request that is expected is judged three times: by the source that the server saw, by the frames that a capture
in front of the router saw (no other source, and the right node's MAC), and by what `sallyport trace` says of it.
"""

import asyncio
import contextlib
import ipaddress
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from typer.testing import CliRunner

from sallyport.apis.antrea.types import EGRESSES, POOLS, EgressStatus, IPPoolUsage
from sallyport.apis.core import PODS
from sallyport.apis.resource import Resource
from sallyport.cli.main import build
from sallyport.drivers.command import DriverError
from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.lab.driving import Asked, Capture, Frame, Lab, answers, until

T = TypeVar("T")
Flows = dict[int, list[Asked]]
"""Requests by family, in their order."""
Object = dict[str, Any]
Labels = Mapping[str, str]

NODES = (1, 2, 3)
NAMESPACE = "apps"
HOSTNAME = "kubernetes.io/hostname"
GATEWAYS = {"network-role": "egress-gateway"}
"""The label of node-2 and node-3 in the lab's topology."""


@dataclass(frozen=True, slots=True)
class Side:
    """One family's addresses in the lab's topology."""

    family: int
    server: str
    underlay: str
    """What the addresses of the underlay begin with."""

    def node(self, number: int) -> str:
        """The address of node-NUMBER."""
        return f"{self.underlay}10{number}"

    def spare(self, number: int) -> str:
        """An address of the underlay that no machine has; `number` is 1 to 80."""
        return f"{self.underlay}{10 + number}"

    def network(self, length: int) -> str:
        """A network of the underlay, of at least 4 addresses, that no machine has an address in."""
        return f"10.10.2.0/{length}" if self.family == 4 else f"fd10:10::2:0/{length}"

    @property
    def everything_outside(self) -> str:
        """The network of the server."""
        return "203.0.113.0/24" if self.family == 4 else "2001:db8:113::/64"


SIDES = {4: Side(4, "203.0.113.10", "10.10.0."), 6: Side(6, "2001:db8:113::10", "fd10:10::")}


def pod(number: int) -> str:
    """The standing pod of node-NUMBER; its labels are `app: web` and `on: node-NUMBER`."""
    return f"{NAMESPACE}/on-{number}"


def labelled(**labels: str) -> Object:
    """An appliedTo of the pods that have the labels."""
    return {"podSelector": {"matchLabels": labels}}


def on(number: int) -> Object:
    """An appliedTo of the standing pod of node-NUMBER."""
    return labelled(on=f"node-{number}")


EVERY_WEB_POD = labelled(app="web")


def egress(name: str, applied_to: Object, *, ip: str = "", pool: str = "", **more: object) -> Object:
    """An Egress with an address, a pool or both."""
    spec: Object = {"appliedTo": applied_to, **more}
    if ip:
        spec["egressIP"] = ip
    if pool:
        spec["externalIPPool"] = pool
    return {"apiVersion": "crd.antrea.io/v1beta1", "kind": "Egress", "metadata": {"name": name}, "spec": spec}


def ip_pool(name: str, *ranges: str, nodes: Labels | None = None) -> Object:
    """A pool of ranges, each FIRST-LAST, a network or one address, on the nodes with the labels (None: all nodes)."""
    made = []
    for text in ranges:
        first, dash, last = text.partition("-")
        made.append({"cidr": text} if "/" in text else {"start": first, "end": last if dash else first})
    spec = {"ipRanges": made, "nodeSelector": {"matchLabels": dict(nodes)} if nodes else {}}
    return {"apiVersion": "crd.antrea.io/v1beta1", "kind": "ExternalIPPool", "metadata": {"name": name}, "spec": spec}


def hosted(number: int) -> Labels:
    """The node selector of node-NUMBER alone."""
    return {HOSTNAME: f"node-{number}"}


def pod_object(name: str, number: int, labels: Labels, command: Sequence[str] = (), **spec: object) -> Object:
    """A pod of node-NUMBER, which runs the command, or nothing."""
    container: Object = {"name": "main", "image": "none"}
    if command:
        container["command"] = list(command)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": dict(labels)},
        "spec": {"nodeName": f"node-{number}", "containers": [container], **spec},
    }


def becomes(read: Callable[[], T], wanted: T, seconds: float = 5.0) -> float:
    """Read again and again until it is `wanted`; how many seconds that took. A failure shows what it was instead."""
    last: list[T] = []

    def is_there() -> bool:
        last[:] = [read()]
        return last[0] == wanted

    try:
        return until(is_there, "", seconds)
    except AssertionError:
        raise AssertionError(f"not within {seconds:g} s: {wanted!r}; it is {last[0]!r}") from None


@dataclass
class Scene:
    """A lab with standing pods, one per node, and a capture of all that comes to its server."""

    lab: Lab
    capture: Capture
    sources: dict[tuple[str, int], str] = field(default_factory=dict)
    """Where pods' requests were seen from last, by pod and family."""

    # Objects

    def apply(self, *objects: Object) -> None:
        """As a user does. DriverError where one is refused."""
        whole = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.lab.kubectl("apply", "-f", "-", text=json.dumps(whole))

    def delete(self, kind: str, *names: str) -> None:
        """Delete, and wait until they are gone."""
        self.lab.kubectl("delete", kind, *names)

    def patch(self, kind: str, name: str, body: Object) -> None:
        """A merge patch."""
        self.lab.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(body))

    def select(self, name: str, applied_to: Object) -> None:
        """Let an Egress select other pods."""
        whole = {"podSelector": None, "namespaceSelector": None, **applied_to}
        self.patch("egress", name, {"spec": {"appliedTo": whole}})

    def run(self, *pods: Object) -> None:
        """Create pods and wait until they run."""
        self.apply(*pods)
        names = [f"pod/{item['metadata']['name']}" for item in pods]
        self.lab.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=20s", *names)

    def get(self, resource: Resource[T], name: str, namespace: str | None = None) -> T:
        """An object, without a kubectl of its own, for what is asked again and again."""

        async def got() -> T:
            async with Client(load(str(self.lab.record.kubeconfig))) as client:
                return await client.get(resource, name, namespace)

        return asyncio.run(got())

    def listed(self, resource: Resource[T], namespace: str | None = None) -> tuple[T, ...]:
        """At most 500 objects of a kind."""

        async def got() -> tuple[T, ...]:
            async with Client(load(str(self.lab.record.kubeconfig))) as client:
                return tuple((await client.list_page(resource, namespace)).items)

        return asyncio.run(got())

    def delete_all(self, *resources: Resource[Any]) -> None:
        """Delete all objects of some kinds but the standing pods, and wait for none of them."""

        async def deleted() -> None:
            async with Client(load(str(self.lab.record.kubeconfig))) as client:
                for resource in resources:
                    path = resource.path(NAMESPACE if resource.namespaced else None)
                    await client.request("DELETE", path, params={"labelSelector": "!standing"})

        asyncio.run(deleted())

    def status(self, name: str) -> EgressStatus:
        """The status of an Egress."""
        return self.get(EGRESSES, name).status

    def holder(self, name: str) -> str:
        """The node that holds an Egress's address, as its status says."""
        return self.status(name).egress_node

    def held(self, name: str) -> tuple[str, str]:
        """The address and the node of an Egress, as its status says."""
        status = self.status(name)
        return status.egress_ip, status.egress_node

    def pod_addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a pod, IPv4 first."""
        return self.get(PODS, name, NAMESPACE).addresses

    def conditions(self, name: str) -> dict[str, str]:
        """The conditions of an Egress: status by type."""
        return {item.type: item.status for item in self.status(name).conditions}

    def usage(self, name: str) -> IPPoolUsage:
        """How full a pool is."""
        return self.get(POOLS, name).status.usage

    def events(self, kind: str, name: str, *, component: str = "") -> list[tuple[str, str]]:
        """Reason and message of the events about an Egress or a Node, as often as they occurred, in their order.

        Those about an earlier object of the same name are left out.
        """
        uid = self.get(EGRESSES, name).metadata.uid if kind == "Egress" else name
        found = self.lab.objects("events", "-n", "default", f"--field-selector=involvedObject.kind={kind}")
        found = [item for item in found if item["involvedObject"].get("uid") == uid]
        found.sort(key=lambda item: str(item["metadata"]["name"]))
        return [
            (item["reason"], item["message"])
            for item in found
            if component in ("", item["reportingComponent"])
            for _ in range(item["count"])
        ]

    # Packets

    def frames(self, since: int = 0) -> list[Frame]:
        """Frames to the server that arrived before the router, but for the first `since` ones."""
        return self.capture.settle()[since:]

    @contextlib.contextmanager
    def only(self, *sources: str) -> Iterator[None]:
        """While the block runs, no frame to the server has another source: none leaks."""
        before = len(self.frames())
        yield
        astray = [frame for frame in self.frames(before) if frame.source not in sources]
        assert not astray, f"these frames left, and only {sources} may be seen: {astray}"

    def asked(self, pod: str, side: Side, protocol: str = "udp", timeout: float = 0.1) -> Asked:
        """One request to the server. UDP hears at once where it is dropped; TCP only with its second SYN."""
        return self.lab.ask(pod, protocol, side.server, timeout=timeout)

    def leaves(
        self, pod: str, side: Side, source: str, node: str, protocol: str = "http", *, or_by: Sequence[str] = ()
    ) -> None:
        """A request that is made now is seen from `source`, comes by `node`, and is traced so.

        `or_by` are nodes that trace tells of as well: it cannot know which of several holders is heard first.
        """
        before = len(self.frames())
        with self.only(source):
            asked = self.asked(pod, side, protocol, timeout=2.0)
        assert asked.source == source, f"{pod} was seen from {asked.source or asked.error}, not from {source}"
        macs = self.lab.node_macs()
        ways = {(frame.source, macs.get(frame.mac)) for frame in self.frames(before) if frame.port == asked.port}
        assert ways == {(source, node)}, f"the request of {pod} came by {ways}"
        self.sources[pod, side.family] = source
        self.assert_as_traced(pod, side, source, *sorted((node, *or_by)))

    def is_dropped(self, pod: str, side: Side, protocol: str = "http") -> None:
        """A request that is made now does not reach the server, no frame of it does, and it is traced so."""
        with self.only():
            asked = self.asked(pod, side, protocol, timeout=0.3)
        assert not asked.source, f"{pod} was seen from {asked.source}"
        self.sources[pod, side.family] = ""
        self.assert_as_traced(pod, side, "", "")

    def comes_to_leave(
        self, pod: str, side: Side, source: str, node: str, seconds: float = 5.0, *, or_by: Sequence[str] = ()
    ) -> None:
        """Within some seconds its requests are seen from `source` and come by `node`, and until then only from where
        they were before. Neighbours know the node a moment after the status does."""
        self.turns_to(pod, side, source, node, seconds)
        self.leaves(pod, side, source, node, or_by=or_by)

    def turns_to(self, pod: str, side: Side, source: str, node: str, seconds: float = 5.0) -> None:
        """The waiting of `comes_to_leave` alone."""
        with self.only(source, self._before(pod, side)):
            becomes(lambda: self._way(pod, side), (source, {node}), seconds)
        self.sources[pod, side.family] = source

    def _way(self, pod: str, side: Side) -> tuple[str, set[str]]:
        """Where a request that is made now is seen from, and the nodes that its frames came by."""
        before = len(self.frames())
        asked = self.asked(pod, side)
        macs = self.lab.node_macs()
        mine = [frame for frame in self.frames(before) if (frame.source, frame.port) == (asked.source, asked.port)]
        return asked.source, {macs.get(frame.mac, "") for frame in mine}

    def comes_to_be_dropped(self, pod: str, side: Side, seconds: float = 5.0) -> None:
        """Within some seconds its requests are dropped, and until then seen only from where they were before."""
        with self.only(self._before(pod, side)):
            becomes(lambda: self.asked(pod, side).source, "", seconds)
        self.is_dropped(pod, side)

    def _before(self, pod: str, side: Side) -> str:
        number = pod.rpartition("-")[2]
        return self.sources.get((pod, side.family), side.node(int(number)) if number.isdigit() else "")

    @contextlib.contextmanager
    def flowing(self, pod: str, *sides: Side, protocol: str = "http", timeout: float = 1.0) -> Iterator["Flows"]:
        """While the block runs, the pod makes 50 requests a second in each family; the lists of them grow meanwhile."""
        asked: Flows = {side.family: [] for side in sides}
        children = [
            self.lab.asker(pod, protocol, side.server, timeout=timeout, count=0, interval=0.02) for side in sides
        ]
        readers = [
            threading.Thread(target=lambda child, into: into.extend(answers(child)), args=pair)
            for pair in zip(children, asked.values(), strict=True)
        ]
        for reader in readers:
            reader.start()
        try:
            until(lambda: all(len(each) >= 10 for each in asked.values()), "requests flow")
            yield asked
        finally:
            for child, reader in zip(children, readers, strict=True):
                child.send_signal(signal.SIGINT)
                child.wait()
                reader.join()

    def trace(self, pod: str, destination: str) -> list[tuple[str, str]]:
        """The ways that `sallyport trace` tells of: source and node, both "" where the packet is dropped."""
        argv = ["trace", pod, destination, "-o", "json", "--kubeconfig", str(self.lab.record.kubeconfig)]
        done = CliRunner().invoke(build(), argv)
        if done.exit_code != 0:
            raise DriverError(f"sallyport {' '.join(argv)}: {done.output}")
        ways: list[Object] = json.loads(done.stdout)["ways"]
        return [(way["source"], way["node"]) if way["verdict"] == "left" else ("", "") for way in ways]

    def assert_as_traced(self, pod: str, side: Side, source: str, *nodes: str) -> None:
        """`trace` tells the way that was seen. The objects that it reads may trail behind the packets a little."""
        becomes(lambda: sorted(self.trace(pod, side.server)), [(source, node) for node in nodes], 3.0)

    # The ordinary path

    def clear(self) -> None:
        """Delete what a test made; then no node has an egress IP and standing pods have their ordinary path again."""
        self.delete_all(EGRESSES, POOLS, PODS)
        until(self.is_ordinary, "the ordinary path is back", 15)
        self.sources.clear()

    def is_ordinary(self) -> bool:
        """Whether no node has an egress IP, no pod is left but the standing ones, and these are seen with their nodes'
        addresses."""
        if len(self.listed(PODS, NAMESPACE)) != len(NODES) or any(self.extra_addresses(number) for number in NODES):
            return False
        return all(
            self.asked(pod(number), side).source == side.node(number) for number in NODES for side in SIDES.values()
        )

    def addresses(self, number: int) -> set[str]:
        """The global addresses of a node's uplink."""
        listed: list[Object] = json.loads(
            self.lab.execute(f"node-{number}", "ip", "-j", "address", "show", "dev", "eth0")
        )
        found = [entry["local"] for item in listed for entry in item["addr_info"] if entry["scope"] == "global"]
        return {str(ipaddress.ip_address(address)) for address in found}

    def extra_addresses(self, number: int) -> set[str]:
        """Those that are not the node's own."""
        return self.addresses(number) - {side.node(number) for side in SIDES.values()}
