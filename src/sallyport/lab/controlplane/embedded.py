"""The lab's own API server as its control plane: one process, no rights asked, up in a moment."""

import os
import sys
from pathlib import Path

import yaml

from sallyport.apis.crd import render
from sallyport.apis.definitions import DEFINITIONS
from sallyport.kube.client import Client
from sallyport.lab import names, namespaces
from sallyport.lab.controlplane.kubeconfigs import Server, kubeconfig, url, write_secret
from sallyport.lab.controlplane.plane import API_PORT, SERVER, Keep
from sallyport.lab.record import Record
from sallyport.lab.topology import Topology


class Embedded:
    """A server that listens inside of the lab and, for kubectl, on this machine's loopback. Everybody may do all."""

    title = "API server"
    whole = False

    def __init__(self, topology: Topology, record: Record) -> None:
        self._topology, self._record = topology, record

    @property
    def controller(self) -> Path:
        return self._record.inner_kubeconfig

    @property
    def agent(self) -> Path:
        return self._record.inner_kubeconfig

    @property
    def kubelet(self) -> Path:
        return self._record.kubeconfig

    async def start(self, keep: Keep) -> None:
        lab, directory = self._topology.name, self._record.directory / "crds"
        directory.mkdir(exist_ok=True)
        for definition in DEFINITIONS:
            text = yaml.safe_dump(render(definition))
            (directory / f"{definition.resource.plural}.yaml").write_text(text)
        inner = namespaces.listening(names.namespace(lab, self._topology.control.name), API_PORT)
        outer = namespaces.loopback()
        argv = [sys.executable, "-m", "sallyport.lab.apiserver", "--crds", str(directory)]
        for item in (outer, inner):
            os.set_inheritable(item.fileno(), True)
            argv += ["--fd", str(item.fileno())]
        await keep(SERVER, argv, pass_fds=(outer.fileno(), inner.fileno()))
        inside = self._topology.control.attachments[0].address
        name = f"sallyport-lab-{lab}"
        near = Server(f"http://127.0.0.1:{outer.getsockname()[1]}")
        write_secret(self._record.kubeconfig, kubeconfig(name, near, {}))
        write_secret(self._record.inner_kubeconfig, kubeconfig(name, Server(url("http", inside, API_PORT)), {}))

    async def furnish(self, client: Client, keep: Keep) -> None:
        """It was told of the kinds at its start, and knows no accounts."""
