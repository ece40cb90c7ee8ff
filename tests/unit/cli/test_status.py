"""`sallyport status` tells what is wrong first, with what to do, and then how everything stands."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.cli.running import HERE, golden, run
from typer.testing import Result

SOUND = HERE / "sound.yaml"
Document = dict[str, Any]
Change = Callable[[dict[str, Document]], None]


def cluster(*changes: Change) -> str:
    """The sound cluster after some changes; its objects are known as KIND/NAME. A change may take objects away."""
    items = {f"{item['kind']}/{item['metadata']['name']}": item for item in yaml.safe_load(SOUND.read_text())["items"]}
    for change in changes:
        change(items)
    return yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": list(items.values())})


def told(*changes: Change) -> Result:
    return run("status", "-f", "-", text=cluster(*changes))


def problems(*changes: Change) -> list[dict[str, str]]:
    found = run("status", "-f", "-", "-o", "json", text=cluster(*changes))
    listed: list[dict[str, str]] = json.loads(found.stdout)["problems"]
    assert found.exit_code == (1 if listed else 0)
    return listed


def gone(name: str) -> Change:
    def change(items: dict[str, Document]) -> None:
        del items[name]

    return change


def put(name: str, **members: Any) -> Change:
    """Members of an object put in place of its own; `status__usage` stands for status.usage."""

    def change(items: dict[str, Document]) -> None:
        for path, value in members.items():
            *way, last = path.split("__")
            target = items[name]
            for part in way:
                target = target.setdefault(part, {})
            target[last] = value

    return change


def condition(name: str, kind: str, status: str, reason: str, message: str) -> Change:
    def change(items: dict[str, Document]) -> None:
        kept = [item for item in items[name]["status"]["conditions"] if item["type"] != kind]
        new = {"type": kind, "status": status, "reason": reason, "message": message}
        items[name]["status"]["conditions"] = [*kept, new]

    return change


def facts(node: str, text: str) -> Change:
    return put(f"Lease/sallyport-agent-{node}", metadata__annotations={"sallyport.io/facts": text})


def unheard(*lines: str) -> Change:
    found = {"sallyport.io/facts": '{"node":"node-1"}', "sallyport.io/unheard": "\n".join(lines)}
    return put("Lease/sallyport-agent-node-1", metadata__annotations=found)


def taken(name: str, time: str) -> Change:
    """The API server's note of when it took the last renewal."""
    return put(f"Lease/{name}", metadata__managedFields=[{"manager": "sallyport", "time": time}])


FORBIDDEN = "pods since 2030-01-01T11:58:00Z: list /api/v1/pods: cannot list resource"
LOST = put("Lease/sallyport-agent-node-2", spec__renewTime="2030-01-01T11:58:45.000000Z")
NO_SESSION: list[Change] = [
    condition("ExternalNetwork/red", "Ready", "False", "NotEstablished", "no session is established on node-2"),
    put("ExternalNetwork/red", status__nodes=[{"node": "node-2", "peers": 1}]),
    condition("BGPPeer/some.name", "Established", "False", "NotEstablished", "no session on node-2 (Active)"),
    put("BGPPeer/some.name", status__sessions=[{"node": "node-2", "state": "Active"}]),
]
NOT_READY: list[Change] = [
    condition("EgressGateway/egress-gateway", "Available", "False", "NoGatewayReady", "egress-gateway-1: no route"),
    condition("EgressGateway/egress-gateway", "Progressing", "True", "GatewaysNotReady", "egress-gateway-1: no route"),
    condition(
        "EgressGateway/egress-gateway", "ExternalNetworksJoined", "False", "NotJoined", "not joined: red on node-2"
    ),
    put("Pod/egress-gateway-1", status__conditions=[{"type": "Ready", "status": "False"}]),
    put(
        "EgressGateway/egress-gateway",
        status__gateways=[
            {"pod": "egress-gateway-1", "node": "node-2", "addresses": ["10.10.10.0"], "message": "no route"}
        ],
    ),
]


def test_of_a_sound_cluster_the_first_line_says_so_and_the_status_is_0() -> None:
    result = told()
    assert result.stdout == golden("status.txt", result.stdout)
    assert result.stdout.startswith("no problems\n")
    assert result.exit_code == 0


