"""Kubernetes' own programs as a lab's control plane, on the machine `control`, with TLS and with rights asked."""

import asyncio
import os
import sys
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

from sallyport.kube.client import Client
from sallyport.lab import names, namespaces
from sallyport.lab.controlplane import accounts, programs
from sallyport.lab.controlplane.assets import KUBERNETES, find
from sallyport.lab.controlplane.certificates import Authority
from sallyport.lab.controlplane.kubeconfigs import Server, by_certificate, by_token, kubeconfig, url, write_secret
from sallyport.lab.controlplane.plane import API_PORT, SERVER, Keep
from sallyport.lab.controlplane.programs import Files
from sallyport.lab.record import Record
from sallyport.lab.topology import Topology

ADMINISTRATORS = "system:masters"
"""The group that may do everything, also before any role is there."""
_PROGRAMS = ("kube-controller-manager", "kube-scheduler")


class Kubernetes:
    """etcd, the API server, and once that answers the controller manager and the scheduler."""

    title = f"Kubernetes {KUBERNETES}"
    whole = True

    def __init__(self, topology: Topology, record: Record) -> None:
        """DriverError when a program is missing."""
        self._topology, self._record = topology, record
        self._files = Files(find(), record.directory / "control-plane")
        self._authority = ""

    @property
    def controller(self) -> Path:
        return self._files.kubeconfig("controller")

    @property
    def agent(self) -> Path:
        return self._files.kubeconfig("agent")

    @property
    def kubelet(self) -> Path:
        return self._files.kubeconfig("kubelet")

    async def start(self, keep: Keep) -> None:
        pki = self._files.state / "pki"
        self._files.state.mkdir(mode=0o700)
        pki.mkdir()
        self._files.audit_policy.write_text(programs.AUDIT_POLICY)
        outer = namespaces.loopback()
        near = f"https://127.0.0.1:{outer.getsockname()[1]}"
        await asyncio.to_thread(self._make_credentials, pki, near)
        await keep("etcd", self._within(programs.etcd(self._files)))
        argv = programs.api_server(self._files, self._topology, self._record.log("audit"))
        await keep(SERVER, self._within(argv))
        os.set_inheritable(outer.fileno(), True)
        doorway = [sys.executable, "-m", "sallyport.lab.controlplane.doorway", "--fd", str(outer.fileno())]
        await keep("doorway", self._within([*doorway, "127.0.0.1", str(API_PORT)]), pass_fds=(outer.fileno(),))

    async def furnish(self, client: Client, keep: Keep) -> None:
        await keep("kube-controller-manager", self._within(programs.controller_manager(self._files)))
        await keep("kube-scheduler", self._within(programs.scheduler(self._files)))
        await asyncio.gather(accounts.define(client), accounts.permit(client))
        for path, account in ((self.controller, "sallyport-controller"), (self.agent, "sallyport-agent")):
            file = self._files.state / f"{account}.token"
            write_secret(file, await accounts.token(client, account))
            self._write(path, self._inner, by_token(file))
        await accounts.pods_admitted(client)

    def _make_credentials(self, pki: Path, near: str) -> None:
        """All keys and certificates, and the kubeconfig files of those who prove themselves by one."""
        authority = Authority(pki, f"sallyport-lab-{self._topology.name}")
        authority.signing_pair("service-accounts")
        authority.server("kube-apiserver", self._names())
        self._authority = authority.pair.certificate.read_text()
        admin = by_certificate(*authority.client("sallyport-lab:admin", ADMINISTRATORS).texts())
        outer = Server(near, self._authority)
        self._write(self._record.kubeconfig, outer, admin)
        self._write(self._record.inner_kubeconfig, self._inner, admin)
        self._write(self.kubelet, outer, by_certificate(*authority.client(accounts.KUBELET).texts()))
        for name in _PROGRAMS:
            user = by_certificate(*authority.client(f"system:{name}").texts())
            self._write(self._files.kubeconfig(name), self._inner, user)

    def _names(self) -> list[str]:
        """What the API server is called: by users outside, by machines of the lab, and by pods, which know its Service.
        That has the first address of each service network."""
        addresses = [item.address for item in self._topology.control.attachments]
        services = [ip_network(network)[1] for network in self._topology.service_networks]
        texts = ["127.0.0.1", *map(str, addresses), *map(str, services)]
        return ["DNS:localhost", "DNS:kubernetes.default.svc", *(f"IP:{text}" for text in texts)]

    @property
    def _inner(self) -> Server:
        return Server(url("https", self._topology.control.attachments[0].address, API_PORT), self._authority)

    def _write(self, path: Path, server: Server, user: Mapping[str, str]) -> None:
        write_secret(path, kubeconfig(f"sallyport-lab-{self._topology.name}", server, user))

    def _within(self, argv: list[str]) -> list[str]:
        return namespaces.command(names.namespace(self._topology.name, self._topology.control.name), argv)
