"""A server in a thread, kubectl as its client, and a small CRD of the tests' own."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.lab.labs import chosen_kind, lab_of

from sallyport.lab.apiserver import Server

GATE_SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["address"],
    "properties": {
        "address": {"type": "string", "format": "ipv4", "description": "Where the gate stands."},
        "mode": {"type": "string", "enum": ["Open", "Shut"], "default": "Open"},
        "width": {"type": "integer", "minimum": 1, "maximum": 10},
        "port": {"x-kubernetes-int-or-string": True},
        "network": {"type": "string"},
        "lanes": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "speed": {"type": "integer"}},
            },
        },
    },
    "x-kubernetes-validations": [
        {
            "rule": "!has(self.network) || cidr(self.network).containsIP(self.address)",
            "message": "address must be in network",
        },
        {"rule": "self.address == oldSelf.address", "message": "address is immutable", "fieldPath": ".address"},
    ],
}
GATE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": GATE_SPEC,
        "status": {"type": "object", "properties": {"holder": {"type": "string"}, "conditions": {
            "type": "array",
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        }}},
    },
}  # fmt: skip
COLUMNS = [
    {"name": "Address", "type": "string", "jsonPath": ".spec.address"},
    {"name": "Holder", "type": "string", "jsonPath": ".status.holder"},
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]


def gate_version(name: str, storage: bool) -> dict[str, Any]:
    """One version of the test's CRD."""
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": GATE_SCHEMA},
        "subresources": {"status": {}},
        "additionalPrinterColumns": COLUMNS,
    }


GATES: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gates.test.example"},
    "spec": {
        "group": "test.example",
        "scope": "Cluster",
        "names": {"plural": "gates", "kind": "Gate", "shortNames": ["gt"]},
        "versions": [gate_version("v1", True), gate_version("v1beta1", False)],
    },
}


@dataclass(frozen=True, slots=True)
class Kubectl:
    """The real kubectl, pointed at the server under test: by its URL, or by a kubeconfig."""

    url: str
    home: Path
    kubeconfig: Path | None = None

    def command(self, *arguments: str) -> list[str]:
        """The full command line."""
        server = ["-s", self.url] if self.url else []
        return ["kubectl", *server, f"--cache-dir={self.home}/cache", *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        """An environment that no configuration of this machine reaches."""
        config = self.kubeconfig or self.home / "none"
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "KUBECONFIG": str(config), **more}

    def run(self, *arguments: str, text: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        """Run to the end, whatever the exit status."""
        environment = self.environment(**more)
        return subprocess.run(
            self.command(*arguments),
            input=text,
            capture_output=True,
            text=True,
            timeout=30,
            env=environment,
            check=False,
        )

    def __call__(self, *arguments: str, text: str = "", **more: str) -> str:
        """Run, expect success and return what it printed."""
        done = self.run(*arguments, text=text, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout


def serve_in_thread(server: Server) -> tuple[str, Callable[[], None]]:
    """Serve on a free port of the loopback; answers the URL and what ends it."""
    listening = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def work() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(server.serve([listening], stop))
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()

    def end() -> None:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)

    return f"http://127.0.0.1:{listening.getsockname()[1]}", end


@pytest.fixture(scope="session")
def real() -> Iterator[Path]:
    """The kubeconfig of Kubernetes' own API server, which serves the Gate CRD."""
    with lab_of("ipv4", f"t{os.getpid()}k") as lab:
        lab.kubectl("apply", "-f", "-", text=json.dumps(GATES))
        lab.kubectl("wait", "--for=condition=Established", "crd/gates.test.example", "--timeout=10s")
        yield lab.record.kubeconfig


@pytest.fixture
def kubectl(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """kubectl against a server that serves the Gate CRD and holds nothing: a fresh one, or Kubernetes' own, swept."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    if chosen_kind() == "kubernetes":
        found = Kubectl("", tmp_path, request.getfixturevalue("real"))
        yield found
        found("delete", "gates,deployments,pods", "--all", "--force", "--grace-period=0")
        found("delete", "--raw", "/api/v1/namespaces/default/configmaps")  # of which one comes back
        found("delete", "namespace", "team", "--ignore-not-found")
        return
    url, end = serve_in_thread(Server([GATES]))
    yield Kubectl(url, tmp_path)
    end()
