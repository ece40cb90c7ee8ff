"""Gateways that come and go: what their clients are told, and what becomes of connections.

The gateways of `crew` are on red and run on both nodes that stand on its link; their clients are in a namespace of
that name, too, one on each node.
"""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from ipaddress import ip_network

import pytest
from tests.lab.manifests import GATEWAYS, STANDING, Object, asking_for, client, gateway, listed, namespace, pool
from tests.lab.scene import Flows
from tests.lab.wires import BOTH, Networks, after

from sallyport.apis.calico.annotations import (
    MAINTENANCE_FINISHED,
    MAINTENANCE_GATEWAY_IP,
    MAINTENANCE_STARTED,
)
from sallyport.apis.calico.pods import next_hops
from sallyport.lab.driving import Asked, answers, until

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.alone]

GRACE = 4
"""Seconds that a gateway has to end."""
TOLD = (MAINTENANCE_GATEWAY_IP, MAINTENANCE_STARTED, MAINTENANCE_FINISHED)
NUMBERS = (1, 2, 3)
POOLS = {"crew-4": "10.20.9.0/28", "crew-6": "fd10:20:0:9::/124"}
ADDRESSES = {str(address) for cidr in POOLS.values() for address in ip_network(cidr)}


@pytest.fixture(scope="module")
def hired(gateways: Networks) -> Iterator[None]:
    """Three gateways `crew` for the tests of this module."""
    pools = [pool(name, cidr, STANDING) for name, cidr in POOLS.items()]
    gateways.lab.kubectl("apply", "-f", "-", text=listed(*pools, crew_of(3), namespace("crew")))
    yield
    gateways.lab.kubectl("delete", "--wait=false", "-f", "-", text=listed(crew_of(3), *pools, namespace("crew")))


@pytest.fixture
def crew(net: Networks, hired: None) -> Iterator[Networks]:
    """The lab with three gateways `crew`, and nobody who uses them yet."""
    until(lambda: net.ready("crew") == len(net.gateway("crew").gateways) == 3, "three gateways are ready", 40)
    yield net
    net.lab.kubectl("delete", "pods", "-n", "crew", "--all")
    net.apply(crew_of(3))


def crew_of(replicas: int, **more: str) -> Object:
    """The gateway with so many replicas; `more` are annotations of its pods."""
    return gateway("crew", list(POOLS), ["red"], replicas=replicas, grace=GRACE, annotations=more, labels=STANDING)


def clients_of(net: Networks, prefix: str, **more: str) -> list[str]:
    """Three new clients, one on each node, that use the gateways."""
    names = [f"{prefix}-{number}" for number in NUMBERS]
    annotations = asking_for("crew", **more)
    net.apply(*(client("crew", name, number, annotations) for name, number in zip(names, NUMBERS, strict=True)))
    net.lab.kubectl("wait", "-n", "crew", "--for=condition=Ready", "--timeout=20s", *(f"pod/{name}" for name in names))
    return names


def pods(net: Networks) -> dict[str, str]:
    """Names of the gateways' pods by their IPv4 addresses, those that end among them."""
    rows = net.gateway("crew").gateways
    return {next(item for item in row.addresses if ":" not in item): row.pod for row in rows if row.addresses}


def notice(net: Networks, name: str) -> Mapping[str, str]:
    """What a client is told of a gateway that ends; empty while none does."""
    found = net.annotations("crew", name)
    return {key: found[key] for key in TOLD if key in found}


def hops_of(net: Networks, name: str) -> set[str]:
    """Names of the gateways' pods that a client with a limit has, which are the same in both families."""
    found = next_hops(net.annotations("crew", name))
    names = [{key.split("/")[1] for key in keys} for keys in found.values()]
    assert all(each == names[0] for each in names), found
    return names[0] if names else set()


