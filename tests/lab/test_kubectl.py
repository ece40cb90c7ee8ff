"""kubectl on Egresses and pools, as a user has it in hand: verbs, columns, refusals, and what controller and agents
write into the objects meanwhile."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lab.scene import Scene, Side, becomes, egress, hosted, ip_pool, on, pod

from sallyport.apis.antrea.types import EGRESSES
from sallyport.apis.crd import Definition, schema_of
from sallyport.apis.definitions import DEFINITIONS
from sallyport.drivers.command import DriverError
from sallyport.lab.driving import Lab, until

pytestmark = [pytest.mark.lab, pytest.mark.root]


def rows(text: str) -> list[list[str]]:
    """The columns of a table."""
    return [line.split() for line in text.splitlines()]


@pytest.fixture
def served(scene: Scene, side: Side) -> tuple[Scene, str]:
    """An Egress `web` for the pod of node-1, with an address at node-2 from a pool of two."""
    ip = side.spare(1)
    scene.apply(ip_pool("two", f"{ip}-{side.spare(2)}", nodes=hosted(2)), egress("web", on(1), pool="two"))
    becomes(lambda: scene.held("web"), (ip, "node-2"))
    return scene, ip


def test_get_shows_upstreams_columns(served: tuple[Scene, str]) -> None:
    """`kubectl get` by short names shows the columns of Antrea; -o wide, yaml and jsonpath work as ever."""
    scene, ip = served
    (head, row) = rows(scene.lab.kubectl("get", "eg"))
    assert head == ["NAME", "EGRESSIP", "AGE", "NODE"]
    assert (row[:2], row[3:]) == (["web", ip], ["node-2"])
    becomes(lambda: scene.usage("two").used, 1)
    (head, row) = rows(scene.lab.kubectl("get", "eip"))
    assert (head, row[:3]) == (["NAME", "TOTAL", "USED", "AGE"], ["two", "2", "1"])
    assert scene.lab.kubectl("get", "eg", "web", "-o", "jsonpath={.status.egressNode}") == "node-2"
    assert scene.lab.kubectl("get", "egresses.v1alpha2.crd.antrea.io", "-o", "name") == "egress.crd.antrea.io/web\n"


def test_describe_shows_conditions_and_events(served: tuple[Scene, str]) -> None:
    """`kubectl describe` shows the conditions, and below them the event of the assignment."""
    scene, ip = served
    message = f"Assigned Egress web with IP {ip} on Node node-2"
    until(lambda: message in scene.lab.kubectl("describe", "egress", "web"), "the event is described", 2)
    text = scene.lab.kubectl("describe", "egress", "web")
    for word in ("IPAllocated", "IPAssigned", "EgressIP is successfully allocated", "Egress Node", "node-2"):
        assert word in text


def test_label_annotate_and_patch_change_what_they_say(served: tuple[Scene, str], side: Side) -> None:
    """Labels, annotations and all three kinds of patch are stored, and a patched selector is carried out."""
    scene, ip = served
    scene.comes_to_leave(pod(1), side, ip, "node-2")
    kubectl = scene.lab.kubectl
    kubectl("label", "egress", "web", "team=blue")
    kubectl("annotate", "egress", "web", "note=kept")
    kubectl("patch", "egress", "web", "--type=json", "-p", '[{"op": "remove", "path": "/metadata/labels/team"}]')
    kubectl("patch", "egress", "web", "--type=merge", "-p", json.dumps({"spec": {"appliedTo": on(3)}}))
    metadata = scene.get(EGRESSES, "web").metadata
    assert (metadata.labels, metadata.annotations["note"]) == ({}, "kept")
    scene.comes_to_leave(pod(3), side, ip, "node-2")
    scene.comes_to_leave(pod(1), side, side.node(1), "node-1")
    assert kubectl("get", "egress", "-l", "team=blue", "-o", "name") == ""


def test_edit_stores_what_the_editor_wrote(served: tuple[Scene, str], side: Side, tmp_path: Path) -> None:
    """`kubectl edit` with an editor that replaces the address: the new one is held and the pod leaves with it."""
    scene, ip = served
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\nexec sed -i 's/egressIP: {ip}$/egressIP: {side.spare(2)}/' \"$1\"\n")
    editor.chmod(0o755)
    # Both the spec and the status have the address; status is not written by an edit.
    env = {**os.environ, "KUBECONFIG": str(scene.lab.record.kubeconfig), "EDITOR": str(editor)}
    done = subprocess.run(["kubectl", "edit", "egress", "web"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "egress.crd.antrea.io/web edited\n"), done.stderr
    becomes(lambda: scene.held("web"), (side.spare(2), "node-2"))
    scene.comes_to_leave(pod(1), side, side.spare(2), "node-2")


def test_watch_shows_an_egress_come_and_change(scene: Scene, side: Side) -> None:
    """`kubectl get -w` prints a line for each change, from the creation to the holder's name."""
    scene.apply(ip_pool("two", side.spare(1), nodes=hosted(2)))
    argv = ["kubectl", "get", "egress", "-w", "--no-headers", "--kubeconfig", str(scene.lab.record.kubeconfig)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        scene.lab.kubectl("create", "-f", "-", text=json.dumps(egress("web", on(1), pool="two")))
        lines = iter(watch.stdout.readline, "")
        last = next(row for row in (line.split() for line in lines) if row[-1] == "node-2")
        watch.terminate()
    assert last[:2] == ["web", side.spare(1)]


def test_wait_waits_for_a_condition_and_for_the_end(served: tuple[Scene, str]) -> None:
    """`kubectl wait` ends when a condition holds, and when an object is gone."""
    scene, _ = served
    kubectl = scene.lab.kubectl
    for condition in ("condition=IPAssigned", "jsonpath={.status.egressNode}=node-2"):
        assert "condition met" in kubectl("wait", "egress/web", f"--for={condition}", "--timeout=5s")
    kubectl("delete", "egress", "web", "--wait=false")
    kubectl("wait", "egress/web", "--for=delete", "--timeout=5s")
    assert kubectl("get", "egress", "-o", "name") == ""


def test_create_says_that_a_name_is_taken(served: tuple[Scene, str]) -> None:
    """`kubectl create` of an Egress that is there already is refused; `apply` of the same again changes nothing."""
    scene, ip = served
    whole = json.dumps(egress("web", on(1), pool="two"))
    with pytest.raises(DriverError, match=r'egresses\.crd\.antrea\.io "web" already exists'):
        scene.lab.kubectl("create", "-f", "-", text=whole)
    version = scene.get(EGRESSES, "web").metadata.resource_version
    assert scene.lab.kubectl("apply", "-f", "-", text=whole) == "egress.crd.antrea.io/web unchanged\n"
    assert scene.get(EGRESSES, "web").metadata.resource_version == version
    assert scene.held("web")[0] == ip


WEB = {"appliedTo": on(1), "egressIP": "10.10.0.11"}
RANGE = [{"start": "10.10.0.11", "end": "10.10.0.12"}]
NO_EGRESSES: dict[str, tuple[dict[str, object], str]] = {
    "no selector": ({"appliedTo": None}, "spec.appliedTo: Required value"),
    "no address": ({"egressIP": "egress"}, 'spec.egressIP: Invalid value: "egress"'),
    "empty address": ({"egressIP": ""}, 'spec.egressIP: Invalid value: ""'),
    "neither address nor pool": ({"egressIP": None}, '"spec" must validate'),
    "two addresses": ({"egressIP": None, "egressIPs": ["10.10.0.11"]}, "egressIPs is not supported yet"),
    "operator": (
        {"appliedTo": {"podSelector": {"matchExpressions": [{"key": "app", "operator": "Is"}]}}},
        'spec.appliedTo.podSelector.matchExpressions[0].operator: Unsupported value: "Is"',
    ),
    "half a bandwidth": ({"bandwidth": {"rate": "1M"}}, "spec.bandwidth.burst: Required value"),
    "no quantity": ({"bandwidth": {"rate": "fast", "burst": "1M"}}, "spec.bandwidth.rate"),
    "outside of its pool": ({"externalIPPool": "there"}, "IP 10.10.0.11 is not within the IP range"),
    "no such pool": ({"externalIPPool": "none"}, "ExternalIPPool none does not exist"),
}
NO_POOLS: dict[str, tuple[dict[str, object], str]] = {
    "no ranges": ({"ipRanges": None}, "spec.ipRanges: Required value"),
    "no node selector": ({"nodeSelector": None}, "spec.nodeSelector: Required value"),
    "start after end": (
        {"ipRanges": [{"start": "10.10.0.19", "end": "10.10.0.11"}]},
        "spec.ipRanges[0]: Invalid value",
    ),
    "half a range": ({"ipRanges": [{"start": "10.10.0.11"}]}, "spec.ipRanges[0]"),
    "overlap": ({"ipRanges": [{"cidr": "10.10.2.0/29"}]}, "overlaps with range"),
    "prefix": (
        {"subnetInfo": {"gateway": "10.10.0.1", "prefixLength": 128}},
        "spec.subnetInfo.prefixLength: Invalid value: 128",
    ),
}
BY_VALIDATOR = ("outside of its pool", "no such pool", "overlap")
"""What needs other objects to be refused. The embedded API server asks the product's validator; a real one would need
a webhook for it, and the product serves none: there the planner tells of it afterwards."""


def refused(scene: Scene, whole: dict[str, object], words: str) -> None:
    """kubectl prints the refusal, which names field and reason, and nothing is stored."""
    before = scene.lab.kubectl("get", "egress,externalippool", "-o", "yaml")
    with pytest.raises(DriverError) as refusal:
        scene.lab.kubectl("create", "-f", "-", text=json.dumps(whole))
    assert words in str(refusal.value)
    assert scene.lab.kubectl("get", "egress,externalippool", "-o", "yaml") == before


def demand_validator(scene: Scene, case: str) -> None:
    """Skip a case that only the validator refuses where nothing asks it."""
    if case in BY_VALIDATOR and scene.lab.record.kind == "kubernetes":
        pytest.skip("no webhook asks the validator on a real control plane")


@pytest.fixture(scope="module")
def pools(standing: Scene) -> Iterator[Scene]:
    """A scene with a pool named there."""
    standing.apply(ip_pool("there", "10.10.2.0/28", nodes=hosted(2)))
    becomes(lambda: standing.usage("there").total, 14)
    yield standing
    standing.clear()


@pytest.mark.parametrize("case", NO_EGRESSES)
def test_an_egress_that_is_none_is_refused(pools: Scene, case: str) -> None:
    """What schema or validator refuses of an Egress is told with field and reason, and not stored."""
    demand_validator(pools, case)
    changed, words = NO_EGRESSES[case]
    spec = {key: value for key, value in {**WEB, **changed}.items() if value is not None}
    refused(pools, {**egress("bad", {}), "spec": spec}, words)


@pytest.mark.parametrize("case", NO_POOLS)
def test_a_pool_that_is_none_is_refused(pools: Scene, case: str) -> None:
    """What schema or validator refuses of a pool is told with field and reason, and not stored."""
    demand_validator(pools, case)
    changed, words = NO_POOLS[case]
    whole = {"ipRanges": RANGE, "nodeSelector": {}, **changed}
    spec = {key: value for key, value in whole.items() if value is not None}
    refused(pools, {**ip_pool("bad"), "spec": spec}, words)


def test_a_range_that_is_there_is_not_changed(pools: Scene) -> None:
    """A patch that takes a pool's range away is refused as Antrea refuses it, and the pool stays as it is."""
    with pytest.raises(DriverError, match="existing IPRanges cannot be updated or deleted"):
        pools.patch("externalippool", "there", {"spec": {"ipRanges": RANGE}})
    assert pools.usage("there").total == 14


# What explain shows


def undescribed(schema: dict[str, Any], path: str) -> Iterator[str]:
    """The fields of a schema, and of those below it, that say nothing of themselves."""
    for name, field in schema.get("properties", {}).items():
        if not field.get("description"):
            yield f"{path}.{name}"
        yield from undescribed(field, f"{path}.{name}")
    for below in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(below, dict):
            yield from undescribed(below, path)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda item: item.resource.kind)
def test_explain_tells_what_every_field_is(lab: Lab, definition: Definition) -> None:
    """`kubectl explain` shows what a kind, its spec and its status are for, and each field below with its description;
    no field of the whole schema that the API server publishes has none."""
    resource = definition.resource
    version = f"{resource.group}/{resource.version}"
    published = json.loads(lab.kubectl("get", "--raw", f"/openapi/v3/apis/{version}"))["components"]["schemas"]
    name = ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])
    assert list(undescribed(published[name], resource.kind)) == []
    whole = schema_of(definition, resource.version)
    for path, schema in (("", whole), *((f".{part}", whole["properties"][part]) for part in ("spec", "status"))):
        printed = lab.kubectl("explain", f"{definition.singular}{path}", f"--api-version={version}")
        text = " ".join(printed.split())
        assert "<no description>" not in text
        assert " ".join(schema["description"].split()) in text
        for field, about in schema["properties"].items() if path else ():  # the server describes its own fields itself
            assert f" {field} <" in text
            assert " ".join(about["description"].split()) in text
