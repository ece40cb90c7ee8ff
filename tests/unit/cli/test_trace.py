"""`sallyport trace` tells which way a packet takes and why."""

import json
from pathlib import Path

import pytest
import yaml
from tests.unit.cli.running import CLUSTER, FILES, POLICIES, golden, run

OUTSIDE = "198.51.100.7"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("remote", ("prod/web", OUTSIDE)),
        ("local", ("pod/prod/near", OUTSIDE, "--protocol", "udp", "--port", "53")),
        ("blocked", ("prod/web", "2001:db8:ffff::7")),
        ("free", ("prod/db", OUTSIDE)),
        ("cluster", ("prod/web", "10.244.3.9")),
        ("node", ("prod/web", "10.10.0.103")),
    ],
)
def test_every_hop_is_a_line_for_people(name: str, arguments: tuple[str, ...]) -> None:
    result = run("trace", *arguments, *FILES)
    assert result.exit_code == 0
    assert result.stdout == golden(f"trace-{name}.txt", result.stdout)


def test_programs_get_the_same_as_json_and_yaml() -> None:
    document = json.loads(run("trace", "prod/web", OUTSIDE, *FILES, "-o", "json").stdout)
    assert document == yaml.safe_load(run("trace", "prod/web", OUTSIDE, *FILES, "-o", "yaml").stdout)
    (way,) = document.pop("ways")
    assert document == {
        "pod": "prod/web",
        "node": "node-1",
        "source": "10.244.1.5",
        "destination": OUTSIDE,
        "protocol": "tcp",
        "port": 0,
        "exit": "web",
        "reason": "",
        "policy": "",
        "rule": "",
    }
    assert (way["verdict"], way["node"], way["source"], way["governed"]) == ("left", "node-3", "10.10.0.11", True)
    assert way["hops"][0]["decided"] == "steer: clients4 has 10.244.1.5"


def test_only_nodes_with_a_part_in_the_way_are_planned_but_all_are_known() -> None:
    """A packet for a node without any exit still arrives there."""
    result = run("trace", "prod/db", "10.10.0.103", "-f", CLUSTER)
    assert "delivered to node node-3" in result.stdout


def test_a_static_address_is_held_where_it_is_configured() -> None:
    static = Path(POLICIES).read_text().replace("externalIPPool: pool", "egressIP: 10.10.0.102")
    result = run("trace", "prod/web", OUTSIDE, "-f", CLUSTER, "-f", "-", text=static)
    assert "governed by Egress/web: 10.10.0.102, held by node-2\n" in result.stdout
    assert result.stdout.endswith("LEFT the cluster at node-2 with source 10.10.0.102\n")


def test_a_static_address_that_no_node_has_blocks_its_clients() -> None:
    static = Path(POLICIES).read_text().replace("externalIPPool: pool", "egressIP: 10.10.0.200")
    result = run("trace", "prod/web", OUTSIDE, "-f", CLUSTER, "-f", "-", text=static)
    assert "10.10.0.200, held by nobody (no node holds its egress IP)" in result.stdout
    assert result.stdout.endswith("DROPPED at node-1\n")


def test_where_two_nodes_hold_an_address_both_ways_are_told() -> None:
    """Node-2 was first in order and says that it lives; node-3's session with it is down."""
    facts = {
        name: json.dumps(
            {
                "node": name,
                "uplinks": {
                    "4": {"device": "eth0", "address": address, "subnets": ["10.10.0.0/24"], "mtu": 1500},
                },
                "addresses": {address: "eth0"},
                "peers": peers,
            }
        )
        for name, address, peers in (
            ("node-1", "10.10.0.101", {}),
            ("node-2", "10.10.0.102", {"node-3": "down"}),
            ("node-3", "10.10.0.103", {"node-2": "down"}),
        )
    }
    leases = [
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": f"sallyport-agent-{name}",
                "namespace": "sallyport-system",
                "annotations": {"sallyport.io/facts": text},
            },
            "spec": {"renewTime": "2030-01-01T00:00:00.000000Z", "leaseDurationSeconds": 40},
        }
        for name, text in facts.items()
    ]
    result = run("trace", "prod/web", OUTSIDE, *FILES, "-f", "-", text=json.dumps(leases))
    assert result.stderr == ""
    assert "way 1 of 2: several nodes answer for the egress IP\n" in result.stdout
    assert "LEFT the cluster at node-2 with source 10.10.0.11\n" in result.stdout
    assert result.stdout.endswith("LEFT the cluster at node-3 with source 10.10.0.11\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("web", OUTSIDE), "'web' names no pod: write NAMESPACE/NAME"),
        (("prod/", OUTSIDE), "'prod/' names no pod: write NAMESPACE/NAME"),
        (("prod/absent", OUTSIDE), "there is no pod prod/absent"),
        (("prod/host", OUTSIDE), "pod prod/host uses its node's own network, which no policy governs"),
        (("prod/waiting", OUTSIDE), "pod prod/waiting is not scheduled yet"),
        (("prod/starting", OUTSIDE), "pod prod/starting has no address yet"),
        (("prod/done", OUTSIDE), "pod prod/done has ended"),
        (("prod/web", "example.com"), "'example.com' is not an IP address"),
        (
            ("prod/db", "2001:db8::1"),
            "pod prod/db has no IPv6 address from which to reach 2001:db8::1",
        ),
    ],
)
def test_a_packet_that_cannot_be_is_one_line_and_status_2(arguments: tuple[str, ...], line: str) -> None:
    result = run("trace", *arguments, *FILES)
    assert (result.exit_code, result.stderr) == (2, f"sallyport trace: {line}\n")


def test_a_pod_on_an_unknown_node_is_told() -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {nodeName: gone}\nstatus: {podIP: 10.0.0.1}\n"
    result = run("trace", "default/p", OUTSIDE, "-f", "-", text=pod)
    assert result.stderr == "sallyport trace: pod default/p runs on node gone, which is unknown\n"


def test_a_missing_kubeconfig_is_one_line_and_status_2(tmp_path: Path) -> None:
    result = run("trace", "prod/web", OUTSIDE, "--kubeconfig", str(tmp_path / "absent"))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "absent" in result.stderr


def test_the_help_teaches_by_example() -> None:
    help_text = run("trace", "--help").stdout
    assert "sallyport trace prod/web-1 198.51.100.7\n" in help_text
