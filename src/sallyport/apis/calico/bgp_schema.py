"""What the schemas of BGPPeer, BGPFilter and BGPConfiguration say beyond the types. Rules of filters are upstream's."""

from typing import Any

from sallyport.apis.calico.values import AS_NUMBER, DURATION, MAX_AS_NUMBER
from sallyport.apis.crd import CONDITIONS, Overlay, rules

PEER_IP_LENGTH = 64
NODE_LENGTH = 253
SELECTOR_LENGTH = 1024
NETWORK_LENGTH = {4: 18, 6: 43}
LONGEST_PREFIX = {4: 32, 6: 128}
MAX_METRIC = 2147483646
MAX_FILTER_RULES = 256
MAX_OPERATIONS = 10
MAX_PREPENDED = 10

_AS_NUMBER: dict[str, Any] = {"pattern": AS_NUMBER, "minimum": 0, "maximum": MAX_AS_NUMBER}
_DURATION: dict[str, Any] = {"pattern": DURATION}
_ADDRESS: dict[str, Any] = {"maxLength": 45, "oneOf": [{"maxLength": 0}, {"format": "ipv4"}, {"format": "ipv6"}]}
_COMMUNITY: dict[str, Any] = {"maxLength": 32, "pattern": "^[0-9]{1,5}:[0-9]{1,5}$|^[0-9]{1,10}(:[0-9]{1,10}){2}$"}


def _given(field: str) -> str:
    return f"(has(self.{field}) && size(self.{field}) > 0)"


def _unsupported(name: str, text: str) -> dict[str, Any]:
    return {"description": f"{text} Not supported.", **rules(("size(self) == 0", f"{name} is not supported"))}


def _password(path: str) -> Overlay:
    return {
        f"{path}.secretKeyRef": {
            "description": "A key of a Secret in the namespace of Sallyport's agents.",
            "required": ["name", "key"],
        },
        f"{path}.secretKeyRef.name": {"description": "Name of the Secret."},
        f"{path}.secretKeyRef.key": {"description": "The key whose value is the password, of at most 80 characters."},
    }


_STATUS: Overlay = {"status": {"description": "What became of it; written by Sallyport."}, **CONDITIONS}

