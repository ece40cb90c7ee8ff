"""What becomes of every field, annotation and option that Antrea knows around Egress.

Keys are paths within the kind (`[]` for list entries); a field below a named one shares its fate.
"""

from collections.abc import Mapping

from sallyport.apis.coverage import Coverage, supported
from sallyport.apis.coverage import ignored as _ignored
from sallyport.apis.coverage import refused as _refused


def _yes(reason: str = "as in Antrea") -> Coverage:
    return supported(reason)


_NO_GOSSIP = "there is no gossip: nodes watch each other by BFD, and a lease tells the controller who lives"
_LATER = "not built yet; the pool says so in a Warning event, and addresses of a tagged subnet are not handed out"

EGRESS: Mapping[str, Coverage] = {
    "spec.appliedTo.podSelector": _yes("invalid selectors are refused or reported, not passed over"),
    "spec.appliedTo.namespaceSelector": _yes("invalid selectors are refused or reported, not passed over"),
    "spec.appliedTo.group": _refused("unknown field: pruned by upstream's schema too"),
    "spec.appliedTo.serviceAccount": _refused("unknown field: pruned by upstream's schema too"),
    "spec.appliedTo.service": _refused("unknown field: pruned by upstream's schema too"),
    "spec.appliedTo.nodeSelector": _refused("unknown field: pruned by upstream's schema too"),
    "spec.egressIP": _yes("while no node holds it, the pods' traffic is dropped and does not leave by a node's IP"),
    "spec.externalIPPool": _yes("the address is written into egressIP; a pool that is gone means drop"),
    "spec.egressIPs": _refused("not supported by upstream either"),
    "spec.externalIPPools": _refused("not supported by upstream either"),
    "spec.bandwidth.rate": _yes("bits per second without rounding to kbit/s; negative quantities are refused"),
    "spec.bandwidth.burst": _yes("bits; negative quantities are refused"),
    "status.egressNode": _yes("cleared when the node does not hold the address any more"),
    "status.egressIP": _yes("cleared with egressNode"),
    "status.conditions": _yes("IPAllocated and IPAssigned, for static addresses too; Overlapping is ours"),
}

POOL: Mapping[str, Coverage] = {
    "spec.ipRanges[].cidr": _yes("at most 256 ranges; ranges that overlap another pool's are never handed out"),
    "spec.ipRanges[].start": _yes("at most 256 ranges; ranges that overlap another pool's are never handed out"),
    "spec.ipRanges[].end": _yes("at most 256 ranges; ranges that overlap another pool's are never handed out"),
    "spec.nodeSelector": _yes(),
    "spec.subnetInfo.gateway": _ignored(_LATER),
    "spec.subnetInfo.prefixLength": _ignored(_LATER),
    "spec.subnetInfo.vlan": _ignored(_LATER),
    "status.usage.total": _yes("never negative"),
    "status.usage.used": _yes("addresses of LoadBalancer Services are not counted: Services are not served"),
}

CONFIGURATION: Mapping[str, Coverage] = {
    "featureGates.Egress": _yes("either file can turn it off"),
    "featureGates.EgressTrafficShaping": _ignored("bandwidth is always limited where it is given"),
    "featureGates.EgressSeparateSubnet": _ignored("subnetInfo is not built yet"),
    "egress.exceptCIDRs": _yes("an invalid network is reported and skipped; the agent keeps running"),
    "egress.maxEgressIPsPerNode": _yes("more than 255 are possible; a wrong value is reported and 255 is used"),
    "egress.snatFullyRandomPorts": _ignored("source ports are kept, so that connections outlive a takeover"),
    "egress.uniqueMACForSubInterfaces": _ignored("there are no VLAN sub-interfaces"),
    "serviceCIDR": _yes("Service networks are never governed"),
    "serviceCIDRv6": _yes("Service networks are never governed"),
    "clusterPort": _ignored(_NO_GOSSIP),
    "memberlist.gossipVerifyOutgoing": _ignored(_NO_GOSSIP),
    "memberlist.gossipVerifyIncoming": _ignored(_NO_GOSSIP),
    "antreaSysctlInit.enable": _ignored("reverse path filters are set by the plan where needed, and only there"),
}

ANNOTATIONS: Mapping[str, Coverage] = {
    "Node node.antrea.io/max-egress-ips": _yes("a value that is no number is reported, and the default used"),
    "Service service.antrea.io/external-ip-pool": _ignored("Services are not served"),
}
