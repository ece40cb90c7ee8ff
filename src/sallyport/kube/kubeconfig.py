"""The kubeconfig file format, several files merged as kubectl does."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

S = TypeVar("S")


class CredentialsError(Exception):
    """Credentials that cannot be used: one line naming the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Proof of who we are at one moment. `certificate` and `key` are PEM."""

    token: str = field(default="", repr=False)
    basic: str = field(default="", repr=False)
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)

    def headers(self) -> Mapping[str, str]:
        """The Authorization header, if any."""
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        if self.basic:
            return {"Authorization": f"Basic {b64encode(self.basic.encode()).decode()}"}
        return {}


class ExecEnv(msgspec.Struct):
    """One environment variable of an exec plugin."""

    name: str
    value: str


class ExecConfig(msgspec.Struct, rename="camel"):
    """A command that prints an ExecCredential (client.authentication.k8s.io)."""

    command: str
    api_version: str = "client.authentication.k8s.io/v1"
    args: list[str] | None = None
    env: list[ExecEnv] | None = None
    install_hint: str = ""
    provide_cluster_info: bool = False


class Cluster(msgspec.Struct, kw_only=True):
    """An API server and how it is reached. `origin` is the file, which relative paths in it start from."""

    server: str = ""
    ca_data: str = msgspec.field(default="", name="certificate-authority-data")
    ca_file: str = msgspec.field(default="", name="certificate-authority")
    insecure: bool = msgspec.field(default=False, name="insecure-skip-tls-verify")
    tls_server_name: str = msgspec.field(default="", name="tls-server-name")
    proxy_url: str = msgspec.field(default="", name="proxy-url")
    origin: Path = msgspec.field(default=Path(), name="-origin")


class User(msgspec.Struct, kw_only=True):
    """Who asks: token, certificate or plugin. `origin` as for a cluster."""

    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    certificate_data: str = msgspec.field(default="", name="client-certificate-data")
    certificate_file: str = msgspec.field(default="", name="client-certificate")
    key_data: str = msgspec.field(default="", name="client-key-data")
    key_file: str = msgspec.field(default="", name="client-key")
    username: str = ""
    password: str = ""
    exec: ExecConfig | None = None
    origin: Path = msgspec.field(default=Path(), name="-origin")


class Context(msgspec.Struct):
    """A cluster and a user by their names, and the namespace that is meant where none is given."""

    cluster: str = ""
    user: str = ""
    namespace: str = ""


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: Cluster


class _NamedUser(msgspec.Struct):
    name: str
    user: User


class _NamedContext(msgspec.Struct):
    name: str
    context: Context


class _File(msgspec.Struct):
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None
    current: str | None = msgspec.field(default="", name="current-context")


class KubeConfig:
    """Kubeconfig files taken together: of two entries with one name the first holds."""

    def __init__(self, paths: list[Path]) -> None:
        self.label = ":".join(str(path) for path in paths)
        self.current = ""
        self.clusters: dict[str, Cluster] = {}
        self.users: dict[str, User] = {}
        self.contexts: dict[str, Context] = {}

    def add(self, path: Path, file: _File) -> None:
        """Take in one more file, whose relative paths begin at its folder."""
        self.current = self.current or file.current or ""
        for entry in file.clusters or ():
            entry.cluster.origin = path
            self.clusters.setdefault(entry.name, entry.cluster)
        for person in file.users or ():
            person.user.origin = path
            self.users.setdefault(person.name, person.user)
        for scene in file.contexts or ():
            self.contexts.setdefault(scene.name, scene.context)

    def context(self, name: str | None) -> Context:
        """The context of that name, or the current one."""
        if not (name or self.current):
            raise CredentialsError(f"{self.label}: no current-context is set")
        return self._find(self.contexts, name or self.current, "context")

    def cluster(self, context: Context) -> Cluster:
        """The cluster that `context` names."""
        return self._find(self.clusters, context.cluster, "cluster")

    def user(self, context: Context) -> User:
        """The user that `context` names; one without credentials if it names none."""
        return self._find(self.users, context.user, "user") if context.user else User()

    def _find(self, entries: dict[str, S], name: str, what: str) -> S:
        if name not in entries:
            known = ", ".join(sorted(entries)) or "none"
            raise CredentialsError(f"{self.label}: there is no {what} {name!r} (there are: {known})")
        return entries[name]


def read(paths: list[Path]) -> KubeConfig:
    """The kubeconfig at `paths`; of several, those that do not exist are passed over."""
    config = KubeConfig(paths)
    present = [path for path in paths if path.exists()]
    if not present:
        raise CredentialsError(f"{config.label}: there is no such kubeconfig")
    for path in present:
        try:
            config.add(path, msgspec.yaml.decode(path.read_bytes(), type=_File))
        except OSError as error:
            raise CredentialsError(f"{path}: cannot read the kubeconfig: {error.strerror}") from error
        except msgspec.DecodeError as error:
            reason = " ".join(str(error).split())
            raise CredentialsError(f"{path}: not a kubeconfig: {reason}") from error
    return config
