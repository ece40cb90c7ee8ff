"""Short ways to write a cluster's objects as they are decoded, for what Calico's kinds mean together."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from tests.unit.apis.calico import objects as manifests

from sallyport.apis.calico.annotations import (
    EXITS,
    GATEWAY_LABEL,
    IPV4_POOLS,
    IPV6_POOLS,
    NETWORK_NAMES,
)
from sallyport.apis.calico.bgp import BGPPeer
from sallyport.apis.calico.objects import CalicoObjects
from sallyport.apis.calico.pods import GatewayPod
from sallyport.apis.calico.translate import Translated, translate
from sallyport.apis.calico.types import (
    EgressGateway,
    EgressGatewayPolicy,
    ExternalNetwork,
    FelixConfiguration,
    IPPool,
)
from sallyport.apis.core import Namespace, Node, Pod

SELECTOR = "egress.projectcalico.org/selector"
SPACES = "egress.projectcalico.org/namespaceSelector"
LIMIT = "egress.projectcalico.org/maxNextHops"
POLICY = "egress.projectcalico.org/egressGatewayPolicy"


def felix(mode: str = "EnabledPerNamespaceOrPerPod", **spec: Any) -> FelixConfiguration:
    """The options of the cluster: everything is on unless told otherwise."""
    given = {"egressIPSupport": mode, "externalNetworkSupport": "Enabled", **spec}
    return msgspec.convert(manifests.felix(**given), FelixConfiguration)


def ip_pool(name: str, cidr: str, **spec: Any) -> IPPool:
    return msgspec.convert(manifests.manifest("IPPool", name, cidr=cidr, **spec), IPPool)


def network(name: str, table: int, created: str | None = None) -> ExternalNetwork:
    value = manifests.network(table, name)
    value["metadata"]["creationTimestamp"] = created
    return msgspec.convert(value, ExternalNetwork)


def peer(name: str = "router", **spec: Any) -> BGPPeer:
    value = manifests.peer(**spec)
    value["metadata"]["name"] = name
    return msgspec.convert(value, BGPPeer)


def policy(name: str, *rules: Any) -> EgressGatewayPolicy:
    return msgspec.convert(manifests.manifest("EgressGatewayPolicy", name, rules=list(rules)), EgressGatewayPolicy)


def gateway(name: str = "gw", **spec: Any) -> EgressGateway:
    value = manifests.gateway(**spec)
    value["metadata"] |= {"name": name, "uid": f"uid-{name}"}
    return msgspec.convert(value, EgressGateway)


def gateway_pod(
    name: str = "gw-1",
    node: str = "node-1",
    *,
    namespace: str = "default",
    labels: Mapping[str, str] | None = None,
    pools: Iterable[str] = ("red-pool",),
    pools6: Iterable[str] = (),
    networks: Iterable[str] = (),
    exits: str = "",
    address: str = "10.244.1.7",
    ready: bool = True,
    **more: Any,
) -> GatewayPod:
    """A pod of EgressGateway gw; `more` are further metadata."""
    lists = {IPV4_POOLS: list(pools), IPV6_POOLS: list(pools6), NETWORK_NAMES: list(networks)}
    notes = {key: json.dumps(value) for key, value in lists.items() if value} | ({EXITS: exits} if exits else {})
    value = {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {GATEWAY_LABEL: "gw", **(labels or {"code": "red"})},
            "annotations": notes,
            **more,
        },
        "spec": {
            "nodeName": node,
            "containers": [{"name": "egress-gateway", "ports": [{"name": "health", "containerPort": 8080}]}],
        },
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": address}] if address else [],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }
    return msgspec.convert(value, GatewayPod)


def pod(name: str = "app", namespace: str = "prod", node: str = "node-1", **notes: str) -> Pod:
    """A client's pod; `notes` are annotations by short names."""
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "annotations": annotated(notes)},
            "spec": {"nodeName": node},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.244.1.9"}]},
        },
        Pod,
    )


def namespace(name: str = "prod", labels: Mapping[str, str] | None = None, **notes: str) -> Namespace:
    """A namespace; `notes` are annotations by short names."""
    return msgspec.convert(
        {"metadata": {"name": name, "uid": f"uid-{name}", "labels": labels or {}, "annotations": annotated(notes)}},
        Namespace,
    )


def annotated(notes: Mapping[str, str]) -> dict[str, str]:
    """Annotations by their short names."""
    names = {"selector": SELECTOR, "spaces": SPACES, "limit": LIMIT, "policy": POLICY}
    return {names[key]: value for key, value in notes.items()}


def node(name: str = "node-1", address: str = "10.0.0.1", **labels: str) -> Node:
    return msgspec.convert(
        {
            "metadata": {"name": name, "labels": labels},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        },
        Node,
    )


def translated(
    *gateways: GatewayPod,
    namespaces: Iterable[Namespace] = (),
    pods: Iterable[Pod] = (),
    nodes: Iterable[Node] = (),
    **objects: Any,
) -> Translated:
    """What these objects mean; there are the pools red-pool and six-pool unless others are given."""
    usual: dict[str, Any] = {
        "felix": (felix(),),
        "pools": (ip_pool("red-pool", "10.10.10.0/30"), ip_pool("six-pool", "fd00:10::/126")),
        "pods": gateways,
    }
    listed = tuple(pods)
    spaces = {"default": namespace("default"), **{item.metadata.name: item for item in namespaces}}
    return translate(CalicoObjects(**{**usual, **objects}), tuple(nodes), tuple(spaces.values()), listed)
