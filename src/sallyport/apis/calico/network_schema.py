"""What the schemas of ExternalNetwork, IPPool, EgressGatewayPolicy and FelixConfiguration say beyond the types.

CEL uses only what Kubernetes 1.25 has. Limits on lists that have none upstream bound the cost of their rules.
"""

from typing import Any

from sallyport.apis.calico.values import DURATION
from sallyport.apis.crd import CONDITIONS, Overlay, rules
from sallyport.model.settings import Settings

NETWORK_LENGTH = 49
"""Characters of the longest network that one can write."""
SELECTOR_LENGTH = 1024
MAX_RULES = 256
MAX_TABLE = 4294967295
RESERVED_TABLES = {range(253, 256): "the kernel's own", Settings().tables: "those of exits"}
"""Routing tables that no network may have, and what they are: default, main and local (linux/rtnetlink.h), and ours."""
MAX_PRIORITY = 32765
"""Just before the rule that looks up the main table."""
MAX_TABLES = 65535
"""Routing tables in all of routeTableRanges together."""


def reserved(index: int) -> str:
    """Why no network may have this table, "" if one may."""
    return next((_taken(tables) for tables in RESERVED_TABLES if index in tables), "")


def _taken(tables: range) -> str:
    return f"tables {tables[0]} to {tables[-1]} are {RESERVED_TABLES[tables]}"


_NETWORK: dict[str, Any] = {"format": "cidr", "maxLength": NETWORK_LENGTH}
_ENCAPSULATION: dict[str, Any] = {"enum": ["Never", "Always", "CrossSubnet"]}

EXTERNAL_NETWORK: Overlay = {
    "": {
        "description": "An ExternalNetwork is a network outside of the cluster with addresses of its own, which may "
        "overlap those of other networks. Routes of its BGPPeers are kept apart in a kernel routing table.",
        "required": ["spec"],
    },
    "spec": {"description": "Its routing table.", "required": ["routeTableIndex"]},
    "spec.routeTableIndex": {
        "description": "The kernel routing table of this network on every node. No other network, no other program and "
        "no range of FelixConfiguration may have it.",
        "format": "int64",
        "minimum": 1,
        "maximum": MAX_TABLE,
        **rules(*((f"self < {item[0]} || self > {item[-1]}", _taken(item)) for item in RESERVED_TABLES)),
    },
    "status": {"description": "What became of it; written by Sallyport."},
    "status.nodes": {"description": "Nodes that have a peer in this network."},
    "status.nodes[].node": {"description": "Name of the node."},
    "status.nodes[].peers": {"description": "BGP peers of this network that the node is to have."},
    "status.nodes[].established": {"description": "How many of them it has a session with."},
    "status.nodes[].routes": {"description": "Routes in the network's table."},
    **CONDITIONS,
}

_BLOCK = (
    "!has(self.blockSize) || !has(self.cidr) || "
    "(self.cidr.contains(':') ? self.blockSize >= 116 && self.blockSize <= 128 "
    ": self.blockSize >= 20 && self.blockSize <= 32)"
)
_BLOCK_FITS = "!has(self.blockSize) || !has(self.cidr) || int(self.cidr.split('/')[1]) <= self.blockSize"
_ENCAPSULATED_TWICE = (
    "!has(self.ipipMode) || !has(self.vxlanMode) || self.ipipMode == 'Never' || self.vxlanMode == 'Never'"
)

