"""`sallyport lab`: a cluster on one machine, out of network namespaces.

Imports that are heavy stand inside of the commands: every `sallyport` command loads this module to list them.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sallyport.drivers.command import DriverError
from sallyport.drivers.requirements import require
from sallyport.lab import names, namespaces
from sallyport.lab.record import Kind, Record, labs

app = typer.Typer(
    help="A whole cluster on this machine: nodes, pods, routers and outside hosts as network namespaces.",
    short_help="A whole cluster on this machine, as network namespaces.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[
    str,
    typer.Option("--name", "-n", envvar="SALLYPORT_LAB", help="Which lab, where several run."),
]
NAME = re.compile(r"(?=.{1,16}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
TOOLS = ("ip", "nft", "bird", "conntrack")


def _fail(command: str, message: str) -> typer.Exit:
    for line in message.splitlines():
        typer.echo(f"sallyport lab {command}: {line}", err=True)
    return typer.Exit(2)


def _record(command: str, name: str) -> Record:
    """The lab that is meant. Exits with 2 when that is not clear."""
    found = labs()
    if name:
        chosen = [record for record in found if record.lab == name]
        if not chosen:
            raise _fail(command, f"there is no lab {name}; `sallyport lab up` makes one")
        return chosen[0]
    if not found:
        raise _fail(command, "no lab is up; `sallyport lab up` makes one")
    if len(found) > 1:
        listed = ", ".join(record.lab for record in found)
        raise _fail(command, f"several labs are up ({listed}); say which with --name")
    return found[0]


@app.command()
def up(
    topology: Annotated[str, typer.Argument(help="A topology file, or the name of one that is shipped.")] = "default",
    name: Annotated[str, typer.Option("--name", "-n", help="The lab's name; the topology's own if not given.")] = "",
    control_plane: Annotated[
        Kind, typer.Option("--control-plane", help="Its own small API server, or Kubernetes' programs, with RBAC.")
    ] = "embedded",
) -> None:
    """Build a lab and leave it running in the background.

    Prints its progress, then the path of a kubeconfig:

    \b
        export KUBECONFIG=$(sallyport lab up)
        kubectl get nodes

    Shipped topologies: default (3 nodes, both families), seed (6 nodes), ipv4, ipv6, two-nodes, and networks (two
    external networks with the same addresses, behind BGP routers). Several labs can be up at once under different
    names. `--control-plane kubernetes` needs what `make kube-assets` builds. Exit status: 0 up, 1 it failed to come
    up, 2 nothing was tried.
    """
    from sallyport.lab.controlplane.assets import find as find_programs
    from sallyport.lab.topology_file import TopologyError, find, parse

    try:
        text, source = find(topology)
        parsed = parse(text, source)
        require(*TOOLS, *(("openssl",) if control_plane == "kubernetes" else ()))
        if control_plane == "kubernetes":
            find_programs()
    except (TopologyError, DriverError, OSError) as error:
        raise _fail("up", str(error)) from None
    lab = name or parsed.name
    if not NAME.fullmatch(lab):
        raise _fail("up", f"{lab!r} cannot be a lab's name: at most 16 of a-z, 0-9 and, not at its ends, -")
    record = Record(lab)
    if record.directory.exists():
        raise _fail("up", f"lab {lab} is there already; `sallyport lab down --name {lab}` removes it")
    if namespaces.existing(names.prefix(lab)):
        raise _fail("up", f"namespaces beginning with {names.prefix(lab)} are there already, and no lab is recorded")
    record.create(control_plane)
    record.topology.write_text(text)
    _start_supervisor(record)
    if not _show_progress(record):
        raise typer.Exit(1)
    typer.echo(record.kubeconfig)


def _start_supervisor(record: Record) -> None:
    output = record.log("supervisor")
    with output.open("ab") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", "sallyport.lab.supervisor", str(record.directory)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            cwd="/",
        )
    record.note("supervisor", child.pid)


def _show_progress(record: Record) -> bool:
    """Follow the supervisor's progress to its end on standard error; whether the lab is up."""
    began, shown = time.monotonic(), 0
    child = record.child("supervisor")
    while True:
        alive = child is not None and child.alive
        lines = record.progress.read_text().splitlines() if record.progress.exists() else []
        for line in lines[shown:]:
            typer.echo(f"{time.monotonic() - began:5.1f} s  {line}", err=True)
        shown = len(lines)
        if lines and lines[-1] == "ready":
            return True
        if lines and lines[-1].startswith("failed: "):
            typer.echo(f"logs are in {record.directory / 'logs'}; `sallyport lab down` removes what was made", err=True)
            return False
        if not alive:
            typer.echo(f"the supervisor ended; its log is {record.log('supervisor')}", err=True)
            return False
        time.sleep(0.05)


