"""Kubernetes' own programs in a lab: what they are called with, who may do what, and how users reach them."""

import asyncio
import re
import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sallyport.apis.definitions import DEFINITIONS
from sallyport.drivers.command import DriverError
from sallyport.kube.credentials import load
from sallyport.lab.controlplane import programs
from sallyport.lab.controlplane.accounts import manifests
from sallyport.lab.controlplane.assets import ASSETS, ETCD, KUBERNETES, directory, find
from sallyport.lab.controlplane.certificates import Authority, Pair
from sallyport.lab.controlplane.doorway import serve
from sallyport.lab.controlplane.kubeconfigs import Server, by_certificate, by_token, kubeconfig, url, write_secret
from sallyport.lab.controlplane.programs import Files
from sallyport.lab.topology import Topology
from sallyport.lab.topology_file import find as find_topology
from sallyport.lab.topology_file import parse
from sallyport.model.addresses import parse_address

ROOT = Path(__file__).parents[3]
GO_MOD = (ROOT / "tools" / "kubernetes" / "go.mod").read_text()


def topology(name: str) -> Topology:
    return parse(*find_topology(name))


# Assets


def test_the_versions_are_those_that_the_go_module_pins() -> None:
    pinned = dict(re.findall(r"^\t(\S+) v(\S+)", GO_MOD, re.MULTILINE))
    assert (pinned["k8s.io/kubernetes"], pinned["go.etcd.io/etcd/server/v3"]) == (KUBERNETES, ETCD)
    minor = KUBERNETES.partition(".")[2]
    assert set(re.findall(r"^\t(k8s\.io/\S+) => k8s\.io/\S+ v0\.(.*)$", GO_MOD, re.MULTILINE)) > {
        ("k8s.io/apiserver", minor)
    }


def test_every_program_is_a_tool_of_the_go_module() -> None:
    tools = re.search(r"^tool \(\n(.*?)^\)", GO_MOD, re.MULTILINE | re.DOTALL)
    assert tools is not None
    assert set(tools[1].split()) == {item.package for item in ASSETS}