@contextlib.contextmanager
def connected(net: Networks, pod: str) -> Iterator[list[Asked]]:
    """While the block runs, the pod has one connection to the shared address, over which it sends ten lines a second;
    the list of their answers grows."""
    argv = [sys.executable, "-m", "sallyport.lab.ask", "tcp", BOTH[4].server, "--hold", "--count", "0"]
    command = net.lab.command(pod, *argv, "--interval", "0.1", "--timeout", "1")
    heard: list[Asked] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        reader = threading.Thread(target=lambda: heard.extend(answers(child)))
        reader.start()
        try:
            until(lambda: bool(heard and heard[0].source), "the connection stands")
            yield heard
        finally:
            child.kill()
            reader.join()


def with_file(pod: Object) -> Object:
    """The pod with a file `ends` that holds when its gateway will have ended."""
    field = {"fieldPath": f"metadata.annotations['{MAINTENANCE_FINISHED}']"}
    pod["spec"]["volumes"] = [{"name": "gateway", "downwardAPI": {"items": [{"path": "ends", "fieldRef": field}]}}]
    return pod


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_gateway_that_is_deleted_tells_its_clients_and_keeps_their_connections_to_the_end(crew: Networks) -> None:
    """Each client learns the gateway's address, when it was told to end, and when it will have ended, the grace period
    later, also by a file of the downward API. A connection through it goes on for that long; new ones go by the others,
    and none fails."""
    names = clients_of(crew, "all")
    crew.apply(with_file(client("crew", "file", 3, asking_for("crew"))))
    file = crew.lab.record.volumes / "crew.file" / "gateway" / "ends"
    until(lambda: file.exists() and not file.read_text(), "the file is there, and empty")
    crew.comes_to_go("crew/all-1", BOTH[4], crew.served_by("crew"))
    with crew.on_wires(red=ADDRESSES), connected(crew, "crew/all-1") as heard:
        ending = heard[0].source
        gone = crew.served_by("crew") & addresses_of_pod(crew, pods(crew)[ending])
        with crew.flowing("crew/all-1", *BOTH.values()) as flows:
            crew.lab.kubectl("delete", "pod", "-n", GATEWAYS, pods(crew)[ending], "--wait=false")
            for name in names:
                until(partial(is_told, crew, name), f"{name} is told")
            told = [notice(crew, name) for name in names]
            until(partial(goes_by_others, flows, gone), "new connections go by the others", 3)
            begun = {family: len(asked) for family, asked in flows.items()}
            until(lambda: ending not in pods(crew), "it has ended", GRACE + 5)
            assert not [item.error for asked in flows.values() for item in asked if item.error]
            assert not gone & {item.source for family, asked in flows.items() for item in asked[begun[family] :]}
        until(lambda: bool(heard[-1].error), "its connections end with it")
    assert file.read_text() == told[0][MAINTENANCE_FINISHED]
    for each in told:
        assert each[MAINTENANCE_GATEWAY_IP] == ending
        window = moment(each[MAINTENANCE_FINISHED]) - moment(each[MAINTENANCE_STARTED])
        assert window.total_seconds() == GRACE
    lasted = max(moment(item.time) for item in heard if item.source) - moment(told[0][MAINTENANCE_STARTED])
    assert lasted.total_seconds() >= GRACE - 1


def addresses_of_pod(net: Networks, pod: str) -> set[str]:
    return {address for row in net.gateway("crew").gateways if row.pod == pod for address in row.addresses}


def goes_by_others(flows: Flows, gone: set[str]) -> bool:
    """Whether none of the last requests went by these addresses."""
    return not gone & {item.source for asked in flows.values() for item in asked[-20:]}


def is_told(net: Networks, name: str) -> bool:
    return set(notice(net, name)) == set(TOLD)


def test_a_gateway_that_is_deleted_at_once_has_no_window(crew: Networks) -> None:
    """With --force and a grace period of 0 no client is told anything; requests go on by the others."""
    names = clients_of(crew, "all")
    ending = next(iter(pods(crew)))
    crew.lab.kubectl("delete", "pod", "-n", GATEWAYS, pods(crew)[ending], "--grace-period=0", "--force")
    until(lambda: crew.ready("crew") == 3, "another one is ready", 20)
    for name in names:
        assert not notice(crew, name)
        crew.comes_to_go(f"crew/{name}", BOTH[4], crew.served_by("crew"))


