"""Deployments on a lab, as gateways need them: spread over nodes, rolled, scaled, probed, told of themselves.

On a real control plane they are Kubernetes' own, and the lab's kubelet still runs their pods.
"""

import json
import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.lab.labs import lab_of
from tests.lab.scene import GATEWAYS, HOSTNAME, becomes

from sallyport.drivers.command import DriverError
from sallyport.lab import namespaces
from sallyport.lab.driving import Lab, until

pytestmark = [pytest.mark.lab, pytest.mark.root]

Object = dict[str, Any]
SERVE = """
import http.server, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ready = self.path == "/readiness" and not pathlib.Path(sys.argv[1]).exists()
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *arguments): pass
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
"""A container that is ready at /readiness until a file is there."""


@pytest.fixture(scope="module")
def own() -> Iterator[Lab]:
    """A lab of this module's own."""
    with lab_of("default", f"t{os.getpid()}w") as lab:
        yield lab


@pytest.fixture
def lab(own: Lab) -> Iterator[Lab]:
    """The lab without any workload."""
    yield own
    own.kubectl("delete", "deploy,rs,pods", "--all", "--grace-period=1")
    until(lambda: not own.objects("pods"), "all pods are gone")


def deployment(*command: str, replicas: int = 2, unready: str = "/none", **spec: object) -> Object:
    """Gateways, one per node at most, that serve /readiness as long as a file `unready` is not there."""
    container: Object = {
        "name": "gw",
        "image": "none",
        "command": list(command) or ["python3", "-c", SERVE, unready],
        "ports": [{"name": "health", "containerPort": 8080}],
    }
    if not command:
        get = {"path": "/readiness", "port": "health"}
        container["readinessProbe"] = {"httpGet": get, "periodSeconds": 1, "failureThreshold": 1}
    term = {"topologyKey": HOSTNAME, "labelSelector": {"matchLabels": {"app": "gw"}}}
    pod = {
        "nodeSelector": dict(GATEWAYS),
        "terminationGracePeriodSeconds": 2,
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}},
        "containers": [container],
        **spec,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "gw"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "gw"}},
            "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {"metadata": {"labels": {"app": "gw"}}, "spec": pod},
        },
    }


def roll_out(lab: Lab, whole: Object) -> list[Object]:
    """Apply a Deployment, wait for its rollout, and return its pods."""
    lab.kubectl("apply", "-f", "-", text=json.dumps(whole))
    return rolled_out(lab)


def rolled_out(lab: Lab) -> list[Object]:
    """Wait for the end of a rollout and return the pods."""
    lab.kubectl("rollout", "status", "deploy/gw", "--timeout=30s")
    return [item for item in lab.objects("pods", "-l", "app=gw") if "deletionTimestamp" not in item["metadata"]]


def nodes(pods: list[Object]) -> list[str]:
    """Where pods run."""
    return sorted(item["spec"].get("nodeName", "") for item in pods)


def names(pods: list[Object]) -> set[str]:
    """Their names."""
    return {item["metadata"]["name"] for item in pods}


def condition(item: Object, kind: str) -> Object:
    """A condition, empty if it is not there."""
    found: list[Object] = item.get("status", {}).get("conditions") or []
    return next((entry for entry in found if entry["type"] == kind), {})


def test_two_replicas_stand_on_the_two_labelled_nodes(lab: Lab) -> None:
    pods = roll_out(lab, deployment())
    assert nodes(pods) == ["node-2", "node-3"]
    assert lab.kubectl("get", "deploy", "gw", "--no-headers").split()[:4] == ["gw", "2/2", "2", "2"]
    [replica_set] = lab.objects("rs")
    assert lab.kubectl("get", "rs", "--no-headers").split()[1:4] == ["2", "2", "2"]
    assert {item["metadata"]["ownerReferences"][0]["uid"] for item in pods} == {replica_set["metadata"]["uid"]}


def test_a_third_replica_waits_until_a_node_is_labelled(lab: Lab) -> None:
    roll_out(lab, deployment())
    lab.kubectl("scale", "deploy", "gw", "--replicas=3")
    why = (
        "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "
        "2 node(s) didn't match pod anti-affinity rules. no new claims to deallocate, preemption: "
        "0/3 nodes are available: 1 Preemption is not helpful for scheduling, "
        "2 No preemption victims found for incoming pod."
    )
    said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}

    def waits() -> list[Object]:
        found = [condition(item, "PodScheduled") for item in lab.objects("pods") if not item["spec"].get("nodeName")]
        return [{key: item[key] for key in said} for item in found]

    becomes(waits, [said])
    lab.kubectl("label", "node", "node-1", "network-role=egress-gateway")
    try:
        assert nodes(rolled_out(lab)) == ["node-1", "node-2", "node-3"]
    finally:
        lab.kubectl("label", "node", "node-1", "network-role-")
    lab.kubectl("scale", "deploy", "gw", "--replicas=1")
    becomes(lambda: len(lab.objects("pods")), 1)


def test_a_rolling_restart_replaces_every_pod_and_can_be_undone(lab: Lab) -> None:
    before = roll_out(lab, deployment())
    lab.kubectl("rollout", "restart", "deploy/gw")
    after = rolled_out(lab)
    assert nodes(after) == ["node-2", "node-3"]
    assert not names(before) & names(after)
    lab.kubectl("rollout", "undo", "deploy/gw")
    undone = rolled_out(lab)
    hashes = [{item["metadata"]["labels"]["pod-template-hash"] for item in each} for each in (before, after, undone)]
    assert hashes[0] == hashes[2] != hashes[1]
    assert len(lab.objects("rs")) == 2


