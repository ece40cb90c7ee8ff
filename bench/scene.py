"""The cluster of the benchmarks of gateways and networks: the lab `networks`, its two networks, and a client."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from sallyport.apis.calico.types import EGRESSGATEWAYS, GatewayPod
from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.lab.driving import Lab, until
from sallyport.lab.supervisor import take_down

Object = dict[str, Any]
T = TypeVar("T")

SERVER = "105.8.10.1"
"""The address that a host of each network has."""
TABLES = {"red": 500, "yellow": 600}
PEERS = {"red": ("172.31.11.1", 63400), "yellow": ("172.31.12.1", 63500)}
"""Address and AS number of each network's router."""
POOL = "10.20.0."
"""What the addresses of gateways begin with."""
CLIENT = "red/app"
"""The pod on node-1 that uses the gateways of red."""


@contextlib.contextmanager
def lab(name: str) -> Iterator[Lab]:
    """A lab with Calico's options and the two networks, without peers; gone after the block, whatever happens."""
    made = Lab.up("networks", name)
    try:
        options = {"egressIPSupport": "EnabledPerNamespaceOrPerPod", "externalNetworkSupport": "Enabled"}
        networks = [calico("ExternalNetwork", key, {"routeTableIndex": table}) for key, table in TABLES.items()]
        apply(made, calico("FelixConfiguration", "default", options), *networks)
        yield made
    finally:
        take_down(made.record)


def calico(kind: str, name: str, spec: Object) -> Object:
    """An object of Calico's that has no namespace."""
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name}, "spec": spec}


def peer(network: str) -> Object:
    """The session of node-2 and node-3 with a network's router, watched by BFD."""
    address, number = PEERS[network]
    spec = {
        "nodeSelector": "egress == 'true'",
        "peerIP": address,
        "asNumber": number,
        "sourceAddress": "None",
        "failureDetectionMode": "BFDIfDirectlyConnected",
        "externalNetwork": network,
    }
    return calico("BGPPeer", network, spec)


def gateway(replicas: int, node: str = "") -> Object:
    """The EgressGateway of red, with the times that it has by default; on one node alone if that is given."""
    selector = {"kubernetes.io/hostname": node} if node else {"egress": "true"}
    spec = {
        "replicas": replicas,
        "ipPools": [{"name": "red"}],
        "externalNetworks": ["red"],
        "template": {"metadata": {"labels": {"code": "red"}}, "spec": {"nodeSelector": selector}},
    }
    meta = {"name": "red", "namespace": "default"}
    return {"apiVersion": "operator.tigera.io/v1", "kind": "EgressGateway", "metadata": meta, "spec": spec}


def furnish(made: Lab, replicas: int, node: str = "") -> None:
    """Peers, gateways of red that all serve, and the client."""
    prefix = "egress.projectcalico.org"
    chosen = {f"{prefix}/selector": "code == 'red'", f"{prefix}/namespaceSelector": "all()"}
    space, _, name = CLIENT.partition("/")
    pool = {"cidr": f"{POOL}0/28", "blockSize": 32, "nodeSelector": "!all()"}
    apply(made, calico("IPPool", "red", pool), *map(peer, PEERS), gateway(replicas, node))
    apply(
        made,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space, "annotations": chosen}},
        pod(space, name, "node-1"),
    )
    made.kubectl("wait", "-n", space, f"pod/{name}", "--for=condition=Ready", "--timeout=30s")
    stand(made, replicas)


def pod(space: str, name: str, node: str) -> Object:
    """A pod that does nothing of itself."""
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "none"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space}, "spec": spec}


def apply(made: Lab, *objects: Object) -> None:
    """As a user does. DriverError where one is refused."""
    made.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def stand(made: Lab, replicas: int, seconds: float = 60.0) -> None:
    """Wait until so many gateways serve and no other is left, and new connections use each of them."""
    until(lambda: len(ready(made)) == replicas == len(rows(made)), f"{replicas} gateways serve", seconds)
    wanted = set(ready(made))
    until(lambda: {made.ask(CLIENT, "tcp", SERVER).source for _ in range(8 * replicas)} == wanted, "all are used", 30)


def rows(made: Lab) -> tuple[GatewayPod, ...]:
    """The gateways' pods as the status shows them."""
    return on_api(made, lambda client: client.get(EGRESSGATEWAYS, "red", "default")).status.gateways


def ready(made: Lab) -> dict[str, GatewayPod]:
    """Gateways that serve, by address."""
    return {address: row for row in rows(made) if row.ready for address in row.addresses}


def on_api(made: Lab, work: Callable[[Client], Awaitable[T]]) -> T:
    """What `work` gives, with a client of the lab's API: without a kubectl of its own, which takes its time."""

    async def done() -> T:
        async with Client(load(str(made.record.kubeconfig))) as client:
            return await work(client)

    return asyncio.run(done())
