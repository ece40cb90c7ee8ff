"""What clients are told when a gateway of theirs is about to end, in three annotations of upstream's."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from sallyport.apis.calico.annotations import MAINTENANCE_FINISHED, MAINTENANCE_GATEWAY_IP, MAINTENANCE_STARTED
from sallyport.apis.calico.pods import GatewayPod
from sallyport.model.state import ClusterState, PodKey


def notices(
    pods: Iterable[GatewayPod], state: ClusterState, chosen: Mapping[PodKey, Mapping[str, tuple[str, ...]]]
) -> dict[PodKey, dict[str, str]]:
    """The annotations of each client of a gateway that ends and has time to do so. Of several such gateways the one
    that ends first is told of: there is room for one."""
    ending = sorted((window for pod in pods if (window := _window(pod)) is not None), key=lambda item: item[:2])
    found: dict[PodKey, dict[str, str]] = {}
    for finished, gateway, started in ending:
        keys = {key for key, exit_ in state.exits.items() if (exit_.ref.namespace, exit_.ref.name) == gateway}
        address = next((str(state.exits[key].requested) for key in sorted(keys) if state.exits[key].requested), "")
        for client in _clients(keys, state, chosen):
            told = {
                MAINTENANCE_GATEWAY_IP: address,
                MAINTENANCE_STARTED: _stamp(started),
                MAINTENANCE_FINISHED: _stamp(finished),
            }
            found.setdefault(client, told)
    return found


def _window(pod: GatewayPod) -> tuple[datetime, PodKey, datetime] | None:
    """When a pod has ended at the latest, which it is, and when it was told to. Kubernetes' deletionTimestamp is the
    former: the time of the request and the grace period."""
    meta = pod.metadata
    if not meta.deletion_timestamp or not meta.deletion_grace_period_seconds:
        return None
    finished = datetime.fromisoformat(meta.deletion_timestamp)
    return finished, (meta.namespace, meta.name), finished - timedelta(seconds=meta.deletion_grace_period_seconds)


def _clients(
    keys: set[str], state: ClusterState, chosen: Mapping[PodKey, Mapping[str, tuple[str, ...]]]
) -> set[PodKey]:
    """The pods that may have connections through one of these exits."""
    found: set[PodKey] = set()
    for policy in state.policies:
        for destination in policy.destinations:
            hops = destination.hops
            if hops is None or hops.own or keys.isdisjoint(hops.exits):
                continue
            if not hops.limit:
                found.update(policy.clients)
                continue
            text = str(destination.network)
            found.update(pod for pod in policy.clients if keys & set(chosen.get(pod, {}).get(text, ())))
    return found


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