@app.command()
def down(
    name: Name = "",
    everything: Annotated[bool, typer.Option("--all", help="Every lab of this machine.")] = False,
) -> None:
    """Remove a lab: exactly what `up` made, also after a crash. Removing what is not there is no error."""
    from sallyport.lab.supervisor import take_down

    try:
        require("ip")
        chosen = labs() if everything or not labs() else [_record("down", name)]
        for record in chosen:
            take_down(record)
            typer.echo(f"lab {record.lab} is gone", err=True)
    except DriverError as error:
        raise _fail("down", str(error)) from None


@app.command()
def status(name: Name = "") -> None:
    """Show the machines of a lab, which of its processes run, and the path of its kubeconfig."""
    from sallyport.lab.show import status_table

    typer.echo(status_table(_record("status", name)))


@app.command(name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def execute(
    where: Annotated[str, typer.Argument(help="A node, router or outside host, or a pod as NAMESPACE/NAME.")],
    command: Annotated[list[str], typer.Argument(help="Command and arguments, after --.")],
    name: Name = "",
) -> None:
    """Run a command on a machine or in a pod of the lab; its exit status is this command's.

    sallyport lab exec prod/web-1 -- python3 -m sallyport.lab.ask http 203.0.113.10
    sallyport lab exec node-1 -- ip rule
    """
    from sallyport.lab.controlplane.assets import with_kubectl

    record = _record("exec", name)
    parts = where.removeprefix("pod/").split("/")
    space = (
        names.namespace(record.lab, where) if len(parts) == 1 else names.pod_namespace(record.lab, (parts[0], parts[1]))
    )
    if space not in namespaces.existing(names.prefix(record.lab)):
        raise _fail("exec", f"{where} is no running machine or pod of lab {record.lab}; see `sallyport lab status`")
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    path = with_kubectl(path, record.kind)
    ip = shutil.which("ip", path=path) or "ip"
    argv = namespaces.command(space, command[1:] if command[0] == "--" else command)
    runtime = {"SALLYPORT_RUNTIME_DIR": str(record.runtime(where))} if len(parts) == 1 else {}
    os.execve(ip, argv, {**os.environ, **runtime, "PATH": path, "KUBECONFIG": str(record.inner_kubeconfig)})


@app.command(name="power-off")
def power_off(node: str, name: Name = "") -> None:
    """Pull the plug of a node: its links, processes and pods are gone at once, and so is all that its kernel held."""
    _ask("power-off", [node], name)


@app.command(name="power-on")
def power_on(node: str, name: Name = "") -> None:
    """Start a node again, with an empty kernel; its pods are run anew."""
    _ask("power-on", [node], name)


@app.command()
def cut(left: str, right: str, name: Name = "") -> None:
    """Let no frame pass between two machines on the subnets that join them; each still reaches all others."""
    _ask("cut", [left, right], name)


@app.command()
def heal(left: str, right: str, name: Name = "") -> None:
    """Undo a cut."""
    _ask("heal", [left, right], name)


@app.command()
def stop(
    router: str,
    kill: Annotated[bool, typer.Option("--kill", help="Unasked (SIGKILL): its kernel keeps what BGP told it.")] = False,
    name: Name = "",
) -> None:
    """End BGP on a router; its peers' sessions end with it. It still forwards packets by the routes of its kernel."""
    _ask("stop", [router], name, order="kill" if kill else "")


@app.command()
def start(router: str, name: Name = "") -> None:
    """Start BGP on a router again; it waits for nodes to peer with it."""
    _ask("start", [router], name)


def _ask(command: str, arguments: list[str], name: str, order: str = "") -> None:
    """Have the supervisor do what a command says, or an order of another name."""
    record = _record(command, name)
    request = {"do": order or command, "names": arguments}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(60)
            link.connect(str(record.socket))
            link.sendall(msgspec.json.encode(request) + b"\n")
            with link.makefile("rb") as file:
                answer = msgspec.json.decode(file.readline())
    except OSError as error:
        raise _fail(
            command, f"lab {record.lab} does not answer ({error.strerror}); `sallyport lab down` removes it"
        ) from None
    if answer["error"]:
        raise _fail(command, answer["error"])
