"""One node of a large cluster: a namespace with a real kernel, the agent's real process, and an API that streams."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from bench.planning import cluster
from bench.streaming import Object, Streaming
from sallyport.drivers.bird import Bird
from sallyport.drivers.command import batch
from sallyport.lab import namespaces
from sallyport.model.kernel import Peer

NODES, PODS = 200, 110
NODE = "node-0"
PORT = 6443
PEER = 1
"""Number of the node that shares its addresses' places with ours: its BIRD answers."""
_ALLOCATED = "sallyport.io/allocated-ip"


@dataclass(frozen=True, slots=True)
class OneNode:
    """What a benchmark needs of it; `pid` is the agent's."""

    api: Streaming
    namespace: str
    pid: int
    log: Path


def address(number: int) -> str:
    """Of a node."""
    return f"10.64.{number // 250}.{number % 250 + 1}"


def egress(number: int, group: str, holder: int) -> Object:
    """An Egress as it is when controller and holder have done their work."""
    name, ip = f"egress-{number:05}", f"10.65.{number // 250}.{number % 250 + 1}"
    nodes = [f"node-{holder}", f"node-{holder ^ 1}"]
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{number}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {_ALLOCATED: ip},
        },
        "spec": {
            "appliedTo": {"podSelector": {"matchLabels": {"group": group}}},
            "externalIPPool": "pool",
            "egressIP": ip,
        },
        "status": {"egressNode": nodes[0], "egressIP": ip, "allocatedIP": ip, "id": number + 1, "nodes": nodes},
    }


def pod(number: int, group: str) -> Object:
    """A pod of the node, in the group of an Egress."""
    return {
        "metadata": {"name": f"pod-{number}", "namespace": "default", "labels": {"group": group, "app": "a"}},
        "spec": {"nodeName": NODE},
        "status": {"phase": "Running", "podIPs": [{"ip": f"10.128.0.{number % 250 + 2}"}]},
    }


@contextlib.contextmanager
def running(egresses: int) -> Iterator[OneNode]:
    """The node with its pods and its share of that many egress IPs, once its agent has done its first round."""
    name = f"spb-{os.getpid()}"
    with TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stack.callback(namespaces.remove, [f"{name}-a", f"{name}-b"])
        _build(name)
        peers = Bird(Path(folder, "peers"))
        stack.callback(namespaces.inside, f"{name}-b", peers.stop)
        namespaces.inside(f"{name}-b", partial(peers.change, [Peer(address(0), address(PEER), "eth0")], ()))
        listener = namespaces.inside(f"{name}-a", lambda: socket.create_server(("127.0.0.1", PORT)))
        api = Streaming(listener)
        stack.callback(api.close)
        _furnish(api, egresses)
        own = Bird(Path(folder, "node"))
        stack.callback(namespaces.inside, f"{name}-a", own.stop)
        log = Path(folder, "log")
        child = stack.enter_context(_agent(f"{name}-a", Path(folder), log))
        until(lambda: "agent.applied" in log.read_text(), "the agent's first round")
        time.sleep(8)  # BFD's sessions come up, statuses are written: the node is at rest
        yield OneNode(api, f"{name}-a", child.pid, log)


def _build(name: str) -> None:
    """The node with the devices of its pods, and another one."""
    here, there = f"{name}-a", f"{name}-b"
    _must(batch("ip", [f"netns add {here}", f"netns add {there}"]))
    _must(batch("ip", [f"link add eth0 netns {there} type veth peer name eth0 netns {here}"]))
    up = ["link set lo up", "link set eth0 up"]
    pods = [
        line
        for n in range(PODS)
        for line in (f"link add p{n} type veth peer name p{n} netns {there}", f"link set p{n} up")
    ]
    _must(batch(f"ip -n {here}", [*up, f"address add {address(0)}/15 dev eth0", *pods]))
    _must(batch(f"ip -n {there}", [*up, f"address add {address(PEER)}/15 dev eth0"]))


def _must(failures: list[str]) -> None:
    if failures:
        raise AssertionError(failures[0])


def _furnish(api: Streaming, egresses: int) -> None:
    made: Any = cluster(NODES, 1, 1)
    for plural, objects in (("nodes", made.nodes), ("namespaces", made.namespaces), ("externalippools", made.pools)):
        api.put(plural, *(msgspec.to_builtins(item) for item in objects))
    api.put("egresses", *(egress(n, f"g{n}", n % NODES) for n in range(egresses)))
    api.put("pods", *(pod(n, f"g{n * 7 % egresses}") for n in range(PODS)))


@contextlib.contextmanager
def _agent(namespace: str, folder: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    config = folder / "kubeconfig"
    config.write_text(
        json.dumps(
            {
                "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{PORT}"}}],
                "users": [{"name": "a", "user": {"token": "a"}}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "current-context": "a",
            }
        )
    )
    given = {"SALLYPORT_KUBECONFIG": str(config), "SALLYPORT_RUNTIME_DIR": str(folder / "node")}
    argv = [sys.executable, "-m", "sallyport.cli", "agent", "--node", NODE, "--service-cidrs", "10.96.0.0/16"]
    with log.open("wb") as file:
        child = subprocess.Popen(
            namespaces.command(namespace, argv), stderr=file, env=namespaces.environment(given), stdout=file
        )
    try:
        yield child
    finally:
        child.terminate()
        child.wait(10)


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for something; AssertionError when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} has not come within {seconds} s")
        time.sleep(0.0005)
