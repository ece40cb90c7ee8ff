"""The Deployment and the ServiceAccount that an EgressGateway becomes.

The pods need no privileges: the agent of their node does for them what touches packets. A pod is its gateway's life
and health: it is scheduled, ready, drained and replaced as any other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from sallyport.apis.calico.annotations import DEFAULT_LABEL, GATEWAY_LABEL, IPV4_POOLS, IPV6_POOLS, NETWORK_NAMES
from sallyport.apis.calico.placement import Term, with_terms
from sallyport.apis.calico.types import EgressGateway, GatewayPool, IPPool, TemplateContainer
from sallyport.model.addresses import parse_network

HEALTH_PORT = 8080
CONTAINER = "egress-gateway"
"""Name of the container, upstream's, by which a template's overrides find it."""

_READINESS = {"periodSeconds": 2, "timeoutSeconds": 1, "failureThreshold": 2}
_TIMES = frozenset({"initialDelaySeconds", "periodSeconds", "timeoutSeconds", "failureThreshold", "successThreshold"})
_ANSWERS_PINGS = {"name": "net.ipv4.ping_group_range", "value": "0 2147483647"}


def pools_of(gateway: EgressGateway, pools: Sequence[IPPool]) -> list[IPPool]:
    """The pools that a gateway names, by name or by their cidr's very text; those that are not there are left out."""
    return [found for wanted in gateway.spec.ip_pools if (found := _pool(wanted, pools)) is not None]


def _pool(wanted: GatewayPool, pools: Sequence[IPPool]) -> IPPool | None:
    for pool in pools:
        if (wanted.name and wanted.name == pool.metadata.name) or (not wanted.name and wanted.cidr == pool.spec.cidr):
            return pool
    return None


def service_account(gateway: EgressGateway) -> dict[str, Any]:
    """The account that the gateway's pods run under; it may do nothing."""
    meta = gateway.metadata
    return {"metadata": {"name": meta.name, "namespace": meta.namespace, "ownerReferences": [_owner(gateway)]}}


def has_spare(gateway: EgressGateway, gateways: Sequence[EgressGateway], pools: Sequence[IPPool]) -> bool:
    """Whether the pools of a gateway hold more addresses than all gateways that name one of them ask for."""
    own = {pool.metadata.name: parse_network(pool.spec.cidr) for pool in pools_of(gateway, pools)}
    wanted = sum(
        other.spec.replicas
        for other in gateways
        if any(pool.metadata.name in own for pool in pools_of(other, pools)) and not other.metadata.deletion_timestamp
    )
    sizes = [sum(net.num_addresses for net in own.values() if net.version == version) for version in (4, 6)]
    return all(size > wanted for size in sizes if size)


def deployment(
    gateway: EgressGateway,
    pools: Sequence[IPPool],
    image: str,
    *,
    spare: bool = True,
    near: Sequence[Term] = (),
) -> dict[str, Any]:
    """The Deployment, as it is applied: the fields that are ours, and no others.

    `spare`: there is an address for one pod more, so that a new one is ready before an old one goes; else one goes
    first, lest the rollout stand still. `near`: the nodes that its networks reach (`placement.near_networks`).
    """
    meta, spec = gateway.metadata, gateway.spec
    return {
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "labels": {GATEWAY_LABEL: meta.name},
            "ownerReferences": [_owner(gateway)],
        },
        "spec": {
            "replicas": spec.replicas,
            "selector": {"matchLabels": {GATEWAY_LABEL: meta.name}},
            "strategy": _strategy(spare and not _is_kept_apart(gateway)),
            "template": {
                "metadata": {"labels": _labels(gateway), "annotations": _annotations(gateway, pools)},
                "spec": _pod(gateway, image, near),
            },
        },
    }


def _strategy(surge: bool) -> dict[str, Any]:
    limits = {"maxSurge": 1, "maxUnavailable": 0} if surge else {"maxSurge": 0, "maxUnavailable": 1}
    return {"type": "RollingUpdate", "rollingUpdate": limits}


def _is_kept_apart(gateway: EgressGateway) -> bool:
    """Whether its pods must not share nodes: where it has a pod on every node that fits, one more finds no place."""
    apart = gateway.spec.template.spec.affinity.get("podAntiAffinity") or {}
    return bool(apart.get("requiredDuringSchedulingIgnoredDuringExecution"))