BGP_PEER: Overlay = {
    "": {
        "description": "A BGPPeer is a router that nodes speak BGP with, on an external network or on the nodes' own.",
        "required": ["spec"],
    },
    "spec": {
        "description": "Which nodes, which router, and how they speak.",
        "required": ["peerIP", "asNumber"],
        **rules(
            (f"!({_given('node')} && {_given('nodeSelector')})", "node and nodeSelector cannot both be given"),
            (
                f"!(has(self.keepOriginalNextHop) && self.keepOriginalNextHop && {_given('nextHopMode')})",
                "keepOriginalNextHop and nextHopMode cannot both be given",
            ),
            (
                # An IPv4 address with a port has one colon.
                f"!{_given('reachableBy')} || self.reachableBy.contains(':') == (self.peerIP.split(':').size() > 2)",
                "reachableBy must be of the same IP family as peerIP",
            ),
        ),
    },
    "spec.node": {
        "description": "The one node that peers. With neither this nor nodeSelector: all nodes.",
        "maxLength": NODE_LENGTH,
    },
    "spec.nodeSelector": {
        "description": "The nodes that peer, in Calico's selector language.",
        "maxLength": SELECTOR_LENGTH,
    },
    "spec.peerIP": {
        "description": "Address of the router, with its port where that is not 179: 10.0.0.1:1179 or [fd00::1]:1179.",
        "minLength": 1,
        "maxLength": PEER_IP_LENGTH,
    },
    "spec.asNumber": {"description": "AS number of the router, such as 64512, or 1.10 in quotes.", **_AS_NUMBER},
    "spec.localASNumber": {"description": "Our AS number for this peer. Default: BGPConfiguration's.", **_AS_NUMBER},
    "spec.peerSelector": _unsupported("peerSelector", "Nodes to peer with."),
    "spec.localWorkloadSelector": _unsupported("localWorkloadSelector", "Pods to peer with."),
    "spec.externalNetwork": {
        "description": "The ExternalNetwork that the router is on. Its routes are kept in that network's table only."
    },
    "spec.network": _unsupported("network", "A Network (VRF)."),
    "spec.sourceAddress": {
        "description": "UseNodeIP speaks from the node's address, None from that of the interface towards the router.",
        "enum": ["UseNodeIP", "None"],
        "default": "UseNodeIP",
    },
    "spec.keepOriginalNextHop": {"description": "The older form of nextHopMode Keep."},
    "spec.nextHopMode": {
        "description": "The next hop that the router is told: Self is the node, Keep is as it was learned. Auto is as "
        "BGP has it.",
        "enum": ["", "Auto", "Self", "Keep"],
    },
    "spec.password": {"description": "The password of the session (RFC 2385)."},
    **_password("spec.password"),
    "spec.failureDetectionMode": {
        "description": "BFDIfDirectlyConnected also watches a router in the same subnet by BFD.",
        "enum": ["None", "BFDIfDirectlyConnected"],
        "default": "None",
    },
    "spec.restartMode": {
        "description": "How long routes stay after a session ended: RFC 4724, or RFC 9494.",
        "enum": ["GracefulRestart", "LongLivedGracefulRestart"],
        "default": "GracefulRestart",
    },
    "spec.maxRestartTime": {"description": "For how long. Default 120s, and 3600s for the long one.", **_DURATION},
    "spec.birdGatewayMode": {
        "description": "How next hops are resolved. Without effect here.",
        "enum": ["Recursive", "DirectIfDirectlyConnected"],
    },
    "spec.keepaliveTime": {"description": "Time between keepalives. Default: a third of the hold time.", **_DURATION},
    "spec.numAllowedLocalASNumbers": {
        "description": "How often our own AS number may be in a route's path.",
        "minimum": 0,
        "maximum": 2147483647,
    },
    "spec.ttlSecurity": {
        "description": "How many hops away the router may be at most (RFC 5082). Left out: not checked.",
        "minimum": 0,
        "maximum": 255,
    },
    "spec.filters": {"description": "BGPFilters, in order."},
    "spec.reachableBy": {"description": "A gateway in front of the router, for a route of its own to it.", **_ADDRESS},
    "spec.reversePeering": {
        "description": "Whether the other node is told to peer, too. Without effect here.",
        "enum": ["Auto", "Manual"],
    },
    "spec.extensions": {"description": "Values for templates of BIRD's configuration. Without effect here."},
    "status.sessions": {"description": "The sessions that nodes have with the router."},
    "status.sessions[].node": {"description": "Name of the node."},
    "status.sessions[].state": {"description": "BGP's state of the session, such as Established."},
    **_STATUS,
}


def _filter_rules(path: str, family: int, text: str) -> Overlay:
    length = {"minimum": 0, "maximum": LONGEST_PREFIX[family]}
    one = "[has(self.addCommunity), has(self.prependASPath), has(self.setPriority)].filter(given, given).size() == 1"
    return {
        path: {"description": text, "maxItems": MAX_FILTER_RULES},
        f"{path}[]": {
            "required": ["action"],
            **rules(
                (f"{_given('cidr')} == {_given('matchOperator')}", "cidr and matchOperator must both be given or none"),
                (f"!has(self.prefixLength) || {_given('cidr')}", "prefixLength needs a cidr"),
                (
                    "!has(self.operations) || size(self.operations) == 0 || self.action == 'Accept'",
                    "operations may only be used with action Accept",
                ),
            ),
        },
        f"{path}[].action": {"description": "What becomes of a route that fits.", "enum": ["Accept", "Reject"]},
        f"{path}[].cidr": {
            "description": "Network that the route is compared with.",
            "format": "cidr",
            "maxLength": NETWORK_LENGTH[family],
        },
        f"{path}[].prefixLength": {"description": "Bounds of the route's prefix length."},
        f"{path}[].prefixLength.min": {"description": "The shortest. Default: the network's own.", **length},
        f"{path}[].prefixLength.max": {"description": f"The longest. Default {LONGEST_PREFIX[family]}.", **length},
        f"{path}[].matchOperator": {
            "description": "How the route is compared with the network.",
            "enum": ["Equal", "NotEqual", "In", "NotIn"],
        },
        f"{path}[].source": {"description": "Only routes learned from BGP peers.", "enum": ["RemotePeers"]},
        f"{path}[].interface": {"description": "Only routes by this interface; * stands for any characters."},
        f"{path}[].peerType": {"description": "Only for peers of this kind.", "enum": ["eBGP", "iBGP"]},
        f"{path}[].communities": {"description": "Only routes with this community.", "required": ["values"]},
        f"{path}[].communities.values": {"description": "The community.", "minItems": 1, "maxItems": 1},
        f"{path}[].communities.values[]": _COMMUNITY,
        f"{path}[].asPathPrefix": _unsupported("asPathPrefix", "Only routes whose path begins so."),
        f"{path}[].priority": {
            "description": "Only routes with this metric. Not supported.",
            **rules(("self < 0", "priority is not supported")),
        },
        f"{path}[].operations": {
            "description": "What is changed in an accepted route, in order.",
            "minItems": 1,
            "maxItems": MAX_OPERATIONS,
        },
        f"{path}[].operations[]": rules((one, "exactly one operation must be given")),
        f"{path}[].operations[].addCommunity": {"description": "A community more.", "required": ["value"]},
        f"{path}[].operations[].addCommunity.value": {"description": "AA:NN or AA:NN:MM.", **_COMMUNITY},
        f"{path}[].operations[].prependASPath": {"description": "A longer AS path.", "required": ["prefix"]},
        f"{path}[].operations[].prependASPath.prefix": {
            "description": "AS numbers that the path begins with afterwards, in this order.",
            "minItems": 1,
            "maxItems": MAX_PREPENDED,
        },
        f"{path}[].operations[].prependASPath.prefix[]": _AS_NUMBER,
        f"{path}[].operations[].setPriority": {
            "description": "Another metric. Without effect here.",
            "required": ["value"],
        },
        f"{path}[].operations[].setPriority.value": {
            "description": "The metric.",
            "minimum": 1,
            "maximum": MAX_METRIC,
        },
    }


