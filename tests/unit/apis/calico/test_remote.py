"""Which gateways a node polls, and where."""

from dataclasses import replace

import msgspec
from tests.unit.plan.build import a_client
from tests.unit.plan.gateways import a_cluster, a_gateway, a_policy, by

from sallyport.apis.calico.pods import GatewayPod
from sallyport.apis.calico.remote import polled
from sallyport.model.state import ClusterState, Hops


def gateway(name: str, *addresses: str, port: str = "health") -> GatewayPod:
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "gw"},
            "spec": {"containers": [{"ports": [{"name": port, "containerPort": 8080}]}]},
            "status": {"podIPs": [{"ip": address} for address in addresses]},
        },
        GatewayPod,
    )


PODS = [gateway("here", "10.244.1.7"), gateway("there", "10.244.2.7"), gateway("idle", "10.244.3.7")]


def cluster(hops: Hops, node: int = 1) -> ClusterState:
    """A client on node-1; gateway `here` is on node-1, the others on node-2 and node-3."""
    exits = [a_gateway("here", 1), a_gateway("there", 2), a_gateway("idle", 3)]
    return a_cluster(exits, [a_policy("p", {"0.0.0.0/0": hops}, "c")], [a_client("c", "10.244.1.2", node=node)])


def test_gateways_on_other_nodes_that_clients_here_use_are_polled() -> None:
    assert polled(PODS, cluster(by("here", "there")), "node-1") == {"gw/there": "http://10.244.2.7:8080/readiness"}


def test_clients_of_other_nodes_make_nobody_poll_here() -> None:
    assert polled(PODS, cluster(by("here", "there"), node=2), "node-1") == {}


def test_gateways_without_a_port_for_it_or_without_an_address_are_not_polled() -> None:
    pods = [gateway("there", "10.244.2.7", port="http"), gateway("idle")]
    assert polled(pods, cluster(by("there", "idle")), "node-1") == {}


def test_an_ipv6_address_is_written_in_brackets() -> None:
    found = polled([gateway("there", "fd00:244:2::7", "10.244.2.7")], cluster(by("there")), "node-1")
    assert found == {"gw/there": "http://[fd00:244:2::7]:8080/readiness"}


def test_without_policies_nobody_is_polled() -> None:
    assert polled(PODS, replace(cluster(by("there")), policies=()), "node-1") == {}
    ordinary = a_cluster([a_gateway("there", 2)], [a_policy("p", {"10.0.0.0/8": None}, "c")], [a_client("c", "::")])
    assert polled(PODS, ordinary, "node-1") == {}
