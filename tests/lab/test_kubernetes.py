"""Our processes on Kubernetes' own control plane, with the rights that deploy/rbac gives them and no others.

One lab for all tests here, with the two external networks of Calico's guide and an Egress of Antrea's. What the API
server wrote down of each request is compared with the manifests.
"""

import contextlib
import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.lab.labs import ACCOUNT, await_accounts, lab_of, refused, requests
from tests.lab.scene import becomes

from sallyport.lab import names, namespaces
from sallyport.lab.controlplane.accounts import manifests
from sallyport.lab.driving import Lab, until

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.kubernetes, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
RED = "105.8.10.1"
SERVER = "203.0.113.10"
PROCESSES = ("controller", "agent")

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  containers: [{{name: app, image: none}}]
"""
EGRESS = """
apiVersion: crd.antrea.io/v1beta1
kind: ExternalIPPool
metadata: {name: pool}
spec:
  ipRanges: [{start: 10.10.0.11, end: 10.10.0.14}]
  nodeSelector: {matchLabels: {egress: "true"}}
---
apiVersion: crd.antrea.io/v1beta1
kind: Egress
metadata: {name: prod}
spec:
  appliedTo: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: prod}}}
  externalIPPool: pool
"""


def run_pod(lab: Lab, namespace: str, name: str, node: str) -> None:
    """A pod that only keeps its addresses."""
    await_accounts(lab, namespace)
    lab.kubectl("apply", "-f", "-", text=POD.format(name=name, namespace=namespace, node=node))
    lab.kubectl("wait", "-n", namespace, "--for=condition=Ready", f"pod/{name}", "--timeout=30s")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Lab]:
    """Gateways to red and yellow, an Egress from a pool, and a pod for each of the three."""
    with lab_of("networks", f"k{os.getpid()}", kind="kubernetes") as lab:
        lab.kubectl("apply", "-f", str(ROOT / "examples" / "calico"))
        lab.kubectl("create", "namespace", "prod")
        lab.kubectl("apply", "-f", "-", text=EGRESS)
        for namespace in ("red", "yellow", "prod"):
            run_pod(lab, namespace, "app", "node-1")
        for gateway in ("egress-gateway", "egress-gateway-yellow"):
            lab.kubectl("rollout", "status", f"deployment/{gateway}", "--timeout=60s")
        yield lab


def source(lab: Lab, pod: str, address: str) -> str:
    """Which source a host outside sees; "" while there is no answer."""
    return lab.ask(pod, "http", address).source


# Packets


def test_pods_leave_by_gateways_that_kubernetes_has_scheduled(cluster: Lab) -> None:
    until(lambda: source(cluster, "red/app", RED).startswith("10.10.10."), "red by the red gateway", 20)
    until(lambda: source(cluster, "yellow/app", RED).startswith("10.10.11."), "yellow by the yellow gateway", 20)
    placed = {pod["spec"]["nodeName"] for pod in cluster.objects("pods", "-n", "default")}
    assert placed <= {"node-2", "node-3"}


def test_a_pod_leaves_by_an_address_from_a_pool(cluster: Lab) -> None:
    until(lambda: source(cluster, "prod/app", SERVER) == "10.10.0.11", "the egress IP", 20)
    (egress,) = cluster.objects("egress")
    assert egress["status"]["egressNode"] in ("node-2", "node-3")


def test_a_gateway_that_is_deleted_is_made_again_by_kubernetes(cluster: Lab) -> None:
    (old,) = cluster.objects("pods", "-n", "default", "-l", "egress-code=red")
    cluster.kubectl("delete", "pod", "-n", "default", old["metadata"]["name"])
    until(lambda: source(cluster, "red/app", RED).startswith("10.10.10."), "red by the next gateway", 30)
    (new,) = cluster.objects("pods", "-n", "default", "-l", "egress-code=red")
    assert new["metadata"]["uid"] != old["metadata"]["uid"]


# Kinds


def test_every_manifest_that_is_shipped_is_taken_without_a_warning(cluster: Lab) -> None:
    said = cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "deploy"), check=False)
    assert "Warning" not in said
    assert "rror" not in said
    assert said.count("serverside-applied") == said.count("\n") > 20


# Rights

Right = tuple[str, str, str, str]
"""An account, a resource as GROUP/RESOURCE or GROUP/RESOURCE/SUBRESOURCE, a verb, and a namespace: "" for all."""

ASKED_BY_ADMISSION: set[Right] = {("controller", "operator.tigera.io/egressgateways/finalizers", "update", "")}
"""What no request is for, but must be allowed for one of another kind: see the test below it."""


def granted() -> set[Right]:
    """Every right of the manifests."""
    return {
        (role["metadata"]["name"].removeprefix("sallyport-"), f"{group}/{resource}", verb, namespace)
        for role in manifests()
        if role["kind"] in ("Role", "ClusterRole")
        for namespace in [role["metadata"].get("namespace", "")]
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def wanted(request: Mapping[str, Any]) -> set[Right]:
    """The rights that a request took: for the whole cluster, and for its namespace. Applying what is not there makes
    it, which takes two."""
    ref = request["objectRef"]
    path = "/".join([ref.get("apiGroup", ""), ref["resource"], *([ref["subresource"]] if "subresource" in ref else [])])
    verbs = {request["verb"]} | ({"create"} if request["responseStatus"]["code"] == 201 else set())
    account = request["user"]["username"].removeprefix(ACCOUNT)
    return {(account, path, verb, namespace) for verb in verbs for namespace in {"", ref.get("namespace", "")}}


def tell_everything(lab: Lab) -> None:
    """Bring about what is rarely written: an event that is told once more, by an agent and by the controller."""

    def change(pool: str, address: str | None) -> None:
        body = json.dumps({"spec": {"externalIPPool": pool, "egressIP": address}})
        lab.kubectl("patch", "egress", "prod", "--type=merge", "-p", body)

    def leaves_by(address: str) -> None:
        until(lambda: source(lab, "prod/app", SERVER) == address, f"the egress IP {address}", 20)

    for address in ("10.10.0.13", "10.10.0.12", "10.10.0.13", "10.10.0.11"):
        change("pool", address)
        leaves_by(address)
    for _ in range(2):
        change("nowhere", None)
        leaves_by("")
        change("pool", None)
        leaves_by("10.10.0.11")


@pytest.fixture(scope="module")
def used(cluster: Lab) -> set[Right]:
    """Every right that our processes took, once each of the manifests' has been taken, or within a time."""
    tell_everything(cluster)
    found: set[Right] = set()

    def all_used() -> bool:
        for request in requests(cluster):
            found.update(wanted(request))
        return granted() - ASKED_BY_ADMISSION <= found

    with contextlib.suppress(AssertionError):
        until(all_used, "each right is used", 15)
    return found


