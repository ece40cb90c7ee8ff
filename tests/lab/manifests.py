"""Objects of Calico's kinds in a few words, as the tests of external networks write them."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]

STANDING = {"standing": "yes"}
"""The label of what stays for all tests of a session; everything else is removed after its test."""
GATEWAYS = "default"
"""The namespace of the gateways."""
SECRETS = "sallyport-system"
"""The namespace of the passwords."""
CODE = "egress-code"
"""The label of gateways' pods that clients select by."""


def _cluster_wide(kind: str, name: str, spec: Object, labels: Mapping[str, str]) -> Object:
    meta = {"name": name, "labels": dict(labels)}
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": meta, "spec": spec}


def felix(*, networks: bool = True, **more: object) -> Object:
    """The options of the cluster: annotations of namespaces and pods count, external networks if `networks`."""
    support = {"egressIPSupport": "EnabledPerNamespaceOrPerPod"}
    spec = {**support, "externalNetworkSupport": "Enabled" if networks else "Disabled", **more}
    return _cluster_wide("FelixConfiguration", "default", spec, STANDING)


def bgp(asn: int) -> Object:
    """The AS of the cluster."""
    return _cluster_wide("BGPConfiguration", "default", {"asNumber": asn}, {})


def network(name: str, table: int, labels: Mapping[str, str] | None = None) -> Object:
    """An external network with a routing table."""
    return _cluster_wide("ExternalNetwork", name, {"routeTableIndex": table}, labels or {})


def peer(
    name: str, address: str, asn: int, network: str = "", labels: Mapping[str, str] | None = None, **more: object
) -> Object:
    """A session of node-2 and node-3 with a router, by their interfaces' own addresses; "" is no external network."""
    spec: Object = {"peerIP": address, "asNumber": asn, "nodeSelector": "egress == 'true'", "sourceAddress": "None"}
    if network:
        spec["externalNetwork"] = network
    return _cluster_wide("BGPPeer", name, {**spec, **more}, labels or {})


def route_filter(name: str, **lists: Sequence[Object]) -> Object:
    """A BGPFilter; `lists` are importV4 and the like."""
    return _cluster_wide("BGPFilter", name, {key: list(rules) for key, rules in lists.items()}, {})


def pool(name: str, cidr: str, labels: Mapping[str, str] | None = None, **more: object) -> Object:
    """A pool for those who name it."""
    size = 128 if ":" in cidr else 32
    spec = {"cidr": cidr, "blockSize": size, "nodeSelector": "!all()", **more}
    return _cluster_wide("IPPool", name, spec, labels or {})


def password(name: str, text: str) -> Object:
    """A Secret with a password under the key `password`."""
    data = {"password": base64.b64encode(text.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SECRETS}, "data": data}


def gateway(
    name: str,
    pools: Sequence[str],
    networks: Sequence[str] = (),
    *,
    node: str = "",
    replicas: int = 1,
    grace: int = 2,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **more: object,
) -> Object:
    """An EgressGateway whose pods have `egress-code: NAME`, are probed each second, and run on `node` alone if given,
    else on the nodes that stand on the external networks' links."""
    probe = {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 2}
    template = {
        "metadata": {"labels": {CODE: name}, "annotations": dict(annotations or {})},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node} if node else {"egress": "true"},
            "terminationGracePeriodSeconds": grace,
            "containers": [{"name": "egress-gateway", "readinessProbe": probe}],
        },
    }
    spec: Object = {"replicas": replicas, "ipPools": [{"name": item} for item in pools], "template": template, **more}
    if networks:
        spec["externalNetworks"] = list(networks)
    meta = {"name": name, "namespace": GATEWAYS, "labels": dict(labels or {})}
    return {"apiVersion": "operator.tigera.io/v1", "kind": "EgressGateway", "metadata": meta, "spec": spec}


def asking_for(code: str, **more: str) -> dict[str, str]:
    """Annotations that select the gateways of that code."""
    prefix = "egress.projectcalico.org"
    chosen = {f"{prefix}/selector": f"{CODE} == '{code}'", f"{prefix}/namespaceSelector": "all()"}
    return {**chosen, **{f"{prefix}/{name}": value for name, value in more.items()}}


def namespace(name: str, annotations: Mapping[str, str] | None = None) -> Object:
    """A namespace, with its annotations."""
    meta = {"name": name, "annotations": dict(annotations or {})}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def client(
    space: str,
    name: str,
    number: int,
    annotations: Mapping[str, str] | None = None,
    command: Sequence[str] = (),
) -> Object:
    """A pod of node-NUMBER, which runs the command, or nothing."""
    container: Object = {"name": "main", "image": "none"}
    if command:
        container["command"] = list(command)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space, "annotations": dict(annotations or {})},
        "spec": {"nodeName": f"node-{number}", "containers": [container]},
    }


def listed(*objects: Object) -> str:
    """The objects as one manifest."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
