"""What a kubectl user expects of an API server: the embedded one, and Kubernetes' own, from which the words are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import GATES, Kubectl

GATE = """
apiVersion: test.example/v1
kind: Gate
metadata: {name: north, labels: {side: north}}
spec: {address: 10.0.0.1, lanes: [{name: a, speed: 3}]}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: c, image: none}]}
"""


def test_a_manifest_is_created_then_unchanged_then_configured(kubectl: Kubectl) -> None:
    assert kubectl("apply", "-f", "-", text=GATE) == "gate.test.example/north created\n"
    assert kubectl("apply", "-f", "-", text=GATE) == "gate.test.example/north unchanged\n"
    changed = GATE.replace("speed: 3", "speed: 4")
    assert kubectl("apply", "-f", "-", text=changed) == "gate.test.example/north configured\n"
    stored = json.loads(kubectl("get", "gt", "north", "-o", "json"))
    assert stored["spec"] == {"address": "10.0.0.1", "mode": "Open", "lanes": [{"name": "a", "speed": 4}]}
    assert stored["metadata"]["generation"] == 2


def test_get_prints_the_columns_of_the_crd(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", text=GATE)
    patch = '{"status":{"holder":"n1","conditions":[{"type":"Ready","status":"True"}]}}'
    kubectl("patch", "gate", "north", "--subresource=status", "--type=merge", "-p", patch)
    header, row = kubectl("get", "gates").splitlines()
    assert header.split() == ["NAME", "ADDRESS", "HOLDER", "READY", "AGE"]
    assert row.split()[:4] == ["north", "10.0.0.1", "n1", "True"]
    assert json.loads(kubectl("get", "gate", "north", "-o", "json"))["metadata"]["generation"] == 1


def test_both_served_versions_show_the_same_object(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", text=GATE)
    shown = json.loads(kubectl("get", "gates.v1beta1.test.example", "north", "-o", "json"))
    assert shown["apiVersion"] == "test.example/v1beta1"
    assert shown["spec"]["address"] == "10.0.0.1"


def test_every_refused_field_is_named_and_nothing_is_stored(kubectl: Kubectl) -> None:
    wrong = GATE.replace("10.0.0.1", "10.0.0.x").replace("lanes:", "mode: Ajar, width: 99, lanes:")
    done = kubectl.run("apply", "-f", "-", text=wrong)
    assert done.returncode == 1
    assert 'spec.mode: Unsupported value: "Ajar": supported values: "Open", "Shut"' in done.stderr
    assert "spec.width in body should be less than or equal to 10" in done.stderr
    assert 'spec.address in body must be of type ipv4: "10.0.0.x"' in done.stderr
    assert kubectl("get", "gates") == ""


def test_an_unknown_field_is_refused(kubectl: Kubectl) -> None:
    done = kubectl.run("apply", "-f", "-", text=GATE.replace("lanes:", "lane:"))
    assert 'strict decoding error: unknown field "spec.lane"' in done.stderr


def test_rules_in_cel_refuse_with_their_message(kubectl: Kubectl) -> None:
    outside = kubectl.run("create", "-f", "-", text=GATE.replace("lanes:", "network: 10.1.0.0/16, lanes:"))
    assert "address must be in network" in outside.stderr
    kubectl("create", "-f", "-", text=GATE)
    moved = kubectl.run("patch", "gate", "north", "--type=merge", "-p", '{"spec":{"address":"10.0.0.2"}}')
    assert "spec.address: Invalid value: address is immutable" in moved.stderr


def test_label_annotate_patch_edit_and_describe(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", text=GATE)
    kubectl("label", "gate", "north", "colour=red")
    kubectl("annotate", "gate", "north", "note=hello there")
    kubectl("patch", "gate", "north", "--type=json", "-p", '[{"op":"add","path":"/spec/width","value":5}]')
    kubectl("edit", "gate", "north", KUBE_EDITOR="sed -i s/Open/Shut/")
    described = kubectl("describe", "gate", "north")
    for text in ("colour=red", "note: hello there", "Width:", "Mode:     Shut"):
        assert text in described
    assert "north" in kubectl("get", "gates", "-l", "colour in (red,blue),!shape")
    assert kubectl("get", "gates", "-l", "colour!=red") == ""


def test_explain_shows_the_fields_of_the_crd(kubectl: Kubectl) -> None:
    explained = kubectl("explain", "gate.spec.address")
    assert "Where the gate stands." in explained
    assert "nodeName" in kubectl("explain", "pod.spec")


def test_generators_that_speak_protobuf_work(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "team")
    kubectl("create", "configmap", "c", "-n", "team", "--from-literal=a=b")
    kubectl("create", "deployment", "d", "-n", "team", "--image=none")
    kubectl("create", "secret", "generic", "s", "-n", "team", "--from-literal=k=v")
    assert json.loads(kubectl("get", "cm", "c", "-n", "team", "-o", "json"))["data"] == {"a": "b"}
    namespace = json.loads(kubectl("get", "ns", "team", "-o", "json"))
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "team"}


def test_deleting_a_namespace_empties_it(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "team")
    kubectl("create", "configmap", "c", "-n", "team")
    kubectl("delete", "namespace", "team", "--timeout=10s")
    assert kubectl.run("get", "cm", "c", "-n", "team").returncode == 1


def test_a_pod_on_a_node_stays_until_its_node_lets_go(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", text=POD)
    kubectl("delete", "pod", "web", "--wait=false")
    assert "Terminating" in kubectl("get", "pod", "web")
    kubectl("delete", "pod", "web", "--grace-period=0", "--force")
    kubectl("wait", "--for=delete", "pod/web", "--timeout=5s")


def test_strategic_patch_merges_containers_and_conditions_by_key(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", text=POD)
    ready = '{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}'
    other = '{"status":{"conditions":[{"type":"PodScheduled","status":"True"}]}}'
    kubectl("patch", "pod", "web", "--subresource=status", "-p", ready)
    kubectl("patch", "pod", "web", "--subresource=status", "-p", other)
    kubectl("patch", "pod", "web", "-p", '{"spec":{"containers":[{"name":"c","image":"newer"}]}}')
    kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=5s")
    kubectl("wait", "--for=jsonpath={.status.phase}=Running", "pod/web", "--timeout=5s")
    pod = json.loads(kubectl("get", "pod", "web", "-o", "json"))
    assert [c["type"] for c in pod["status"]["conditions"]] == ["PodScheduled", "Ready"]
    assert pod["spec"]["containers"][0]["image"] == "newer"
    assert "web" in kubectl("get", "pods", "--field-selector=spec.nodeName=n1,status.phase=Running")
    assert kubectl("get", "pods", "--field-selector=spec.nodeName=n2") == ""


def test_a_pod_is_not_moved_by_an_update(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", text=POD.replace("nodeName: n1, ", ""))
    done = kubectl.run("patch", "pod", "web", "-p", '{"spec":{"nodeName":"n2"}}')
    assert "pod updates may not change fields other than" in done.stderr


def test_wait_and_watch_see_what_happens_later(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", text=GATE)
    watching = subprocess.Popen(
        kubectl.command("get", "gates", "-w"), env=kubectl.environment(), stdout=subprocess.PIPE, text=True
    )
    waiting = subprocess.Popen(
        kubectl.command("wait", "--for=condition=Ready", "gate/north", "--timeout=20s"), env=kubectl.environment()
    )
    try:
        assert watching.stdout is not None
        assert watching.stdout.readline().split()[0] == "NAME"
        assert watching.stdout.readline().split()[0] == "north"
        patch = '{"status":{"holder":"n1","conditions":[{"type":"Ready","status":"True"}]}}'
        kubectl("patch", "gate", "north", "--subresource=status", "--type=merge", "-p", patch)
        assert watching.stdout.readline().split()[:4] == ["north", "10.0.0.1", "n1", "True"]
        assert waiting.wait(20) == 0
    finally:
        watching.kill()
        watching.wait()
        waiting.kill()
        waiting.wait()


def test_server_side_apply_refuses_to_take_a_field_from_another_manager(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", text=GATE)
    other = GATE.replace("speed: 3", "speed: 9")
    done = kubectl.run("apply", "--server-side", "--field-manager=two", "-f", "-", text=other)
    assert 'conflict with "one": .spec.lanes[name="a"].speed' in done.stderr
    kubectl("apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-", text=other)
    stored = json.loads(kubectl("get", "gate", "north", "-o", "json"))
    assert stored["spec"]["lanes"] == [{"name": "a", "speed": 9}]


def test_server_side_apply_removes_what_its_manager_no_longer_sets(kubectl: Kubectl) -> None:
    two = GATE.replace("speed: 3}", "speed: 3}, {name: b}").replace("side: north", "side: north, extra: 'yes'")
    kubectl("apply", "--server-side", "-f", "-", text=two)
    kubectl("label", "gate", "north", "mine=kept")
    kubectl("apply", "--server-side", "-f", "-", text=GATE)
    stored = json.loads(kubectl("get", "gate", "north", "-o", "json"))
    assert stored["metadata"]["labels"] == {"side": "north", "mine": "kept"}
    assert [lane["name"] for lane in stored["spec"]["lanes"]] == ["a"]


def test_a_new_crd_is_served_at_once(kubectl: Kubectl) -> None:
    crd = json.loads(
        json.dumps(GATES).replace("gates", "doors").replace('"Gate"', '"Door"').replace('["gt"]', '["dr"]')
    )
    kubectl("apply", "-f", "-", text=yaml.safe_dump(crd))
    kubectl("wait", "--for=condition=Established", "crd/doors.test.example", "--timeout=5s")
    kubectl("apply", "-f", "-", text=GATE.replace("kind: Gate", "kind: Door"))
    assert "north" in kubectl("get", "doors")
    kubectl("delete", "crd", "doors.test.example")
    assert kubectl.run("get", "doors").returncode == 1


def test_dependents_follow_their_owner(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", text=GATE)
    uid = json.loads(kubectl("get", "gate", "north", "-o", "json"))["metadata"]["uid"]
    owner = {"apiVersion": "test.example/v1", "kind": "Gate", "name": "north", "uid": uid}
    dependent = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "ownerReferences": [owner]}}
    kubectl("create", "-f", "-", text=yaml.safe_dump(dependent))
    kubectl("delete", "gate", "north")
    kubectl("wait", "--for=delete", "cm/c", "--timeout=5s")


def test_what_is_made_for_an_owner_that_is_gone_goes_as_well(kubectl: Kubectl) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "of-an-earlier-one"}
    kubectl("create", "configmap", "gone")
    late = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late", "ownerReferences": [owner]}}
    kubectl("create", "-f", "-", text=yaml.safe_dump(late))
    kubectl("wait", "--for=delete", "cm/late", "--timeout=5s")
    assert kubectl.run("get", "cm", "gone").returncode == 0


DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: gw}
spec:
  selector: {matchLabels: {app: gw}}
  template:
    metadata: {labels: {app: gw}}
    spec: {containers: [{name: c, image: none, readinessProbe: {httpGet: {port: health}}}]}
"""


