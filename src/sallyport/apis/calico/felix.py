"""What FelixConfiguration and BGPConfiguration say for the whole cluster: the objects named `default`."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sallyport.apis.calico.bgp import BGPConfiguration
from sallyport.apis.calico.types import DEFAULT_TABLES, FelixConfiguration, FelixConfigurationSpec
from sallyport.apis.calico.values import parse_as_number, parse_duration, parse_interfaces
from sallyport.model.state import ObjectRef, Problem, Tuning

DEFAULT_AS = 64512
INVALID = "InvalidSpec"


class Support(StrEnum):
    """Whose annotations count: nobody's, namespaces', or those of pods too."""

    DISABLED = "disabled"
    NAMESPACES = "enabledpernamespace"
    PODS = "enabledpernamespaceorperpod"


@dataclass(frozen=True, slots=True)
class Felix:
    """The cluster's options. `networks`: whether external networks have an effect. `tables` are reserved, first and
    last of each range."""

    support: Support = Support.DISABLED
    networks: bool = False
    patterns: tuple[str, ...] = ()
    tables: tuple[tuple[int, int], ...] = (DEFAULT_TABLES,)
    tuning: Tuning = Tuning()  # noqa: RUF009  (frozen)


def read_felix(found: Iterable[FelixConfiguration]) -> tuple[Felix, list[Problem]]:
    """The options of `default`; what cannot be read falls back to its default, as upstream's does."""
    problems: list[Problem] = []
    default = next((item for item in found if item.metadata.name == "default"), None)
    if default is None:
        return Felix(), problems
    ref, spec = ObjectRef("FelixConfiguration", "default", uid=default.metadata.uid), default.spec

    def refuse(name: str, message: str) -> None:
        problems.append(Problem(ref, INVALID, message, f"spec.{name}"))

    try:
        support = Support((spec.egress_ip_support or Support.DISABLED).lower())
    except ValueError:
        support = Support.DISABLED
        refuse("egressIPSupport", f"egressIPSupport is {spec.egress_ip_support!r}, which is no mode: Disabled is used")
    patterns: tuple[str, ...] = ()
    try:
        parsed = parse_interfaces(spec.egress_ip_host_iface_pattern)
        patterns = (*sorted(parsed.names), *(f"/{item.pattern}/" for item in parsed.expressions))
    except ValueError as error:
        refuse("egressIPHostIfacePattern", str(error))
    interval = 10.0
    try:
        interval = parse_duration(spec.egress_gateway_poll_interval) if spec.egress_gateway_poll_interval else interval
    except ValueError as error:
        refuse("egressGatewayPollInterval", str(error))
    tuning = Tuning(
        vxlan_port=spec.egress_ip_vxlan_port,
        vxlan_vni=spec.egress_ip_vxlan_vni,
        rule_priority=spec.egress_ip_routing_rule_priority,
        network_rule_priority=spec.external_network_routing_rule_priority,
        poll=(interval or 10.0, spec.egress_gateway_poll_failure_count or 3),
    )
    networks = spec.external_network_support.lower() == "enabled"
    return Felix(support, networks, patterns, _tables(spec), tuning), problems


def _tables(spec: FelixConfigurationSpec) -> tuple[tuple[int, int], ...]:
    ranges = spec.route_table_ranges or ((spec.route_table_range,) if spec.route_table_range else ())
    return tuple((item.min, item.max) for item in ranges) or (DEFAULT_TABLES,)


def read_as_number(found: Iterable[BGPConfiguration]) -> tuple[int, list[Problem]]:
    """The cluster's AS number."""
    for item in found:
        if item.metadata.name == "default" and item.spec.as_number:
            try:
                return parse_as_number(item.spec.as_number), []
            except ValueError as error:
                ref = ObjectRef("BGPConfiguration", "default", uid=item.metadata.uid)
                return DEFAULT_AS, [Problem(ref, INVALID, str(error), "spec.asNumber")]
    return DEFAULT_AS, []
