"""The objects of a large cluster: nodes with living agents, Egresses that select 20 pods each, and pods in two Egresses
each.

Label sets are those of five pods or, with a label of its own for each pod, of one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import msgspec

from bench.apiserver import Stored
from sallyport.apis.antrea.objects import Changes
from sallyport.apis.antrea.status import from_controller, from_holder
from sallyport.apis.antrea.translate import ALLOCATED_ANNOTATION
from sallyport.apis.antrea.types import Egress, ExternalIPPool
from sallyport.apis.core import Namespace, Node, Pod
from sallyport.apis.incremental import Translation
from sallyport.apis.objects import Objects
from sallyport.model.settings import Settings
from sallyport.plan.incremental import Planning
from sallyport.processes.settings import LEASE_PREFIX, NAMESPACE

STAMP = "2026-01-01T00:00:00Z"
SPACES = 100
"""Namespaces that pods are in."""
SHARED, OWN = 5, 1
"""Pods that have the same labels."""


@dataclass(frozen=True, slots=True)
class Population:
    """How large a cluster is. `alike` pods have the same labels."""

    nodes: int
    egresses: int
    pods: int
    alike: int

    def __str__(self) -> str:
        kind = f"label sets of {self.alike} pods" if self.alike > 1 else "a label set per pod"
        return f"{self.egresses} Egresses, {self.pods} pods, {kind}"

    def stored(self) -> Iterator[Stored]:
        """All of it, as it is once the controller and the agents have acted on it."""
        yield from _named("namespaces", [namespace(NAMESPACE), *(namespace(f"team-{n}") for n in range(SPACES))])
        yield from _named("minions", self._nodes())
        yield from ((f"leases/{NAMESPACE}/{item['metadata']['name']}", item) for item in map(lease, range(self.nodes)))
        yield from _named("crd.antrea.io/externalippools", [POOL])
        yield from _named("crd.antrea.io/egresses", self.settled())
        for item in map(self.pod, range(self.pods)):
            yield f"pods/{item['metadata']['namespace']}/{item['metadata']['name']}", item

    def _nodes(self) -> list[dict[str, Any]]:
        return [node(number) for number in range(self.nodes)]

    def pod(self, number: int, *, fresh: bool = False) -> dict[str, Any]:
        """A pod that runs; those whose numbers follow each other are on different nodes. A fresh one is called
        otherwise than the one of its number, and where label sets are not shared it has one of its own, too."""
        group, half = number // SHARED, self.egresses // 2
        name = f"fresh-{number}" if fresh else f"pod-{number}"
        labels = {"app": "shop", "first": f"f{group * SHARED // 20}", "second": f"s{group % half}"}
        if self.alike == OWN:
            labels["own"] = name
        place = number // self.nodes + (512 if fresh else 2)
        address = _pods_of(number % self.nodes)[place]
        return pod(name, f"team-{number % SPACES}", labels, f"node-{number % self.nodes}", str(address))

    def egress(self, number: int) -> dict[str, Any]:
        """As a user writes it."""
        half = self.egresses // 2
        label = {"first": f"f{number}"} if number < half else {"second": f"s{number - half}"}
        return egress(f"egress-{number:05}", label)

    def egresses_of(self, number: int) -> tuple[str, str]:
        """The Egresses that select a pod."""
        group, half = number // SHARED, self.egresses // 2
        return f"egress-{group * SHARED // 20:05}", f"egress-{half + group % half:05}"

    def settled(self) -> list[dict[str, Any]]:
        """The Egresses with what the controller and holders write into them."""
        translation, planning = Translation(), Planning(Settings())
        few = Objects(
            nodes=tuple(msgspec.convert(item, Node) for item in self._nodes()),
            pools=(msgspec.convert(POOL, ExternalIPPool),),
            namespaces=tuple(msgspec.convert(namespace(f"team-{n}"), Namespace) for n in range(SPACES)),
        )
        now = {item["metadata"]["name"]: item for item in map(self.egress, range(self.egresses))}
        pods = (msgspec.convert(self.pod(number), Pod) for number in range(self.pods))
        by_key = {(item.metadata.namespace, item.metadata.name): item for item in pods}
        changes = Changes({name: msgspec.convert(item, Egress) for name, item in now.items()}, by_key)
        touched = translation.take(few, changes)
        planning.take(translation.state, touched, translation.selected)
        for name, item in now.items():
            assignment = planning.assignments[name]
            address = str(assignment.address)
            item["metadata"]["annotations"] = {ALLOCATED_ANNOTATION: address}
            item["spec"]["egressIP"] = address
            status = from_controller(
                msgspec.convert(item, Egress).status,
                assignment,
                clients=planning.clients[name],
                problems=(),
                overlaps=planning.overlaps_of(name),
                name=name,
                holder_gone=False,
                now=STAMP,
            )
            if assignment.address is None:
                raise AssertionError(f"{name} has no address")
            item["status"] = msgspec.to_builtins(from_holder(status, assignment.nodes[0], assignment.address, STAMP))
        return list(now.values())


def _named(place: str, objects: Iterable[Mapping[str, Any]]) -> Iterator[Stored]:
    for item in objects:
        yield f"{place}/{item['metadata']['name']}", item


def _meta(name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    within = {"namespace": namespace} if namespace else {}
    return {"name": name, **within, "uid": f"{namespace}-{name}", "creationTimestamp": STAMP, **more}


POOL: dict[str, Any] = {
    "apiVersion": "crd.antrea.io/v1beta1",
    "kind": "ExternalIPPool",
    "metadata": _meta("pool", generation=1),
    "spec": {"ipRanges": [{"start": "10.65.0.1", "end": "10.65.255.254"}], "nodeSelector": {}},
}


def namespace(name: str) -> dict[str, Any]:
    """A namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": _meta(name), "status": {"phase": "Active"}}


