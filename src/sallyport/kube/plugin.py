"""Credentials from a command named in the kubeconfig.

Source: KEP-541 and k8s.io/client-go/pkg/apis/clientauthentication/v1, ExecCredential.
"""

import asyncio
import datetime
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from sallyport.kube.kubeconfig import Cluster, Credential, CredentialsError, ExecConfig

TIMEOUT = 60.0
"""Seconds that a plugin may take."""


class _Status(msgspec.Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime.datetime | None = None


class _ExecCredential(msgspec.Struct, rename="camel"):
    api_version: str
    status: _Status | None = None


class ExecPlugin:
    """Runs the command when there is no credential yet, when it has expired, and when the server refused it."""

    def __init__(
        self,
        config: ExecConfig,
        cluster: Cluster,
        origin: Path,
        environ: Mapping[str, str],
        now: Callable[[], float],
        base: Credential,
    ) -> None:
        self._config, self._cluster, self._origin = config, cluster, origin
        self._environ, self._now, self._base = environ, now, base
        self._credential: Credential | None = None
        self._expires = float("inf")
        self._running = asyncio.Lock()

    async def current(self) -> Credential:
        async with self._running:
            if self._credential is None or self._now() >= self._expires:
                self._take(await self._run())
            assert self._credential is not None
            return self._credential

    def forget(self, refused: Credential) -> None:
        if refused == self._credential:
            self._credential = None

    async def _run(self) -> bytes:
        config = self._config
        # client-go: a command with a slash is relative to the kubeconfig, another one is looked up in $PATH.
        command = str(self._origin.parent / config.command) if "/" in config.command else config.command
        environ = {**self._environ, **{item.name: item.value for item in config.env or ()}}
        environ["KUBERNETES_EXEC_INFO"] = self._info()
        try:
            process = await asyncio.create_subprocess_exec(
                command,
                *(config.args or ()),
                env=environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            hint = f" ({' '.join(config.install_hint.split())})" if config.install_hint else ""
            raise self._error(f"does not start: {error.strerror}{hint}") from error
        try:
            out, err = await asyncio.wait_for(process.communicate(), TIMEOUT)
        except TimeoutError as error:
            raise self._error(f"gave no answer in {TIMEOUT:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            last = err.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise self._error(f"failed with exit status {process.returncode}: {last[0]}")
        return out

    def _take(self, out: bytes) -> None:
        try:
            answer = msgspec.json.decode(out, type=_ExecCredential)
        except msgspec.DecodeError as error:
            raise self._error(f"did not print an ExecCredential: {error}") from error
        if answer.api_version != self._config.api_version:
            raise self._error(f"printed {answer.api_version}, configured is {self._config.api_version}")
        status = answer.status
        if status is None or not (status.token or status.client_certificate_data):
            raise self._error("printed neither a token nor a client certificate")
        if bool(status.client_certificate_data) != bool(status.client_key_data):
            raise self._error("printed half of a key pair")
        self._credential = Credential(
            token=status.token,
            certificate=status.client_certificate_data.encode() or self._base.certificate,
            key=status.client_key_data.encode() or self._base.key,
        )
        until = status.expiration_timestamp
        self._expires = until.timestamp() if until is not None else float("inf")

    def _info(self) -> str:
        spec: dict[str, object] = {"interactive": False}
        if self._config.provide_cluster_info:
            cluster: dict[str, object] = {"server": self._cluster.server}
            if self._cluster.insecure:
                cluster["insecure-skip-tls-verify"] = True
            if self._cluster.tls_server_name:
                cluster["tls-server-name"] = self._cluster.tls_server_name
            ca = self._cluster.ca_data
            if not ca and self._cluster.ca_file:
                ca = b64encode((self._cluster.origin.parent / self._cluster.ca_file).read_bytes()).decode()
            if ca:
                cluster["certificate-authority-data"] = ca
            spec["cluster"] = cluster
        info = {"apiVersion": self._config.api_version, "kind": "ExecCredential", "spec": spec}
        return msgspec.json.encode(info).decode()

    def _error(self, what: str) -> CredentialsError:
        return CredentialsError(f"{self._origin}: the exec plugin {self._config.command!r} {what}")
