"""`sallyport check` points at the line, and its exit status tells refusals from the rest."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from sallyport.cli.check import check

EXAMPLES = Path(__file__).parents[3] / "examples"
APP = typer.Typer()
APP.command()(check)


def run(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(APP, list(arguments), input=text)


EGRESS = "apiVersion: crd.antrea.io/v1beta1\nkind: Egress\nmetadata: {name: e}\nspec:\n  appliedTo: {podSelector: {}}\n"
POOL = """\
apiVersion: crd.antrea.io/v1beta1
kind: ExternalIPPool
metadata: {name: p}
spec:
  nodeSelector: {}
  ipRanges:
  - cidr: 10.0.0.0/30
"""


@pytest.mark.parametrize("api", ["antrea", "calico"])
def test_the_published_manifests_pass(api: str) -> None:
    result = run(str(EXAMPLES / api))
    assert result.exit_code == 0
    assert "0 refusals" in result.output


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        (EGRESS + "  egressIP: banana\n", '-:6: spec.egressIP: Invalid value: "banana"'),
        (EGRESS, "-:4: spec: Invalid value"),
        (EGRESS.replace("v1beta1", "v1") + "  egressIP: 10.0.0.1\n", "-:1: apiVersion: crd.antrea.io/v1 is not served"),
        (
            POOL + "  - {start: 10.0.1.9, end: 10.0.1.1}\n",
            "-:8: spec.ipRanges[1]: range [10.0.1.9-10.0.1.1] is invalid",
        ),
        (
            POOL + "---\n" + EGRESS + "  egressIP: 10.9.9.9\n  externalIPPool: p\n",
            "-:14: spec.egressIP: IP 10.9.9.9 is not within the IP range",
        ),
        (POOL.replace("name: p", "name: P_"), '-:3: metadata.name: Invalid value: "P_"'),
        (POOL.replace("{name: p}", "{name: p, labels: {a: 1}}"), "-:3: metadata.labels"),
        (
            "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: p}\nspec:\n  peerIP: 10.0.0.1\n"
            "  asNumber: 64512\n  nodeSelector: egress == true\n",
            '-:7: spec.nodeSelector: Invalid value: "egress == true": at 11: expected a value in quotes',
        ),
        ("a: [", "-:1: not YAML"),
    ],
)
def test_refusals_name_line_field_and_reason(text: str, remark: str) -> None:
    result = run("-", text=text)
    assert result.exit_code == 1
    assert remark.replace("-:", "standard input:", 1) in result.output


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        (
            EGRESS + "  externalIPPool: elsewhere\n",
            ":6: spec.externalIPPool: warning: ExternalIPPool elsewhere is not in",
        ),
        (EGRESS + "  egressIP: 10.0.0.1\n  color: red\n", ":7: spec.color: warning: unknown field"),
        (
            EGRESS.replace("{podSelector: {}}", "{}") + "  egressIP: 10.0.0.1\n",
            ":5: spec.appliedTo: warning: selects no",
        ),
        (
            "apiVersion: v1\nkind: Node\nmetadata: {name: n, annotations: {node.antrea.io/max-egress-ips: many}}\n",
            "warning: annotation node.antrea.io/max-egress-ips is 'many'",
        ),
        (
            "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n---\n"
            + POOL.replace("nodeSelector: {}", "nodeSelector: {matchLabels: {a: b}}")
            + "---\n"
            + EGRESS
            + "  externalIPPool: p\n",
            "no Node",
        ),
    ],
)
def test_what_would_not_work_as_it_reads_is_a_warning(text: str, remark: str) -> None:
    result = run("-", text=text)
    assert remark in result.output
    assert result.exit_code == 0


def test_findings_are_json_for_programs() -> None:
    result = run("-", "-o", "json", text=EGRESS + "  egressIP: banana\n")
    document = json.loads(result.stdout)
    assert document["refused"] == 1
    assert document["findings"][0] | {"reason": ""} == {
        "file": "standard input",
        "line": 6,
        "severity": "refused",
        "object": "Egress/e",
        "field": "spec.egressIP",
        "reason": "",
    }


def test_a_missing_file_is_one_line_and_status_2(tmp_path: Path) -> None:
    result = run(str(tmp_path / "absent.yaml"))
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