def _pods_of(node: int) -> IPv4Network:
    return IPv4Network((int(IPv4Address("10.128.0.0")) + node * 1024, 22))


def node(number: int) -> dict[str, Any]:
    """A node."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": _meta(f"node-{number}", labels={"kubernetes.io/os": "linux"}),
        "spec": {"podCIDR": str(_pods_of(number)), "podCIDRs": [str(_pods_of(number))]},
        "status": {"addresses": [{"type": "InternalIP", "address": f"10.64.{number // 250}.{number % 250 + 1}"}]},
    }


def lease(number: int) -> dict[str, Any]:
    """The Lease of an agent that lives for longer than a benchmark."""
    name = f"{LEASE_PREFIX}node-{number}"
    spec = {"holderIdentity": name, "leaseDurationSeconds": 10**9, "renewTime": "2026-01-01T00:00:00.000000Z"}
    meta = _meta(name, NAMESPACE)
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}


def egress(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """An Egress by a label of pods."""
    return {
        "apiVersion": "crd.antrea.io/v1beta1",
        "kind": "Egress",
        "metadata": _meta(name, generation=1),
        "spec": {"appliedTo": {"podSelector": {"matchLabels": dict(labels)}}, "externalIPPool": "pool"},
    }


def pod(name: str, namespace: str, labels: Mapping[str, str], node: str, address: str) -> dict[str, Any]:
    """A pod with one container, about as much of one as the API server stores."""
    probe = {"path": "/healthz", "port": 8080, "scheme": "HTTP"}
    container = {
        "name": "main",
        "image": "registry.example/shop/main:1.2.3",
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": "MODE", "value": "production"}, {"name": "LEVEL", "value": "info"}],
        "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "readinessProbe": {"httpGet": probe, "periodSeconds": 10, "timeoutSeconds": 1},
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    kinds = ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _meta(name, namespace, labels=dict(labels)),
        "spec": {
            "nodeName": node,
            "containers": [container],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "schedulerName": "default-scheduler",
        },
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "hostIP": "10.64.0.1",
            "qosClass": "Burstable",
            "startTime": STAMP,
            "conditions": [{"type": kind, "status": "True", "lastTransitionTime": STAMP} for kind in kinds],
        },
    }
