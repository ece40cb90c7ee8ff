"""What a pod is told of itself, what its probes' answers mean, and the status that is written of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from sallyport.lab import podfields, podstatus
from sallyport.lab.podfields import Placed
from sallyport.lab.pods import LabPod, Probe
from sallyport.lab.podstatus import PodState, turned
from sallyport.lab.probing import Verdict

WHOLE: dict[str, Any] = {
    "metadata": {
        "name": "gw-1",
        "namespace": "apps",
        "uid": "u-1",
        "labels": {"app": "gw", "b": "2"},
        "annotations": {"said": 'a "b"\nc', "ünïcode": "ü"},
    },
    "spec": {
        "nodeName": "node-1",
        "initContainers": [{"name": "init"}],
        "containers": [
            {
                "name": "gw",
                "env": [
                    {"name": "PLAIN", "value": "text"},
                    {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
            }
        ],
        "volumes": [
            {"name": "pod-info", "downwardAPI": {"items": [
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                {"path": "deep/said", "fieldRef": {"fieldPath": "metadata.annotations['said']"}},
            ]}},
            {"name": "scratch", "emptyDir": {}},
        ],
    },
    "status": {"conditions": [{"type": "example.com/Custom", "status": "True"}]},
}  # fmt: skip
POD = msgspec.convert(WHOLE, LabPod)
PLACED = Placed(
    (ip_address("10.244.1.2"), ip_address("fd10:244::2")), (ip_address("10.10.0.101"), ip_address("fd10:10::101"))
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "gw-1"),
        ("metadata.namespace", "apps"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "gw"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['said']", 'a "b"\nc'),
        ("metadata.annotations", 'said="a \\"b\\"\\nc"\nünïcode="ü"'),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "default"),
        ("status.hostIP", "10.10.0.101"),
        ("status.hostIPs", "10.10.0.101,fd10:10::101"),
        ("status.podIP", "10.244.1.2"),
        ("status.podIPs", "10.244.1.2,fd10:244::2"),
    ],
)
def test_a_pod_is_told_its_fields(path: str, expected: str) -> None:
    assert podfields.value(POD, PLACED, path) == expected


def test_variables_are_literal_or_fields() -> None:
    assert podfields.variables(POD, PLACED, POD.main) == {"PLAIN": "text", "WHO": "gw-1"}


def test_only_downward_api_volumes_have_files() -> None:
    files = podfields.files(POD, PLACED)
    assert files == {"pod-info": {"labels": 'app="gw"\nb="2"', "deep/said": 'a "b"\nc'}}
    assert podfields.volume_variable("pod-info") == "SALLYPORT_LAB_VOLUME_POD_INFO"


def heard(probe: Probe, answers: str) -> str:
    """What each answer (+ or -) turns the verdict to: +, -, or . where it stays."""
    verdict = Verdict(probe)
    return "".join(("+" if verdict.good else "-") if verdict.hear(answer == "+") else "." for answer in answers)


@pytest.mark.parametrize(
    ("success", "failure", "answers", "turns"),
    [
        (1, 3, "+---+", "+..-+"),
        (1, 3, "+--+--+---", "+........-"),
        (2, 1, "++-+-++", ".+-...+"),
        (1, 1, "--++", "-.+."),
    ],
)
def test_a_verdict_turns_after_as_many_answers_in_a_row_as_its_threshold(
    success: int, failure: int, answers: str, turns: str
) -> None:
    assert heard(Probe(success_threshold=success, failure_threshold=failure), answers) == turns


def test_a_condition_that_stays_keeps_its_time() -> None:
    state = PodState(since=NOW, initialized=True, inits=(podstatus.ended(0, NOW),))
    first = turned(state, {}, NOW)
    later = turned(replace(state, ready=True), first, NOW + timedelta(seconds=5))
    assert first["Ready"] == ("False", "2026-01-01T00:00:00Z")
    assert later["Ready"] == ("True", "2026-01-01T00:00:05Z")
    assert later["Initialized"] == first["Initialized"] == ("True", "2026-01-01T00:00:00Z")


def shown(state: PodState) -> dict[str, Any]:
    """The status of a state that the pod is in from the beginning."""
    return podstatus.status(POD, state, turned(state, {}, NOW))


def test_a_status_keeps_the_conditions_of_others_and_says_what_is_not_ready() -> None:
    status = shown(PodState(since=NOW, inits=(podstatus.started(NOW),), addresses=PLACED.addresses))
    conditions = {item["type"]: item for item in msgspec.to_builtins(status["conditions"])}
    assert "example.com/Custom" in conditions
    assert conditions["Initialized"]["message"] == "containers with incomplete status: [init]"
    assert conditions["Ready"]["reason"] == "ContainersNotReady"
    assert status["podIPs"] == [{"ip": "10.244.1.2"}, {"ip": "fd10:244::2"}]
    assert status["initContainerStatuses"][0]["state"] == {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def test_a_command_that_a_signal_ended_has_the_exit_code_of_a_shell() -> None:
    assert podstatus.ended(-9, NOW).detail["exitCode"] == 137
    assert podstatus.ended(3, NOW).detail["exitCode"] == 3
