"""What FelixConfiguration and BGPConfiguration say for the whole cluster."""

from typing import Any

import msgspec
import pytest
from tests.unit.apis.calico.build import felix
from tests.unit.apis.calico.objects import manifest

from sallyport.apis.calico.bgp import BGPConfiguration
from sallyport.apis.calico.felix import DEFAULT_AS, Felix, Support, read_as_number, read_felix
from sallyport.apis.calico.types import FelixConfiguration
from sallyport.model.state import Tuning


def test_without_an_object_everything_is_off_and_numbers_are_upstreams() -> None:
    assert read_felix([]) == (Felix(), [])
    assert Felix().support is Support.DISABLED
    assert not Felix().networks
    assert Felix().tables == ((1, 250),)
    assert Tuning().poll == (10.0, 3)


def test_the_object_named_default_counts_alone() -> None:
    node = msgspec.convert(
        manifest("FelixConfiguration", "node.n1", egressIPSupport="EnabledPerNamespace"), FelixConfiguration
    )
    assert read_felix([node])[0].support is Support.DISABLED


@pytest.mark.parametrize(
    ("text", "support"),
    [
        ("EnabledPerNamespace", Support.NAMESPACES),
        ("enabledpernamespaceorperpod", Support.PODS),
        ("DISABLED", Support.DISABLED),
        ("", Support.DISABLED),
    ],
)
def test_modes_are_read_without_case(text: str, support: Support) -> None:
    found, problems = read_felix([felix(text, externalNetworkSupport="ENABLED")])
    assert (found.support, found.networks, problems) == (support, True, [])


def test_what_cannot_be_read_is_told_and_falls_back() -> None:
    found, problems = read_felix(
        [felix("On", egressGatewayPollInterval="soon", egressIPHostIfacePattern="/(/", externalNetworkSupport="maybe")]
    )
    assert (found.support, found.patterns, found.tuning.poll, found.networks) == (
        Support.DISABLED,
        (),
        (10.0, 3),
        False,
    )
    assert {item.field for item in problems} == {
        "spec.egressIPSupport",
        "spec.egressGatewayPollInterval",
        "spec.egressIPHostIfacePattern",
    }


def test_numbers_of_an_administrator_are_taken() -> None:
    found, _ = read_felix(
        [
            felix(
                egressIPVXLANPort=4791,
                egressIPVXLANVNI=5000,
                egressIPRoutingRulePriority=90,
                externalNetworkRoutingRulePriority=92,
                egressGatewayPollInterval="500ms",
                egressGatewayPollFailureCount=2,
            )
        ]
    )
    assert found.tuning == Tuning(4791, 5000, 90, 92, (0.5, 2))


@pytest.mark.parametrize(
    ("spec", "tables"),
    [
        ({"routeTableRanges": [{"min": 1, "max": 10}, {"min": 500, "max": 600}]}, ((1, 10), (500, 600))),
        ({"routeTableRange": {"min": 5, "max": 6}}, ((5, 6),)),
        ({}, ((1, 250),)),
    ],
)
def test_reserved_tables_are_those_of_either_field(spec: dict[str, Any], tables: tuple[tuple[int, int], ...]) -> None:
    assert read_felix([felix(**spec)])[0].tables == tables


def test_devices_are_named_or_described_by_expressions() -> None:
    found, problems = read_felix([felix(egressIPHostIfacePattern=r"ens3,/^ens2[01]\.(100|200)$/")])
    assert (found.patterns, problems) == (("ens3", r"/^ens2[01]\.(100|200)$/"), [])


def bgp(name: str = "default", **spec: object) -> BGPConfiguration:
    return msgspec.convert(manifest("BGPConfiguration", name, **spec), BGPConfiguration)


def test_the_clusters_as_number_is_that_of_default_or_upstreams() -> None:
    assert read_as_number([]) == (DEFAULT_AS, [])
    assert read_as_number([bgp("node.n1", asNumber=65001)]) == (DEFAULT_AS, [])
    assert read_as_number([bgp(asNumber="1.10")]) == (65546, [])
    number, problems = read_as_number([bgp(asNumber="sixty")])
    assert (number, [item.field for item in problems]) == (DEFAULT_AS, ["spec.asNumber"])
