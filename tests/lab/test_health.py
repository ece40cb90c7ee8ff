"""Gateways that fail: processes that hang or die, probes without an answer, agents out of reach, nodes without power.
Clients leave by those that are left, or not at all.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from tests.lab.gateways import HOME, LEFT, PROBED, RIGHT, GatewayScene, asks, felix, gateway
from tests.lab.scene import NAMESPACE, SIDES, becomes, pod

from sallyport.apis.calico.annotations import GATEWAY_LABEL
from sallyport.lab.driving import Asked, until

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.alone]

FOUR, SIX = SIDES.values()
BOTH = f"{LEFT},{RIGHT}"
Object = dict[str, Any]
NOBODY: tuple[str, ...] = ()

NO_PINGS = "ip protocol icmp drop; ip6 nexthdr ipv6-icmp icmpv6 type echo-request drop"
NO_WEB = "tcp dport 80 drop"


def icmp(*ips: str, seconds: int = 1) -> Object:
    return {"icmpProbe": {"ips": list(ips), "intervalSeconds": seconds, "timeoutSeconds": seconds}}


def http(*urls: str, seconds: int = 1) -> Object:
    return {"httpProbe": {"urls": list(urls), "intervalSeconds": seconds, "timeoutSeconds": seconds}}


@contextlib.contextmanager
def deaf(scene: GatewayScene, rules: str) -> Iterator[None]:
    """While the block runs, the server hears nothing of what these rules drop."""
    lines = rules.replace(";", "\n")
    table = f"table inet deaf {{ chain input {{ type filter hook input priority 0;\n{lines}\n}}; }}"
    scene.lab.execute("server", "nft", table)
    try:
        yield
    finally:
        scene.lab.execute("server", "nft", "delete table inet deaf")


@contextlib.contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """While the block runs, these processes do not."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def names_ready(scene: GatewayScene, name: str) -> tuple[str, ...]:
    """Ready pods of a gateway, as its status tells."""
    return tuple(row.pod for row in scene.state(name).gateways if row.ready)


# Probes


def test_a_gateway_whose_targets_do_not_answer_is_used_no_more_until_they_do(gates: GatewayScene) -> None:
    """One gateway pings two targets, another one fetches two; one answer of two is enough. While none comes the one
    that lacks it is not ready and says why, and clients use the other; then both again."""
    server, nobody = PROBED[4], "203.0.113.99"
    gates.apply(
        gateway("pings", node=2, egressGatewayFailureDetection=icmp(server, nobody)),
        gateway("webs", node=3, egressGatewayFailureDetection=http(f"http://{server}/", f"http://{nobody}/")),
    )
    gates.stand("pings", "webs")
    gates.annotate(NAMESPACE, asks("pings,webs"))
    pings = gates.way("pings", FOUR)
    ways = {side.family: dict([gates.way("pings", side), gates.way("webs", side)]) for side in SIDES.values()}
    gates.comes_to_share(pod(1), FOUR, ways[4], before=[FOUR.node(1)])
    with deaf(gates, NO_PINGS):
        becomes(partial(names_ready, gates, "pings"), NOBODY)
        assert gates.condition("pings", "Available")[:2] == ("False", "NoGatewayReady")
        for side in SIDES.values():
            gates.comes_to_share(pod(1), side, dict([gates.way("webs", side)]), before=[*ways[side.family]])
    for side in SIDES.values():
        gates.comes_to_share(pod(1), side, ways[side.family])
    with deaf(gates, NO_WEB):
        becomes(partial(names_ready, gates, "webs"), NOBODY)
        gates.comes_to_share(pod(1), FOUR, dict([pings]), before=[*ways[4]])
    gates.comes_to_share(pod(1), FOUR, ways[4])


def test_of_two_kinds_of_probes_each_has_to_be_answered(gates: GatewayScene) -> None:
    """A gateway with both kinds of probes is not ready without either; then nothing leaves, and the cluster is reached;
    with both answered it carries traffic again."""
    both = {**icmp(PROBED[6]), **http(f"http://{PROBED[4]}/")}
    gates.apply(gateway("careful", node=2, egressGatewayFailureDetection=both))
    gates.stand("careful")
    gates.annotate(pod(1), asks("careful"))
    ways = [(side, *gates.way("careful", side)) for side in SIDES.values()]
    for side, address, node in ways:
        gates.comes_to_leave(pod(1), side, address, node)
    for rules in (NO_PINGS, NO_WEB):
        with deaf(gates, rules):
            becomes(partial(names_ready, gates, "careful"), NOBODY)
            for side in SIDES.values():
                gates.comes_to_be_dropped(pod(1), side)
            gates.reaches_the_cluster(pod(1))
        for side, address, node in ways:
            gates.comes_to_leave(pod(1), side, address, node)


# Processes and agents