def test_problems_come_first_causes_before_what_follows_from_them() -> None:
    elsewhere = put("Lease/sallyport-agent-node-1", spec__renewTime="2030-01-01T11:58:45.000000Z")
    result = told(elsewhere, *NO_SESSION, *NOT_READY)
    assert result.stdout == golden("status-troubled.txt", result.stdout)
    assert result.stdout.startswith("4 problems\n")
    assert result.exit_code == 1


FAULTS = [
    ([LOST], "Node/node-2", "its agent has not renewed its Lease for 75 s (40 s are allowed)"),
    ([gone("Lease/sallyport-agent-node-1")], "Node/node-1", "no agent has ever been in step here"),
    ([facts("node-1", "{}")], "Node/node-1", "its agent's facts cannot be read: these are no facts of a node"),
    ([facts("node-1", "")], "Node/node-1", "its agent's facts cannot be read: they are empty"),
    (
        [facts("node-1", '{"node":"node-1","peers":{"node-2":"down"}}')],
        "Node/node-1",
        "BFD has no answer from node-2, whose agents run",
    ),
    (
        [facts("node-1", '{"node":"node-1","failed":["default/egress-gateway-1/v4","default/egress-gateway-1/v6"]}')],
        "Node/node-1",
        "polls from here get no answer from gateways default/egress-gateway-1: no",
    ),
    (
        [unheard(FORBIDDEN, "nodes since 2030-01-01T11:59:00Z: HTTP 503")],
        "Node/node-1",
        f"its agent hears of no change of {FORBIDDEN} (and 1 more kind): existing egress goes on, changes wait",
    ),
    (
        [
            *(
                taken(f"sallyport-{name}", "2030-01-01T12:10:00Z")
                for name in ("agent-node-1", "agent-node-2", "controller")
            ),
            put("Lease/sallyport-agent-node-2", spec__renewTime="2030-01-01T12:10:00.000000Z"),
        ],
        "Node/node-1",
        "its clock is 603 s behind the API server's",
    ),
    (
        [put("Lease/sallyport-controller", spec__renewTime="2030-01-01T11:59:00.000000Z")],
        "Lease/sallyport-system/sallyport-controller",
        "no controller leads: one has not renewed its Lease for 57 s",
    ),
    ([gone("Lease/sallyport-controller")], "Lease/sallyport-system/sallyport-controller", "no controller leads; "),
    (
        [condition("Egress/web", "IPAssigned", "False", "AssignmentError", "no Node available")],
        "Egress/web",
        "no Node available; what its 3 pods send outside is dropped",
    ),
    ([put("Egress/web", status__egressNode="")], "Egress/web", "no node holds its IP; what its 3 pods"),
    ([put("Egress/web", status={})], "Egress/web", "the controller has not decided about it; what its pods"),
    (
        [condition("Egress/web", "Overlapping", "True", "YieldsPods", "Egress old governs 1 pods")],
        "Egress/web",
        "Egress old governs 1 pods",
    ),
    (
        [put("ExternalIPPool/prod", status__usage={"total": 2, "used": 2})],
        "ExternalIPPool/prod",
        "all of its 2 addresses are given out: the next Egress waits",
    ),
    (
        [put("IPPool/egress-red", status__usage={"total": 4, "used": 4})],
        "IPPool/egress-red",
        "all of its 4 addresses are given out: the next gateway waits, also one that replaces another",
    ),
    (
        [condition("EgressGateway/egress-gateway", "PrefixConflict", "True", "SamePrefixes", "0.0.0.0/0 is in both")],
        "EgressGateway/default/egress-gateway",
        "0.0.0.0/0 is in both",
    ),
    (
        [condition("EgressGateway/egress-gateway", "ExternalNetworksJoined", "False", "NotJoined", "red on node-1")],
        "EgressGateway/default/egress-gateway",
        "red on node-1",
    ),
    (
        [put("EgressGateway/egress-gateway", status={})],
        "EgressGateway/default/egress-gateway",
        "the controller has not looked at it",
    ),
    (
        [condition("BGPPeer/some.name", "Established", "False", "NotEstablished", "no session on node-2 (Active)")],
        "BGPPeer/some.name",
        "172.31.11.1 of network red: no session on node-2 (Active)",
    ),
    (
        [put("Namespace/red", metadata__annotations={"egress.projectcalico.org/egressGatewayPolicy": "nowhere"})],
        "Namespace/red",
        "metadata.annotations.egress.projectcalico.org/egressGatewayPolicy: EgressGatewayPolicy nowhere does not",
    ),
    (
        [
            put(
                "Namespace/red",
                metadata__annotations={"egress.projectcalico.org/selector": "egress-code == 'blue'"},
            )
        ],
        "Namespace/red",
        "it selects no gateway for 0.0.0.0/0, ::/0: what 1 pod sends there is dropped",
    ),
    (
        [condition("EgressGatewayPolicy/by-destination", "Ready", "False", "InvalidSpec", "no network")],
        "EgressGatewayPolicy/by-destination",
        "no network",
    ),
]