@pytest.mark.parametrize("right", sorted(granted() - ASKED_BY_ADMISSION), ids=" ".join)
def test_a_right_that_is_granted_is_used(used: set[Right], right: Right) -> None:
    assert right in used, "granted, and not used"


def test_no_right_is_missing(cluster: Lab, used: set[Right]) -> None:
    assert refused(cluster) == set()


def test_what_is_compared_would_miss_no_right_that_is_too_many(cluster: Lab) -> None:
    found = {right for request in requests(cluster) for right in wanted(request)}
    assert {account for account, *_ in found} == set(PROCESSES)
    assert ("agent", "/secrets", "list", "") not in granted()
    assert ("agent", "/secrets", "delete", "sallyport-system") not in found
    assert ("agent", "/secrets", "list", "sallyport-system") in found


def test_without_the_right_to_a_gateways_finalizers_its_deployment_is_not_made(cluster: Lab) -> None:
    role = ("clusterrole", "sallyport-controller")
    rules = cluster.objects(*role)[0]["rules"]
    less = [rule for rule in rules if rule["resources"] != ["egressgateways/finalizers"]]
    assert len(less) == len(rules) - 1
    cluster.kubectl("patch", *role, "--type=merge", "-p", json.dumps({"rules": less}))
    log = cluster.record.log("controller")
    cluster.kubectl("delete", "deployment", "-n", "default", "egress-gateway-yellow")
    until(lambda: "blockOwnerDeletion" in log.read_text(), "the controller is refused", 20)
    cluster.kubectl("patch", *role, "--type=merge", "-p", json.dumps({"rules": rules}))
    until(lambda: source(cluster, "yellow/app", RED).startswith("10.10.11."), "yellow has a gateway again", 40)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_right_that_is_taken_away_is_told_with_the_manifest_that_grants_it(cluster: Lab, process: str) -> None:
    """In the log of the controller, and of an agent: verb, resource, and the file."""
    role = ("clusterrole", f"sallyport-{process}")
    rules = cluster.objects(*role)[0]["rules"]
    less = [{**rule, "resources": [item for item in rule["resources"] if item != "egresses/status"]} for rule in rules]
    fewer = json.dumps({"rules": [rule for rule in less if rule["resources"]]})
    cluster.kubectl("patch", *role, "--type=merge", "-p", fewer)
    logs = [cluster.record.log(name) for name in ("controller", "agent-node-2", "agent-node-3")]
    words = ("cannot patch resource", "egresses/status", f"deploy/rbac/{process}.yaml")
    cluster.kubectl("delete", "egress", "prod")
    cluster.kubectl("apply", "-f", "-", text=EGRESS)

    def told() -> bool:
        lines = [line for log in logs for line in log.read_text().splitlines()]
        return any(all(word in line for word in words) for line in lines)

    until(told, "the log names the manifest", 20)
    cluster.kubectl("patch", *role, "--type=merge", "-p", json.dumps({"rules": rules}))
    until(lambda: source(cluster, "prod/app", SERVER) == "10.10.0.11", "the egress IP", 20)
    becomes(lambda: cluster.objects("egress")[0]["status"].get("egressIP"), "10.10.0.11", 20)