def test_readiness_follows_what_the_pod_answers(lab: Lab, tmp_path: Path) -> None:
    unready = tmp_path / "unready"
    roll_out(lab, deployment(unready=str(unready)))

    def states() -> set[tuple[str, bool]]:
        pods = lab.objects("pods", "-l", "app=gw")
        return {(condition(item, "Ready")["status"], item["status"]["containerStatuses"][0]["ready"]) for item in pods}

    assert states() == {("True", True)}
    unready.touch()
    becomes(states, {("False", False)})
    becomes(lambda: condition(lab.objects("deploy", "gw")[0], "Available")["status"], "False")
    unready.unlink()
    becomes(states, {("True", True)})
    assert all(item["status"]["containerStatuses"][0]["restartCount"] == 0 for item in lab.objects("pods"))


def test_deleting_a_deployment_deletes_all_that_it_owns(lab: Lab) -> None:
    pods = roll_out(lab, deployment())
    lab.kubectl("delete", "deploy", "gw")
    becomes(lambda: [len(lab.objects(kind)) for kind in ("deploy", "rs", "pods")], [0, 0, 0])
    left = namespaces.existing(f"sp.{lab.name}.pod.")
    assert not [name for name in left for pod in names(pods) if name.endswith(pod)]


LINGERS = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVE
"""The same, and it does not end when it is asked to."""


def test_a_pod_that_is_being_deleted_is_networked_until_its_grace_is_over(lab: Lab) -> None:
    [pod] = roll_out(lab, deployment("python3", "-c", LINGERS, "/none", replicas=1, terminationGracePeriodSeconds=60))
    name, address = pod["metadata"]["name"], pod["status"]["podIP"]
    space = lab.space(pod["spec"]["nodeName"])

    def answers() -> bool:
        try:
            namespaces.inside(space, partial(socket.create_connection, (address, 8080), 1)).close()
        except OSError:
            return False
        return True

    becomes(answers, True)
    lab.kubectl("delete", "pod", name, "--wait=false")
    going = next(item for item in lab.objects("pods") if item["metadata"]["name"] == name)
    assert going["metadata"]["deletionGracePeriodSeconds"] == 60
    assert answers()
    assert condition(going, "Ready")["status"] == "True"
    lab.kubectl("delete", "pod", name, "--grace-period=1", "--timeout=10s")
    assert not answers()


def test_a_pod_is_told_of_itself_in_variables_and_files(lab: Lab) -> None:
    script = 'echo "$WHO $IPS"; which sallyport; cat "$SALLYPORT_LAB_VOLUME_INFO/note"; echo; exec sleep infinity'
    item = {"path": "note", "fieldRef": {"fieldPath": "metadata.annotations['note']"}}
    whole = deployment("sh", "-c", script, replicas=1, volumes=[{"name": "info", "downwardAPI": {"items": [item]}}])
    template = whole["spec"]["template"]
    template["metadata"]["annotations"] = {"note": "first"}
    template["spec"]["containers"][0]["env"] = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in (("WHO", "metadata.name"), ("IPS", "status.podIPs"))
    ]
    template["spec"]["initContainers"] = [{"name": "init", "image": "none", "command": ["echo", "before"]}]
    [pod] = roll_out(lab, whole)
    name = pod["metadata"]["name"]
    ips = ",".join(entry["ip"] for entry in pod["status"]["podIPs"])
    log = lab.record.log(f"pod-default-{name}")
    becomes(lambda: log.read_text().splitlines()[:2], ["before", f"{name} {ips}"])
    becomes(lambda: log.read_text().splitlines()[3:], ["first"])
    assert log.read_text().splitlines()[2].endswith("/bin/sallyport")
    note = lab.record.volumes / f"default.{name}" / "info" / "note"
    lab.kubectl("annotate", "pod", name, "note=second", "--overwrite")
    becomes(note.read_text, "second")


def test_an_init_container_that_fails_holds_the_pod_back_and_not_its_end(lab: Lab) -> None:
    whole = deployment("sleep", "infinity", replicas=1)
    whole["spec"]["template"]["spec"]["initContainers"] = [{"name": "init", "image": "none", "command": ["false"]}]
    lab.kubectl("apply", "-f", "-", text=json.dumps(whole))

    def state() -> tuple[str, str, bool]:
        [pod] = lab.objects("pods")
        return pod["status"]["phase"], condition(pod, "Initialized").get("status", ""), bool(pod["status"].get("podIP"))

    becomes(state, ("Pending", "False", True))
    with pytest.raises(DriverError):
        lab.kubectl("rollout", "status", "deploy/gw", "--timeout=1s")
    lab.kubectl("delete", "deploy", "gw")
    becomes(lambda: len(lab.objects("pods")), 0)


def test_a_container_that_is_not_alive_is_started_again(lab: Lab, tmp_path: Path) -> None:
    dead = tmp_path / "dead"
    whole = deployment("python3", "-c", SERVE, str(dead), replicas=1)
    probe = {"httpGet": {"path": "/readiness", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2}
    whole["spec"]["template"]["spec"]["containers"][0]["livenessProbe"] = {**probe, "initialDelaySeconds": 1}
    roll_out(lab, whole)
    dead.touch()
    becomes(lambda: lab.objects("pods")[0]["status"]["containerStatuses"][0]["restartCount"] > 0, True, 10)
    dead.unlink()
    becomes(lambda: condition(lab.objects("pods")[0], "Ready")["status"], "True", 10)
