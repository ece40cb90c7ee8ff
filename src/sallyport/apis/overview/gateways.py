"""EgressGateways as their statuses tell of them, and who goes by them."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from sallyport.apis.calico.annotations import GATEWAY_LABEL
from sallyport.apis.calico.status import CONFLICT, NETWORKS, PROGRESSING
from sallyport.apis.calico.types import AVAILABLE, DEGRADED, READY, EgressGateway, EgressGatewayPolicy
from sallyport.apis.core import Condition
from sallyport.apis.overview.rows import UNDECIDED, GatewayRow, PolicyRow, Trouble
from sallyport.model.state import ClusterState, ObjectRef, PodKey, Policy

_REMEDIES: Mapping[str, str] = {
    UNDECIDED: "see whether a controller leads, and what it logs",
    "NotJoined": "let the gateway's nodeSelector choose only nodes on which the network's BGPPeers have sessions",
    "UnknownNetwork": "make the ExternalNetwork, or take it out of spec.externalNetworks",
    "NoGateway": "let its nodeSelector choose nodes that exist and have room",
    "AllocationError": "give its ipPools more addresses, or let it have fewer replicas",
    "NotFound": "make what is missing, or correct the name",
    "Conflict": "correct the spec: sallyport check names the field",
    "SamePrefixes": "leave it so if the first network of the list is meant to win; else filter with a BGPFilter, or"
    " give each network a gateway of its own",
}
"""What to do, by the reason of a condition."""

_SELECT = "compare its selector and namespaceSelector with the labels of gateways' pods and of their namespaces"
_TOLD_ON_EGRESS = "EgressToo"
"""Reason of an EgressGatewayPolicy some of whose pods an Egress selects too, which says so itself."""


def gateway_rows(gateways: Iterable[EgressGateway]) -> tuple[tuple[GatewayRow, ...], list[Trouble]]:
    """A row per pod of every EgressGateway, and what is wrong with them."""
    rows: list[GatewayRow] = []
    troubles: list[Trouble] = []
    for item in sorted(gateways, key=lambda each: (each.metadata.namespace, each.metadata.name)):
        meta = item.metadata
        name = f"{meta.namespace}/{meta.name}"
        rows += [
            GatewayRow(name, pod.pod, pod.node, pod.addresses, pod.ready, pod.networks, pod.message)
            for pod in item.status.gateways
        ] or [GatewayRow(name, "", "", (), False, (), "it has no pod")]
        ref = ObjectRef("EgressGateway", meta.name, meta.namespace, meta.uid)
        troubles += [Trouble(ref, found.message, _remedy(found, ref)) for found in _faults(item)]
    return tuple(rows), troubles


def _faults(gateway: EgressGateway) -> Iterator[Condition]:
    """Conditions that tell of something wrong, each matter once: what cannot be made is not said to be not ready, and
    what is not ready not to be not joined."""
    conditions = {item.type: item for item in gateway.status.conditions}
    if not conditions:
        yield Condition(AVAILABLE, "Unknown", reason=UNDECIDED, message="the controller has not looked at it")
        return
    made = _first(conditions, (DEGRADED, "True"), (AVAILABLE, "False"), (PROGRESSING, "True"))
    joined = _first(conditions, (NETWORKS, "False"))
    if made is not None:
        yield made
    elif joined is not None and joined.reason != "Disabled":
        yield joined
    if (found := _first(conditions, (CONFLICT, "True"))) is not None:
        yield found


def _first(conditions: Mapping[str, Condition], *wanted: tuple[str, str]) -> Condition | None:
    return next(
        (conditions[kind] for kind, status in wanted if kind in conditions and conditions[kind].status == status), None
    )


def _remedy(found: Condition, ref: ObjectRef) -> str:
    look = f"kubectl -n {ref.namespace} describe pods -l {GATEWAY_LABEL}={ref.name}"
    return _REMEDIES.get(found.reason, f"see its pods and their nodes: {look}")


def policy_rows(
    policies: Collection[EgressGatewayPolicy], state: ClusterState
) -> tuple[tuple[PolicyRow, ...], list[Trouble]]:
    """Every EgressGatewayPolicy and every selector on a namespace or pod, with the pods and gateways that it joins."""
    by_ref: dict[str, list[Policy]] = {
        str(ObjectRef("EgressGatewayPolicy", item.metadata.name)): [] for item in policies
    }
    for policy in state.policies:
        if not _is_own(policy):
            by_ref.setdefault(str(policy.ref), []).append(policy)
    rows = [_policy_row(name, by_ref[name], state) for name in sorted(by_ref)]
    troubles = [found for item in policies for found in _not_understood(item)]
    troubles += [found for name in sorted(by_ref) for policy in by_ref[name] for found in _lacking(policy, state)]
    return tuple(rows), list(dict.fromkeys(troubles))


def _not_understood(policy: EgressGatewayPolicy) -> Iterator[Trouble]:
    ref = ObjectRef("EgressGatewayPolicy", policy.metadata.name, uid=policy.metadata.uid)
    for item in policy.status.conditions:
        if (item.type, item.status) == (READY, "False") and item.reason != _TOLD_ON_EGRESS:
            yield Trouble(ref, item.message, "correct its spec: sallyport check names the field")


def _is_own(policy: Policy) -> bool:
    """Whether it is only what a gateway sends itself."""
    return any(item.hops is not None and item.hops.own for item in policy.destinations)


def _policy_row(name: str, policies: Iterable[Policy], state: ClusterState) -> PolicyRow:
    clients: set[PodKey] = set()
    keys: set[str] = set()
    for policy in policies:
        clients.update(policy.clients)
        keys.update(key for item in policy.destinations if item.hops is not None for key in item.hops.exits)
    pods = {key.rpartition("/")[0] for key in keys}
    ready = {key.rpartition("/")[0] for key in keys if state.exits[key].ready and not state.exits[key].leaving}
    return PolicyRow(name, len(clients), len(ready), len(pods))


def _lacking(policy: Policy, state: ClusterState) -> Iterator[Trouble]:
    """Destinations for which clients have no gateway: what they send there is dropped."""
    count = len(policy.clients)
    effect = f"what {count} pod{'' if count == 1 else 's'} send{'s' if count == 1 else ''} there is dropped"
    unselected: list[str] = []
    unready: list[str] = []
    for item in policy.destinations:
        if item.hops is not None and not any(state.exits[key].ready for key in item.hops.exits):
            (unready if item.hops.exits else unselected).append(str(item.network))
    if unselected:
        yield Trouble(policy.ref, f"it selects no gateway for {', '.join(unselected)}: {effect}", _SELECT)
    if unready:
        message = f"no gateway that it selects is ready for {', '.join(unready)}: {effect}"
        yield Trouble(policy.ref, message, "see what is said of these gateways")
