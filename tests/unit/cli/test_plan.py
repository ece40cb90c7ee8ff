"""`sallyport plan` tells what would be done, from files alone."""

import json
import re
from pathlib import Path

import pytest
import yaml
from tests.unit.cli.running import CLUSTER, POLICIES, golden, run


def test_the_summary_names_holders_clients_and_why() -> None:
    result = run("plan", CLUSTER, POLICIES)
    assert result.exit_code == 0
    assert result.stdout == golden("plan.txt", result.stdout)


def test_a_whole_plan_is_one_document_of_yaml_per_node() -> None:
    found = run("plan", CLUSTER, POLICIES, "--node", "node-1", "-o", "yaml").stdout
    found = re.sub("digest: .*", "digest: that of the tables' text", found)
    assert found == golden("plan-node-1.yaml", found)
    everything = run("plan", CLUSTER, POLICIES, "-o", "yaml").stdout
    assert [item["node"] for item in yaml.safe_load_all(everything)] == ["node-1", "node-2", "node-3"]


def test_programs_get_the_same_in_json() -> None:
    documents = json.loads(run("plan", CLUSTER, POLICIES, "-o", "json").stdout)
    assert documents == list(yaml.safe_load_all(run("plan", CLUSTER, POLICIES, "-o", "yaml").stdout))


def test_assumed_facts_are_told_in_one_line_on_standard_error() -> None:
    lines = run("plan", CLUSTER, POLICIES).stderr.splitlines()
    assert lines == [
        "no facts of node-1, node-2, node-3: assumed are uplink eth0 with MTU 1500 and, around each InternalIP, "
        "a subnet of length 24 (IPv4) or 64 (IPv6)"
    ]


def test_an_exit_that_nobody_can_hold_is_told_with_the_reason() -> None:
    result = run("plan", CLUSTER, "-", text=Path(POLICIES).read_text().replace("egress-gateway", "nothing"))
    assert "held by nobody" in result.stdout
    assert "problem  Egress/web: Failed to assign the IP to EgressNode" in result.stdout


def test_what_the_api_would_refuse_is_left_out_and_told() -> None:
    broken = Path(POLICIES).read_text().replace("externalIPPool: pool", "egressIP: banana")
    result = run("plan", CLUSTER, "-", text=broken)
    assert result.exit_code == 0
    assert 'standard input:14: Egress/web is left out: spec.egressIP: Invalid value: "banana"' in result.stderr
    assert "Egress/web" not in result.stdout


def test_service_networks_are_kept_from_the_exits() -> None:
    result = run("plan", CLUSTER, "--service-cidrs", "10.96.0.0/12, 2001:db8:96::/112", "-o", "json")
    sets = json.loads(result.stdout)[0]["sets"]
    assert "10.96.0.0/12" in sets["excluded4"]
    assert "2001:db8:96::/112" in sets["excluded6"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("absent.yaml",), "sallyport plan: absent.yaml: no such file"),
        ((POLICIES,), "sallyport plan: the files hold no Node: there is nothing to plan for"),
        (
            (CLUSTER, "--node", "node-9"),
            "sallyport plan: the files hold no Node node-9; they hold node-1, node-2, node-3",
        ),
        (("-",), "sallyport plan: standard input:1: not YAML: expected the node content, but found '<stream end>'"),
        (
            (CLUSTER, "--service-cidrs", "10.96.0.0"),
            "sallyport plan: --service-cidrs: '10.96.0.0' is not a network in CIDR notation",
        ),
    ],
)
def test_what_cannot_be_planned_is_one_line_and_status_2(arguments: tuple[str, ...], line: str) -> None:
    result = run("plan", *arguments, text="a: [")
    assert (result.exit_code, result.stderr) == (2, line + "\n")
    assert result.stdout == ""


def test_the_help_teaches_by_example() -> None:
    assert "sallyport plan cluster.yaml my-egress.yaml --node node-1 -o yaml" in run("plan", "--help").stdout