def _owner(gateway: EgressGateway) -> dict[str, Any]:
    return {
        "apiVersion": "operator.tigera.io/v1",
        "kind": "EgressGateway",
        "name": gateway.metadata.name,
        "uid": gateway.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _labels(gateway: EgressGateway) -> dict[str, str]:
    own = gateway.spec.template.metadata.labels or {DEFAULT_LABEL: gateway.metadata.name}
    return {**own, GATEWAY_LABEL: gateway.metadata.name}


def _annotations(gateway: EgressGateway, pools: Sequence[IPPool]) -> dict[str, str]:
    """The user's, and over them those that say whose addresses and which networks the pods have."""
    found = dict(gateway.spec.template.metadata.annotations)
    chosen = pools_of(gateway, pools)
    for family, name in ((4, IPV4_POOLS), (6, IPV6_POOLS)):
        names = [pool.metadata.name for pool in chosen if parse_network(pool.spec.cidr).version == family]
        if names:
            found[name] = msgspec.json.encode(names).decode()
    if gateway.spec.external_networks:
        found[NETWORK_NAMES] = msgspec.json.encode(list(gateway.spec.external_networks)).decode()
    return found


def _pod(gateway: EgressGateway, image: str, near: Sequence[Term]) -> dict[str, Any]:
    template = gateway.spec.template.spec
    grace = template.termination_grace_period_seconds
    pod: dict[str, Any] = {
        "serviceAccountName": gateway.metadata.name,
        "automountServiceAccountToken": False,
        "securityContext": {"sysctls": [_ANSWERS_PINGS]},
        "containers": [_container(gateway, image)],
        "affinity": with_terms(template.affinity or _apart(gateway), near),
        "nodeSelector": dict(template.node_selector),
        "tolerations": [dict(item) for item in template.tolerations],
        "topologySpreadConstraints": [dict(item) for item in template.topology_spread_constraints],
        "priorityClassName": template.priority_class_name,
    }
    if grace is not None:
        pod["terminationGracePeriodSeconds"] = grace
    return {name: value for name, value in pod.items() if value not in ({}, [], "")}


def _apart(gateway: EgressGateway) -> dict[str, Any]:
    """Preferably not on one node: upstream's default, which it spreads by zone, would leave all on one node."""
    term = {
        "labelSelector": {"matchLabels": {GATEWAY_LABEL: gateway.metadata.name}},
        "topologyKey": "kubernetes.io/hostname",
    }
    weighted = {"weight": 1, "podAffinityTerm": term}
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [weighted]}}


def _container(gateway: EgressGateway, image: str) -> dict[str, Any]:
    given = next(
        (item for item in gateway.spec.template.spec.containers if item.name == CONTAINER), TemplateContainer()
    )
    readiness = {"httpGet": {"path": "/readiness", "port": "health"}, **_READINESS, **_times(given.readiness_probe)}
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": image,
        "command": ["sallyport", "gateway"],
        "env": _environment(gateway),
        "ports": [{"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"}],
        "readinessProbe": readiness,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if given.liveness_probe:
        container["livenessProbe"] = {
            "httpGet": {"path": "/liveness", "port": "health"},
            **_times(given.liveness_probe),
        }
    if given.resources:
        container["resources"] = dict(given.resources)
    return container


def _times(probe: Mapping[str, Any]) -> dict[str, Any]:
    """How often and how patiently; what is asked stays ours."""
    return {name: value for name, value in probe.items() if name in _TIMES}


def _environment(gateway: EgressGateway) -> list[dict[str, Any]]:
    spec, detection = gateway.spec, gateway.spec.egress_gateway_failure_detection
    grace = spec.template.spec.termination_grace_period_seconds
    values: dict[str, str] = {
        "SALLYPORT_HEALTH_PORT": str(HEALTH_PORT),
        "SALLYPORT_LOG_SEVERITY": spec.log_severity.lower(),
        "SALLYPORT_TERMINATION_GRACE": str(30 if grace is None else grace),
    }
    if detection is not None:
        values["SALLYPORT_HEALTH_TIMEOUT_DATASTORE"] = str(detection.health_timeout_data_store_seconds)
        if (icmp := detection.icmp_probe) is not None:
            values["SALLYPORT_ICMP_PROBE_IPS"] = ",".join(icmp.ips)
            values["SALLYPORT_ICMP_PROBE_INTERVAL"] = str(icmp.interval_seconds)
            values["SALLYPORT_ICMP_PROBE_TIMEOUT"] = str(icmp.timeout_seconds)
        if (http := detection.http_probe) is not None:
            values["SALLYPORT_HTTP_PROBE_URLS"] = ",".join(http.urls)
            values["SALLYPORT_HTTP_PROBE_INTERVAL"] = str(http.interval_seconds)
            values["SALLYPORT_HTTP_PROBE_TIMEOUT"] = str(http.timeout_seconds)
    fields = {
        "SALLYPORT_GATEWAY_NAMESPACE": "metadata.namespace",
        "SALLYPORT_GATEWAY_POD": "metadata.name",
        "SALLYPORT_HOST_IP": "status.hostIP",
    }
    return [
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
        *({"name": name, "value": value} for name, value in values.items()),
    ]
