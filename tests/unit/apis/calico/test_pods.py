"""What is read of gateways' pods, and what the controller records on pods."""

from ipaddress import ip_address

import msgspec
import pytest
from tests.unit.apis.calico.build import gateway_pod

from sallyport.apis.calico.annotations import EXITS, NEXT_HOPS
from sallyport.apis.calico.pods import (
    GatewayContainer,
    GatewayPod,
    GatewayPodSpec,
    next_hops,
    record,
    record_next_hops,
    recorded,
)
from sallyport.model.state import Family, IPAddress

FOUR, SIX = ip_address("10.10.10.1"), ip_address("fd00:10::1")
BOTH: dict[Family, tuple[IPAddress, int]] = {4: (FOUR, 7), 6: (SIX, 8)}


def test_what_is_recorded_of_a_gateway_is_read_back() -> None:
    known = recorded({EXITS: record(BOTH, ["node-2", "node-1"])})
    assert (known.of(4), known.of(6)) == ((FOUR, 7), (SIX, 8))
    assert known.watchers == ("node-1", "node-2")


def test_equal_decisions_have_the_same_text() -> None:
    """So that nothing is written again."""
    turned: dict[Family, tuple[IPAddress, int]] = {6: BOTH[6], 4: BOTH[4]}
    assert record(turned, {"b", "a"}) == record(BOTH, ["a", "b"])
    assert record_next_hops({"b": ("x",), "a": ("y",)}) == record_next_hops({"a": ("y",), "b": ("x",)})


def test_without_a_record_nothing_is_decided() -> None:
    assert recorded({}).of(4) == (None, 0)
    assert record({}, []) == "{}"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"exits":[]}', '{"exits":{"4":{"ip":7}}}'])
def test_a_text_that_is_not_ours_is_no_record(text: str) -> None:
    assert recorded({EXITS: text}).of(4) == (None, 0)


@pytest.mark.parametrize("ip", ["fd00::1", "10.10.10.300", "router"])
def test_an_address_that_is_none_of_its_family_is_not_known_nor_is_its_id(ip: str) -> None:
    """A mark without the address that it was given for would be another exit's."""
    assert recorded({EXITS: f'{{"exits":{{"4":{{"ip":"{ip}","id":7}}}}}}'}).of(4) == (None, 0)


def test_the_choice_of_a_client_is_read_back_and_nonsense_is_none() -> None:
    chosen = {"0.0.0.0/0": ("gw/x/v4", "gw/x/v6"), "10.0.0.0/8": ()}
    assert next_hops({NEXT_HOPS: record_next_hops(chosen)}) == chosen
    assert next_hops({}) == next_hops({NEXT_HOPS: "["}) == next_hops({NEXT_HOPS: '{"a":"b"}'}) == {}


def test_a_pod_is_ready_when_its_kubelet_says_so() -> None:
    assert gateway_pod().ready
    assert not gateway_pod(ready=False).ready
    assert not GatewayPod().ready


def test_the_port_named_health_is_polled_and_none_else() -> None:
    assert gateway_pod().health_port == 8080
    nameless = msgspec.convert(
        [{"name": "c", "ports": [{"name": "http", "containerPort": 80}]}], list[GatewayContainer]
    )
    assert GatewayPod(spec=GatewayPodSpec(containers=tuple(nameless))).health_port == 0
