"""Histories of a small cluster's objects, drawn at random: what users and we write, one snapshot after the other.

Labels, namespaces and addresses are few on purpose, so that objects meet.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, TypeVar

import msgspec

from sallyport.apis.antrea.objects import Changes
from sallyport.apis.antrea.types import Egress, ExternalIPPool
from sallyport.apis.calico.annotations import GATEWAY_LABEL, IPV4_POOLS, MAX_NEXT_HOPS, POLICY, SELECTOR
from sallyport.apis.calico.objects import CalicoObjects
from sallyport.apis.calico.pods import GatewayPod
from sallyport.apis.calico.types import EgressGatewayPolicy, FelixConfiguration, IPPool
from sallyport.apis.core import ConfigMap, Namespace, Node, Pod
from sallyport.apis.objects import Objects

T = TypeVar("T")
NODES = ("node-1", "node-2", "node-3")
SPACES = ("one", "two", "three")
ADDRESSES = ("10.1.0.1", "10.1.0.2", "10.2.0.9", "fd00:1::1", "10.0.0.1")
ALLOCATED = "sallyport.io/allocated-ip"


@dataclass
class _Cluster:
    """All objects, by kind and name."""

    random: Random
    egresses: dict[str, Egress]
    pods: dict[tuple[str, str], Pod]
    few: dict[str, dict[str, Any]]

    def some(self, *values: T) -> T:
        return self.random.choice(values)

    def once_in(self, count: int) -> bool:
        return self.random.randrange(count) == 0


def histories(random: Random, steps: int = 5) -> list[Objects]:
    """Snapshots in order. What has not changed from one to the next is the very same object, as in a watch's cache."""
    cluster = _Cluster(random, {}, {}, {kind: {} for kind in _FEW})
    found: list[Objects] = []
    for step in range(steps):
        for _ in range(random.randrange(30, 60) if step == 0 else random.randrange(1, 4)):
            cluster.some(_egress, _egress, _egress, _pod, _pod, _pod, _one_of_few)(cluster)
        found.append(_objects(cluster, found[-1] if found else Objects()))
    return found


def changes(before: Objects, after: Objects) -> Changes:
    """What is to be told of between two snapshots."""

    def changed(old: Sequence[Any], new: Sequence[Any], key: Callable[[Any], Any]) -> dict[Any, Any]:
        was, now = {key(item): item for item in old}, {key(item): item for item in new}
        return {name: now.get(name) for name in was | now if was.get(name) is not now.get(name)}

    return Changes(
        changed(before.egresses, after.egresses, lambda item: item.metadata.name),
        changed(before.pods, after.pods, lambda item: (item.metadata.namespace, item.metadata.name)),
    )


def _objects(cluster: _Cluster, before: Objects) -> Objects:
    """A snapshot that keeps the tuples of the one before where they have the same in them."""

    def kept(new: tuple[T, ...], old: tuple[T, ...]) -> tuple[T, ...]:
        same = len(new) == len(old) and all(a is b for a, b in zip(new, old, strict=True))
        return old if same else new

    few = {kind: tuple(item for _, item in sorted(there.items())) for kind, there in cluster.few.items()}
    names = {"gateways": "pods", "ip_pools": "pools", "policies": "policies", "felix": "felix"}
    calico: dict[str, Any] = {name: kept(few[kind], getattr(before.calico, name)) for kind, name in names.items()}
    same = all(value is getattr(before.calico, name) for name, value in calico.items())
    return Objects(
        egresses=tuple(item for _, item in sorted(cluster.egresses.items())),
        pods=tuple(item for _, item in sorted(cluster.pods.items())),
        pools=kept(few["pools"], before.pools),
        nodes=kept(few["nodes"], before.nodes),
        namespaces=kept(few["namespaces"], before.namespaces),
        configmaps=kept(few["configmaps"], before.configmaps),
        service_networks=before.service_networks or ("10.96.0.0/16",),
        calico=before.calico if same else CalicoObjects(**calico),
    )


def _put(there: dict[Any, T], key: Any, item: T | None) -> None:
    if item is None:
        there.pop(key, None)
    else:
        there[key] = item


