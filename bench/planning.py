"""The pure part: objects of a large cluster to a plan of the cluster, and to a plan of one node."""

from bench.figures import Figure, timed
from sallyport.apis.antrea.objects import Objects
from sallyport.apis.antrea.translate import translate
from sallyport.apis.antrea.types import AppliedTo, Egress, EgressSpec, ExternalIPPool, ExternalIPPoolSpec, IPRange
from sallyport.apis.core import (
    Namespace,
    Node,
    NodeAddress,
    NodeSpec,
    NodeStatus,
    ObjectMeta,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
)
from sallyport.model.addresses import parse_address, parse_network
from sallyport.model.plan import NodeFacts, Uplink
from sallyport.model.settings import Settings
from sallyport.plan.cluster import plan_cluster
from sallyport.plan.node import plan_node
from sallyport.selectors.kubernetes import LabelSelector

SIZES = ((20, 100, 1_000), (200, 1_000, 10_000), (200, 10_000, 100_000))
"""Nodes, Egresses and pods; each Egress selects as many pods as there are for it."""


def cluster(nodes: int, egresses: int, pods: int) -> Objects:
    """A cluster in which each Egress selects the pods of one label."""
    made = tuple(
        Node(
            metadata=ObjectMeta(name=f"node-{n}"),
            spec=NodeSpec(pod_cidrs=(f"10.{128 + n // 256}.{n % 256}.0/24",)),
            status=NodeStatus(addresses=(NodeAddress("InternalIP", f"10.64.{n // 250}.{n % 250 + 1}"),)),
        )
        for n in range(nodes)
    )
    pool = ExternalIPPool(
        metadata=ObjectMeta(name="pool"), spec=ExternalIPPoolSpec(ip_ranges=(IPRange(cidr="10.65.0.0/16"),))
    )
    asked = tuple(
        Egress(
            metadata=ObjectMeta(name=f"egress-{n:05}", uid=f"uid-{n}", creation_timestamp="2026-01-01T00:00:00Z"),
            spec=EgressSpec(
                applied_to=AppliedTo(pod_selector=LabelSelector(match_labels={"group": f"g{n}"})),
                external_ip_pool="pool",
            ),
        )
        for n in range(egresses)
    )
    run = tuple(
        Pod(
            metadata=ObjectMeta(name=f"pod-{n}", namespace="default", labels={"group": f"g{n % egresses}", "app": "a"}),
            spec=PodSpec(node_name=f"node-{n % nodes}"),
            status=PodStatus(phase="Running", pod_ips=(PodIP(_pod_address(n, nodes)),)),
        )
        for n in range(pods)
    )
    return Objects(asked, (pool,), made, (Namespace(metadata=ObjectMeta(name="default")),), run)


def _pod_address(number: int, nodes: int) -> str:
    node, place = number % nodes, number // nodes
    return f"10.{128 + node // 256}.{node % 256}.{place % 250 + 2}"


def measure() -> list[Figure]:
    """Seconds from objects to plans. The node's part has its own pods only, as its agent has."""
    settings, figures = Settings(), []
    for nodes, egresses, pods in SIZES:
        size = f"{nodes} nodes, {egresses} Egresses, {pods} pods"
        objects = cluster(nodes, egresses, pods)
        state = translate(objects)
        figures.append(timed(f"translate, {size}", lambda objects=objects: translate(objects), 3))  # type: ignore[misc]
        figures.append(
            timed(f"plan_cluster, {size}", lambda state=state: plan_cluster(state, settings), 3)  # type: ignore[misc]
        )
        figures.append(_node(objects, nodes, size, settings))
    return figures


def _node(objects: Objects, nodes: int, size: str, settings: Settings) -> Figure:
    assignments = plan_cluster(translate(objects), settings).assignments
    own = tuple(pod for pod in objects.pods if pod.spec.node_name == "node-0")
    seen = Objects(objects.egresses, objects.pools, objects.nodes, objects.namespaces, own)
    uplink = Uplink("eth0", parse_address("10.64.0.1"), (parse_network("10.64.0.0/15"),), 1500)
    facts = NodeFacts("node-0", {4: uplink}, {parse_address("10.64.0.1"): "eth0"})

    def planned() -> object:
        return plan_node(translate(seen), assignments, facts, settings)

    return timed(f"translate and plan_node, {size} ({len(own)} on it)", planned, 3)
