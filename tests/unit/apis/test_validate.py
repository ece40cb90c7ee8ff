"""Refusals of upstream's webhooks, in their words."""

from typing import Any

import msgspec
import pytest

from sallyport.apis.antrea.types import Egress, ExternalIPPool
from sallyport.apis.antrea.validate import admission_faults, egress_faults, pool_faults


def pool(name: str, *ranges: str, **spec: Any) -> ExternalIPPool:
    parts = [
        {"cidr": text} if "/" in text else dict(zip(("start", "end"), text.split("-"), strict=True)) for text in ranges
    ]
    value = {"metadata": {"name": name}, "spec": {"ipRanges": parts, "nodeSelector": {}, **spec}}
    return msgspec.convert(value, ExternalIPPool)


def egress(**spec: Any) -> Egress:
    return msgspec.convert({"metadata": {"name": "e"}, "spec": {"appliedTo": {}, **spec}}, Egress)


POOLS = {"p": pool("p", "10.0.0.0/28", "fd00::10-fd00::20")}


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (egress(egressIP="10.0.0.16", externalIPPool="p"), "IP 10.0.0.16 is not within the IP range"),
        (egress(egressIP="fd00::21", externalIPPool="p"), "IP fd00::21 is not within the IP range"),
        (egress(egressIP="10.0.0.1", externalIPPool="q"), "ExternalIPPool q does not exist"),
        (egress(egressIP="10.0.0", externalIPPool="p"), "IP 10.0.0 is not valid"),
        (egress(egressIPs=["10.0.0.1"]), "spec.egressIPs is not supported yet"),
        (egress(externalIPPools=["p"]), "spec.externalIPPools is not supported yet"),
    ],
)
def test_an_egress_is_refused_with_its_reason(new: Egress, reason: str) -> None:
    assert [fault.reason for fault in egress_faults(new, None, POOLS)] == [reason]


def test_a_valid_egress_is_accepted() -> None:
    for spec in (
        {"egressIP": "10.0.0.1", "externalIPPool": "p"},
        {"egressIP": "fd00::10", "externalIPPool": "p"},
        {"externalIPPool": "absent"},
        {"egressIP": "192.0.2.1"},
    ):
        assert egress_faults(egress(**spec), None, POOLS) == []


def test_an_egress_whose_address_and_pool_stay_is_not_looked_at_again() -> None:
    """Its pool may be gone by now; labels and selectors must stay editable."""
    gone = egress(egressIP="10.0.0.1", externalIPPool="gone")
    assert egress_faults(gone, gone, POOLS) == []


@pytest.mark.parametrize(
    ("ranges", "reason"),
    [
        (["10.0.9.9-10.0.9.1"], "range [10.0.9.9-10.0.9.1] is invalid: start 10.0.9.9 is greater than end 10.0.9.1"),
        (["fd01::9-fd01::1"], "range [fd01::9-fd01::1] is invalid: start fd01::9 is greater than end fd01::1"),
        (
            ["10.0.9.1-fd01::1"],
            "range [10.0.9.1-fd01::1] is invalid: start 10.0.9.1 and end fd01::1 are of different IP families",
        ),
        (["10.0.9.0/33"], "range [10.0.9.0/33] is invalid: '10.0.9.0/33' is not a network in CIDR notation"),
        (["10.0.9.0/24", "10.0.9.9-10.0.9.9"], "range [10.0.9.9-10.0.9.9] overlaps with range [10.0.9.0/24]"),
        (["10.0.0.8/30"], "range [10.0.0.8/30] overlaps with range [10.0.0.0/28] of ExternalIPPool p"),
    ],
)
def test_a_range_is_refused_with_its_reason(ranges: list[str], reason: str) -> None:
    assert [fault.reason for fault in pool_faults(pool("n", *ranges), None, POOLS.values())] == [reason]


def test_ranges_are_added_only() -> None:
    old = pool("p", "10.0.0.0/28")
    assert pool_faults(pool("p", "10.0.1.0/28", "10.0.0.0/28"), old, [old]) == []
    (fault,) = pool_faults(pool("p", "10.0.0.0/29"), old, [old])
    assert fault.reason == "existing IPRanges [10.0.0.0/28] cannot be updated or deleted"


@pytest.mark.parametrize(
    ("ranges", "subnet", "field"),
    [
        (["10.0.9.2-10.0.9.9"], {"gateway": "10.0.9.1", "prefixLength": 24}, None),
        (["10.0.8.2-10.0.9.9"], {"gateway": "10.0.9.1", "prefixLength": 24}, "spec.ipRanges[0]"),
        (["10.0.9.0/24"], {"gateway": "10.0.9.1", "prefixLength": 24}, "spec.ipRanges[0]"),
        (["fd01::/120"], {"gateway": "10.0.9.1", "prefixLength": 24}, "spec.ipRanges[0]"),
        (["10.0.9.0/28"], {"gateway": "10.0.9.1", "prefixLength": 32}, "spec.subnetInfo.prefixLength"),
        (["10.0.9.0/28"], {"gateway": "router", "prefixLength": 24}, "spec.subnetInfo.gateway"),
    ],
)
def test_ranges_lie_within_their_subnet(ranges: list[str], subnet: dict[str, Any], field: str | None) -> None:
    found = pool_faults(pool("n", *ranges, subnetInfo=subnet), None, ())
    assert [fault.field for fault in found] == ([field] if field else [])


def test_objects_as_the_api_holds_them_are_judged_by_kind() -> None:
    held = msgspec.to_builtins(POOLS["p"])
    outside = msgspec.to_builtins(egress(egressIP="10.9.9.9", externalIPPool="p"))
    shrunk = msgspec.to_builtins(pool("p", "10.0.0.0/28"))
    assert len(admission_faults("Egress", outside, None, [held])) == 1
    assert len(admission_faults("ExternalIPPool", shrunk, held, [held])) == 1
    assert admission_faults("Egress", outside, outside, [held]) == []
    assert admission_faults("Pod", {}, None, [held]) == []
