"""Gateways on other nodes that a node's clients use, and where they are polled."""

from collections.abc import Iterable

from sallyport.apis.calico.pods import GatewayPod
from sallyport.model.state import ClusterState


def polled(pods: Iterable[GatewayPod], state: ClusterState, node: str) -> dict[str, str]:
    """URLs by gateway, NAMESPACE/POD. Only those that expose a port named `health` are polled, as upstream does."""
    here = {key for key, client in state.clients.items() if client.node == node}
    used = {
        exit_key
        for policy in state.policies
        if not here.isdisjoint(policy.clients)
        for destination in policy.destinations
        if destination.hops is not None
        for exit_key in destination.hops.exits
    }
    gateways = {key.rpartition("/")[0] for key in used if state.exits[key].node != node}
    found: dict[str, str] = {}
    for pod in pods:
        key = f"{pod.metadata.namespace}/{pod.metadata.name}"
        if key in gateways and pod.health_port and pod.addresses:
            host = f"[{pod.addresses[0]}]" if ":" in pod.addresses[0] else pod.addresses[0]
            found[key] = f"http://{host}:{pod.health_port}/readiness"
    return found