def test_no_pod_of_a_gateway_has_a_token(cluster: Lab) -> None:
    pods = cluster.objects("pods", "-n", "default")
    assert pods
    assert all(not pod["spec"].get("volumes") for pod in pods)
    assert cluster.objects("pods", "-n", "red")[0]["spec"]["volumes"], "an ordinary pod has one"


# Nodes


def test_a_node_without_power_gets_no_pods_and_its_gateway_comes_back_with_it(cluster: Lab) -> None:
    (pod,) = cluster.objects("pods", "-n", "default", "-l", "egress-code=red")
    node = pod["spec"]["nodeName"]
    cluster.sallyport("lab", "power-off", node, "--name", cluster.name)

    def tainted() -> bool:
        taints = cluster.objects("node", node)[0]["spec"].get("taints", [])
        return any(item["key"] == "node.kubernetes.io/unreachable" for item in taints)

    until(tainted, "Kubernetes taints the node", 30)
    cluster.sallyport("lab", "power-on", node, "--name", cluster.name)
    until(lambda: not tainted(), "the node is itself again", 30)
    until(lambda: source(cluster, "red/app", RED).startswith("10.10.10."), "red has a gateway again", 40)


# Coming and going


def test_a_lab_whose_supervisor_was_killed_goes_without_a_trace() -> None:
    name = f"k{os.getpid()}b"
    with lab_of("ipv6", name, kind="kubernetes") as lab:
        children = {child.name: child for child in lab.record.noted()}
        assert {"etcd", "apiserver", "kube-controller-manager", "kube-scheduler", "doorway"} <= children.keys()
        assert all(child.alive for child in children.values())
        os.kill(children["supervisor"].pid, signal.SIGKILL)
        until(lambda: not children["supervisor"].alive, "the supervisor is gone")
        assert lab.kubectl("get", "--raw", "/readyz") == "ok", "what it started goes on"
        lab.down()
        assert not any(child.alive for child in children.values())
        assert namespaces.existing(names.prefix(name)) == []
        assert not lab.record.directory.exists()
