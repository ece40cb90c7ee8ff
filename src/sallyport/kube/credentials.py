"""Where the API server is and how to prove who we are: kubeconfig files and the pod's service account.

Source: k8s.io/client-go/tools/clientcmd/api/v1 (kubeconfig), k8s.io/client-go/rest InClusterConfig.
"""

import os
import ssl
import tempfile
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sallyport.kube.kubeconfig import Cluster, Credential, CredentialsError, KubeConfig, User, read
from sallyport.kube.plugin import ExecPlugin

__all__ = ["Connection", "Credential", "CredentialsError", "in_cluster", "load"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_LIFE = 60.0
"""Seconds for which a token file is not read again; the kubelet rotates it long before it expires."""


class Source(Protocol):
    """Where credentials come from, again and again."""

    async def current(self) -> Credential:
        """A credential that is valid now. `CredentialsError` if there is none."""

    def forget(self, refused: Credential) -> None:
        """The server refused this one: get another next time, unless that has been done meanwhile."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A credential that never changes."""

    credential: Credential

    async def current(self) -> Credential:
        return self.credential

    def forget(self, refused: Credential) -> None:
        pass


class TokenFile:
    """A token that somebody else rotates in a file."""

    def __init__(self, path: Path, now: Callable[[], float], base: Credential | None = None) -> None:
        self._path, self._now, self._base = path, now, base or Credential()
        self._read_at = float("-inf")
        self._credential = self._base

    async def current(self) -> Credential:
        if self._now() - self._read_at >= TOKEN_LIFE:
            token = _file(self._path, "token").decode(errors="replace").strip()
            if not token:
                raise CredentialsError(f"{self._path}: the token file is empty")
            self._credential = Credential(token=token, certificate=self._base.certificate, key=self._base.key)
            self._read_at = self._now()
        return self._credential

    def forget(self, refused: Credential) -> None:
        if refused == self._credential:
            self._read_at = float("-inf")


@dataclass(frozen=True, slots=True)
class Connection:
    """Where to connect and as whom. `server` is a URL without a slash at its end; `ca` is PEM."""

    server: str
    source: Source = field(default_factory=lambda: Fixed(Credential()))
    namespace: str = "default"
    ca: bytes = b""
    insecure: bool = False
    tls_server_name: str | None = None
    proxy: str | None = None

    def ssl_context(self, credential: Credential) -> ssl.SSLContext | None:
        """The TLS settings for a connection with that credential; None for plain HTTP."""
        if not self.server.startswith("https:"):
            return None
        try:
            context = ssl.create_default_context(cadata=self.ca.decode("ascii") if self.ca else None)
        except (ssl.SSLError, ValueError) as error:
            raise CredentialsError(f"{self.server}: the certificate authority is no PEM: {error}") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if credential.certificate:
            _load_pair(context, credential)
        return context


def load(
    path: str | None = None,
    *,
    context: str | None = None,
    environ: Mapping[str, str] = os.environ,
    now: Callable[[], float] = time.time,
) -> Connection:
    """The connection of kubeconfig `path`; without one of $KUBECONFIG, the pod's account, or ~/.kube/config.

    `context` names one of the file's contexts instead of the current one; `now` is seconds since the epoch.
    Raises CredentialsError, one line that names the file and what is wrong with it.
    """
    if path is None and not environ.get("KUBECONFIG") and environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(environ, now=now)
    if path is None:
        home = environ.get("HOME", "/")
        path = environ.get("KUBECONFIG") or str(Path(home, ".kube", "config"))
        config = read([Path(part) for part in path.split(":") if part])
    else:
        config = read([Path(path)])
    return _connection(config, context, environ, now)


def in_cluster(
    environ: Mapping[str, str], *, now: Callable[[], float] = time.time, account: Path = SERVICE_ACCOUNT
) -> Connection:
    """The connection of a pod's service account, mounted at `account`."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise CredentialsError("KUBERNETES_SERVICE_HOST is not set: this is no pod")
    namespace = account / "namespace"
    return Connection(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        source=TokenFile(account / "token", now),
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
        ca=_file(account / "ca.crt", "certificate authority"),
    )


def _connection(
    config: KubeConfig, name: str | None, environ: Mapping[str, str], now: Callable[[], float]
) -> Connection:
    context = config.context(name)
    cluster = config.cluster(context)
    user = config.user(context)
    origin = str(cluster.origin)
    if not cluster.server.startswith(("http://", "https://")):
        raise CredentialsError(f"{origin}: cluster {context.cluster!r}: server must be an http or https URL")
    return Connection(
        server=cluster.server.rstrip("/"),
        source=_source(user, cluster, environ, now),
        namespace=context.namespace or "default",
        ca=_data(user, cluster.ca_data, cluster.ca_file, cluster.origin, "certificate-authority"),
        insecure=cluster.insecure,
        tls_server_name=cluster.tls_server_name or None,
        proxy=cluster.proxy_url or None,
    )


def _source(user: User, cluster: Cluster, environ: Mapping[str, str], now: Callable[[], float]) -> Source:
    certificate = _data(user, user.certificate_data, user.certificate_file, user.origin, "client-certificate")
    key = _data(user, user.key_data, user.key_file, user.origin, "client-key")
    if bool(certificate) != bool(key):
        missing = "client-key" if certificate else "client-certificate"
        raise CredentialsError(f"{user.origin}: the user has half of a key pair: {missing} is missing")
    base = Credential(certificate=certificate, key=key)
    if user.exec is not None:
        return ExecPlugin(user.exec, cluster, user.origin, environ, now, base)
    if user.token_file:
        return TokenFile(user.origin.parent / user.token_file, now, base)
    basic = f"{user.username}:{user.password}" if user.username else ""
    return Fixed(Credential(token=user.token, basic=basic, certificate=certificate, key=key))


def _data(user: User, inline: str, path: str, origin: Path, what: str) -> bytes:
    if inline:
        try:
            return b64decode(inline, validate=True)
        except (Base64Error, ValueError) as error:
            raise CredentialsError(f"{origin}: {what}-data is not base64: {error}") from error
    if path:
        return _file(origin.parent / path, what)
    return b""


def _file(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsError(f"{path}: cannot read the {what}: {error.strerror}") from error


def _load_pair(context: ssl.SSLContext, credential: Credential) -> None:
    """Python's ssl reads a key pair only from a file: one for our eyes only, gone at once."""
    with tempfile.NamedTemporaryFile(prefix="sallyport-") as pair:  # mode 0600
        pair.write(credential.certificate.rstrip() + b"\n" + credential.key)
        pair.flush()
        try:
            context.load_cert_chain(pair.name)
        except (ssl.SSLError, ValueError) as error:
            raise CredentialsError(f"the client certificate and key do not load: {error}") from error