def test_a_deployment_gets_the_defaults_of_kubernetes(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", text=DEPLOYMENT)
    assert kubectl("apply", "-f", "-", text=DEPLOYMENT) == "deployment.apps/gw unchanged\n"
    spec = json.loads(kubectl("get", "deploy", "gw", "-o", "json"))["spec"]
    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)
    rolling = {"maxSurge": "25%", "maxUnavailable": "25%"}
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}
    pod = spec["template"]["spec"]
    assert (pod["terminationGracePeriodSeconds"], pod["restartPolicy"], pod["dnsPolicy"]) == (
        30,
        "Always",
        "ClusterFirst",
    )
    probe = pod["containers"][0]["readinessProbe"]
    assert probe.pop("httpGet") == {"path": "/", "port": "health", "scheme": "HTTP"}
    assert probe == {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def test_scale_changes_the_number_of_replicas_alone(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", text=DEPLOYMENT)
    assert kubectl("scale", "deployment", "gw", "--replicas=4") == "deployment.apps/gw scaled\n"
    assert kubectl("scale", "deployment", "gw", "--current-replicas=4", "--replicas=2") == "deployment.apps/gw scaled\n"
    found = json.loads(kubectl("get", "deployment", "gw", "-o", "json"))
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (2, 3)
    scale = json.loads(kubectl("get", "deployment", "gw", "--subresource=scale", "-o", "json"))
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 2}, "app=gw")
    stale = kubectl.run("scale", "deployment", "gw", "--current-replicas=9", "--replicas=1")
    assert "Expected replicas to be 9, was 2" in stale.stderr
    assert kubectl.run("scale", "deployment", "gw", "--replicas=-1").returncode == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{matchLabels: {app: gw}}", "{matchLabels: {app: other}}", "`selector` does not match template `labels`"),
        ("spec:\n", "spec:\n  replicas: -1\n", "spec.replicas: Invalid value: -1"),
        (
            "spec:\n",
            "spec:\n  strategy: {type: Never}\n",
            'spec.strategy: Unsupported value: {"Type":"Never","RollingUpdate":null}: supported values: "Recreate", ',
        ),
        (
            "spec:\n",
            "spec:\n  strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}\n",
            "may not be 0 when `maxSurge` is 0",
        ),
        ("spec:\n", "spec:\n  strategy: {rollingUpdate: {maxSurge: many}}\n", "a valid percent string"),
        ("httpGet: {port: health}", "periodSeconds: 1", "readinessProbe: Required value: must specify a handler type"),
        (
            "image: none,",
            "image: none, env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.nothing}}}],",
            'Invalid value: "spec.nothing": error converting fieldPath: field label not supported: spec.nothing',
        ),
        (
            "image: none,",
            "image: none, env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.phase}}}],",
            'fieldRef.fieldPath: Unsupported value: "status.phase": supported values: "metadata.name", ',
        ),
        (
            "spec: {containers:",
            "spec: {volumes: [{name: v, downwardAPI: {items: [{path: ../x, fieldRef: {fieldPath: metadata.name}}]}}],"
            " containers:",
            "volumes[0].downwardAPI.path: Invalid value: \"../x\": must not contain '..'",
        ),
    ],
)  # fmt: skip
def test_a_deployment_that_is_wrong_is_refused(kubectl: Kubectl, old: str, new: str, words: str) -> None:
    assert_refused(kubectl, old, new, words)


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{port: health}", "{port: health, scheme: HTTPS}", "readinessProbe.httpGet.scheme: is not supported by"),
        ("httpGet: {port: health}", "exec: {command: ['true']}", "readinessProbe.exec: is not supported by"),
        ("image: none,", "image: none, startupProbe: {tcpSocket: {port: 1}},", "startupProbe: is not supported by"),
        (
            "image: none,",
            "image: none, env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}],",
            "env[0].valueFrom.secretKeyRef: is not supported by",
        ),
    ],
)
def test_a_deployment_that_the_lab_cannot_run_is_refused(kubectl: Kubectl, old: str, new: str, words: str) -> None:
    assert_refused(kubectl, old, new, words)