FAULTS += [
    (
        [facts("node-2", '{"node":"node-2","held":["10.10.10.0"]}')],
        "Egress/web",
        "its status names node-2, which does not have 10.10.0.8: nobody has it",
    ),
    (
        [facts("node-1", '{"node":"node-1","addresses":{"10.10.0.8":"eth0"}}')],
        "Egress/web",
        "10.10.0.8 is on node-1 and node-2 at once",
    ),
    (
        [
            facts("node-1", '{"node":"node-1","held":["10.10.0.8"]}'),
            facts("node-2", '{"node":"node-2","held":["10.10.10.0"]}'),
        ],
        "Egress/web",
        "its status names node-2, which does not have 10.10.0.8: node-1 has it",
    ),
]


@pytest.mark.parametrize(("changes", "ref", "message"), FAULTS)
def test_a_fault_is_one_problem_on_its_object(changes: list[Change], ref: str, message: str) -> None:
    found = problems(*changes)
    assert [item["object"] for item in found] == [ref]
    assert found[0]["message"].startswith(message)
    assert found[0]["remedy"]


def test_a_network_without_session_is_told_once_with_its_peers_states() -> None:
    (found,) = problems(*NO_SESSION)
    assert found["object"] == "ExternalNetwork/red"
    assert found["message"] == "no session is established on node-2 (some.name, 172.31.11.1: Active on node-2)"


def test_a_peer_that_lacks_more_than_a_session_is_told_besides_its_network() -> None:
    message = "no session: Secret bgp has no key red"
    secret = condition("BGPPeer/some.name", "Established", "False", "PasswordNotFound", message)
    found = problems(*NO_SESSION, secret)
    assert [item["object"] for item in found] == ["ExternalNetwork/red", "BGPPeer/some.name"]
    assert found[1]["remedy"].startswith("make the Secret")


def test_that_bfd_calls_a_lost_node_down_is_no_news() -> None:
    down = facts("node-1", '{"node":"node-1","peers":{"node-2":"down"}}')
    assert [item["object"] for item in problems(LOST, down)] == ["Node/node-2"]


def test_sessions_of_a_node_whose_agent_is_lost_are_not_told_again() -> None:
    assert [item["object"] for item in problems(LOST, *NO_SESSION)] == ["Node/node-2"]


def test_what_is_switched_off_is_told_on_the_option_and_nowhere_else() -> None:
    off = put("FelixConfiguration/default", spec={"egressIPSupport": "Disabled"})
    disabled = condition("ExternalNetwork/red", "Ready", "False", "Disabled", "externalNetworkSupport is not Enabled")
    found = problems(off, disabled)
    assert [(item["object"], item["message"].partition(":")[0]) for item in found] == [
        ("FelixConfiguration/default", "egressIPSupport is off"),
        ("FelixConfiguration/default", "externalNetworkSupport is off"),
    ]
    assert "egressIPSupport         FelixConfiguration/default\n" in told(off, disabled).stdout


def test_polls_of_a_gateway_that_is_not_ready_are_no_news() -> None:
    silent = facts("node-1", '{"node":"node-1","failed":["default/egress-gateway-1/v4"]}')
    unready = [item["object"] for item in problems(*NOT_READY)]
    assert [item["object"] for item in problems(silent, *NOT_READY)] == unready
    assert "Node/node-1" not in unready


def test_sections_that_have_nothing_are_left_out_for_people_and_empty_for_programs() -> None:
    alone = yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})
    assert run("status", "-f", "-", text=alone).stdout == "no problems\n"
    document = json.loads(run("status", "-f", "-", "-o", "json", text=alone).stdout)
    assert document["problems"] == document["nodes"] == document["switches"] == []
    assert document == yaml.safe_load(run("status", "-f", "-", "-o", "yaml", text=alone).stdout)


