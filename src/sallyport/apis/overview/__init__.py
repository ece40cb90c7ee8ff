"""The whole cluster at a glance, out of its objects' statuses and the agents' Leases: what is there, and what is wrong.

What is wrong with objects that have no conditions, such as namespaces with annotations, is told by the translation.
"""

from collections.abc import Iterator

from sallyport.apis.antrea.config import read_configuration
from sallyport.apis.calico.annotations import POLICY, SELECTOR
from sallyport.apis.calico.felix import Support, read_felix
from sallyport.apis.calico.references import NO_EFFECT, Client, conflicts, missing
from sallyport.apis.objects import Objects
from sallyport.apis.overview.agents import CONTROLLER, Leases, controller_row, node_rows, read_agents
from sallyport.apis.overview.egresses import egress_rows, pool_rows
from sallyport.apis.overview.gateways import gateway_rows, policy_rows
from sallyport.apis.overview.networks import network_rows
from sallyport.apis.overview.rows import Overview, SwitchRow, Trouble
from sallyport.apis.telling import further
from sallyport.apis.translate import translate
from sallyport.model.state import ClusterState, ObjectRef, Problem

__all__ = ["CONTROLLER", "Leases", "Overview", "Trouble", "overview"]

_WITH_CONDITIONS = frozenset({"Egress", "EgressGateway", "ExternalNetwork", "BGPPeer", "EgressGatewayPolicy"})
"""Kinds whose statuses say what is wrong with them."""
_FELIX = ObjectRef("FelixConfiguration", "default")


def overview(objects: Objects, leases: Leases) -> Overview:
    """Rows of every kind, and troubles. Never raises on what a user wrote."""
    calico, agents = objects.calico, read_agents(leases)
    state = translate(objects)
    controller, no_leader = controller_row(leases)
    ready = {f"{item.metadata.namespace}/{item.metadata.name}" for item in calico.pods if item.ready}
    nodes, lost = node_rows(objects.nodes, agents, ready, known=leases.moment is not None)
    switches, off = _switches(objects)
    networks, peers, apart = network_rows(calico.networks, calico.peers, agents)
    gateways, unfit = gateway_rows(calico.gateways)
    egresses, unheld = egress_rows(objects.egresses, agents)
    pools, full = pool_rows(objects.pools, calico.pools, calico.gateways)
    policies, lacking = policy_rows(calico.policies, state)
    return Overview(
        problems=(*no_leader, *lost, *off, *apart, *unfit, *unheld, *full, *lacking, *_said(objects, state, off)),
        controller=controller,
        nodes=nodes,
        egresses=egresses,
        gateways=gateways,
        networks=networks,
        peers=peers,
        policies=policies,
        pools=pools,
        switches=switches,
    )


def _switches(objects: Objects) -> tuple[tuple[SwitchRow, ...], list[Trouble]]:
    """Options that are off although something asks for what they switch."""
    rows: list[SwitchRow] = []
    troubles: list[Trouble] = []
    for ref, option, asking, value in _off(objects):
        rows.append(SwitchRow(option, str(ref)))
        message = f"{option} is off: {asking} have no effect"
        troubles.append(Trouble(ref, message, f"set {option} to {value}, or remove what asks for it"))
    return tuple(rows), troubles


def _off(objects: Objects) -> Iterator[tuple[ObjectRef, str, str, str]]:
    """Object, option, what it takes the effect of, and the value that it would need."""
    calico, (felix, _) = objects.calico, read_felix(objects.calico.felix)
    annotated = sum(not {POLICY, SELECTOR}.isdisjoint(item.metadata.annotations) for item in _clients(objects))
    leading = sum(bool(item.spec.external_networks) for item in calico.gateways)
    if not read_configuration(objects.configmaps)[0].enabled and (objects.egresses or calico.gateways):
        asking = f"{len(objects.egresses)} Egresses and {len(calico.gateways)} EgressGateways"
        yield ObjectRef("ConfigMap", "antrea-config", "kube-system"), "featureGates.Egress", asking, "true"
    if felix.support is Support.DISABLED and (annotated or calico.gateways):
        asking = f"the annotations of {annotated} namespaces and pods, and {len(calico.gateways)} EgressGateways,"
        yield _FELIX, "egressIPSupport", asking, "EnabledPerNamespace or EnabledPerNamespaceOrPerPod"
    if not felix.networks and (calico.networks or leading):
        asking = f"{len(calico.networks)} ExternalNetworks, and those that {leading} EgressGateways name,"
        yield _FELIX, "externalNetworkSupport", asking, "Enabled"


def _said(objects: Objects, state: ClusterState, off: list[Trouble]) -> list[Trouble]:
    """What is wrong with objects that have no conditions. What an option takes the effect of is told on the option."""
    clients = _clients(objects)
    more = [*missing(objects.calico, clients), *conflicts(objects.calico, clients)]
    found = [item for item in state.problems if item.ref.kind not in _WITH_CONDITIONS]
    told = [item for item in more if item.ref.kind not in _WITH_CONDITIONS and not (off and item.reason == NO_EFFECT)]
    return [_trouble(item) for item in [*found, *further(found, told)]]


def _clients(objects: Objects) -> list[Client]:
    return [*objects.namespaces, *objects.pods]


def _trouble(problem: Problem) -> Trouble:
    ref = problem.ref
    where = f" -n {ref.namespace}" if ref.namespace else ""
    message = (
        f"{problem.field}: {problem.message.removeprefix(f'{problem.field}: ')}" if problem.field else problem.message
    )
    return Trouble(ref, message, f"correct it: kubectl edit{where} {ref.kind.lower()} {ref.name}")
