"""What a packet test says of egress gateways: Calico's objects in a few words, and expectations of shared ways."""

import asyncio
import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from tests.lab.scene import NAMESPACE, NODES, SIDES, Scene, Side, becomes, pod

from sallyport.apis.antrea.types import EGRESSES, POOLS
from sallyport.apis.calico.annotations import MAX_NEXT_HOPS, NAMESPACE_SELECTOR, NEXT_HOPS, POLICY, SELECTOR
from sallyport.apis.calico.types import EGRESSGATEWAYPOLICIES, EGRESSGATEWAYS, EgressGatewayStatus
from sallyport.apis.core import NAMESPACES, PODS
from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.lab import namespaces
from sallyport.lab.ask import PORTS, Echo
from sallyport.lab.driving import until

Object = dict[str, Any]

OUT = "out"
"""Three standing gateways, one on each node."""
LEFT, RIGHT = "left", "right"
"""Two more, each with one pod, on node-2 and on node-3."""
HOME = "default"
"""The namespace of the standing gateways. Each of their pods has an address of each family."""
AT_HOME = f"projectcalico.org/name == '{HOME}'"
ELSEWHERE = {4: "203.0.113.20", 6: "2001:db8:113::20"}
"""More addresses of the server, so that a client has two destinations."""
PROBED = {4: "203.0.113.30", 6: "2001:db8:113::30"}
"""Addresses of the server for gateways' own probes: what goes there is in no capture, so that it passes for no leak."""
_ASKED_FOR = (SELECTOR, NAMESPACE_SELECTOR, MAX_NEXT_HOPS, POLICY, NEXT_HOPS)


def elsewhere(side: Side) -> Side:
    """The server by its other address."""
    return dataclasses.replace(side, server=ELSEWHERE[side.family])


def felix(**spec: object) -> Object:
    """FelixConfiguration `default`: polls twice a second, and whatever the test says."""
    quick = {"egressGatewayPollInterval": "500ms", "egressGatewayPollFailureCount": 2}
    whole = {"egressIPSupport": "EnabledPerNamespaceOrPerPod", **quick, **spec}
    return _calico("FelixConfiguration", "default", whole)


def pool(name: str, cidr: str) -> Object:
    """An IPPool for those who name it."""
    size = 128 if ":" in cidr else 32
    return _calico("IPPool", name, {"cidr": cidr, "blockSize": size, "nodeSelector": "!all()"})


def policy(name: str, *rules: Object) -> Object:
    """An EgressGatewayPolicy."""
    return _calico("EgressGatewayPolicy", name, {"rules": list(rules)})


def rule(cidr: str = "", by: str = "", *, at_most: int = 0, local: bool = False) -> Object:
    """To a network ("": to all others) by gateways, their names between commas ("": by none, the ordinary way)."""
    made: Object = {"destination": {"cidr": cidr}} if cidr else {}
    if by:
        made["gateway"] = {"selector": _named(by), "namespaceSelector": AT_HOME, "maxNextHops": at_most}
    if local:
        made["gatewayPreference"] = "PreferNodeLocal"
    return made


def _named(names: str) -> str:
    return f"gw in {{{', '.join(repr(name) for name in names.split(','))}}}"


def _calico(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name}, "spec": spec}


POOLS_OF_BOTH = (pool("four", "10.10.2.0/27"), pool("six", "fd10:10::2:0/123"))


def gateway(
    name: str,
    *pools: Object,
    replicas: int = 1,
    node: int = 0,
    namespace: str = HOME,
    template: Mapping[str, object] | None = None,
    **spec: object,
) -> Object:
    """An EgressGateway whose pods are labelled `gw: NAME`, on node-NODE if that is given; they end at once.

    `pools` are as in `spec.ipPools`, one of each family if there are none. Its pods are asked every second for their
    readiness, and believed at once.
    """
    readiness = {"periodSeconds": 1, "failureThreshold": 1}
    pods: Object = {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "egress-gateway", "readinessProbe": readiness}],
    }
    if node:
        pods["nodeSelector"] = {"kubernetes.io/hostname": f"node-{node}"}
    whole = {
        "replicas": replicas,
        "ipPools": list(pools) or [{"name": "four"}, {"name": "six"}],
        "template": {"metadata": {"labels": {"gw": name}}, "spec": {**pods, **(template or {})}},
        **spec,
    }
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "operator.tigera.io/v1", "kind": "EgressGateway", "metadata": meta, "spec": whole}


