"""Kubeconfig files of a lab: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/"""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from sallyport.model.state import IPAddress


@dataclass(frozen=True, slots=True)
class Server:
    """An API server by its URL; `authority` is the PEM that its certificate is checked against, "" for plain HTTP."""

    url: str
    authority: str = ""

    def cluster(self) -> dict[str, str]:
        """The part `cluster` of a kubeconfig."""
        if not self.authority:
            return {"server": self.url}
        return {"server": self.url, "certificate-authority-data": _data(self.authority)}


def url(scheme: str, address: IPAddress, port: int) -> str:
    """A URL without a path."""
    return f"{scheme}://[{address}]:{port}" if address.version == 6 else f"{scheme}://{address}:{port}"


def by_certificate(certificate: str, key: str) -> dict[str, str]:
    """A user who proves himself by a certificate; both are PEM."""
    return {"client-certificate-data": _data(certificate), "client-key-data": _data(key)}


def by_token(file: Path) -> dict[str, str]:
    """A user with a token in a file, which is read again now and then."""
    return {"tokenFile": str(file)}


def kubeconfig(name: str, server: Server, user: Mapping[str, str]) -> str:
    """The text of a kubeconfig with one cluster, one user and one context, all of that name."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": server.cluster()}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
            "users": [{"name": name, "user": dict(user)}],
        },
        sort_keys=False,
    )


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def _data(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
