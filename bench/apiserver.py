"""A real API server for benchmarks: etcd and kube-apiserver on the loopback, with objects that are in the store before
it starts.

Objects go straight into etcd, as JSON, which the API server reads as well as its own encoding: by its API, 100,000 pods
would take many minutes.
"""

import base64
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sallyport.lab.controlplane.assets import find
from sallyport.lab.controlplane.certificates import Authority
from sallyport.lab.controlplane.kubeconfigs import Server, by_certificate, kubeconfig, write_secret

CRDS = Path(__file__).parents[1] / "deploy" / "crds"
AT_ONCE = 500
"""Objects that one transaction puts into etcd."""
PATIENCE = 180.0
"""Seconds within which the API server has to be ready: it reads all of the store first."""

Stored = tuple[str, Mapping[str, Any]]
"""A key below /registry/ and the object there."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """One that runs. `admin` may do everything without a limit of requests; `controller` is limited as a service
    account is. Both are kubeconfig files."""

    admin: Path
    controller: Path


@contextmanager
def api_server(objects: Iterable[Stored]) -> Iterator[ApiServer]:
    """An API server with these objects, and with our kinds, that ends with the block."""
    programs = find()
    with TemporaryDirectory(prefix="sallyport-bench-") as name:
        place = Path(name)
        ports = [_free_port() for _ in range(3)]
        store, peers = (f"http://127.0.0.1:{port}" for port in ports[:2])
        running: list[subprocess.Popen[bytes]] = []
        try:
            running.append(_started(_etcd(programs, place, store, peers), place / "etcd.log"))
            _wait(f"{store}/health", None)
            _fill(ports[0], objects)
            url = f"https://127.0.0.1:{ports[2]}"
            server = ApiServer(place / "admin", place / "controller")
            context = _credentials(place, url, server)
            running.append(_started(_api_server(programs, place, store, ports[2]), place / "apiserver.log"))
            _wait(f"{url}/readyz", context)
            _define(programs, server.admin)
            yield server
        finally:
            for process in reversed(running):
                process.send_signal(signal.SIGKILL)
                process.wait()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _started(argv: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(argv, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


def _etcd(programs: Path, place: Path, store: str, peers: str) -> list[str]:
    return [
        str(programs / "etcd"),
        f"--data-dir={place / 'etcd'}",
        f"--listen-client-urls={store}",
        f"--advertise-client-urls={store}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
        f"--max-txn-ops={AT_ONCE}",
        "--max-request-bytes=16777216",
        f"--quota-backend-bytes={8 * 2**30}",
        "--log-level=warn",
    ]


def _api_server(programs: Path, place: Path, store: str, port: int) -> list[str]:
    return [
        str(programs / "kube-apiserver"),
        f"--etcd-servers={store}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--advertise-address=127.0.0.1",
        f"--tls-cert-file={place / 'server.crt'}",
        f"--tls-private-key-file={place / 'server.key'}",
        f"--client-ca-file={place / 'ca.crt'}",
        "--authorization-mode=AlwaysAllow",
        "--disable-admission-plugins=ServiceAccount",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={place / 'accounts.pub'}",
        f"--service-account-signing-key-file={place / 'accounts.key'}",
        "--profiling=false",
    ]


def _credentials(place: Path, url: str, server: ApiServer) -> ssl.SSLContext:
    """Keys, certificates, and the kubeconfig files of two users."""
    authority = Authority(place, "bench")
    authority.signing_pair("accounts")
    authority.server("server", ["IP:127.0.0.1"])
    known = Server(url, authority.pair.certificate.read_text())
    admin = authority.client("bench:admin", "system:masters")
    account = authority.client("system:serviceaccount:sallyport-system:sallyport-controller", "system:serviceaccounts")
    for path, pair in ((server.admin, admin), (server.controller, account)):
        write_secret(path, kubeconfig("bench", known, by_certificate(*pair.texts())))
    context = ssl.create_default_context(cafile=str(authority.pair.certificate))
    context.load_cert_chain(admin.certificate, admin.key)
    return context


def _wait(url: str, context: ssl.SSLContext | None) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, context=context, timeout=10):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def _fill(port: int, objects: Iterable[Stored]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    left = iter(objects)
    while some := list(islice(left, AT_ONCE)):
        puts = [
            {"requestPut": {"key": _text(f"/registry/{key}"), "value": _text(json.dumps(value))}} for key, value in some
        ]
        connection.request("POST", "/v3/kv/txn", json.dumps({"success": puts}))
        answer = connection.getresponse()
        told = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"etcd: {told.decode()}")
    connection.close()


def _text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _define(programs: Path, admin: Path) -> None:
    kubectl = [str(programs / "kubectl"), f"--kubeconfig={admin}"]
    quiet = {"stdout": subprocess.DEVNULL, "check": True, "env": {**os.environ, "KUBECONFIG": str(admin)}}
    subprocess.run([*kubectl, "apply", "--server-side", f"--filename={CRDS}"], **quiet)  # type: ignore[call-overload]
    wait = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]
    subprocess.run([*kubectl, *wait], **quiet)  # type: ignore[call-overload]