def assert_refused(kubectl: Kubectl, old: str, new: str, words: str) -> None:
    """The Deployment, changed so, is refused in these words and not stored."""
    assert old in DEPLOYMENT
    done = kubectl.run("create", "-f", "-", text=DEPLOYMENT.replace(old, new, 1))
    assert words in done.stderr
    assert kubectl("get", "deploy") == ""


def test_the_selector_of_a_deployment_never_changes(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", text=DEPLOYMENT)
    wider = '{"spec": {"selector": {"matchLabels": {"app": "gw", "b": "2"}},'
    wider += ' "template": {"metadata": {"labels": {"b": "2"}}}}}'
    assert "field is immutable" in kubectl.run("patch", "deploy", "gw", "-p", wider).stderr


@pytest.mark.embedded
def test_what_is_lacking_is_refused_in_a_clear_sentence(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", text=POD)
    done = kubectl.run("logs", "web")
    assert "is not supported by the embedded control plane, use --control-plane kubernetes" in done.stderr
    kubectl("create", "-f", "-", text=DEPLOYMENT)
    done = kubectl.run("delete", "deploy", "gw", "--cascade=orphan")
    assert "(propagationPolicy Orphan) is not supported by the embedded control plane" in done.stderr


def test_a_list_longer_than_a_page_of_kubectl_is_printed_whole(kubectl: Kubectl) -> None:
    names = [f"c{number:03}" for number in range(620)]
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in names]
    listed = {"apiVersion": "v1", "kind": "List", "items": items}
    kubectl("create", "-f", "-", text=json.dumps(listed))
    printed = [line.split()[0] for line in kubectl("get", "cm", "--no-headers").splitlines()]
    assert [name for name in printed if name != "kube-root-ca.crt"] == names


@pytest.mark.embedded
def test_it_runs_on_its_own_with_a_directory_of_crds(tmp_path: Path) -> None:
    (tmp_path / "gates.yaml").write_text(yaml.safe_dump(GATES))
    port = tmp_path / "port"
    os.mkfifo(port)  # reading it waits until the server listens
    command = [sys.executable, "-m", "sallyport.lab.apiserver", "--port=0", f"--crds={tmp_path}", f"--port-file={port}"]
    serving = subprocess.Popen(command)
    try:
        outside = Kubectl(f"http://127.0.0.1:{port.read_text()}", tmp_path)
        assert "gates.test.example" in outside("get", "crd")
        assert "north" in outside("create", "-f", "-", text=GATE)
    finally:
        serving.terminate()
    assert serving.wait(10) == 0
