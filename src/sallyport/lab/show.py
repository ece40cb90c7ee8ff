"""A lab at a glance: its machines, its processes, its kubeconfig."""

import io

from rich.console import Console
from rich.table import Table

from sallyport.lab import names, namespaces
from sallyport.lab.controlplane.plane import processes
from sallyport.lab.record import Record
from sallyport.lab.router import ESTABLISHED, child, sessions
from sallyport.lab.topology import Bgp, Machine, NodeMachine, Router, Topology
from sallyport.lab.topology_file import parse


def status_table(record: Record) -> str:
    """Text for a terminal."""
    topology = parse(record.topology.read_text(), str(record.topology))
    alive = {child.name: child.pid for child in record.noted() if child.alive}
    spaces = set(namespaces.existing(names.prefix(record.lab)))
    table = Table(box=None, pad_edge=False, header_style="")
    for column in ("NAME", "ROLE", "STATE", "ADDRESSES", "PROCESS"):
        table.add_column(column, no_wrap=column not in ("ADDRESSES", "PROCESS"))
    for machine in topology.machines():
        up = names.namespace(record.lab, machine.name) in spaces
        table.add_row(
            machine.name,
            _role(topology, machine),
            "on" if up else "off",
            ", ".join(str(item.address) for item in machine.attachments),
            _process(record, topology, machine, alive),
        )
    pods = sorted(space for space in spaces if space.startswith(names.prefix(record.lab) + "pod."))
    text = io.StringIO()
    console = Console(file=text, width=160)
    state = "up" if "supervisor" in alive else "crashed: `sallyport lab down` removes it"
    console.print(f"lab {record.lab}: {state}, {len(pods)} pods", highlight=False)
    console.print(f"export KUBECONFIG={record.kubeconfig}", highlight=False, soft_wrap=True)
    console.print(table)
    return text.getvalue().rstrip()


def _role(topology: Topology, machine: Machine) -> str:
    if machine is topology.control:
        return "control plane"
    if isinstance(machine, NodeMachine):
        return "node"
    return "router" if machine in topology.routers else "outside host"


def _process(record: Record, topology: Topology, machine: Machine, alive: dict[str, int]) -> str:
    if machine is topology.control:
        wanted = [*processes(record.kind)]
    elif isinstance(machine, NodeMachine):
        wanted = [f"agent-{machine.name}"]
    elif machine in topology.hosts:
        wanted = [f"host-{machine.name}"]
    elif isinstance(machine, Router) and machine.bgp is not None:
        return f"{_running(child(machine.name), alive)}, {_sessions(record, machine.name, machine.bgp)}"
    else:
        return ""
    return ", ".join(_running(name, alive) for name in wanted)


def _running(name: str, alive: dict[str, int]) -> str:
    shown = name.split("-")[0] if name.startswith(("agent-", "host-", "bird-")) else name
    return f"{shown} {alive[name]}" if name in alive else f"{name} not running"


def _sessions(record: Record, router: str, bgp: Bgp) -> str:
    up = [item for item in sessions(record, router) if item.state == ESTABLISHED]
    return f"AS {bgp.asn}: " + (", ".join(item.neighbor for item in up) or "no session")