def test_programs_are_kept_in_the_users_cache() -> None:
    assert directory({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path(f"/c/sallyport/kube/v{KUBERNETES}")
    assert directory({"HOME": "/h"}) == Path(f"/h/.cache/sallyport/kube/v{KUBERNETES}")


def test_a_missing_program_is_told_with_what_to_do(tmp_path: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    place = directory(environ)
    place.mkdir(parents=True)
    for item in ASSETS[1:]:
        (place / item.name).touch(mode=0o755)
    with pytest.raises(DriverError, match=r"^etcd of .* missing in .*: run `make kube-assets`$"):
        find(environ)
    (place / "etcd").touch(mode=0o755)
    assert find(environ) == place


# Credentials


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that has just been made."""
    return Authority(tmp_path_factory.mktemp("pki"), "sallyport-lab-x")


async def greeted(server: Pair, client: Pair, ca: Path, name: str) -> dict[str, Any]:
    """Who the server sees, after a handshake in which each has checked the other."""
    there = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    there.verify_mode = ssl.CERT_REQUIRED
    there.verify_flags |= ssl.VERIFY_X509_STRICT
    there.load_cert_chain(server.certificate, server.key)
    here = ssl.create_default_context(cafile=ca)
    here.verify_flags |= ssl.VERIFY_X509_STRICT
    here.load_cert_chain(client.certificate, client.key)
    seen: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(writer.get_extra_info("peercert"))
        writer.close()

    async with await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=there) as listening:
        port = listening.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=here, server_hostname=name)
        found = await asyncio.wait_for(seen, 10)
        writer.close()
    return found


async def test_server_and_user_prove_themselves_to_each_other(authority: Authority) -> None:
    server = authority.server("kube-apiserver", ["DNS:kubernetes.default.svc", "IP:127.0.0.1", "IP:fd10::1"])
    user = authority.client("sallyport-lab:admin", "system:masters")
    for name in ("127.0.0.1", "fd10::1", "kubernetes.default.svc"):
        seen = await greeted(server, user, authority.pair.certificate, name)
        subject = dict(item for part in seen["subject"] for item in part)
        assert subject == {"organizationName": "system:masters", "commonName": "sallyport-lab:admin"}
    with pytest.raises(ssl.SSLCertVerificationError):
        await greeted(server, user, authority.pair.certificate, "127.0.0.2")


def test_keys_are_for_their_owners_eyes_only(authority: Authority) -> None:
    keys = [authority.pair.key, authority.client("system:kube-scheduler").key, authority.signing_pair("accounts")[0]]
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


def test_what_openssl_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"^openssl req: [^\n]*$"):
        Authority(tmp_path / "nowhere", "x")


async def test_a_kubeconfig_says_where_by_whose_word_and_as_whom(authority: Authority, tmp_path: Path) -> None:
    path, token = tmp_path / "kubeconfig", tmp_path / "token"
    ca = authority.pair.certificate.read_text()
    server = Server(url("https", parse_address("fd10::1"), 6443), ca)
    pair = authority.client("u").texts()
    write_secret(path, kubeconfig("x", server, by_certificate(*pair)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    connection = load(str(path))
    assert (connection.server, connection.ca.decode()) == ("https://[fd10::1]:6443", ca)
    credential = await connection.source.current()
    assert (credential.certificate.decode(), credential.key.decode()) == pair
    write_secret(token, "secret")
    write_secret(path, kubeconfig("x", Server("http://127.0.0.1:1"), by_token(token)))
    assert (await load(str(path)).source.current()).token == "secret"


# Programs


@pytest.mark.parametrize("name", ["default", "ipv4", "ipv6"])
def test_the_api_server_asks_for_rights_and_knows_the_labs_addresses(name: str) -> None:
    lab = topology(name)
    argv = programs.api_server(Files(Path("/assets"), Path("/state")), lab, Path("/logs/audit.log"))
    flags = dict(item.removeprefix("--").split("=", 1) for item in argv[1:])
    assert argv[0] == "/assets/kube-apiserver"
    assert flags["authorization-mode"] == "Node,RBAC"
    assert flags["service-cluster-ip-range"].split(",") == [str(network) for network in lab.service_networks]
    advertised = parse_address(flags["advertise-address"])
    assert advertised.version == lab.service_networks[0].version
    assert advertised == lab.control.attachments[0].address


def test_no_program_takes_part_in_an_election_or_is_heard_outside_of_its_machine() -> None:
    files = Files(Path("/assets"), Path("/state"))
    for argv in (programs.controller_manager(files), programs.scheduler(files)):
        assert {"--leader-elect=false", "--bind-address=127.0.0.1"} <= set(argv)


# Rights


def roles() -> list[dict[str, Any]]:
    return [item for item in manifests() if item["kind"] in ("Role", "ClusterRole")]


def test_manifests_come_in_an_order_in_which_each_finds_what_it_needs() -> None:
    kinds = [item["kind"] for item in manifests()]
    assert kinds == sorted(
        kinds, key=["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"].index
    )


def test_no_role_has_a_wildcard_or_a_verb_that_widens_itself() -> None:
    for role in roles():
        for rule in role["rules"]:
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not words & {"*", "escalate", "bind", "impersonate", "delete", "deletecollection"}, role["metadata"]


def test_secrets_leases_and_configmaps_are_open_in_single_namespaces_only() -> None:
    wide = {
        resource
        for role in roles()
        if role["kind"] == "ClusterRole"
        for rule in role["rules"]
        for resource in rule["resources"]
    }
    assert wide.isdisjoint({"secrets", "leases", "configmaps"})


def test_every_binding_names_a_role_and_an_account_of_the_same_manifests() -> None:
    found = list(manifests())
    known = {(item["kind"], item["metadata"]["name"], item["metadata"].get("namespace")) for item in found}
    bindings = [item for item in found if item["kind"].endswith("Binding")]
    for item in bindings:
        ref = item["roleRef"]
        assert (ref["kind"], ref["name"], item["metadata"].get("namespace")) in known
        for subject in item["subjects"]:
            assert (subject["kind"], subject["name"], subject["namespace"]) in known
    assert len(bindings) == len(roles())


def test_kustomize_takes_every_manifest_that_is_shipped() -> None:
    folder = ROOT / "deploy"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    there = {
        path.relative_to(folder).as_posix() for part in ("crds", "rbac") for path in (folder / part).glob("*.yaml")
    }
    assert set(listed) == there
    assert len([name for name in listed if name.startswith("crds/")]) == len(DEFINITIONS)


def test_a_folder_without_manifests_is_told(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="needs a checkout"):
        list(manifests(tmp_path))


# The way in


async def test_the_doorway_carries_both_directions_to_their_ends() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())  # all of it: the end of the request has come through
        writer.close()

    inner = await asyncio.start_server(echo, "127.0.0.1", 0)
    outer = socket.create_server(("127.0.0.1", 0))
    port = inner.sockets[0].getsockname()[1]
    async with inner:
        carrying = asyncio.create_task(serve(outer, "127.0.0.1", port))
        for size in (1, 1_000_000):
            reader, writer = await asyncio.open_connection(*outer.getsockname())
            writer.write(b"x" * size)
            writer.write_eof()
            assert len(await asyncio.wait_for(reader.read(), 10)) == size
            writer.close()
        carrying.cancel()


async def test_behind_the_doorway_nobody_answers_and_it_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    outer = socket.create_server(("127.0.0.1", 0))
    carrying = asyncio.create_task(serve(outer, "127.0.0.1", port))
    for _ in range(2):
        reader, writer = await asyncio.open_connection(*outer.getsockname())
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
    assert not carrying.done()
    carrying.cancel()


def test_the_command_line_refuses_a_control_plane_without_programs(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "sallyport.cli", "lab", "up", "two-nodes", "--name", "none"]
    done = subprocess.run(
        [*argv, "--control-plane", "kubernetes"],
        env={"XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "make kube-assets" in done.stderr or "root" in done.stderr