def test_a_gateway_that_hangs_is_noticed_by_polls(gates: GatewayScene) -> None:
    """Two gateways hang, and the kubelet is patient. The node of their client polls the one that has a port named
    `health`: it is used no more, and is again when it answers. The other one is not polled, and stays in use."""
    patient = {"name": "egress-gateway", "readinessProbe": {"periodSeconds": 1, "failureThreshold": 60}}
    gates.apply(gateway("polled", node=2, template={"containers": [patient]}))
    gates.stand("polled")
    (name,) = names_ready(gates, "polled")
    gates.lab.kubectl("apply", "-f", "-", text=json.dumps(without_health_port(gates, name)))
    gates.lab.kubectl("wait", "pod/mute", "-n", HOME, "--for=condition=Ready", "--timeout=20s")
    gates.annotate(pod(1), asks("polled,mute"))
    polled = dict([gates.way("polled", FOUR)])
    becomes(lambda: len(gates.trace(pod(1), FOUR.server)), 2)
    both = dict(gates.trace(pod(1), FOUR.server))
    mute = {address: node for address, node in both.items() if address not in polled}
    gates.comes_to_share(pod(1), FOUR, both, before=[FOUR.node(1)])
    with frozen(*gates.processes(name), *gates.processes("mute")), gates.only(*both):
        until(lambda: sources(gates, 24) == set(mute), "only the one that is not polled is used", 8)
        assert names_ready(gates, "polled") == (name,)
    gates.comes_to_share(pod(1), FOUR, both)