def test_without_leases_nothing_is_said_of_agents() -> None:
    def no_leases(items: dict[str, Document]) -> None:
        for name in [name for name in items if name.startswith("Lease/")]:
            del items[name]

    result = told(no_leases)
    assert result.exit_code == 0
    assert "node-1  unknown" in result.stdout
    assert result.stderr == "no Lease is known: nothing is told of controller and agents\n"


def test_programs_get_times_in_seconds_and_nodes_of_networks_as_objects() -> None:
    document = json.loads(run("status", "-f", str(SOUND), "-o", "json").stdout)
    assert document["nodes"][0]["renewed"] == 3
    assert document["networks"][0]["nodes"] == [{"node": "node-2", "established": 1, "peers": 1, "routes": 1}]


def test_networks_that_lead_to_the_same_addresses_are_named_on_both() -> None:
    report = (
        '{"conflicts":[{"networks":["red","yellow"],"conflicts":[{"winner":"red","loser":"yellow","prefixes":[]}]}]}'
    )
    annotations = {"sallyport.io/facts": '{"node":"node-2"}', "sallyport.io/routing": report}

    def two(items: dict[str, Document]) -> None:
        items["Lease/sallyport-agent-node-2"]["metadata"]["annotations"] = annotations
        items["yellow"] = {
            **items["ExternalNetwork/red"],
            "metadata": {"name": "yellow"},
            "spec": {"routeTableIndex": 600},
        }

    found = json.loads(run("status", "-f", "-", "-o", "json", text=cluster(two)).stdout)["networks"]
    assert [(item["network"], item["conflicts"]) for item in found] == [("red", ["yellow"]), ("yellow", ["red"])]


def test_what_cannot_be_asked_is_one_line_and_status_2(tmp_path: Path) -> None:
    absent = run("status", "-f", str(tmp_path / "absent.yaml"))
    assert (absent.exit_code, absent.stderr.count("\n"), absent.stdout) == (2, 1, "")
    unreachable = run("status", "--kubeconfig", str(tmp_path / "none"))
    assert (unreachable.exit_code, unreachable.stderr.count("\n"), unreachable.stdout) == (2, 1, "")


def test_an_api_server_that_cannot_be_reached_is_told_with_what_it_means() -> None:
    result = run("status", "--kubeconfig", str(HERE / "nowhere.kubeconfig"))
    assert result.exit_code == 2
    assert result.stderr.startswith("sallyport status: the API server cannot be reached from here: list /api")
    assert result.stderr.endswith("existing egress goes on as it is, changes wait\n")


def rows(name: str, *changes: Change) -> list[dict[str, Any]]:
    """A section as programs get it."""
    found: list[dict[str, Any]] = json.loads(run("status", "-f", "-", "-o", "json", text=cluster(*changes)).stdout)[
        name
    ]
    return found


LOST = put("Lease/sallyport-agent-node-2", spec__renewTime="2030-01-01T11:50:00.000000Z")


def test_an_egress_whose_nodes_agent_is_lost_says_so_without_a_problem_of_its_own() -> None:
    assert [item["problem"] for item in rows("egresses", LOST)] == ["the agent of node-2 is lost"]
    assert [item["object"] for item in problems(LOST)] == ["Node/node-2"]


@pytest.mark.parametrize("change", [LOST, unheard("Egress: forbidden")])
def test_a_node_whose_agent_is_lost_or_behind_is_not_synced(change: Change) -> None:
    assert [item["synced"] for item in rows("nodes")] == [True, True]
    assert sorted(item["synced"] for item in rows("nodes", change)) == [False, True]


def test_of_many_problems_of_one_kind_and_of_many_rows_people_get_the_first() -> None:
    def many(items: dict[str, Document]) -> None:
        for number in range(60):
            name = f"n{number:02}"
            items[f"Node/{name}"] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {}}}

    text = told(many).stdout
    assert text.startswith("60 problems\n")
    assert text.count("no agent has ever been in step here") == 5
    assert "\nNode: 55 problems more: -o json has all of them\n" in text
    assert "\nand 12 more: -o json has all of them\n" in text
    assert len(problems(many)) == 60