def _labels(cluster: _Cluster) -> dict[str, str]:
    return {key: cluster.some("a", "b") for key in ("app", "tier") if not cluster.once_in(3)}


def _selector(cluster: _Cluster) -> dict[str, object]:
    if cluster.once_in(3):
        operator = cluster.some("In", "NotIn", "Exists", "Odd")
        values = ["a", "b"][: cluster.some(1, 2)] if operator in ("In", "NotIn") else []
        return {"matchExpressions": [{"key": "app", "operator": operator, "values": values}]}
    return {"matchLabels": {} if cluster.once_in(4) else {cluster.some("app", "tier"): cluster.some("a", "b")}}


def _egress(cluster: _Cluster) -> None:
    name = f"egress-{cluster.some(*'abcdefgh')}"
    there = cluster.egresses.get(name)
    if there is not None and cluster.once_in(5):
        _put(cluster.egresses, name, None)
        return
    if there is not None and cluster.once_in(2):
        cluster.egresses[name] = msgspec.structs.replace(
            there, status=msgspec.convert(_status(cluster), type(there.status))
        )
        return
    applied: dict[str, object] = {} if cluster.once_in(8) else {"podSelector": _selector(cluster)}
    if cluster.once_in(3):
        applied["namespaceSelector"] = _selector(cluster)
    address = cluster.some("", "", *ADDRESSES, "wrong")
    notes = {ALLOCATED: address} if cluster.once_in(2) else {}
    pool = cluster.some("", "near", "near", "near", "far", "absent")
    value = {
        "metadata": {
            "name": name,
            "uid": f"{name}-{cluster.random.random()}",
            "creationTimestamp": cluster.some("1", "2"),
            "annotations": notes,
        },
        "spec": {"appliedTo": applied, "egressIP": address, "externalIPPool": pool},
        "status": _status(cluster),
    }
    cluster.egresses[name] = msgspec.convert(value, Egress)


def _status(cluster: _Cluster) -> dict[str, object]:
    if cluster.once_in(3):
        return {}
    return {
        "egressNode": cluster.some("", *NODES),
        "egressIP": cluster.some("", *ADDRESSES),
        "allocatedIP": cluster.some(*ADDRESSES),
        "id": cluster.some(1, 2, 3, 4, 5),
        "nodes": cluster.random.sample(NODES, cluster.some(1, 2)),
    }


def _pod(cluster: _Cluster) -> None:
    key = (cluster.some(*SPACES, "unheard"), f"pod-{cluster.some(*'abcdefgh')}")
    if key in cluster.pods and cluster.once_in(4):
        _put(cluster.pods, key, None)
        return
    last = cluster.some(*range(2, 20))
    addresses = cluster.some((), (f"10.9.0.{last}",), (f"10.9.0.{last}", f"fd09::{last}"), (f"fd09::{last}",), ("odd",))
    value = {
        "metadata": {"name": key[1], "namespace": key[0], "labels": _labels(cluster), "annotations": _asking(cluster)},
        "spec": {"nodeName": cluster.some("", *NODES), "hostNetwork": cluster.once_in(9)},
        "status": {
            "phase": cluster.some("Running", "Running", "Pending", "Failed"),
            "podIPs": [{"ip": text} for text in addresses],
        },
    }
    cluster.pods[key] = msgspec.convert(value, Pod)


def _asking(cluster: _Cluster) -> dict[str, str]:
    if not cluster.once_in(6):
        return {}
    limited = {MAX_NEXT_HOPS: "1"} if cluster.once_in(2) else {}
    return cluster.some({POLICY: cluster.some("rule", "absent")}, {SELECTOR: "app == 'a'", **limited})


def _one_of_few(cluster: _Cluster) -> None:
    kind = cluster.some(*_FEW)
    name, item = _FEW[kind](cluster)
    if name in cluster.few[kind] and cluster.once_in(4):
        item = None
    _put(cluster.few[kind], name, item)