IP_POOL: Overlay = {
    "": {
        "description": "An IPPool is a stock of addresses. Sallyport gives those of the pools that an EgressGateway "
        "names to its pods, and leaves all others alone.",
        "required": ["spec"],
    },
    "spec": {
        "description": "The addresses and where they may be used.",
        "required": ["cidr"],
        **rules(
            (_BLOCK, "blockSize must be 20 to 32 for IPv4 and 116 to 128 for IPv6"),
            (_BLOCK_FITS, "a block must not be larger than the pool"),
            (_ENCAPSULATED_TWICE, "ipipMode and vxlanMode cannot both be used"),
        ),
    },
    "spec.cidr": {
        "description": "The network of the addresses, of either family. It cannot be changed.",
        **_NETWORK,
        **rules(("self == oldSelf", "cidr cannot be changed")),
    },
    "spec.blockSize": {
        "description": "Prefix length of the blocks that Calico gives to nodes. Without effect here: addresses are "
        "given one by one.",
        **rules(("self == oldSelf", "blockSize cannot be changed")),
    },
    "spec.nodeSelector": {
        "description": "Nodes whose pods may have these addresses, in Calico's selector language. !all() keeps a pool "
        "for those who name it.",
        "maxLength": SELECTOR_LENGTH,
        "default": "all()",
    },
    "spec.disabled": {"description": "Whether no address is given any more; those in use stay."},
    "spec.natOutgoing": {
        "description": "Whether traffic leaves with the address of the gateway's node instead of the gateway's own."
    },
    "spec.disableBGPExport": {"description": "Whether these addresses are not told to BGP peers."},
    "spec.ipipMode": {"description": "Calico's encapsulation in IP. Without effect here.", **_ENCAPSULATION},
    "spec.vxlanMode": {"description": "Calico's encapsulation in VXLAN. Without effect here.", **_ENCAPSULATION},
    "spec.allowedUses": {"description": "What Calico uses the addresses for. Without effect here."},
    "spec.assignmentMode": {"description": "Whether Calico assigns the addresses itself. Without effect here."},
    "spec.awsSubnetID": {"description": "The cloud's subnet of these addresses. Without effect here."},
    "status": {"description": "How full it is; written by Sallyport."},
    "status.usage": {"description": "Counts of addresses."},
    "status.usage.total": {"description": "Addresses that gateways may be given."},
    "status.usage.used": {"description": "Addresses that gateways have."},
    **CONDITIONS,
}

_DESTINATION = "has({0}.destination) && has({0}.destination.cidr) ? {0}.destination.cidr : ''"
_ONE_DEFAULT = (
    "!self.exists(a, !has(a.destination)) || "
    "!self.exists(b, has(b.destination) && b.destination.cidr in ['0.0.0.0/0', '::/0'])"
)
_ONE_EACH = f"self.all(a, self.exists_one(b, ({_DESTINATION.format('a')}) == ({_DESTINATION.format('b')})))"

EGRESS_GATEWAY_POLICY: Overlay = {
    "": {
        "description": "An EgressGatewayPolicy says which gateways a client uses for which destination. Namespaces and "
        "pods name it in the annotation egress.projectcalico.org/egressGatewayPolicy.",
        "required": ["spec"],
    },
    "spec": {"description": "The rules.", "required": ["rules"]},
    "spec.rules": {
        "description": "The rule with the longest prefix that has a destination decides, whatever their order.",
        "minItems": 1,
        "maxItems": MAX_RULES,
        **rules(
            ("self.exists(r, has(r.gateway) || has(r.destination))", "at least one rule must have one of the two"),
            (_ONE_EACH, "two rules have the same destination"),
            (_ONE_DEFAULT, "two rules have the same destination: one without any is for 0.0.0.0/0 and ::/0"),
        ),
    },
    "spec.rules[].destination": {
        "description": "The network that the rule is for; left out, every address that no other rule has.",
        "required": ["cidr"],
    },
    "spec.rules[].destination.cidr": {"description": "A network of either family.", **_NETWORK},
    "spec.rules[].description": {"description": "Free text."},
    "spec.rules[].gateway": {
        "description": "The gateways; left out, this traffic leaves by the client's node as if there were no policy.",
        "required": ["selector", "namespaceSelector"],
    },
    "spec.rules[].gateway.selector": {
        "description": "Labels of the gateways' pods, in Calico's selector language.",
        "minLength": 1,
        "maxLength": SELECTOR_LENGTH,
    },
    "spec.rules[].gateway.namespaceSelector": {
        "description": "Labels of the gateways' namespaces, in Calico's selector language.",
        "minLength": 1,
        "maxLength": SELECTOR_LENGTH,
    },
    "spec.rules[].gateway.maxNextHops": {
        "description": "Of how many gateways a client uses at most; 0 is all of them.",
        "minimum": 0,
        "maximum": 2147483647,
        "default": 0,
    },
    "spec.rules[].gatewayPreference": {
        "description": "PreferNodeLocal takes gateways on the client's node where there are any.",
        "enum": ["None", "PreferNodeLocal"],
        "default": "None",
    },
    "status": {"description": "What became of it; written by Sallyport."},
    "status.clients": {"description": "How many pods are under this policy.", "default": 0},
    **CONDITIONS,
}