BGP_FILTER: Overlay = {
    "": {
        "description": "A BGPFilter says which routes a peer is told and which of its routes are taken.",
        "required": ["spec"],
    },
    "spec": {"description": "Rules; the first one that fits a route decides, and a route that fits none is accepted."},
    **_filter_rules("spec.exportV4", 4, "Rules for IPv4 routes to the peer."),
    **_filter_rules("spec.importV4", 4, "Rules for IPv4 routes from the peer."),
    **_filter_rules("spec.exportV6", 6, "Rules for IPv6 routes to the peer."),
    **_filter_rules("spec.importV6", 6, "Rules for IPv6 routes from the peer."),
    **_STATUS,
}

_UNUSED = "Without effect here: Sallyport only tells the addresses of gateways."
_NO_MESH = "Without effect here: nodes do not peer with each other."

BGP_CONFIGURATION: Overlay = {
    "": {
        "description": "A BGPConfiguration holds options of BGP: default for all nodes, node.<name> for one.",
        "required": ["spec"],
    },
    "spec": {"description": "The options; one that is not given has its default."},
    "spec.asNumber": {"description": "Our AS number. Default 64512.", **_AS_NUMBER},
    "spec.listenPort": {
        "description": "The port that nodes listen on. Without effect here.",
        "minimum": 1,
        "maximum": 65535,
    },
    "spec.nodeToNodeMeshEnabled": {"description": _NO_MESH},
    "spec.bindMode": {"description": "Without effect here.", "enum": ["None", "NodeIP"]},
    "spec.ignoredInterfaces": {"description": "Without effect here."},
    "spec.nodeMeshPassword": {"description": _NO_MESH},
    **_password("spec.nodeMeshPassword"),
    "spec.nodeMeshMaxRestartTime": {"description": _NO_MESH, **_DURATION},
    "spec.communities": {"description": "Names for communities. Without effect here."},
    "spec.communities[].name": {"description": "The name."},
    "spec.communities[].value": {"description": "AA:NN or AA:NN:MM.", **_COMMUNITY},
    "spec.prefixAdvertisements": {"description": "Communities for networks. Without effect here."},
    "spec.prefixAdvertisements[].cidr": {"description": "The network.", "format": "cidr"},
    "spec.prefixAdvertisements[].communities": {"description": "Names or values."},
    "spec.serviceClusterIPs": {"description": _UNUSED},
    "spec.serviceClusterIPs[].cidr": {"description": "A network of Services.", "format": "cidr"},
    "spec.serviceExternalIPs": {"description": _UNUSED},
    "spec.serviceExternalIPs[].cidr": {"description": "A network of Services.", "format": "cidr"},
    "spec.serviceLoadBalancerIPs": {"description": _UNUSED},
    "spec.serviceLoadBalancerIPs[].cidr": {"description": "A network of Services.", "format": "cidr"},
    "spec.logSeverityScreen": {"description": "Without effect here."},
    **_STATUS,
}
