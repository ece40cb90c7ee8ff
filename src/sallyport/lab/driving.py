"""Driving a lab from a program, as its users do: the command line, kubectl, requests from pods, captures on wires."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sallyport.drivers.command import DriverError
from sallyport.lab import names, namespaces
from sallyport.lab.ask import PORTS, Seen, ask_http, ask_tcp, ask_udp, request
from sallyport.lab.controlplane.assets import with_kubectl
from sallyport.lab.record import Kind, Record
from sallyport.lab.topology import Machine, Topology
from sallyport.lab.topology_file import parse


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: which source the outside host saw (port too), or the error; `seconds` it took."""

    source: str = ""
    port: int = 0
    error: str = ""
    seconds: float = 0.0
    time: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame: the MAC that sent it, and its addresses and ports."""

    mac: str
    source: str
    destination: str
    port: int


class Lab:
    """A lab that runs. `name` is its name; `topology` what it was built from."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.record = Record(name)
        self.topology: Topology = parse(self.record.topology.read_text(), str(self.record.topology))

    @classmethod
    def up(
        cls, topology: str, name: str, tell: Callable[[str], object] = lambda _: None, *, kind: Kind = "embedded"
    ) -> "Lab":
        """Build one and wait until it is ready; `tell` gets each line of its progress. DriverError when it fails."""
        argv = [sys.executable, "-m", "sallyport.cli", "lab", "up", topology, "--name", name, "--control-plane", kind]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
            lines = []
            for line in child.stderr or ():
                lines.append(line.rstrip())
                tell(lines[-1])
        if child.returncode != 0:
            raise DriverError(f"lab {name} did not come up: {'; '.join(lines[-3:])}")
        return cls(name)

    def down(self) -> None:
        """Remove it."""
        self.sallyport("lab", "down", "--name", self.name)

    def sallyport(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The command line, with this lab's kubeconfig. DriverError when it fails and `check` is set."""
        return self._run([sys.executable, "-m", "sallyport.cli", *arguments], check=check)

    def kubectl(self, *arguments: str, text: str = "", check: bool = True) -> str:
        """What kubectl prints. DriverError when it fails and `check` is set."""
        done = self._run(["kubectl", *arguments], text=text, check=check)
        return done.stdout if check else done.stdout + done.stderr

    def objects(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """Objects as kubectl prints them in JSON."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, "-o", "json", *arguments))
        return list(found["items"]) if "items" in found else [found]

    def _run(self, argv: Sequence[str], text: str = "", *, check: bool) -> subprocess.CompletedProcess[str]:
        path = with_kubectl(os.environ.get("PATH", os.defpath), self.record.kind)
        env = {**os.environ, "PATH": path, "KUBECONFIG": str(self.record.kubeconfig)}
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, env=env, timeout=120)
        if check and done.returncode != 0:
            raise DriverError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
        return done

    def space(self, where: str) -> str:
        """The network namespace of a machine, or of a pod given as NAMESPACE/NAME."""
        owner, slash, pod = where.partition("/")
        return names.pod_namespace(self.name, (owner, pod)) if slash else names.namespace(self.name, where)

    def command(self, where: str, *argv: str) -> list[str]:
        """The command line that runs something on a machine or in a pod."""
        return namespaces.command(self.space(where), argv)

    def execute(self, where: str, *argv: str, check: bool = True) -> str:
        """What a command prints on a machine or in a pod. DriverError when it fails and `check` is set."""
        return self._run(self.command(where, *argv), check=check).stdout

    def ask(self, pod: str, protocol: str, address: str, *, timeout: float = 2.0, port: int = 0) -> Asked:
        """One request from a pod (or machine) to an outside host, without a process of its own."""
        asks: dict[str, Callable[[str, int, float], Seen]] = {"http": ask_http, "tcp": ask_tcp, "udp": ask_udp}
        one = partial(asks[protocol], address, port or PORTS[protocol], timeout)
        return _asked(namespaces.inside(self.space(pod), partial(request, one)))

    def asking(
        self,
        pod: str,
        protocol: str,
        address: str,
        *,
        timeout: float = 2.0,
        port: int = 0,
        count: int = 1,
        interval: float = 0.0,
    ) -> list[Asked]:
        """`count` requests, one after the other, `interval` seconds apart."""
        with self.asker(pod, protocol, address, timeout=timeout, port=port, count=count, interval=interval) as child:
            return list(answers(child))

    def asker(
        self,
        pod: str,
        protocol: str,
        address: str,
        *,
        timeout: float = 2.0,
        port: int = 0,
        count: int = 1,
        interval: float = 0.0,
    ) -> "subprocess.Popen[str]":
        """The process that makes the requests; its lines are read by `answers`."""
        argv = [sys.executable, "-m", "sallyport.lab.ask", protocol, address, "--timeout", str(timeout)]
        argv += ["--count", str(count), "--interval", str(interval)]
        argv += ["--port", str(port)] if port else []
        return subprocess.Popen(self.command(pod, *argv), stdout=subprocess.PIPE, text=True)

    def node_macs(self) -> dict[str, str]:
        """Nodes by the MAC of their uplink."""
        return {names.mac(node.name, "eth0"): node.name for node in self.topology.nodes}

    @contextlib.contextmanager
    def capture(self, machine: str, expression: str, device: str = "eth0", marker: str = "") -> Iterator["Capture"]:
        """Frames that arrive at a machine and match a tcpdump expression, from here to the end of the block.

        `marker` is a machine whose datagrams come in there; the control plane if not given.
        """
        # -e shows MACs, -Q in leaves out what the machine itself sends, --immediate-mode does not wait for more.
        argv = ["tcpdump", "-e", "-n", "-l", "-s", "128", "-B", "4096", "--immediate-mode", "-Q", "in", "-i", device]
        argv.append(f"({expression}) or (udp dst port {MARKER_PORT})")
        child = subprocess.Popen(
            self.command(machine, *argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert child.stderr is not None
        for line in child.stderr:
            if "listening on" in line:
                break
        found = self.topology.machine(machine) or self.topology.control
        capture = Capture(child, partial(self._mark, found))
        try:
            yield capture
            capture.settle()
        finally:
            capture.close()

    def _mark(self, machine: Machine, number: int) -> None:
        """Send a datagram of `number` bytes that ends up in the captures of that machine, from a neighbour of its."""
        home = machine.attachments[0]
        address = str(home.address)
        near = [item for item in self.topology.machines() if home.subnet in item.subnets() and item != machine]

        def send() -> None:
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as link:
                link.sendto(bytes(number), (address, MARKER_PORT))

        namespaces.inside(self.space(near[0].name), send)


MARKER_PORT = 9
"""Discard (RFC 863): a datagram there marks the point up to which a capture was read."""
MARK_TRIES = 20
MARK_PATIENCE = 0.5
"""Seconds until another mark is made: one may be lost when a flood has filled tcpdump's buffer."""

_ADDRESS = r"(?:\d+(?:\.\d+){3}|[0-9a-f]*:[0-9a-f:]*[0-9a-f:])"
_LINE = re.compile(
    r"(?P<mac>[0-9a-f:]{17}) > \S+ ethertype IPv[46] \(\S+\), length \d+: "
    rf"(?P<source>{_ADDRESS})(\.(?P<port>\d+))? > (?P<destination>{_ADDRESS})(\.\d+)?: "
)


_MARK = re.compile(rf"\.{MARKER_PORT}: UDP, length (\d+)")
LONGEST_MARK = 1000
"""Marks are told apart by their length in bytes, which tcpdump prints."""


class Capture:
    """A running capture. `frames` are those read so far. `mark` makes a frame that shows how far that is."""

    def __init__(self, child: "subprocess.Popen[str]", mark: Callable[[int], None]) -> None:
        self.frames: list[Frame] = []
        self._child, self._mark = child, mark
        self._made, self._seen = 0, 0
        self._read = threading.Condition()
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()

    def _follow(self) -> None:
        """Read at once what there is: a tcpdump that waits for its reader loses frames."""
        for line in self._child.stdout or ():
            with self._read:
                if (mark := _MARK.search(line)) is not None:
                    self._seen = int(mark[1])
                    self._read.notify_all()
                elif f".{MARKER_PORT}: " in line:
                    continue  # a mark that tcpdump takes for another protocol by its source port; a next one follows
                elif (found := _LINE.search(line)) is not None:
                    port = int(found["port"] or 0)
                    self.frames.append(Frame(found["mac"], found["source"], found["destination"], port))

    def settle(self) -> list[Frame]:
        """All frames that arrived until now: read up to a mark that is made now. DriverError if none comes."""
        with self._read:
            mine: list[int] = []
            for _ in range(MARK_TRIES):
                self._made = self._made % LONGEST_MARK + 1
                mine.append(self._made)
                self._mark(self._made)
                if self._read.wait_for(lambda: self._seen in mine, MARK_PATIENCE):
                    break
            else:
                raise DriverError("a capture does not see its marks")
        return self.frames

    def close(self) -> None:
        """End it. DriverError if it has missed frames."""
        self._child.send_signal(signal.SIGINT)
        last = self._child.stderr.read() if self._child.stderr else ""
        self._child.wait()
        self._reader.join()
        for stream in (self._child.stdout, self._child.stderr):
            if stream is not None:
                stream.close()
        missed = re.search(r"(\d+) packets? dropped by kernel", last)
        if missed is None or missed[1] != "0":
            raise DriverError(f"a capture has missed frames: {last.strip()}")

    def sources(self, destination: str) -> set[str]:
        """Source addresses of the frames to a destination."""
        return {frame.source for frame in self.settle() if frame.destination == destination}


def answers(child: "subprocess.Popen[str]") -> Iterator[Asked]:
    """The requests of an `asker`, one by one as they are done."""
    assert child.stdout is not None
    for line in child.stdout:
        yield _asked(json.loads(line))


def _asked(fields: Mapping[str, Any]) -> Asked:
    return Asked(**{name: fields[name] for name in ("source", "port", "error", "seconds", "time") if name in fields})


def until(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> float:
    """Ask again and again until it holds, and return how many seconds that took. AssertionError after `seconds`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began
