"""The objects of Calico's kinds that one translation reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sallyport.apis.calico.bgp import BGPConfiguration, BGPFilter, BGPPeer
from sallyport.apis.calico.pods import GatewayPod
from sallyport.apis.calico.types import (
    EgressGateway,
    EgressGatewayPolicy,
    ExternalNetwork,
    FelixConfiguration,
    IPPool,
)


@dataclass(frozen=True, slots=True)
class CalicoObjects:
    """`pods` are the gateways' of the whole cluster. `secrets` are passwords that BGP peers name, by Secret and key."""

    gateways: tuple[EgressGateway, ...] = ()
    pods: tuple[GatewayPod, ...] = ()
    pools: tuple[IPPool, ...] = ()
    policies: tuple[EgressGatewayPolicy, ...] = ()
    networks: tuple[ExternalNetwork, ...] = ()
    peers: tuple[BGPPeer, ...] = ()
    filters: tuple[BGPFilter, ...] = ()
    bgp: tuple[BGPConfiguration, ...] = ()
    felix: tuple[FelixConfiguration, ...] = ()
    secrets: Mapping[tuple[str, str], str] = field(default_factory=dict, repr=False)