def _node(cluster: _Cluster) -> tuple[str, Node]:
    number = cluster.some(1, 2, 3)
    notes = {"node.antrea.io/max-egress-ips": cluster.some("0", "1", "2", "wrong")} if cluster.once_in(3) else {}
    value = {
        "metadata": {"name": f"node-{number}", "labels": _labels(cluster), "annotations": notes},
        "spec": {"podCIDRs": [f"10.9.{number}.0/24"]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": text}
                for text in (f"10.0.0.{number}", *(["10.1.0.2"] if cluster.once_in(3) else ()), f"fd00::{number}")
            ]
        },
    }
    return f"node-{number}", msgspec.convert(value, Node)


def _pool(cluster: _Cluster) -> tuple[str, ExternalIPPool]:
    name = cluster.some("near", "near", "far")
    ranges = cluster.some(
        [{"cidr": "10.1.0.0/30"}], [{"start": "10.1.0.1", "end": "10.1.0.6"}, {"cidr": "fd00:1::/126"}]
    )
    if name == "far":
        ranges = [{"start": "10.1.0.5", "end": "10.1.0.8"}]
    spec = {"ipRanges": ranges, "nodeSelector": {} if cluster.once_in(2) else _selector(cluster)}
    meta = {"name": name, "uid": name, "creationTimestamp": cluster.some("1", "2")}
    return name, msgspec.convert({"metadata": meta, "spec": spec}, ExternalIPPool)


def _namespace(cluster: _Cluster) -> tuple[str, Namespace]:
    name = cluster.some(*SPACES)
    meta = {"name": name, "uid": name, "labels": _labels(cluster), "annotations": _asking(cluster)}
    return name, msgspec.convert({"metadata": meta}, Namespace)


def _configuration(cluster: _Cluster) -> tuple[str, ConfigMap]:
    text = cluster.some("", "egress:\n  maxEgressIPsPerNode: 2\n", "featureGates:\n  Egress: false\n", "egress: odd\n")
    meta = {"name": "antrea-config", "namespace": "kube-system"}
    return "antrea-config", msgspec.convert({"metadata": meta, "data": {"antrea-agent.conf": text}}, ConfigMap)


def _felix(cluster: _Cluster) -> tuple[str, FelixConfiguration]:
    spec = {
        "egressIPSupport": cluster.some("Disabled", "EnabledPerNamespace", "EnabledPerNamespaceOrPerPod"),
        "externalNetworkSupport": cluster.some("Disabled", "Enabled"),
    }
    return "default", msgspec.convert({"metadata": {"name": "default"}, "spec": spec}, FelixConfiguration)


def _gateway(cluster: _Cluster) -> tuple[str, GatewayPod]:
    name = f"gateway-{cluster.some('a', 'b')}"
    value = {
        "metadata": {
            "name": name,
            "namespace": "one",
            "uid": name,
            "labels": {GATEWAY_LABEL: "red", "app": cluster.some("a", "b")},
            "annotations": {IPV4_POOLS: '["red"]'},
        },
        "spec": {"nodeName": cluster.some("", *NODES)},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": cluster.some("True", "False")}]},
    }
    return name, msgspec.convert(value, GatewayPod)


def _ip_pool(cluster: _Cluster) -> tuple[str, IPPool]:
    cidr = cluster.some("10.10.0.0/30", "10.10.0.0/32", "wrong")
    return "red", msgspec.convert({"metadata": {"name": "red"}, "spec": {"cidr": cidr}}, IPPool)


def _policy(cluster: _Cluster) -> tuple[str, EgressGatewayPolicy]:
    gateway = {"selector": "app == 'a'", "namespaceSelector": "all()", "maxNextHops": cluster.some(0, 1)}
    rules = [{"gateway": gateway}, {"destination": {"cidr": "198.51.100.0/24"}}]
    return "rule", msgspec.convert({"metadata": {"name": "rule"}, "spec": {"rules": rules}}, EgressGatewayPolicy)


_FEW: Mapping[str, Callable[[_Cluster], tuple[str, Any]]] = {
    "nodes": _node,
    "pools": _pool,
    "namespaces": _namespace,
    "configmaps": _configuration,
    "felix": _felix,
    "gateways": _gateway,
    "ip_pools": _ip_pool,
    "policies": _policy,
}


def seen_by(objects: Objects, node: str) -> Objects:
    """What the agent of a node is told: of pods, its own."""
    return replace(objects, pods=tuple(pod for pod in objects.pods if pod.spec.node_name == node))
