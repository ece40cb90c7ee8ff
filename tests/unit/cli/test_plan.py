"""`sallyport plan` tells what would be done, from files alone."""

import json
import re
from pathlib import Path

import pytest
import yaml
from tests.unit.cli.running import CLUSTER, HERE, POLICIES, golden, run

NETWORKS = (str(HERE / "networks.yaml"), str(HERE.parents[2] / "examples" / "calico"))


def test_the_summary_names_holders_clients_and_why() -> None:
    result = run("plan", CLUSTER, POLICIES)
    assert result.exit_code == 0
    assert result.stdout == golden("plan.txt", result.stdout)


def test_a_whole_plan_is_one_document_of_yaml_per_node() -> None:
    found = run("plan", CLUSTER, POLICIES, "--node", "node-1", "-o", "yaml").stdout
    found = re.sub("digest: .*", "digest: that of the tables' text", found)
    assert found == golden("plan-node-1.yaml", found)
    everything = run("plan", CLUSTER, POLICIES, "-o", "yaml").stdout
    cluster, *nodes = yaml.safe_load_all(everything)
    assert [item["node"] for item in nodes] == ["node-1", "node-2", "node-3"]
    assert cluster["cluster"]["assignments"]["web"]["address"] == "10.10.0.11"


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
    sets = json.loads(result.stdout)[1]["sets"]
    assert "10.96.0.0/12" in sets["excluded4"]
    assert "2001:db8:96::/112" in sets["excluded6"]


def test_gateways_are_told_with_their_networks_tables_and_sessions() -> None:
    result = run("plan", *NETWORKS)
    assert result.exit_code == 0
    assert result.stdout == golden("plan-networks.txt", result.stdout)


def test_a_pod_whose_gateways_are_not_ready_is_told_with_the_reason() -> None:
    unready = Path(NETWORKS[0]).read_text().replace('status: "True"', 'status: "False"')
    lines = run("plan", "-", NETWORKS[1], text=unready).stdout.splitlines()
    (line,) = [line for line in lines if "red/app" in line]
    assert line.split(None, 3)[3].startswith("0.0.0.0/0 blocked, gateway default/egress-gateway-1 is not ready")


def test_a_gateways_node_has_tables_and_sessions_and_a_clients_node_has_chains() -> None:
    (client,) = json.loads(run("plan", *NETWORKS, "--node", "node-1", "-o", "json").stdout)
    assert any("to" in item for item in client["chains"])
    assert any(item.get("fresh") == [13791] for item in client["chains"])
    assert "sessions" not in client
    (gateways,) = json.loads(run("plan", *NETWORKS, "--node", "node-2", "-o", "json").stdout)
    assert gateways["fibs"] == [{"table": 500, "networks": ["red"]}, {"table": 600, "networks": ["yellow"]}]
    assert {item["name"] for item in gateways["sessions"] if "name" in item} == {"some.name", "other.name"}


def test_a_gateway_without_pods_is_the_deployment_that_it_would_become() -> None:
    cluster = Path(CLUSTER).read_text()
    text = f"{cluster}\n---\n" + "---\n".join(path.read_text() for path in sorted(Path(NETWORKS[1]).glob("*.yaml")))
    line = (
        "EgressGateway/default/egress-gateway         Deployment of 1 pod  pools egress-red     on red     no pod of it"
    )
    assert line in run("plan", "-", text=text).stdout
    found = run("plan", "-", "-o", "yaml", "--image", "registry/sallyport:1", text=text).stdout
    deployments = next(yaml.safe_load_all(found))["cluster"]["deployments"]
    assert [(item["kind"], item["metadata"]["name"]) for item in deployments] == [
        ("Deployment", "egress-gateway"),
        ("Deployment", "egress-gateway-yellow"),
    ]
    assert deployments[0]["spec"]["template"]["spec"]["containers"][0]["image"] == "registry/sallyport:1"
    assert "&id" not in found


def test_a_gateway_that_cannot_be_made_has_no_deployment_and_says_why() -> None:
    text = Path(NETWORKS[0]).read_text() + "---\n" + (Path(NETWORKS[1]) / "gateways.yaml").read_text()
    result = run("plan", "-", text=text)
    assert "EgressGateway/default/egress-gateway         no Deployment" in result.stdout
    assert "problem  EgressGateway/default/egress-gateway: ExternalNetwork red does not exist" in result.stdout
    assert "deployments" not in next(yaml.safe_load_all(run("plan", "-", "-o", "yaml", text=text).stdout))["cluster"]


@pytest.mark.parametrize("output", ["text", "yaml", "json"])
def test_no_password_is_printed(output: str) -> None:
    secret = (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: bgp}\nstringData: {red: hunter2}\ndata: {red: aHVudGVyMg==}\n"
    )
    peers = (Path(NETWORKS[1]) / "peers.yaml").read_text()
    named = peers.replace("asNumber: 63400", "asNumber: 63400\n  password: {secretKeyRef: {name: bgp, key: red}}")
    text = "---\n".join([Path(NETWORKS[0]).read_text(), named, secret])
    others = [str(path) for path in Path(NETWORKS[1]).glob("*.yaml") if path.name != "peers.yaml"]
    result = run("plan", "-", *others, "-o", output, text=text)
    assert "172.31.11.1" in result.stdout
    assert "hunter2" not in result.output
    assert "aHVudGVyMg" not in result.output
    assert "password:" not in result.output
    assert '"password"' not in result.output


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