STANDING = (gateway(OUT, replicas=3), gateway(LEFT, node=2), gateway(RIGHT, node=3))
STANDING_NAMES = (OUT, LEFT, RIGHT)


def asks(by: str, *, at_home: bool = True, at_most: int = 0) -> dict[str, str]:
    """Annotations that ask for gateways, their names between commas, in the standing ones' namespace or one's own."""
    found = {SELECTOR: _named(by)}
    if at_home:
        found[NAMESPACE_SELECTOR] = AT_HOME
    return found | ({MAX_NEXT_HOPS: str(at_most)} if at_most else {})


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """A connection that is kept open, and the source that the server saw when it was made."""

    echo: Echo
    source: str

    @property
    def alive(self) -> bool:
        """Whether a line comes back over it now. One that has failed once is of no use any more."""
        try:
            return self.echo.ask()[0] == self.source
        except (OSError, ValueError):
            return False


class GatewayScene(Scene):
    """A lab with standing pods, standing gateways, and pools of each family that they have their addresses from."""

    def furnish(self) -> None:
        """Make what is there for all tests."""
        for addresses in (ELSEWHERE, PROBED):
            self.lab.execute("server", "ip", "address", "add", f"{addresses[4]}/24", "dev", "eth0")
            self.lab.execute("server", "ip", "address", "add", f"{addresses[6]}/64", "dev", "eth0", "nodad")
        self.apply(felix(), *POOLS_OF_BOTH, *STANDING)
        self.stand(*STANDING_NAMES)

    # What users read and write

    def state(self, name: str, namespace: str = HOME) -> EgressGatewayStatus:
        """The status of an EgressGateway."""
        return self.get(EGRESSGATEWAYS, name, namespace).status

    def stand(self, *names: str, namespace: str = HOME, seconds: float = 20.0) -> None:
        """Wait until all pods of these gateways carry traffic."""
        for name in names:
            becomes(partial(self._standing, name, namespace), "Ready", seconds)

    def _standing(self, name: str, namespace: str) -> str:
        whole = self.get(EGRESSGATEWAYS, name, namespace)
        same = len(whole.status.gateways) == whole.status.ready_replicas == whole.spec.replicas
        return whole.status.state if same else f"{whole.status.ready_replicas} are ready"

    def ways(self, name: str, side: Side, namespace: str = HOME) -> dict[str, str]:
        """Addresses of a gateway's ready pods in a family, and their nodes."""
        return {
            address: row.node
            for row in self.state(name, namespace).gateways
            for address in row.addresses
            if row.ready and (":" in address) == (side.family == 6)
        }

    def way(self, name: str, side: Side, namespace: str = HOME) -> tuple[str, str]:
        """Address and node of a gateway with one pod."""
        ((address, node),) = self.ways(name, side, namespace).items()
        return address, node

    def condition(self, name: str, kind: str, namespace: str = HOME) -> tuple[str, str, str]:
        """Status, reason and message of a condition; empty where it is not there."""
        for item in self.state(name, namespace).conditions:
            if item.type == kind:
                return item.status, item.reason, item.message
        return "", "", ""

    def annotate(self, where: str, annotations: Mapping[str, str | None]) -> None:
        """Annotate a namespace, or a pod given as NAMESPACE/NAME; None removes."""
        owner, slash, name = where.partition("/")

        async def annotated() -> None:
            async with Client(load(str(self.lab.record.kubeconfig))) as client:
                body = {"metadata": {"annotations": dict(annotations)}}
                if slash:
                    await client.patch(PODS, name, body, owner)
                else:
                    await client.patch(NAMESPACES, owner, body)

        asyncio.run(annotated())

    def warnings(self, kind: str, name: str, namespace: str = "default") -> list[tuple[str, str]]:
        """Reason and message of the warnings about an object; those about cluster-wide ones lie in `default`."""
        wanted = f"--field-selector=involvedObject.kind={kind},involvedObject.name={name}"
        found = self.lab.objects("events", "-n", namespace, wanted)
        return [(item["reason"], item["message"]) for item in found if item["type"] == "Warning"]

    def processes(self, gateway_pod: str) -> list[int]:
        """Pids of what runs in a pod of the standing gateways' namespace."""
        return sorted(namespaces.members([self.lab.space(f"{HOME}/{gateway_pod}")]))

    # Packets

    def shares(self, pod: str, side: Side, ways: Mapping[str, str], count: int = 24) -> Counter[str]:
        """Connections that are made now are all answered, leave by these ways alone, each address by its node, and are
        traced so; how many were seen from which address."""
        before = len(self.frames())
        with self.only(*ways):
            seen = [self.asked(pod, side, "tcp", timeout=2.0) for _ in range(count)]
        assert not [item.error for item in seen if item.error]
        macs, ports = self.lab.node_macs(), {item.port for item in seen}
        frames = {(frame.source, macs.get(frame.mac)) for frame in self.frames(before) if frame.port in ports}
        assert frames <= set(ways.items()), f"{frames}, and only {ways} may be seen"
        becomes(lambda: sorted(self.trace(pod, side.server)), sorted(ways.items()), 3.0)
        return Counter(item.source for item in seen)

    def comes_to_share(
        self, pod: str, side: Side, ways: Mapping[str, str], seconds: float = 5.0, *, before: Sequence[str] = ()
    ) -> Counter[str]:
        """Within some seconds its connections leave by all of these ways and no other; until then by those or from
        `before`."""
        with self.only(*ways, *before):
            becomes(lambda: sorted(self.trace(pod, side.server)), sorted(ways.items()), seconds)
            becomes(lambda: {self.asked(pod, side, timeout=0.5).source for _ in range(24)}, set(ways), 3.0)
        return self.shares(pod, side, ways)

    def comes_to_be_dropped(self, pod: str, side: Side, seconds: float = 5.0) -> None:
        """As for any client; `trace` is waited for first, since on a busy machine a late answer passes for a drop."""
        with self.only(self._before(pod, side)):
            becomes(lambda: self.trace(pod, side.server), [("", "")], seconds)
        super().comes_to_be_dropped(pod, side, seconds)

    @contextlib.contextmanager
    def holding(self, pod: str, side: Side, count: int) -> Iterator[list[Held]]:
        """So many connections to the server, open while the block runs. An answer is waited for half a second."""
        held: list[Held] = []
        with contextlib.ExitStack() as stack:

            def opened() -> None:
                for _ in range(count):
                    echo = stack.enter_context(Echo(side.server, PORTS["tcp"], 0.5))
                    held.append(Held(echo, echo.ask()[0]))

            namespaces.inside(self.lab.space(pod), opened)
            yield held

    def reaches_the_cluster(self, *pods: str) -> None:
        """Each of these pods reaches another node's pod, in both families."""
        for client in pods:
            other = pod(3 if client == pod(1) else 1)
            for address in self.pod_addresses(other.partition("/")[2]):
                self.lab.execute(client, "ping", "-c", "1", "-W", "1", address)

    # The ordinary path

    def clear(self) -> None:
        """Take back what a test made and asked for; the ordinary path and the standing gateways are there again."""
        self.delete_all(EGRESSES, POOLS, PODS, EGRESSGATEWAYPOLICIES)
        self.delete("pod", "-n", HOME, "-l", "!pod-template-hash")  # those that no Deployment has made
        # A connection that was cut off repeats its FIN for minutes. Once conntrack has forgotten it, no NAT touches it,
        # and it leaves with the pod's own address in the middle of another test.
        for number in NODES:
            self.lab.execute(pod(number), "ss", "-K", "-t", "-a")
        nothing: dict[str, str | None] = dict.fromkeys(_ASKED_FOR)
        for where in (NAMESPACE, HOME, *(pod(number) for number in NODES)):
            self.annotate(where, nothing)
        for namespace in (HOME, NAMESPACE):
            for item in self.listed(EGRESSGATEWAYS, namespace):
                if item.metadata.name not in STANDING_NAMES:
                    self.delete("egressgateway", item.metadata.name, "-n", namespace)
        self.apply(felix(), *STANDING)
        self.stand(*STANDING_NAMES)
        until(self.is_ordinary, "the ordinary path is back", 15)
        self.sources.clear()

    def is_ordinary(self) -> bool:
        """Whether no client is left but the standing ones, these are seen with their nodes' addresses, and no gateways
        are there but the standing ones."""
        if len(self.listed(PODS, NAMESPACE)) != len(NODES) or len(self.listed(PODS, HOME)) != len(NODES) + 2:
            return False
        return all(
            self.asked(pod(number), side).source == side.node(number) for number in NODES for side in SIDES.values()
        )
