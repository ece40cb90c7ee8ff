"""The lab itself: it comes and goes without a trace, and its commands say in one line what they cannot do.

Comings and goings are seen on a machine of the test's own: namespaces of network, processes and mounts, in which
nothing runs but what the test starts, so that "nothing is left" can be compared exactly.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.labs import chosen_kind, demand_programs, demand_tools
from tests.lab.scene import Scene, pod
from typer.testing import CliRunner

from sallyport.cli.main import build
from sallyport.lab import names, namespaces
from sallyport.lab.driving import Lab
from sallyport.lab.record import Record

pytestmark = [pytest.mark.lab, pytest.mark.root]

Done = subprocess.CompletedProcess[str]

SMALL = """name: small
subnets: [{name: underlay, networks: [10.10.0.0/16]}]
outside:
  - name: internet
    networks: [203.0.113.0/24]
    hosts: [{name: server, addresses: [203.0.113.10]}]
routers: [{name: router, addresses: [10.10.0.1, 203.0.113.1]}]
nodes: [{name: node-1, addresses: [10.10.0.101], podNetworks: [10.244.1.0/24]}]
serviceNetworks: [10.96.0.0/16]
"""
POD = """apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default}
spec:
  containers: [{name: web, image: none}]
"""
ASK = ("python3", "-m", "sallyport.lab.ask", "http", "203.0.113.10")


def refusal(done: Done) -> str:
    """The one line of a command that did nothing."""
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    return done.stderr.strip()


TOOLS = ("ps", "ip", "nft", "bridge", "birdc")


class Machine:
    """A machine of our own within this one. `pid` is its first process, which reaps all others."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._pid = pid
        self.topology = folder / "small.yaml"
        self.topology.write_text(SMALL)

    def run(self, *argv: str, text: str = "", kubeconfig: str = "") -> Done:
        """Run a command on it to its end."""
        within = ["nsenter", "-t", str(self._pid), "--mount", "--net", "--pid", *argv]
        env = {**os.environ, "KUBECONFIG": kubeconfig}
        return subprocess.run(within, input=text, capture_output=True, text=True, check=False, timeout=60, env=env)

    def sallyport(self, *arguments: str) -> Done:
        """The command line on it."""
        return self.run(sys.executable, "-m", "sallyport.cli", *arguments)

    def up(self, name: str) -> str:
        """Bring a small lab up; the path of its kubeconfig."""
        done = self.sallyport("lab", "up", str(self.topology), "--name", name, "--control-plane", chosen_kind())
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def state(self) -> dict[str, str]:
        """All that a lab could leave behind; tools that an agent runs for a moment are no part of it."""
        commands = {
            "processes": "ps -e -o args --no-headers",
            "namespaces": "ip netns",
            "links": "ip -o link",
            "addresses": "ip -o address",
            "routes": "ip route show table all",
            "rules": "ip rule",
            "ruleset": "nft list ruleset",
            "files": "find /run -path /run/netns -prune -o -print",
        }
        state = {what: self.run(*command.split()).stdout for what, command in commands.items()}
        lasting = [line for line in state["processes"].splitlines() if line.split()[0] not in TOOLS]
        return {**state, "processes": "\n".join(lasting)}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with nothing on it."""
    demand_tools()
    if chosen_kind() == "kubernetes":
        demand_programs()
    argv = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc"]
    init = "mount -t tmpfs none /run && ip link set lo up && echo up && sleep infinity & wait; sleep infinity & wait"
    with subprocess.Popen([*argv, "bash", "-c", init], stdout=subprocess.PIPE, text=True) as outer:
        assert outer.stdout is not None
        assert outer.stdout.readline() == "up\n"
        first = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text())
        try:
            yield Machine(first, tmp_path_factory.mktemp("machine"))
        finally:
            os.kill(first, signal.SIGKILL)  # and all that runs there with it (pid_namespaces(7))


def test_a_lab_comes_and_goes_without_a_trace(machine: Machine) -> None:
    """After `lab down` namespaces, links, rules, processes and files are exactly what they were before `lab up`."""
    before = machine.state()
    kubeconfig = machine.up("one")
    machine.run("kubectl", "apply", "-f", "-", text=POD, kubeconfig=kubeconfig)
    done = machine.run("kubectl", "wait", "pod/web", "--for=condition=Ready", "--timeout=20s", kubeconfig=kubeconfig)
    assert done.returncode == 0, done.stderr
    asked = machine.sallyport("lab", "exec", "default/web", "--", *ASK)
    assert '"source": "10.10.0.101"' in asked.stdout
    again = machine.sallyport("lab", "up", str(machine.topology), "--name", "one")
    assert refusal(again) == "sallyport lab up: lab one is there already; `sallyport lab down --name one` removes it"
    assert machine.sallyport("lab", "down").returncode == 0
    assert machine.state() == before
    assert machine.sallyport("lab", "down").returncode == 0


def test_two_labs_run_side_by_side_and_one_may_crash(machine: Machine) -> None:
    """Two labs with the same addresses do not disturb each other; a command that could mean either asks which. After
    `kill -9` of a supervisor `lab status` says so, and `lab down` removes all that it left, and no more."""
    before = machine.state()
    machine.up("left")
    with_one = machine.state()
    kubeconfig = machine.up("right")
    applied = machine.run("kubectl", "apply", "-f", "-", text=POD, kubeconfig=kubeconfig)
    assert applied.returncode == 0, applied.stderr
    ready = ("kubectl", "wait", "pod/web", "--for=condition=Ready", "--timeout=20s")
    assert machine.run(*ready, kubeconfig=kubeconfig).returncode == 0
    unclear = machine.sallyport("lab", "exec", "node-1", "--", *ASK)
    assert refusal(unclear) == "sallyport lab exec: several labs are up (left, right); say which with --name"
    for name, where in (("left", "node-1"), ("right", "default/web")):
        asked = machine.sallyport("lab", "exec", "--name", name, where, "--", *ASK)
        assert '"source": "10.10.0.101"' in asked.stdout
    other = machine.run("kubectl", "get", "pods", kubeconfig=kubeconfig.replace("right", "left"))
    assert "No resources found" in other.stderr

    note = machine.run("cat", "/run/sallyport-lab/right/children/supervisor").stdout
    assert machine.run("kill", "-KILL", str(json.loads(note)["pid"])).returncode == 0
    assert "lab right: crashed" in machine.sallyport("lab", "status", "--name", "right").stdout
    off = machine.sallyport("lab", "power-off", "node-1", "--name", "right")
    assert "lab right does not answer" in refusal(off)
    assert machine.sallyport("lab", "down", "--name", "right").returncode == 0
    assert machine.state() == with_one
    assert '"source": "10.10.0.101"' in machine.sallyport("lab", "exec", "node-1", "--", *ASK).stdout
    assert machine.sallyport("lab", "down", "--all").returncode == 0
    assert machine.state() == before


def test_without_nft_no_lab_is_begun(machine: Machine) -> None:
    """`lab up` without one of its tools names it and its package in one line, and changes nothing."""
    tool = machine.run("which", "nft").stdout.strip()
    # A file that cannot be run, on this machine only, in the place of the tool.
    assert machine.run("mount", "--bind", "/dev/null", tool).returncode == 0
    try:
        before = machine.state()
        done = machine.sallyport("lab", "up", str(machine.topology))
        assert refusal(done) == "sallyport lab up: nft not found; install nftables"
        assert machine.state() == before
    finally:
        machine.run("umount", tool)


def test_without_root_no_lab_is_begun(machine: Machine) -> None:
    """`lab up` as somebody else than root says so in one line, and changes nothing."""
    before = machine.state()
    # In a user namespace of its own with no rights in it: the files stay readable wherever they are.
    inner = ("setpriv", "--inh-caps=-all", "--bounding-set=-all", sys.executable, "-m", "sallyport.cli", "lab", "up")
    done = machine.run("unshare", "--user", "--map-user=65534", *inner)
    assert refusal(done) == "sallyport lab up: must run as root: it changes links, routes and nftables"
    assert machine.state() == before


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("nodes: [", ["1: not YAML: "]),
        (
            SMALL.replace("10.10.0.0/16", "10.10.0.9/16").replace("10.96.0.0/16", "10.244.0.0/16"),
            [
                "2: subnets[0].networks[0]: 10.10.0.9/16 ",
                "8: nodes[0].podNetworks[0]: overlaps service network ",
            ],
        ),
    ],
    ids=["no-yaml", "two-mistakes"],
)
def test_a_malformed_topology_is_told_by_line(tmp_path: Path, text: str, lines: list[str]) -> None:
    """Every mistake in a topology is one line that begins with its place; the exit status is 2, and nothing is made."""
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    name = f"t{os.getpid()}bad"
    done = within("lab", "up", str(file), "--name", name)
    assert (done.returncode, done.stdout) == (2, "")
    told = [line.removeprefix(f"sallyport lab up: {file}:") for line in done.stderr.splitlines()]
    assert [line.startswith(start) for line, start in zip(told, lines, strict=True)] == [True] * len(lines), told
    assert not Record(name).directory.exists()
    assert not namespaces.existing(names.prefix(name))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("apply", "-"), None),
        (("trace", "apps/on-1", "203.0.113.10"), "apiVersion: v1\nkind: Config\n"),
        (("agent", "--node", "node-1"), "clusters: ["),
        (("controller",), "clusters: [{}]"),
    ],
    ids=["apply-none", "trace-empty", "agent-no-yaml", "controller-no-name"],
)
def test_a_kubeconfig_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], text: str | None
) -> None:
    """A kubeconfig that is malformed, says nothing or is not there: one line that names it, and exit status 2."""
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    done = sallyport(*arguments, kubeconfig=str(file), text=POD)
    assert str(file) in refusal(done)


def sallyport(*arguments: str, kubeconfig: str = "", text: str = "") -> Done:
    """The command line in a process of its own."""
    argv = [sys.executable, "-m", "sallyport.cli", *arguments]
    env = {**os.environ, "KUBECONFIG": kubeconfig, "SALLYPORT_KUBECONFIG": kubeconfig}
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=30, env=env)


def within(*arguments: str) -> Done:
    """The command line in this process: for what ends without a process of its own."""
    done = CliRunner().invoke(build(), arguments)
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def test_exec_has_the_exit_status_of_its_command(standing: Scene) -> None:
    """`lab exec` runs a command on a machine or in a pod, passes its output on, and ends as it does."""
    name = standing.lab.name
    done = sallyport("lab", "exec", "--name", name, "node-1", "--", "sh", "-c", "echo here; exit 7")
    assert (done.returncode, done.stdout) == (7, "here\n")
    done = sallyport("lab", "exec", "--name", name, pod(2), "--", "ip", "-o", "-4", "address", "show", "dev", "eth0")
    assert (done.returncode, standing.pod_addresses("on-2")[0] in done.stdout) == (0, True)
    done = sallyport("lab", "exec", "--name", name, "node-9", "--", "true")
    assert refusal(done).startswith(f"sallyport lab exec: node-9 is no running machine or pod of lab {name}")


def test_status_shows_machines_addresses_and_processes(lab: Lab) -> None:
    """`lab status` lists each machine with its role, state, addresses and process, and how to reach the API."""
    lines = within("lab", "status", "--name", lab.name).stdout.splitlines()
    agent, server = lab.record.child("agent-node-2"), lab.record.child("host-server")
    assert agent is not None
    assert server is not None
    assert lines[0].startswith(f"lab {lab.name}: up, ")
    assert lines[1] == f"export KUBECONFIG={lab.record.kubeconfig}"
    rows = [" ".join(line.split()) for line in lines[3:]]
    assert f"node-2 node on 10.10.0.102, fd10:10::102 agent {agent.pid}" in rows
    assert f"server outside host on 203.0.113.10, 2001:db8:113::10 host {server.pid}" in rows
    begun = [line.split()[0] for line in lines[3:] if not line.startswith(" ")]  # a long row goes on below
    assert begun == ["control", "router", "server", "node-1", "node-2", "node-3"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("power-off", "router"), "router is not a node of this lab: node-1, node-2, node-3"),
        (("power-on", "node-1"), "node-1 is on already"),
        (("cut", "node-1", "node-9"), "node-9 is not a machine of this lab"),
        (("cut", "node-1", "server"), "no subnet joins node-1 and server"),
        (("heal", "node-1", "node-2"), "node-1 and node-2 are not cut"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_power_and_cut_cannot_do_they_say(lab: Lab, arguments: tuple[str, ...], words: str) -> None:
    """A command about a machine that is not there, or that is in that state already, says so and exits with 2."""
    done = within("lab", *arguments, "--name", lab.name)
    assert refusal(done) == f"sallyport lab {arguments[0]}: {words}"
