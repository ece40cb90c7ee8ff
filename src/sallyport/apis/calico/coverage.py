"""What becomes of every field and annotation that Calico knows around egress gateways and external networks.

Keys are paths within the kind (`[]` for list entries); a field below a named one shares its fate.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sallyport.apis.calico import annotations
from sallyport.apis.coverage import Coverage, Support, fate, ignored, refused, supported

_AS_UPSTREAM = supported("as in Calico")
_CLOUD = ignored("for a cloud")
_NO_MESH = ignored("nodes do not peer with each other")
_SERVICES = ignored("addresses of Services are not told to peers")
_NOT_OURS = ignored("it belongs to Calico's own addresses, networks or packet filters")
_OTHER_OPTION = ignored("it is not an option of egress gateways or external networks")

EXTERNAL_NETWORK: Mapping[str, Coverage] = {
    "spec.routeTableIndex": supported("what is no table, the kernel's and exits' are refused; clashes are reported"),
}

IP_POOL: Mapping[str, Coverage] = {
    "spec.cidr": supported("IPv6, too"),
    "spec.nodeSelector": _AS_UPSTREAM,
    "spec.disabled": _AS_UPSTREAM,
    "spec.blockSize": supported("checked; without effect, as addresses are given one by one"),
    "spec.natOutgoing": supported("traffic leaves with the address of the gateway's node"),
    "spec.disableBGPExport": _AS_UPSTREAM,
    "spec.ipipMode": ignored("clients reach gateways through Sallyport's own tunnel"),
    "spec.vxlanMode": ignored("clients reach gateways through Sallyport's own tunnel"),
    "spec.allowedUses": _NOT_OURS,
    "spec.assignmentMode": _NOT_OURS,
    "spec.awsSubnetID": _CLOUD,
}

EGRESS_GATEWAY_POLICY: Mapping[str, Coverage] = {
    "spec.rules[].destination.cidr": supported("IPv6, too; no destination means the default of both families"),
    "spec.rules[].description": _AS_UPSTREAM,
    "spec.rules[].gateway.selector": _AS_UPSTREAM,
    "spec.rules[].gateway.namespaceSelector": _AS_UPSTREAM,
    "spec.rules[].gateway.maxNextHops": _AS_UPSTREAM,
    "spec.rules[].gatewayPreference": _AS_UPSTREAM,
}

EGRESS_GATEWAY: Mapping[str, Coverage] = {
    "spec.replicas": supported("more than the pools have addresses is reported"),
    "spec.ipPools[].name": _AS_UPSTREAM,
    "spec.ipPools[].cidr": _AS_UPSTREAM,
    "spec.externalNetworks": supported("watched: a network that goes or comes later is noticed"),
    "spec.logSeverity": _AS_UPSTREAM,
    "spec.egressGatewayFailureDetection": _AS_UPSTREAM,
    "spec.aws.nativeIP": refused("cloud; Disabled is accepted"),
    "spec.aws.elasticIPs": refused("cloud; an empty list is accepted"),
    "spec.template.metadata.labels": _AS_UPSTREAM,
    "spec.template.metadata.annotations": _AS_UPSTREAM,
    "spec.template.spec.affinity": _AS_UPSTREAM,
    "spec.template.spec.nodeSelector": _AS_UPSTREAM,
    "spec.template.spec.tolerations": _AS_UPSTREAM,
    "spec.template.spec.topologySpreadConstraints": _AS_UPSTREAM,
    "spec.template.spec.priorityClassName": _AS_UPSTREAM,
    "spec.template.spec.terminationGracePeriodSeconds": _AS_UPSTREAM,
    "spec.template.spec.containers": _AS_UPSTREAM,
    "spec.template.spec.initContainers": _AS_UPSTREAM,
    "status.state": supported("says what the gateways do, not only that they were made"),
    "status.conditions": supported("says what the gateways do, not only that they were made"),
}

BGP_PEER: Mapping[str, Coverage] = {
    "spec.node": _AS_UPSTREAM,
    "spec.nodeSelector": _AS_UPSTREAM,
    "spec.peerIP": supported("required; without a port, 179"),
    "spec.asNumber": supported("required"),
    "spec.localASNumber": _AS_UPSTREAM,
    "spec.peerSelector": refused("nodes do not peer with each other"),
    "spec.localWorkloadSelector": refused("pods are not peered with"),
    "spec.externalNetwork": supported("a network that is not there is reported"),
    "spec.network": refused("Network (VRF) is not supported; gateways cannot sit on one in Calico either"),
    "spec.sourceAddress": _AS_UPSTREAM,
    "spec.keepOriginalNextHop": _AS_UPSTREAM,
    "spec.nextHopMode": _AS_UPSTREAM,
    "spec.password": supported("the Secret is in the namespace of Sallyport's agents"),
    "spec.failureDetectionMode": _AS_UPSTREAM,
    "spec.restartMode": _AS_UPSTREAM,
    "spec.maxRestartTime": _AS_UPSTREAM,
    "spec.birdGatewayMode": ignored("next hops are resolved recursively"),
    "spec.keepaliveTime": _AS_UPSTREAM,
    "spec.numAllowedLocalASNumbers": _AS_UPSTREAM,
    "spec.ttlSecurity": _AS_UPSTREAM,
    "spec.filters": supported("a filter that is not there is reported"),
    "spec.reachableBy": supported("must be of the same family as peerIP"),
    "spec.reversePeering": _NO_MESH,
    "spec.extensions": ignored("there are no templates of BIRD's configuration"),
}

_RULE: Mapping[str, Coverage] = {
    "action": _AS_UPSTREAM,
    "cidr": _AS_UPSTREAM,
    "prefixLength": _AS_UPSTREAM,
    "matchOperator": _AS_UPSTREAM,
    "source": _AS_UPSTREAM,
    "interface": _AS_UPSTREAM,
    "peerType": _AS_UPSTREAM,
    "communities": _AS_UPSTREAM,
    "asPathPrefix": refused("a rule without it would fit more routes than were meant"),
    "priority": refused("a rule without it would fit more routes than were meant"),
    "operations[].addCommunity": _AS_UPSTREAM,
    "operations[].prependASPath": _AS_UPSTREAM,
    "operations[].setPriority": ignored("routes have the metric of their network's table"),
}

BGP_FILTER: Mapping[str, Coverage] = {
    f"spec.{direction}{family}[].{field}": coverage
    for direction in ("export", "import")
    for family in ("V4", "V6")
    for field, coverage in _RULE.items()
}

BGP_CONFIGURATION: Mapping[str, Coverage] = {
    "spec.asNumber": _AS_UPSTREAM,
    "spec.listenPort": ignored("our side opens every session; port 179 is left to the CNI's own speaker"),
    "spec.nodeToNodeMeshEnabled": _NO_MESH,
    "spec.bindMode": ignored("only sessions of BGPPeers are taken, wherever they arrive"),
    "spec.ignoredInterfaces": ignored("only interfaces of external networks are read"),
    "spec.nodeMeshPassword": _NO_MESH,
    "spec.nodeMeshMaxRestartTime": _NO_MESH,
    "spec.communities": ignored("use addCommunity in a BGPFilter"),
    "spec.prefixAdvertisements": ignored("use addCommunity in a BGPFilter"),
    "spec.serviceClusterIPs": _SERVICES,
    "spec.serviceExternalIPs": _SERVICES,
    "spec.serviceLoadBalancerIPs": _SERVICES,
    "spec.logSeverityScreen": ignored("agents have a log level of their own"),
}

FELIX_CONFIGURATION: Mapping[str, Coverage] = {
    "spec.egressIPSupport": supported("an unknown value is refused instead of taken for Disabled"),
    "spec.egressIPVXLANPort": _AS_UPSTREAM,
    "spec.egressIPVXLANVNI": _AS_UPSTREAM,
    "spec.egressIPRoutingRulePriority": _AS_UPSTREAM,
    "spec.egressGatewayPollInterval": _AS_UPSTREAM,
    "spec.egressGatewayPollFailureCount": _AS_UPSTREAM,
    "spec.egressIPHostIfacePattern": _AS_UPSTREAM,
    "spec.externalNetworkSupport": _AS_UPSTREAM,
    "spec.externalNetworkRoutingRulePriority": _AS_UPSTREAM,
    "spec.routeTableRanges": supported("a range that makes no sense is refused instead of ending the agent"),
    "spec.routeTableRange": _AS_UPSTREAM,
    "spec.policySyncPathPrefix": ignored("gateways need nothing of their node's agent"),
    "spec.iptablesBackend": ignored("nftables is used"),
    "spec.natOutgoingAddress": ignored("with natOutgoing, traffic leaves with the node's own address"),
    "spec.natOutgoingExclusions": _NOT_OURS,
    "spec.awsSecondaryIPSupport": _CLOUD,
    "spec.awsSecondaryIPRoutingRulePriority": _CLOUD,
    "spec.localSubnetL2Reachability": ignored("addresses of gateways are told by BGP"),
}

COVERED: Mapping[str, Mapping[str, Coverage]] = {
    "ExternalNetwork": EXTERNAL_NETWORK,
    "IPPool": IP_POOL,
    "EgressGatewayPolicy": EGRESS_GATEWAY_POLICY,
    "EgressGateway": EGRESS_GATEWAY,
    "BGPPeer": BGP_PEER,
    "BGPFilter": BGP_FILTER,
    "BGPConfiguration": BGP_CONFIGURATION,
    "FelixConfiguration": FELIX_CONFIGURATION,
}
"""By kind."""

ANNOTATIONS: Mapping[str, Coverage] = {
    annotations.SELECTOR: supported(
        "on namespaces and pods; one that cannot be read drops the traffic, and is reported"
    ),
    annotations.NAMESPACE_SELECTOR: _AS_UPSTREAM,
    annotations.MAX_NEXT_HOPS: _AS_UPSTREAM,
    annotations.POLICY: supported("a policy that is not there drops the traffic, and is reported"),
    annotations.MAINTENANCE_GATEWAY_IP: _AS_UPSTREAM,
    annotations.MAINTENANCE_STARTED: _AS_UPSTREAM,
    annotations.MAINTENANCE_FINISHED: _AS_UPSTREAM,
    annotations.NETWORK_NAMES: _AS_UPSTREAM,
    annotations.IPV4_POOLS: _AS_UPSTREAM,
    annotations.IPV6_POOLS: supported("ours beside the one for IPv4"),
    "cni.projectcalico.org/awsElasticIPs": _CLOUD,
}


def without_effect(kind: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields of an object's spec that are given and ignored, each as its path (`spec.a[0].b`) and why.

    Of a FelixConfiguration, every option that is not named here is one.
    """
    covered = COVERED[kind]
    for path, plain in _fields(spec, "spec", "spec"):
        entry = fate(covered, plain)
        if entry is None and kind == "FelixConfiguration":
            entry = _OTHER_OPTION
        if entry is not None and entry.support is Support.IGNORED:
            yield path, entry.reason


def _fields(value: object, path: str, plain: str) -> Iterator[tuple[str, str]]:
    """Paths of what is given with the indices of lists, and without."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _fields(below, f"{path}.{key}", f"{plain}.{key}")
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from _fields(item, f"{path}[{index}]", f"{plain}[]")
    elif value is not None:
        yield path, plain
