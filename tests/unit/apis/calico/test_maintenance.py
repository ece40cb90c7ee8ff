"""What clients are told about a gateway of theirs that is about to end."""

from typing import Any

from tests.unit.apis.calico.build import gateway_pod
from tests.unit.plan.build import a_client
from tests.unit.plan.gateways import a_cluster, a_gateway, a_policy, by

from sallyport.apis.calico.annotations import MAINTENANCE_FINISHED, MAINTENANCE_GATEWAY_IP, MAINTENANCE_STARTED
from sallyport.apis.calico.maintenance import notices
from sallyport.apis.calico.pods import GatewayPod
from sallyport.model.state import ClusterState, Hops

CLIENT, OTHER = ("prod", "c"), ("prod", "d")


def ending(name: str, at: str = "2026-01-01T00:01:00Z", grace: int = 60) -> GatewayPod:
    """Gateway gw/NAME has ended at that time at the latest, which was so many seconds away when it was told to."""
    more: dict[str, Any] = {"deletionTimestamp": at} | ({"deletionGracePeriodSeconds": grace} if grace else {})
    return gateway_pod(name, namespace="gw", **more)


def cluster(hops: Hops, **fields: Any) -> ClusterState:
    exits = [a_gateway("x", 1, number=1), a_gateway("y", 2, number=2)]
    policy = a_policy("p", {"0.0.0.0/0": hops}, "c", "d")
    return a_cluster(exits, [policy], [a_client("c", "10.244.1.2"), a_client("d", "10.244.1.3")], **fields)


def test_every_client_is_told_of_the_address_and_of_when_it_begins_and_ends() -> None:
    told = {
        MAINTENANCE_GATEWAY_IP: "10.10.10.1",
        MAINTENANCE_STARTED: "2026-01-01T00:00:00Z",
        MAINTENANCE_FINISHED: "2026-01-01T00:01:00Z",
    }
    assert notices([ending("x"), gateway_pod("y", namespace="gw")], cluster(by("x", "y")), {}) == {
        CLIENT: told,
        OTHER: told,
    }


def test_with_a_limit_those_alone_who_were_given_it_are_told() -> None:
    chosen = {CLIENT: {"0.0.0.0/0": ("gw/x/v4",)}, OTHER: {"0.0.0.0/0": ("gw/y/v4",)}}
    assert set(notices([ending("x")], cluster(by("x", "y", limit=1)), chosen)) == {CLIENT}


def test_nobody_is_told_of_a_gateway_that_has_no_time_or_is_not_ending() -> None:
    state = cluster(by("x"))
    assert notices([ending("x", grace=0), gateway_pod("x", namespace="gw")], state, {}) == {}


def test_nobody_is_told_of_a_gateway_that_is_not_his() -> None:
    assert notices([ending("y")], cluster(by("x")), {}) == {}
    assert notices([ending("x")], cluster(by("x", own=True)), {}) == {}


def test_of_two_gateways_the_one_that_ends_first_is_told_of() -> None:
    pods = [ending("x", "2026-01-01T00:02:00Z"), ending("y", "2026-01-01T00:01:00Z")]
    found = notices(pods, cluster(by("x", "y")), {})
    assert found[CLIENT][MAINTENANCE_GATEWAY_IP] == "10.10.10.2"
    assert notices(pods[::-1], cluster(by("x", "y")), {}) == found


def test_times_are_told_in_utc() -> None:
    found = notices([ending("x", "2026-01-01T02:01:00+02:00")], cluster(by("x")), {})
    assert found[CLIENT][MAINTENANCE_FINISHED] == "2026-01-01T00:01:00Z"