def _mode(text: str, *modes: str) -> dict[str, Any]:
    """A field with one of these values, compared without case as upstream does."""
    return {"description": text, "pattern": f"(?i)^({'|'.join(modes)})$"}


def _number(text: str, low: int, high: int) -> dict[str, Any]:
    return {"description": text, "format": "int64", "minimum": low, "maximum": high}


def _priority(text: str, default: str) -> dict[str, Any]:
    return _number(f"{text} Default {default}.", 1, MAX_PRIORITY)


_RANGE = {"required": ["min", "max"], **rules(("self.min <= self.max", "min must not be greater than max"))}

FELIX_CONFIGURATION: Overlay = {
    "": {
        "description": "A FelixConfiguration holds options of the nodes. What concerns egress is read from default, "
        "which is for all of them; other options, and those of node.<name>, are stored and have no effect here.",
        "required": ["spec"],
    },
    "spec": {
        "description": "The options; one that is not given has its default.",
        "x-kubernetes-preserve-unknown-fields": True,
        **rules(
            (
                "!has(self.routeTableRange) || !has(self.routeTableRanges) || size(self.routeTableRanges) == 0",
                "routeTableRange and routeTableRanges cannot both be given",
            )
        ),
    },
    "spec.egressIPSupport": _mode(
        "Whether annotations lead clients to gateways: those of namespaces, or of pods, too. Only in default. "
        "Default Disabled.",
        "Disabled",
        "EnabledPerNamespace",
        "EnabledPerNamespaceOrPerPod",
    ),
    "spec.egressIPVXLANPort": _number("UDP port of the tunnels to gateways. Default 4790.", 1, 65535),
    "spec.egressIPVXLANVNI": _number("VXLAN network of the tunnels to gateways. Default 4097.", 1, 16777215),
    "spec.egressIPRoutingRulePriority": _priority("Priority of the rules for clients.", "20000"),
    "spec.egressGatewayPollInterval": {
        "description": "How often a node asks the gateways of its clients whether they are well. Default 10s.",
        "pattern": DURATION,
    },
    "spec.egressGatewayPollFailureCount": _number("Answers missed before a gateway is down. Default 3.", 1, 2147483647),
    "spec.egressIPHostIfacePattern": {
        "description": "Interfaces by which gateways' traffic leaves their node: a comma list of names and of regular "
        "expressions between slashes. Default none."
    },
    "spec.externalNetworkSupport": _mode("Whether ExternalNetworks are used. Default Disabled.", "Disabled", "Enabled"),
    "spec.externalNetworkRoutingRulePriority": _priority(
        "Priority of the rules for gateways' networks.", "one more than egressIPRoutingRulePriority"
    ),
    "spec.routeTableRanges": {
        "description": "Routing tables that are used for clients. Default 1 to 250.",
        "maxItems": 64,
        **rules(
            (
                f"self.map(r, r.max - r.min + 1).sum() <= {MAX_TABLES}",
                f"at most {MAX_TABLES} tables can be given in all",
            )
        ),
    },
    "spec.routeTableRanges[]": _RANGE,
    "spec.routeTableRanges[].min": _number("The first table.", 1, MAX_TABLE),
    "spec.routeTableRanges[].max": _number("The last table.", 1, MAX_TABLE),
    "spec.routeTableRange": {"description": "The older form of routeTableRanges.", **_RANGE},
    "spec.routeTableRange.min": _number("The first table.", 1, 250),
    "spec.routeTableRange.max": _number("The last table.", 1, 250),
    "spec.policySyncPathPrefix": {"description": "Without effect here: gateways need nothing of their node's agent."},
    "spec.iptablesBackend": _mode("Without effect here: nftables is used.", "Legacy", "NFT", "Auto"),
    "spec.natOutgoingAddress": {"description": "Without effect here."},
    "spec.natOutgoingExclusions": _mode("Without effect here.", "IPPoolsOnly", "IPPoolsAndHostIPs"),
    "spec.awsSecondaryIPSupport": _mode(
        "Without effect here: for a cloud.", "Disabled", "Enabled", "EnabledENIPerWorkload"
    ),
    "spec.awsSecondaryIPRoutingRulePriority": _number("Without effect here: for a cloud.", 0, MAX_TABLE),
    "spec.localSubnetL2Reachability": {"description": "Without effect here."},
    "status": {"description": "What became of it; written by Sallyport."},
    **CONDITIONS,
}
