"""What the two CustomResourceDefinitions say beyond the types: texts, limits, and refusals as the API server's own.

Refusals are upstream's (schema and webhook) as far as schema and CEL can say them. CEL uses only what Kubernetes 1.25
has, so that they hold there; comparing IPv6 addresses and looking at other objects is left to `validate`.
"""

from typing import Any

from sallyport.apis.antrea.types import EGRESSES, POOLS
from sallyport.apis.crd import CONDITIONS, Definition, Overlay, Version
from sallyport.selectors.kubernetes import LABEL_VALUE, OPERATORS

MAX_RANGES = 256
QUANTITY = r"^[+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"

_ADDRESS: dict[str, Any] = {"oneOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
_EMPTY_OR_ADDRESS: dict[str, Any] = {"oneOf": [{"maxLength": 0}, {"format": "ipv4"}, {"format": "ipv6"}]}
_DEPRECATED = "crd.antrea.io/v1alpha2 {} is deprecated; use crd.antrea.io/v1beta1"


def _selector(path: str, text: str, *, patterned: bool) -> dict[str, dict[str, Any]]:
    values: dict[str, Any] = {"pattern": LABEL_VALUE} if patterned else {}
    return {
        path: {"description": text},
        f"{path}.matchLabels": {"description": "Labels that must all be there with just these values."},
        f"{path}.matchLabels{{}}": values,
        f"{path}.matchExpressions": {"description": "Further demands on labels; all of them must hold."},
        f"{path}.matchExpressions[]": {"required": ["key", "operator"]},
        f"{path}.matchExpressions[].key": {"description": "The label that is looked at."},
        f"{path}.matchExpressions[].operator": {
            "description": "In and NotIn compare the label with values; the others ask whether it is there.",
            "enum": list(OPERATORS),
        },
        f"{path}.matchExpressions[].values": {
            "description": "At least one for In and NotIn; none for Exists and DoesNotExist."
        },
        f"{path}.matchExpressions[].values[]": values,
    }


def _egress(*, patterned: bool) -> Overlay:
    unsupported = {"rule": "size(self) == 0"}
    return {
        "": {
            "description": "An Egress gives the traffic of chosen pods to the world outside one source IP and one node "
            "by which it leaves. While no node holds the IP, that traffic is dropped.",
            "required": ["spec"],
        },
        "spec": {
            "description": "Which pods, and which source IP.",
            "required": ["appliedTo"],
            "oneOf": [
                {"anyOf": [{"required": ["egressIP"]}, {"required": ["externalIPPool"]}]},
                {"anyOf": [{"required": ["egressIPs"]}, {"required": ["externalIPPools"]}]},
            ],
        },
        "spec.appliedTo": {
            "description": "The pods that this Egress governs. With neither selector: none. With both: the chosen pods "
            "of the chosen namespaces. Pods on the host network are never governed."
        },
        **_selector(
            "spec.appliedTo.podSelector",
            "Pods by their labels, in all namespaces unless namespaceSelector is given too. {} is all pods.",
            patterned=patterned,
        ),
        **_selector(
            "spec.appliedTo.namespaceSelector",
            "Namespaces by their labels; without podSelector, all of their pods. {} is all namespaces.",
            patterned=patterned,
        ),
        "spec.egressIP": {
            "description": "The source IP. With externalIPPool it must belong to that pool, and is filled in when left "
            "out. Without, it must be on an interface of some node, put there by you.",
            **_ADDRESS,
        },
        "spec.externalIPPool": {
            "description": "The ExternalIPPool that the IP comes from, and that says which nodes may hold it. One of "
            "them always does while any is alive."
        },
        "spec.egressIPs": {
            "description": "Several source IPs. Not supported yet.",
            "maxItems": 2,
            "x-kubernetes-validations": [unsupported | {"message": "egressIPs is not supported yet"}],
        },
        "spec.egressIPs[]": _EMPTY_OR_ADDRESS,
        "spec.externalIPPools": {
            "description": "Several pools. Not supported yet.",
            "maxItems": 2,
            "x-kubernetes-validations": [unsupported | {"message": "externalIPPools is not supported yet"}],
        },
        "spec.bandwidth": {
            "description": "Limits all that leaves through this Egress, counted where it leaves.",
            "required": ["rate", "burst"],
        },
        "spec.bandwidth.rate": {"description": "Bits per second as a quantity, such as 100M.", "pattern": QUANTITY},
        "spec.bandwidth.burst": {
            "description": "Bits that may leave at once above the rate, as a quantity.",
            "pattern": QUANTITY,
        },
        "status": {"description": "What became of it; written by Sallyport."},
        "status.egressNode": {"description": "The node that holds the IP now."},
        "status.egressIP": {"description": "The source IP in effect; empty while no node holds it."},
        "status.id": {"description": "The number by which nodes mark this Egress's packets; 0 when it has none."},
        "status.nodes": {"description": "Nodes that may hold the IP, the preferred one first."},
        "status.allocatedIP": {"description": "The address that id and nodes were decided for."},
        "status.clients": {"description": "How many pods this Egress selects."},
        **CONDITIONS,
    }


_V4_ORDER = (
    "!has(self.start) || !has(self.end) || self.start.contains(':') || self.end.contains(':') || "
    "[[self.start, self.end].map(a, a.split('.')).map(p, "
    "int(p[0]) * 16777216 + int(p[1]) * 65536 + int(p[2]) * 256 + int(p[3]))].all(n, n[0] <= n[1])"
)


def _pool(*, patterned: bool) -> Overlay:
    return {
        "": {
            "description": "An ExternalIPPool is a stock of source IPs for Egresses, and the nodes that may hold them.",
            "required": ["spec"],
        },
        "spec": {"description": "Addresses and nodes.", "required": ["ipRanges", "nodeSelector"]},
        "spec.ipRanges": {
            "description": "Ranges that addresses are taken from, the first one first. Ranges can be added later but "
            "neither changed nor removed.",
            "maxItems": MAX_RANGES,
            "x-kubernetes-validations": [
                {
                    "rule": "oldSelf.all(o, self.exists(n, n == o))",
                    "message": "existing IPRanges cannot be updated or deleted",
                }
            ],
        },
        "spec.ipRanges[]": {
            "description": "Either cidr, or start and end.",
            "oneOf": [{"required": ["cidr"]}, {"required": ["start", "end"]}],
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.cidr) || (!has(self.start) && !has(self.end))",
                    "message": "cidr cannot be given together with start or end",
                },
                {
                    "rule": "!has(self.start) || !has(self.end) || self.start.contains(':') == self.end.contains(':')",
                    "message": "start and end must be of the same IP family",
                },
                {"rule": _V4_ORDER, "message": "start must not be greater than end"},
            ],
        },
        "spec.ipRanges[].cidr": {
            "description": "All addresses of a network except its first one and, in IPv4, its last one.",
            "maxLength": 49,
            "format": "cidr",
        },
        "spec.ipRanges[].start": {"description": "First address of the range.", "maxLength": 45, **_ADDRESS},
        "spec.ipRanges[].end": {"description": "Last address of the range.", "maxLength": 45, **_ADDRESS},
        **_selector("spec.nodeSelector", "Nodes that may hold these addresses. {} is all nodes.", patterned=patterned),
        "spec.subnetInfo": {
            "description": "The subnet of these addresses where it is not that of the nodes.",
            "required": ["gateway", "prefixLength"],
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.gateway) || !has(self.prefixLength) || self.gateway.contains(':') || "
                    "self.prefixLength <= 31",
                    "message": "prefixLength of an IPv4 subnet must be between 1 and 31",
                }
            ],
        },
        "spec.subnetInfo.gateway": {"description": "Router of the subnet.", "maxLength": 45, **_ADDRESS},
        "spec.subnetInfo.prefixLength": {"description": "Length of its prefix.", "minimum": 1, "maximum": 127},
        "spec.subnetInfo.vlan": {"description": "Its VLAN; 0 is untagged.", "minimum": 0, "maximum": 4094},
        "status": {"description": "How full it is; written by Sallyport."},
        "status.usage": {"description": "Counts of addresses."},
        "status.usage.total": {"description": "Addresses that may be handed out."},
        "status.usage.used": {"description": "Addresses that are handed out."},
    }


EGRESS = Definition(
    resource=EGRESSES,
    singular="egress",
    short_names=("eg",),
    columns=(
        ("EgressIP", "string", ".status.egressIP", "The source IP in effect."),
        ("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
        ("Node", "string", ".status.egressNode", "The node that holds the IP."),
    ),
    versions=(
        Version("v1alpha2", _egress(patterned=False), frozenset({"spec.bandwidth"}), _DEPRECATED.format(EGRESSES.kind)),
        Version("v1beta1", _egress(patterned=True)),
    ),
)

POOL = Definition(
    resource=POOLS,
    singular="externalippool",
    short_names=("eip",),
    columns=(
        ("Total", "integer", ".status.usage.total", "Addresses that may be handed out."),
        ("Used", "integer", ".status.usage.used", "Addresses that are handed out."),
        ("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
    ),
    versions=(
        Version("v1alpha2", _pool(patterned=False), frozenset({"spec.subnetInfo"}), _DEPRECATED.format(POOLS.kind)),
        Version("v1beta1", _pool(patterned=True)),
    ),
)

DEFINITIONS = (EGRESS, POOL)