def without_health_port(scene: GatewayScene, name: str) -> Object:
    """A gateway's pod like another one, but for the name of its port."""
    (found,) = scene.lab.objects("pod", name, "-n", HOME)
    kept = {key: found["spec"][key] for key in ("nodeSelector", "containers", "terminationGracePeriodSeconds")}
    container = kept["containers"][0]
    container["ports"][0]["name"] = "other"
    container["readinessProbe"]["httpGet"]["port"] = "other"
    notes = {key: text for key, text in found["metadata"]["annotations"].items() if key.startswith("cni.")}
    meta = {"name": "mute", "namespace": HOME, "labels": {"gw": "mute", GATEWAY_LABEL: "mute"}, "annotations": notes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": kept}


def sources(scene: GatewayScene, count: int) -> set[str]:
    """Where so many requests of the pod of node-1 are seen from."""
    return {scene.asked(pod(1), FOUR, timeout=0.2).source for _ in range(count)}


def test_a_gateway_cut_off_from_its_agent_is_not_ready_after_its_time(gates: GatewayScene) -> None:
    """The agent of node-2 stands still. The gateway there that may be without it for two seconds is not ready then, and
    its clients use the other one; one that may be so for 90 seconds stays ready meanwhile. Both are used again when
    the agent goes on."""
    probe = {**icmp(PROBED[4]), "healthTimeoutDataStoreSeconds": 2}
    gates.apply(gateway("anxious", node=2, egressGatewayFailureDetection=probe))
    gates.stand("anxious")
    gates.annotate(pod(1), asks(f"anxious,{RIGHT}"))
    ways = {side.family: dict([gates.way("anxious", side), gates.way(RIGHT, side)]) for side in SIDES.values()}
    gates.comes_to_share(pod(1), FOUR, ways[4], before=[FOUR.node(1)])
    agent = gates.lab.record.child("agent-node-2")
    assert agent is not None
    with frozen(agent.pid):
        becomes(partial(names_ready, gates, "anxious"), NOBODY)
        assert names_ready(gates, LEFT)
        for side in SIDES.values():
            gates.comes_to_share(pod(1), side, dict([gates.way(RIGHT, side)]), before=[*ways[side.family]])
    gates.stand("anxious")
    for side in SIDES.values():
        gates.comes_to_share(pod(1), side, ways[side.family])


def test_without_any_gateway_left_nothing_leaves(gates: GatewayScene) -> None:
    """All gateways are scaled away: nothing leaves, in either family, other pods are reached, and the status says that
    none is ready. One comes back, and traffic with it."""
    gates.annotate(pod(1), asks(LEFT))
    for side in SIDES.values():
        gates.comes_to_leave(pod(1), side, *gates.way(LEFT, side))
    gates.lab.kubectl("patch", "egressgateway", LEFT, "-n", HOME, "--type=merge", "-p", '{"spec": {"replicas": 0}}')
    for side in SIDES.values():
        gates.comes_to_be_dropped(pod(1), side)
    gates.reaches_the_cluster(pod(1))
    becomes(lambda: gates.state(LEFT).ready_replicas, 0)
    gates.apply(gateway(LEFT, node=2))
    gates.stand(LEFT)
    for side in SIDES.values():
        gates.comes_to_leave(pod(1), side, *gates.way(LEFT, side))


def test_a_killed_gateway_comes_back_and_takes_nothing_with_it(gates: GatewayScene) -> None:
    """The process of one of two gateways is killed: its container is started again with the same addresses. Meanwhile
    connections of the other one live, those that it had itself live as well, and nothing leaks."""
    gates.annotate(pod(1), asks(BOTH))
    ways = dict([gates.way(LEFT, FOUR), gates.way(RIGHT, FOUR)])
    gates.comes_to_share(pod(1), FOUR, ways, before=[FOUR.node(1)])
    (name,) = names_ready(gates, LEFT)
    with gates.only(*ways), gates.holding(pod(1), FOUR, 12) as held:
        assert {item.source for item in held} == set(ways)
        (pid,) = gates.processes(name)
        os.kill(pid, signal.SIGKILL)
        becomes(partial(names_ready, gates, LEFT), NOBODY)
        becomes(lambda: gates.trace(pod(1), FOUR.server), [gates.way(RIGHT, FOUR)])
        others = [item for item in held if item.source == gates.way(RIGHT, FOUR)[0]]
        assert [item.source for item in others if not item.alive] == []
        gates.stand(LEFT)
        assert [item.source for item in others if not item.alive] == []
    gates.comes_to_share(pod(1), FOUR, ways)


# Nodes


@pytest.fixture
def powered(gates: GatewayScene) -> Iterator[GatewayScene]:
    """The lab; node-2 is started again where a test has left it without power."""
    yield gates
    if any(gates.lab.record.powered_off.iterdir()):
        assert subprocess.call(power_command(gates, "on")) == 0


def test_a_gateway_whose_node_loses_its_power_is_used_no_more_within_a_second_or_two(powered: GatewayScene) -> None:
    """Of two gateways one is on a node that loses its power, while nothing is to be heard of the API server and polls
    are rare. Connections of the other one live; requests fail for a moment only, measured from the pulled plug
    to the last one; none leaks. With the power it is back."""
    gates = powered
    gates.apply(felix(egressGatewayPollInterval="30s"))
    gates.annotate(pod(1), asks(BOTH))
    ways = {side.family: dict([gates.way(LEFT, side), gates.way(RIGHT, side)]) for side in SIDES.values()}
    for side in SIDES.values():
        gates.comes_to_share(pod(1), side, ways[side.family], before=[side.node(1)])
    right = {side.family: gates.way(RIGHT, side) for side in SIDES.values()}
    allowed = [address for found in ways.values() for address in found]
    with gates.only(*allowed), gates.holding(pod(1), FOUR, 12) as held:
        assert {item.source for item in held} == set(ways[4])
        with gates.flowing(pod(1), *SIDES.values(), protocol="udp", timeout=0.1) as flows, without_api_server(gates):
            # It pulls the plug at once, and then waits to mark the Node as not ready.
            off = subprocess.Popen(power_command(gates, "off"))
            until((gates.lab.record.powered_off / "node-2").exists, "the plug is pulled")
            pulled = datetime.now(UTC)
            until(lambda: all(recovered(asked, pulled) for asked in flows.values()), "requests are answered again", 5)
        others = [item for item in held if item.source == right[4][0]]
        assert [item.source for item in others if not item.alive] == []
    outages = {family: outage(asked, pulled) for family, asked in flows.items()}
    print(f"seconds from the pulled plug to the last failure: {outages}")  # noqa: T201
    assert {family: seconds < 2.0 for family, seconds in outages.items()} == {4: True, 6: True}
    assert off.wait(30) == 0
    for side in SIDES.values():
        gates.comes_to_share(pod(1), side, dict([right[side.family]]))
    assert subprocess.call(power_command(gates, "on")) == 0
    gates.stand(LEFT)
    for side in SIDES.values():
        gates.comes_to_share(pod(1), side, ways[side.family], 15)


@contextlib.contextmanager
def without_api_server(scene: GatewayScene) -> Iterator[None]:
    """While the block runs, the API server does not answer."""
    server = scene.lab.record.child("apiserver")
    assert server is not None
    with frozen(server.pid):
        yield


def power_command(scene: GatewayScene, state: str) -> list[str]:
    return [sys.executable, "-m", "sallyport.cli", "lab", f"power-{state}", "node-2", "--name", scene.lab.name]


def recovered(asked: Sequence[Asked], since: datetime) -> bool:
    """Whether the last 25 requests, about half a second's, were all made after a moment and answered. While one of two
    gateways is lost, half of them are not."""
    last = asked[-25:]
    return all(answer.source and datetime.fromisoformat(answer.time) > since for answer in last)


def outage(asked: Sequence[Asked], since: datetime) -> float:
    """Seconds from a moment to the beginning of the last request after it that failed; 0 where none did."""
    times = [datetime.fromisoformat(answer.time) for answer in asked if not answer.source]
    return max(((time - since).total_seconds() for time in times if time > since), default=0.0)
