"""A cluster of values: what users write and where packets go, with the controller and the agents in between.

No API server and no kernel: objects live in dictionaries, `settle` lets the pure parts of the controller and of every
living agent act in turn until nothing changes, and `way` walks a packet of a pod through the nodes' plans.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address, ip_interface
from typing import Any

import msgspec

from sallyport.apis.antrea.objects import Objects
from sallyport.apis.antrea.status import from_controller, from_holder, released
from sallyport.apis.antrea.translate import ALLOCATED_ANNOTATION, translate
from sallyport.apis.antrea.types import LIMIT_ANNOTATION, Egress, EgressSpec, EgressStatus, ExternalIPPool
from sallyport.apis.core import ConfigMap, Namespace, Node, Pod
from sallyport.model.kernel import Element, InterfaceAddress
from sallyport.model.plan import ClusterPlan, Liveness, NodeFacts, NodePlan, Uplink
from sallyport.model.settings import Settings
from sallyport.model.state import ClusterState, Family, IPAddress
from sallyport.plan.cluster import plan_cluster, recorded
from sallyport.plan.node import plan_node
from sallyport.trace import Packet, Verdict, underlay, walk

OUTSIDE: Mapping[Family, str] = {4: "203.0.113.10", 6: "2001:db8:113::10"}
DELIVERED, DROPPED = str(Verdict.DELIVERED), str(Verdict.DROPPED)
FREE = "by its node's own address"
UNDECIDED = "kept in the cluster until decided"
SETTINGS = Settings()
NOW = "2026-02-01T00:00:00Z"
ROUNDS = 10
"""Two or three are enough for every change; a status that needs more would change hands for ever."""


def labelled(**labels: str) -> dict[str, object]:
    """A selector of labels."""
    return {"matchLabels": labels}


def parts(*ranges: str) -> list[dict[str, str]]:
    """`ipRanges` of texts like `10.0.0.0/28` and `10.0.0.1-10.0.0.9`."""
    return [
        {"cidr": text} if "/" in text else dict(zip(("start", "end"), text.split("-"), strict=True)) for text in ranges
    ]


@dataclass
class Cluster:
    """All objects by name. `added` are addresses that a person put on a node's interface, `assigned` those that its
    agents did; `dead` are nodes without power, `away` those whose lease has run out, too."""

    egresses: dict[str, Egress] = field(default_factory=dict)
    pools: dict[str, ExternalIPPool] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    configuration: str = ""
    added: dict[str, set[IPAddress]] = field(default_factory=dict)
    assigned: dict[str, frozenset[IPAddress]] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    away: set[str] = field(default_factory=set)
    plan: ClusterPlan = field(default_factory=ClusterPlan)
    plans: dict[str, NodePlan] = field(default_factory=dict)

    # What users do.

    def node(self, name: str, *addresses: str, limit: str | None = None, **labels: str) -> None:
        """Add a node, or change its labels and the annotation of its limit."""
        number = list(self.nodes).index(name) + 1 if name in self.nodes else len(self.nodes) + 1
        own = addresses or (f"10.0.0.{100 + number}", f"fd00::{100 + number}")
        notes = {} if limit is None else {LIMIT_ANNOTATION: limit}
        value = {
            "metadata": {"name": name, "uid": name, "labels": labels, "annotations": notes},
            "spec": {"podCIDRs": [f"10.244.{number}.0/24", f"fd01:{number}::/64"]},
            "status": {"addresses": [{"type": "InternalIP", "address": address} for address in own]},
        }
        self.nodes[name] = msgspec.convert(value, Node)

    def namespace(self, name: str, **labels: str) -> None:
        """Add a namespace."""
        self.namespaces[name] = msgspec.convert({"metadata": {"name": name, "labels": labels}}, Namespace)

    def pod(
        self, name: str, node: str, *addresses: str, namespace: str = "prod", phase: str = "Running", **spec: Any
    ) -> None:
        """Add or change a pod labelled `app: <name>`."""
        value = {
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": {"nodeName": node, **spec},
            "status": {"phase": phase, "podIPs": [{"ip": address} for address in addresses]},
        }
        self.pods[name] = msgspec.convert(value, Pod)

    def pool(self, name: str, *ranges: str, selector: object = None, **spec: Any) -> None:
        """Add or change a pool; by default every node may hold its addresses."""
        value = {
            "metadata": {"name": name, "uid": name},
            "spec": {"ipRanges": parts(*ranges), "nodeSelector": selector or {}, **spec},
        }
        self.pools[name] = msgspec.convert(value, ExternalIPPool)

    def egress(self, name: str, *, applied: object = None, created: str = "", **spec: Any) -> None:
        """Add an Egress, younger than those before it and for all pods unless told otherwise; or edit the spec of
        the one of that name, as an apply of the whole spec does."""
        wanted = {"appliedTo": {"podSelector": {}} if applied is None else applied, **spec}
        if (there := self.egresses.get(name)) is not None:
            self.egresses[name] = msgspec.structs.replace(there, spec=msgspec.convert(wanted, EgressSpec))
            return
        stamp = created or f"2026-01-01T00:00:{len(self.egresses):02}Z"
        value = {"metadata": {"name": name, "uid": name, "creationTimestamp": stamp}, "spec": wanted}
        self.egresses[name] = msgspec.convert(value, Egress)

    def put(self, address: str, node: str) -> None:
        """Put an address on an interface of a node by hand."""
        self.added.setdefault(node, set()).add(ip_address(address))

    # What Sallyport does.

    def settle(self) -> "Cluster":
        """Let everybody act in turn until nobody changes anything any more."""
        for _ in range(ROUNDS):
            changes = [self._changes(self._control)]
            changes += [self._changes(partial(self._act, node)) for node in sorted(self.nodes.keys() - self.dead)]
            if not any(changes):
                return self
        raise AssertionError("no rest: a status or an address changes hands for ever")

    def _changes(self, act: Callable[[], None]) -> bool:
        before = (dict(self.egresses), dict(self.assigned))
        act()
        return before != (self.egresses, self.assigned)

    def state(self, node: str = "") -> ClusterState:
        """What the controller sees or, with a node, what that node's agent does."""
        pods = tuple(pod for pod in self.pods.values() if node in ("", pod.spec.node_name))
        settings = {"metadata": {"name": "antrea-config", "namespace": "kube-system"}}
        config = msgspec.convert(settings | {"data": {"antrea-agent.conf": self.configuration}}, ConfigMap)
        state = translate(
            Objects(
                egresses=tuple(self.egresses.values()),
                pools=tuple(self.pools.values()),
                nodes=tuple(self.nodes.values()),
                namespaces=tuple(self.namespaces.values()),
                pods=pods,
                configmaps=(config,) if self.configuration else (),
            )
        )
        nodes = {name: replace(item, alive=name not in self.away) for name, item in state.nodes.items()}
        return replace(state, nodes=nodes)

    def _control(self) -> None:
        state = self.state()
        self.plan = plan_cluster(state, SETTINGS)
        for name, egress in self.egresses.items():
            given = self.plan.assignments[name].address
            if given is not None and given != state.exits[name].requested:
                self._choose(name, given)
            else:
                status = self._judged(name, state)
                self.egresses[name] = msgspec.structs.replace(egress, status=status)

    def _choose(self, name: str, address: IPAddress) -> None:
        egress = self.egresses[name]
        notes = {**egress.metadata.annotations, ALLOCATED_ANNOTATION: str(address)}
        self.egresses[name] = msgspec.structs.replace(
            egress,
            metadata=msgspec.structs.replace(egress.metadata, annotations=notes),
            spec=msgspec.structs.replace(egress.spec, egress_ip=str(address)),
        )

    def _judged(self, name: str, state: ClusterState) -> EgressStatus:
        status, assignment = self.egresses[name].status, self.plan.assignments[name]
        holder = state.nodes.get(status.egress_node)
        alone = not (holder and holder.alive) if assignment.static else not assignment.nodes
        return from_controller(
            status,
            assignment,
            clients=self.plan.clients[name],
            problems=[item for item in self.plan.problems if (item.ref.kind, item.ref.name) == ("Egress", name)],
            overlaps=[item for item in self.plan.overlaps if name in (item.winner, item.loser)],
            name=name,
            holder_gone=alone,
            now=NOW,
        )

    def _act(self, node: str) -> None:
        state = self.state(node)
        assignments = recorded(state)
        plan = plan_node(state, assignments, self._facts(node, state), SETTINGS)
        self.plans[node] = plan
        self.assigned[node] = frozenset(
            ip_address(item.address) for item in plan.objects if isinstance(item, InterfaceAddress)
        )
        for name, egress in self.egresses.items():
            status, assignment = egress.status, assignments[name]
            if (address := plan.held.get(name)) is not None:
                status = from_holder(status, node, address, NOW, static=assignment.static)
            elif status.egress_node == node and assignment.static:
                status = released(status, assignment.address, NOW)
            self.egresses[name] = msgspec.structs.replace(egress, status=status)

    def _facts(self, node: str, state: ClusterState) -> NodeFacts:
        own = state.nodes[node].addresses
        held = self.assigned.get(node, frozenset())
        uplinks = {}
        for address in own:
            family: Family = 4 if address.version == 4 else 6
            subnet = ip_interface(f"{address}/{24 if family == 4 else 64}").network
            uplinks[family] = Uplink("eth0", address, (subnet,), 1500)
        return NodeFacts(
            node=node,
            uplinks=uplinks,
            addresses=dict.fromkeys([*own, *self.added.get(node, ()), *held], "eth0"),
            held=held,
            peers={name: Liveness.DOWN if name in self.dead else Liveness.UP for name in self.nodes if name != node},
        )

    # What one sees.

    def status(self, name: str) -> EgressStatus:
        """The status of an Egress."""
        return self.egresses[name].status

    def holder(self, name: str) -> tuple[str, str]:
        """The node and the address that its status names."""
        return (self.status(name).egress_node, self.status(name).egress_ip)

    def conditions(self, name: str) -> dict[str, tuple[str, str]]:
        """Status and reason of its conditions by type."""
        return {item.type: (item.status, item.reason) for item in self.status(name).conditions}

    def message(self, name: str, kind: str) -> str:
        """What a condition says in words; "" without that condition."""
        return next((item.message for item in self.status(name).conditions if item.type == kind), "")

    def addresses_on(self, node: str) -> list[str]:
        """The egress IPs that the agent of a node keeps on its interface."""
        return sorted(str(address) for address in self.assigned.get(node, ()))

    def elements(self, node: str, name: str) -> dict[str, str]:
        """Members of a set, or of a map with their values, in a node's nftables table."""
        return {
            item.member: item.value
            for item in self.plans[node].objects
            if isinstance(item, Element) and item.set == name
        }

    def way(self, pod: str, family: Family = 4, to: str = "") -> str:
        """How a pod's packet leaves the cluster: the egress IP that it has outside, FREE, DROPPED, or UNDECIDED; where
        it does not leave, DELIVERED. `to` is a host outside unless given."""
        node = self.pods[pod].spec.node_name
        source = next(ip_address(text) for text in self.pods[pod].addresses if ip_address(text).version == family)
        packet = Packet(source, node, ip_address(to or OUTSIDE[family]))
        living = sorted(self.nodes.keys() - self.dead)
        kernels = {name: self.plans[name].objects for name in living}
        state = self.state()
        trace = walk(packet, kernels, underlay(state, [self._facts(name, state) for name in living]), SETTINGS)
        if trace.verdict is Verdict.LEFT:
            return str(trace.source) if trace.governed else FREE
        if trace.verdict is Verdict.DROPPED and "neither governed nor free yet" in trace.hops[-1].decided:
            return UNDECIDED
        return str(trace.verdict)


def ready() -> Cluster:
    """Two nodes with a pod each, in two namespaces, both families everywhere."""
    cluster = Cluster()
    for name in ("node-1", "node-2"):
        cluster.node(name)
    for name in ("prod", "test"):
        cluster.namespace(name, env=name)
    cluster.pod("web", "node-1", "10.244.1.2", "fd01:1::2")
    cluster.pod("db", "node-2", "10.244.2.2", "fd01:2::2", namespace="test")
    return cluster
