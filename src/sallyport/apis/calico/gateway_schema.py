"""What the schema of EgressGateway says beyond its type."""

from typing import Any

from sallyport.apis.crd import CONDITIONS, Overlay, rules

LOG_LEVELS = ("Fatal", "Error", "Warn", "Info", "Debug", "Trace")
CONTAINERS = ("egress-gateway", "calico-egw")
"""Names of the gateway's container; the second one is that of older versions."""
INIT_CONTAINERS = ("egress-gateway-init",)
CLOUD = "only for a cloud, which is not supported"

_COUNT: dict[str, Any] = {"format": "int32", "minimum": 0, "maximum": 2147483647}
_PROBES = "spec.egressGatewayFailureDetection"


def _probe(path: str, what: str, target: str, targets: dict[str, Any], interval: int, timeout: int) -> Overlay:
    in_time = "!has(self.timeoutSeconds) || !has(self.intervalSeconds) || self.timeoutSeconds >= self.intervalSeconds"
    return {
        path: {
            "description": f"{what} One answer is enough.",
            "required": [target],
            **rules((in_time, "timeoutSeconds must not be less than intervalSeconds")),
        },
        f"{path}.{target}": {"description": "Whom to ask.", "minItems": 1, "maxItems": 64},
        f"{path}.{target}[]": targets,
        f"{path}.intervalSeconds": {"description": "Seconds between two questions.", "default": interval, **_COUNT},
        f"{path}.timeoutSeconds": {
            "description": "Seconds without an answer after which the gateway is not ready.",
            "default": timeout,
            **_COUNT,
        },
    }


_TEMPLATE: Overlay = {
    "spec.template": {"description": "What the gateway's pods have besides what they need."},
    "spec.template.metadata": {"description": "Their labels and annotations."},
    "spec.template.metadata.labels": {
        "description": "Labels, by which clients select them. Left out: projectcalico.org/egw with this object's name."
    },
    "spec.template.metadata.annotations": {"description": "Annotations; those of Sallyport's own go before them."},
    "spec.template.spec": {"description": "Parts of Kubernetes' PodSpec."},
    "spec.template.spec.affinity": {
        "description": "As in a PodSpec. Left out: the pods prefer to be in different zones."
    },
    "spec.template.spec.nodeSelector": {"description": "Labels that a node must have, such as egress: 'true'."},
    "spec.template.spec.tolerations": {"description": "As in a PodSpec."},
    "spec.template.spec.topologySpreadConstraints": {"description": "As in a PodSpec."},
    "spec.template.spec.priorityClassName": {"description": "As in a PodSpec."},
    "spec.template.spec.terminationGracePeriodSeconds": {
        "description": "Seconds that a gateway goes on after it was told to end; its clients are told in the meantime.",
        "format": "int64",
        "minimum": 0,
    },
    "spec.template.spec.containers": {"description": "Settings of the gateway's container."},
    "spec.template.spec.containers[]": {"required": ["name"]},
    "spec.template.spec.containers[].name": {"description": "Which container.", "enum": list(CONTAINERS)},
    "spec.template.spec.containers[].resources": {"description": "As in a PodSpec."},
    "spec.template.spec.containers[].readinessProbe": {"description": "As in a PodSpec; only times and counts."},
    "spec.template.spec.containers[].livenessProbe": {"description": "As in a PodSpec; only times and counts."},
    "spec.template.spec.initContainers": {"description": "Settings of the container that runs before it."},
    "spec.template.spec.initContainers[]": {"required": ["name"]},
    "spec.template.spec.initContainers[].name": {"description": "Which container.", "enum": list(INIT_CONTAINERS)},
    "spec.template.spec.initContainers[].resources": {"description": "As in a PodSpec."},
}

_STATUS: Overlay = {
    "status": {"description": "What became of it; written by Sallyport."},
    "status.state": {"description": "Its state in one word."},
    "status.replicas": {"description": "How many pods it has.", "default": 0},
    "status.readyReplicas": {"description": "How many of them carry traffic.", "default": 0},
    "status.gateways": {"description": "Its pods."},
    "status.gateways[].pod": {"description": "Name of the pod."},
    "status.gateways[].node": {"description": "The node that it runs on."},
    "status.gateways[].addresses": {"description": "The source IPs of what leaves through it."},
    "status.gateways[].ready": {"description": "Whether it carries traffic."},
    "status.gateways[].networks": {"description": "The external networks that it is joined to."},
    "status.gateways[].message": {"description": "Why it is not ready, as a sentence."},
    **CONDITIONS,
}

EGRESS_GATEWAY: Overlay = {
    "": {
        "description": "An EgressGateway is a group of pods through which clients leave the cluster, each with its own "
        "address out of a pool, to the networks that it is joined to.",
        "required": ["spec"],
    },
    "spec": {"description": "How many pods, with which addresses, on which networks.", "required": ["ipPools"]},
    "spec.replicas": {"description": "How many pods. The pools must hold as many addresses.", "default": 1, **_COUNT},
    "spec.ipPools": {
        "description": "The pools that the pods' addresses are from.",
        "minItems": 1,
        "maxItems": 64,
    },
    "spec.ipPools[]": rules(
        (
            "(has(self.name) && size(self.name) > 0) || (has(self.cidr) && size(self.cidr) > 0)",
            "name or cidr must be given",
        )
    ),
    "spec.ipPools[].name": {"description": "The name of an IPPool."},
    "spec.ipPools[].cidr": {"description": "The network of an IPPool, exactly as that writes it."},
    "spec.externalNetworks": {
        "description": "ExternalNetworks whose routes this traffic takes. None: those of its node."
    },
    "spec.logSeverity": {
        "description": "How much the gateways log.",
        "enum": list(LOG_LEVELS),
        "default": "Info",
    },
    _PROBES: {
        "description": "When a gateway is not ready. With both probes, both must be answered.",
        **rules(("has(self.icmpProbe) || has(self.httpProbe)", "icmpProbe or httpProbe must be given")),
    },
    f"{_PROBES}.healthTimeoutDataStoreSeconds": {
        "description": "Seconds that a gateway may be cut off from its node's agent.",
        "default": 90,
        **(_COUNT | {"minimum": 1}),
    },
    **_probe(
        f"{_PROBES}.icmpProbe",
        "Addresses that are pinged.",
        "ips",
        {"oneOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
        5,
        15,
    ),
    **_probe(f"{_PROBES}.httpProbe", "URLs that are fetched.", "urls", {"pattern": "^https?://[^/]"}, 10, 30),
    "spec.aws": {"description": "Addresses of a cloud. Not supported."},
    "spec.aws.nativeIP": {
        "description": "Whether the pods have addresses of the cloud. Not supported.",
        "enum": ["Enabled", "Disabled"],
        **rules(("self == 'Disabled'", f"nativeIP is {CLOUD}")),
    },
    "spec.aws.elasticIPs": {
        "description": "Addresses of the cloud for the pods. Not supported.",
        **rules(("size(self) == 0", f"elasticIPs is {CLOUD}")),
    },
    **_TEMPLATE,
    **_STATUS,
}
