"""Kubeconfig files, the pod's account, and plugins."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from sallyport.kube.credentials import CredentialsError, in_cluster, load


def written(folder: Path, user: dict[str, Any], **cluster: Any) -> str:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "ns"}}],
        "clusters": [{"name": "k", "cluster": {"server": "http://127.0.0.1:1/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path = folder / "config"
    path.write_bytes(msgspec.yaml.encode(config))
    return str(path)


async def test_a_token_and_the_clusters_address_are_read(tmp_path: Path) -> None:
    connection = load(written(tmp_path, {"token": "t"}))
    assert (connection.server, connection.namespace) == ("http://127.0.0.1:1", "ns")
    assert (await connection.source.current()).headers() == {"Authorization": "Bearer t"}


async def test_a_token_file_beside_the_kubeconfig_is_read_again_after_a_minute(tmp_path: Path) -> None:
    time = [0.0]
    (tmp_path / "token").write_text("one\n")
    connection = load(written(tmp_path, {"tokenFile": "token"}), now=lambda: time[0])
    assert (await connection.source.current()).token == "one"
    (tmp_path / "token").write_text("two\n")
    assert (await connection.source.current()).token == "one"
    time[0] = 61
    assert (await connection.source.current()).token == "two"


async def test_a_plugin_runs_again_only_when_its_credential_has_expired(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(
        '#!/bin/sh\necho run >> "$RUNS"\n'
        'echo \'{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":'
        '{"token":"t","expirationTimestamp":"1970-01-01T00:01:40Z"}}\'\n'
    )
    plugin.chmod(0o755)
    runs = tmp_path / "runs"
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "./plugin",
            "env": [{"name": "RUNS", "value": str(runs)}],
        }
    }
    time = [0.0]
    source = load(written(tmp_path, user), now=lambda: time[0]).source
    assert (await source.current()).token == "t"
    await source.current()
    assert runs.read_text().count("run") == 1
    time[0] = 100
    used = await source.current()
    source.forget(used)
    await source.current()
    assert runs.read_text().count("run") == 3


async def test_a_plugin_that_fails_is_named_with_its_last_line(tmp_path: Path) -> None:
    user = {"exec": {"command": "sh", "args": ["-c", "echo first >&2; echo no login >&2; exit 3"]}}
    source = load(written(tmp_path, user)).source
    with pytest.raises(CredentialsError, match="'sh' failed with exit status 3: no login"):
        await source.current()


async def test_a_pod_uses_its_account(tmp_path: Path) -> None:
    for name, text in {"token": "t", "ca.crt": "pem", "namespace": "kube-system"}.items():
        (tmp_path / name).write_text(text)
    connection = in_cluster({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}, account=tmp_path)
    assert (connection.server, connection.namespace) == ("https://[fd00::1]:6443", "kube-system")
    assert (await connection.source.current()).token == "t"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "not a kubeconfig"),
        ("clusters: 5", r"not a kubeconfig: Expected `array \| null`, got `int` - at `\$.clusters`"),
        ("{}", "no current-context is set"),
        ("current-context: x", r"there is no context 'x' \(there are: none\)"),
    ],
)
def test_a_malformed_kubeconfig_is_one_line_naming_the_file(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(CredentialsError, match=said) as caught:
        load(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_bad_parts_of_a_kubeconfig_are_named(tmp_path: Path) -> None:
    for user, cluster, said in (
        ({"client-certificate-data": "!"}, {}, "client-certificate-data is not base64"),
        ({"client-certificate-data": "QQ=="}, {}, "client-key is missing"),
        ({}, {"certificate-authority": "nowhere"}, "nowhere: cannot read the certificate-authority"),
        ({}, {"server": "ftp://x"}, "server must be an http or https URL"),
    ):
        with pytest.raises(CredentialsError, match=said):
            load(written(tmp_path, user, **cluster))
    with pytest.raises(CredentialsError, match="there is no such kubeconfig"):
        load(str(tmp_path / "none"))