def test_of_three_clients_with_one_gateway_each_exactly_one_is_told_of_its_end(crew: Networks) -> None:
    """maxNextHops 1, three clients, three gateways: each client has another one, and only who has the one that ends
    is told. A fourth gateway fills a client that has fewer than it may have, and changes no other."""
    single = clients_of(crew, "one", maxNextHops="1")
    wide = clients_of(crew, "four", maxNextHops="4")[0]
    for name in (*single, wide):
        until(partial(is_given, crew, name, 1 if name in single else 3), f"{name} has its gateways")
    before = {name: hops_of(crew, name) for name in single}
    assert len({pod for hops in before.values() for pod in hops}) == 3
    crew.apply(crew_of(4))
    until(partial(is_given, crew, wide, 4), f"{wide} is filled", 15)
    assert {name: hops_of(crew, name) for name in single} == before

    rows = {row.pod: row for row in crew.gateway("crew").gateways}
    chosen = {name: next(iter(hops)) for name, hops in before.items()}
    for name, gateway_ in chosen.items():
        crew.comes_to_go(f"crew/{name}", BOTH[4], set(rows[gateway_].addresses))
    crew.lab.kubectl("delete", "pod", "-n", GATEWAYS, chosen["one-2"], "--wait=false")
    until(lambda: is_told(crew, "one-2") and is_told(crew, wide), "its clients are told")
    assert not [name for name in single if name != "one-2" and notice(crew, name)]


def is_given(net: Networks, name: str, count: int) -> bool:
    """Whether a client has so many gateways."""
    return len(hops_of(net, name)) == count


def test_when_a_node_is_cut_from_the_network_its_clients_go_by_the_others(crew: Networks) -> None:
    """Gateways on a node whose router is out of reach are left within seconds, by clients on every node; meanwhile
    requests are lost, but none goes to another network or has another source."""
    names = clients_of(crew, "all")
    for name in names:
        crew.comes_to_go(f"crew/{name}", BOTH[4], crew.served_by("crew"))
    rest = {address for row in crew.gateway("crew").gateways if row.node == "node-3" for address in row.addresses}
    assert rest
    assert rest != crew.served_by("crew")
    with crew.on_wires(red=crew.served_by("crew")), crew.flowing("crew/all-1", *BOTH.values()) as flows:
        crew.command("cut", "node-2", "red-router")
        try:
            until(lambda: all(by(asked, rest) for asked in flows.values()), "all goes by the others", 10)
        finally:
            crew.command("heal", "node-2", "red-router")


def by(asked: list[Asked], sources: set[str]) -> bool:
    """Whether the last requests were all seen from these."""
    return {item.source for item in asked[-20:]} <= sources


def test_a_rolling_update_loses_no_request_and_tells_of_each_gateway(crew: Networks) -> None:
    """A change of the pods' template: one after the other is replaced, while every request is answered from one of the
    old or new addresses, on red alone."""
    (name, *_) = clients_of(crew, "all")
    old, before = crew.served_by("crew"), set(pods(crew).values())
    crew.comes_to_go(f"crew/{name}", BOTH[4], old)
    told: set[str] = set()
    with crew.on_wires(red=ADDRESSES), crew.flowing(f"crew/{name}", *BOTH.values()) as flows:
        crew.apply(crew_of(3, edition="second"))

        def rolled() -> bool:
            told.add(notice(crew, name).get(MAINTENANCE_GATEWAY_IP, ""))
            return before.isdisjoint(pods(crew).values()) and crew.ready("crew") == 3

        until(rolled, "all are replaced", 60)
        after([flows], 10)
    assert not [item for asked in flows.values() for item in asked if item.error]
    assert told - {""} == {address for address in old if ":" not in address}
