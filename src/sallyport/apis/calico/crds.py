"""The CustomResourceDefinitions of Calico's kinds: schemas, columns and short names."""

from typing import Any

from sallyport.apis.calico.bgp import BGPCONFIGURATIONS, BGPFILTERS, BGPPEERS
from sallyport.apis.calico.bgp_schema import BGP_CONFIGURATION, BGP_FILTER, BGP_PEER
from sallyport.apis.calico.gateway_schema import EGRESS_GATEWAY
from sallyport.apis.calico.network_schema import EGRESS_GATEWAY_POLICY, EXTERNAL_NETWORK, FELIX_CONFIGURATION, IP_POOL
from sallyport.apis.calico.types import (
    EGRESSGATEWAYPOLICIES,
    EGRESSGATEWAYS,
    EXTERNALNETWORKS,
    FELIXCONFIGURATIONS,
    IPPOOLS,
)
from sallyport.apis.crd import Definition, Overlay, Version
from sallyport.apis.resource import Resource

Column = tuple[str, str, str, str]

_AGE: Column = ("Age", "date", ".metadata.creationTimestamp", "Time since creation.")


def _condition(name: str, text: str) -> Column:
    return name, "string", f'.status.conditions[?(@.type=="{name}")].status', text


def _definition(resource: Resource[Any], short: str, overlay: Overlay, *columns: Column) -> Definition:
    return Definition(
        resource=resource,
        singular=resource.kind.lower(),
        short_names=(short,),
        columns=(*columns, _AGE),
        versions=(Version(resource.version, overlay),),
    )


DEFINITIONS = (
    _definition(
        EXTERNALNETWORKS,
        "extnet",
        EXTERNAL_NETWORK,
        ("Table", "integer", ".spec.routeTableIndex", "The kernel's routing table."),
        _condition("Ready", "Whether its routes are in place."),
    ),
    _definition(
        IPPOOLS,
        "ipp",
        IP_POOL,
        ("CIDR", "string", ".spec.cidr", "The network of the addresses."),
        ("Used", "integer", ".status.usage.used", "Addresses that gateways have."),
        ("Total", "integer", ".status.usage.total", "Addresses that gateways may be given."),
    ),
    _definition(
        EGRESSGATEWAYPOLICIES,
        "egwp",
        EGRESS_GATEWAY_POLICY,
        ("Clients", "integer", ".status.clients", "Pods under this policy."),
    ),
    _definition(
        FELIXCONFIGURATIONS,
        "felix",
        FELIX_CONFIGURATION,
        ("Egress", "string", ".spec.egressIPSupport", "Whose annotations lead to gateways."),
        ("Networks", "string", ".spec.externalNetworkSupport", "Whether ExternalNetworks are used."),
    ),
    _definition(
        EGRESSGATEWAYS,
        "egw",
        EGRESS_GATEWAY,
        ("State", "string", ".status.state", "Its state in one word."),
        ("Ready", "integer", ".status.readyReplicas", "Pods that carry traffic."),
        ("Replicas", "integer", ".spec.replicas", "Pods that are wanted."),
    ),
    _definition(
        BGPPEERS,
        "bgpp",
        BGP_PEER,
        ("Peer", "string", ".spec.peerIP", "Address of the router."),
        ("AS", "string", ".spec.asNumber", "Its AS number."),
        ("Network", "string", ".spec.externalNetwork", "The ExternalNetwork that it is on."),
        _condition("Established", "Whether every node has its session."),
    ),
    _definition(BGPFILTERS, "bgpf", BGP_FILTER),
    _definition(
        BGPCONFIGURATIONS,
        "bgpconfig",
        BGP_CONFIGURATION,
        ("AS", "string", ".spec.asNumber", "Our AS number."),
    ),
)
"""In the order in which they are best made: what others name comes first."""
