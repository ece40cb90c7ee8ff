"""Egress IPs and pools, as their statuses tell of them."""

from collections.abc import Iterable, Mapping

from sallyport.apis.antrea.types import IP_ALLOCATED, IP_ASSIGNED, Egress, ExternalIPPool, IPPoolUsage
from sallyport.apis.calico.deployment import pools_of
from sallyport.apis.calico.types import EgressGateway, IPPool
from sallyport.apis.calico.types import IPPoolUsage as CalicoUsage
from sallyport.apis.core import Condition, ObjectMeta
from sallyport.apis.overview.agents import Agent
from sallyport.apis.overview.rows import EgressRow, PoolRow, Trouble
from sallyport.model.state import ObjectRef

_OVERLAPPING = "Overlapping"
_REMEDIES: Mapping[str, str] = {
    "AllocationError": "name an ExternalIPPool that exists and has a free address (kubectl get externalippools)",
    "AssignmentError": "let the pool's nodeSelector choose nodes that are up and whose agents run",
    "IPNotFound": "put the address on an interface of a node, or name an externalIPPool",
    "NoMarkLeft": "remove an Egress: there are no egress ids left",
    "YieldsPods": "let one of them select fewer pods, or leave it so: the older one wins",
}
"""What to do, by the reason of a condition."""
_MISPLACED = "ask again: an address that moves is seen so for a second; if it stays, see the logs of these agents"
_DEFAULT = "see its events: kubectl describe egress"


def egress_rows(egresses: Iterable[Egress], agents: Mapping[str, Agent]) -> tuple[tuple[EgressRow, ...], list[Trouble]]:
    """Every Egress, those that cannot be honoured as they read, and those that nodes do not have as statuses say."""
    places = _places(agents)
    rows: list[EgressRow] = []
    troubles: list[Trouble] = []
    for item in sorted(egresses, key=lambda each: each.metadata.name):
        status, ref = item.status, _ref("Egress", item.metadata)
        found = _fault(item)
        conditions = {each.type: each for each in status.conditions}
        contested = conditions.get(_OVERLAPPING)
        if found is not None:
            reason, message = found
            dropped = f"{message}; what its {_pods(status.clients)} send outside is dropped"
            troubles.append(Trouble(ref, dropped, _REMEDIES.get(reason, f"{_DEFAULT} {ref.name}")))
        if contested is not None and contested.status == "True" and contested.reason == "YieldsPods":
            troubles.append(Trouble(ref, contested.message, _REMEDIES[contested.reason]))
        address = status.egress_ip or status.allocated_ip or item.spec.egress_ip
        fault = found[1] if found else ""
        if found is None and (misplaced := _misplaced(address, status.egress_node, places.get(address, []), agents)):
            fault, told = misplaced
            if told:
                troubles.append(Trouble(ref, fault, _MISPLACED))
        rows.append(EgressRow(ref.name, address, status.egress_node, status.clients, fault))
    return tuple(rows), troubles


def _places(agents: Mapping[str, Agent]) -> dict[str, list[str]]:
    """The nodes that have each address, as their living agents see it."""
    found: dict[str, list[str]] = {}
    for node, agent in sorted(agents.items()):
        if agent.alive and agent.facts is not None:
            for address in {*agent.facts.held, *agent.facts.addresses}:
                found.setdefault(str(address), []).append(node)
    return found


def _misplaced(address: str, holder: str, places: list[str], agents: Mapping[str, Agent]) -> tuple[str, bool] | None:
    """What is wrong with where an address is, and whether that is told on its own: that an agent is lost is told on
    its node."""
    agent = agents.get(holder)
    if agent is None:
        return None
    if not agent.alive and not places:
        return f"the agent of {holder} is lost", False
    if len(places) > 1:
        return f"{address} is on {' and '.join(places)} at once: replies may go to the wrong one", True
    if holder not in places and (not agent.alive or agent.facts is not None):
        there = f"{places[0]} has it" if places else "nobody has it"
        return f"its status names {holder}, which does not have {address}: {there}", True
    return None


def _fault(egress: Egress) -> tuple[str, str] | None:
    """Why an Egress has no effect, as reason and message: no address before no holder."""
    conditions: Mapping[str, Condition] = {item.type: item for item in egress.status.conditions}
    for kind in (IP_ALLOCATED, IP_ASSIGNED):
        found = conditions.get(kind)
        if found is not None and found.status == "False":
            return found.reason, found.message
    if egress.status.egress_node:
        return None
    decided = egress.status.id > 0
    return ("AssignmentError", "no node holds its IP") if decided else ("", "the controller has not decided about it")


def _pods(count: int) -> str:
    return "pods" if not count else f"{count} pod{'' if count == 1 else 's'}"


def pool_rows(
    pools: Iterable[ExternalIPPool], others: Iterable[IPPool], gateways: Iterable[EgressGateway]
) -> tuple[tuple[PoolRow, ...], list[Trouble]]:
    """Pools of egress IPs, and of Calico's those that EgressGateways name: the others are pods' and not ours."""
    listed = list(others)
    named = {pool.metadata.name for gateway in gateways for pool in pools_of(gateway, listed)}
    waiting = "the next gateway waits, also one that replaces another"
    found = [_pool(_ref("ExternalIPPool", item.metadata), item.status.usage, "the next Egress waits") for item in pools]
    found += [
        _pool(_ref("IPPool", item.metadata), item.status.usage, waiting)
        for item in listed
        if item.metadata.name in named or item.status.usage.used
    ]
    found.sort(key=lambda item: item[0].pool)
    return tuple(row for row, _ in found), [trouble for _, each in found for trouble in each]


def _pool(ref: ObjectRef, usage: IPPoolUsage | CalicoUsage, waiting: str) -> tuple[PoolRow, list[Trouble]]:
    row = PoolRow(str(ref), usage.used, usage.total)
    if not 0 < row.total <= row.used:
        return row, []
    given = "its only address is" if row.total == 1 else f"all of its {row.total} addresses are"
    remedy = "give it more addresses, or remove what has one and is not needed"
    return row, [Trouble(ref, f"{given} given out: {waiting}", remedy)]


def _ref(kind: str, meta: ObjectMeta) -> ObjectRef:
    return ObjectRef(kind, meta.name, uid=meta.uid)
