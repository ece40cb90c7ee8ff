"""Bandwidth, many addresses on one node, and NodePort services beside Egresses: lines 26 and 27, and beyond."""

import ipaddress
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from tests.lab.scene import SIDES, Scene, Side, becomes, egress, hosted, ip_pool, labelled, on, pod, pod_object

from sallyport.apis.antrea.types import EGRESSES, LIMIT_ANNOTATION
from sallyport.lab import namespaces
from sallyport.lab.driving import until

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.alone]

MEGABIT = 1_000_000


def send(address: str, rate: float, seconds: float) -> None:
    """Send datagrams of `rate` bits a second to a port that nobody listens on."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as link:
        began, sent = time.monotonic(), 0.0
        while (elapsed := time.monotonic() - began) < seconds:
            while sent < elapsed * rate:
                link.sendto(bytes(1200), (address, 4000))
                sent += 1200 * 8
            time.sleep(0.001)  # the pace of the sender, not of the test


def test_bandwidth_lets_the_burst_through_and_then_the_rate(scene: Scene, side: Side) -> None:
    """Line 26: of traffic beyond the limit, the first second brings rate and burst, each later one the rate, within
    20 %."""
    rate, burst = 10 * MEGABIT, 20 * MEGABIT
    limit = {"rate": "10M", "burst": "20M"}
    scene.apply(ip_pool("at-2", side.spare(1), nodes=hosted(2)), egress("web", on(1), pool="at-2", bandwidth=limit))
    scene.comes_to_leave(pod(1), side, side.spare(1), "node-2")

    def received() -> tuple[float, int]:
        return time.monotonic(), 8 * int(scene.lab.execute("server", "cat", "/sys/class/net/eth0/statistics/rx_bytes"))

    space = scene.lab.space(pod(1))
    sender = threading.Thread(target=namespaces.inside, args=(space, lambda: send(side.server, 5 * rate, 2.7)))
    with scene.only(side.spare(1)):
        start = received()
        sender.start()
        until(lambda: time.monotonic() - start[0] >= 1.0, "the first second is over")
        first = received()
        until(lambda: time.monotonic() - first[0] >= 1.5, "some more time is over")
        last = received()
        sender.join()
    assert first[1] - start[1] == pytest.approx(burst + rate * (first[0] - start[0]), rel=0.2)
    assert last[1] - first[1] == pytest.approx(rate * (last[0] - first[0]), rel=0.2)


MANY = 150
"""Addresses of each family."""


@pytest.fixture
def roomy(scene: Scene) -> Iterator[Scene]:
    """The scene in which node-2 may hold more addresses than the default."""
    scene.lab.kubectl("annotate", "node", "node-2", f"{LIMIT_ANNOTATION}={2 * MANY}")
    yield scene
    scene.lab.kubectl("annotate", "node", "node-2", f"{LIMIT_ANNOTATION}-")


def address(side: Side, number: int) -> str:
    """One of the addresses of the pool of many."""
    return str(ipaddress.ip_address("10.10.4.0" if side.family == 4 else "fd10:10::4:0") + 1 + number)


def test_a_node_holds_three_hundred_addresses(roomy: Scene) -> None:
    """With 150 addresses of each family on one node, pods leave with the first, a middle and the last of them."""
    pods = {0: on(1), MANY // 2: on(2), MANY - 1: on(3)}
    wanted: dict[str, str] = {}
    for side in SIDES.values():
        pool, ips = f"many-{side.family}", [address(side, number) for number in range(MANY)]
        roomy.apply(
            ip_pool(pool, f"{ips[0]}-{ips[-1]}", nodes=hosted(2)),
            *(
                egress(f"{pool}-{number}", pods.get(number, labelled(app="none")), pool=pool, ip=ip)
                for number, ip in enumerate(ips)
            ),
        )
        wanted |= {f"{pool}-{number}": ip for number, ip in enumerate(ips)}

    def held() -> dict[str, str]:
        listed = [item for item in roomy.listed(EGRESSES) if item.status.egress_node == "node-2"]
        return {item.metadata.name: item.status.egress_ip for item in listed}

    until(lambda: held() == wanted, "node-2 holds all addresses", 30)
    assert roomy.extra_addresses(2) == set(wanted.values())
    for side in SIDES.values():
        for number, where in zip(pods, (1, 2, 3), strict=True):
            roomy.comes_to_leave(pod(where), side, address(side, number), "node-2")


@pytest.fixture
def backend(scene: Scene, side: Side) -> str:
    """The address of a pod on node-1 that serves HTTP, and leaves by an Egress at node-3."""
    log = scene.lab.record.log("backend")
    scene.apply(ip_pool("at-3", side.spare(1), nodes=hosted(3)), egress("web", labelled(app="backend"), pool="at-3"))
    command = [sys.executable, "-m", "sallyport.lab.outside", "--log", str(log)]
    scene.run(pod_object("backend", 1, {"app": "backend"}, command))
    scene.comes_to_leave("apps/backend", side, side.spare(1), "node-3")
    ip = scene.pod_addresses("backend")[side.family // 6]
    becomes(lambda: bool(scene.lab.ask("node-1", "http", ip, timeout=0.3).source), True)
    return ip


NODE_PORT = """table {word} node_port {{
  chain services {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local tcp dport 30080 {mark} dnat to {target}
  }}
  chain leaving {{
    type nat hook postrouting priority 99; policy accept;
    meta mark & 0x4000 != 0 masquerade
  }}
}}
"""
"""What kube-proxy makes of a NodePort service, with its mark 0x4000 where the source is to be the node's."""


@pytest.mark.parametrize(
    ("entry", "policy"), [(1, "Cluster"), (2, "Cluster"), (1, "Local")], ids=["own-node", "other-node", "local"]
)
def test_a_node_port_of_a_pod_with_an_egress_stays_reachable(
    scene: Scene, side: Side, backend: str, entry: int, policy: str
) -> None:
    """Line 27: a NodePort whose backend has an Egress on another node answers a host outside, at the backend's node
    and at another one, and at its own also with externalTrafficPolicy Local, which keeps the client's address."""
    word = "ip" if side.family == 4 else "ip6"
    mark = "meta mark set meta mark | 0x4000" if policy == "Cluster" else ""
    target = f"{backend}:8080" if side.family == 4 else f"[{backend}]:8080"
    node = scene.lab.space(f"node-{entry}")
    namespaces.nft(node, NODE_PORT.format(word=word, mark=mark, target=target))
    try:
        asked = scene.lab.ask("server", "http", side.node(entry), port=30080)
    finally:
        namespaces.nft(node, f"delete table {word} node_port")
    gateway = "10.244.1.1" if side.family == 4 else "fd10:244:0:1::1"
    seen = {(1, "Cluster"): gateway, (2, "Cluster"): side.node(2), (1, "Local"): side.server}
    assert asked.source == seen[entry, policy]
    scene.leaves("apps/backend", side, side.spare(1), "node-3")
