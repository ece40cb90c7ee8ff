"""What a lab leaves on disk, so that any later command, also after a crash, knows exactly what belongs to it."""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["embedded", "kubernetes"]
"""Control planes: the lab's own small API server, and Kubernetes' real programs."""

BASE = Path("/run/sallyport-lab")
"""Gone with the machine's next start, as namespaces are."""

GRACE = 3.0
"""Seconds that a process has to end after SIGTERM."""


class Child(msgspec.Struct, frozen=True):
    """A process of ours. `started` (clock ticks since boot, proc(5) field 22) tells it from a later one of that pid."""

    pid: int
    started: int
    name: str = ""

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return started(self.pid) == self.started


def started(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is none, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


@dataclass(frozen=True, slots=True)
class Record:
    """The directory of one lab."""

    lab: str
    base: Path = BASE

    @property
    def directory(self) -> Path:
        """All of it."""
        return self.base / self.lab

    @property
    def topology(self) -> Path:
        """A copy of the topology file."""
        return self.directory / "topology.yaml"

    @property
    def kind(self) -> Kind:
        """Which control plane it has."""
        path = self.directory / "control-plane-kind"
        return "kubernetes" if path.exists() and path.read_text().strip() == "kubernetes" else "embedded"

    @property
    def kubeconfig(self) -> Path:
        """For whoever works on this machine."""
        return self.directory / "kubeconfig"

    @property
    def inner_kubeconfig(self) -> Path:
        """For processes inside of the lab."""
        return self.directory / "kubeconfig-inside"

    @property
    def progress(self) -> Path:
        """A line for each step of coming up; the last one is `ready` or begins with `failed: `."""
        return self.directory / "progress"

    @property
    def socket(self) -> Path:
        """Where the supervisor listens for the commands about a lab."""
        return self.directory / "supervisor.sock"

    @property
    def children(self) -> Path:
        """A file for each process of ours."""
        return self.directory / "children"

    @property
    def powered_off(self) -> Path:
        """A file for each node that is off."""
        return self.directory / "powered-off"

    @property
    def volumes(self) -> Path:
        """A directory for each pod that has volumes."""
        return self.directory / "volumes"

    def runtime(self, machine: str) -> Path:
        """A directory for the files of a machine's processes."""
        return self.directory / "run" / machine

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.directory / "logs" / f"{name}.log"

    def seen(self, host: str) -> Path:
        """What an outside host wrote of the requests that it saw, JSON lines."""
        return self.directory / "seen" / f"{host}.jsonl"

    def create(self, kind: Kind = "embedded") -> None:
        """Make the directories."""
        for path in (self.children, self.powered_off, self.directory / "logs", self.directory / "seen"):
            path.mkdir(parents=True, exist_ok=True)
        (self.directory / "control-plane-kind").write_text(kind + "\n")

    def note(self, name: str, pid: int) -> Child:
        """Remember a process of ours."""
        child = Child(pid=pid, started=started(pid) or 0, name=name)
        part = self.children / f".{name}"
        part.write_bytes(msgspec.json.encode(child))
        part.replace(self.children / name)
        return child

    def noted(self) -> list[Child]:
        """All processes that were noted, living or not."""
        if not self.children.is_dir():
            return []
        files = sorted(path for path in self.children.iterdir() if not path.name.startswith("."))
        return [msgspec.json.decode(path.read_bytes(), type=Child) for path in files]

    def child(self, name: str) -> Child | None:
        """The process of that name, if it lives."""
        return next((item for item in self.noted() if item.name == name and item.alive), None)

    def erase(self) -> None:
        """Remove the directory, and the one of all labs with the last of them."""
        shutil.rmtree(self.directory, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.base.rmdir()


def labs(base: Path = BASE) -> list[Record]:
    """Every lab that is recorded on this machine."""
    return [Record(path.name, base) for path in sorted(base.iterdir()) if path.is_dir()] if base.is_dir() else []


def end(children: Iterable[Child]) -> None:
    """SIGTERM, and SIGKILL for those that are still there after the grace time. Only the very processes given."""
    left = [item for item in children if item.alive]
    for item in left:
        _signal(item, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while (left := [item for item in left if item.alive]) and time.monotonic() < deadline:
        time.sleep(0.02)
    for item in left:
        _signal(item, signal.SIGKILL)


def _signal(child: Child, number: int) -> None:
    try:
        os.kill(child.pid, number)
        if number == signal.SIGTERM:
            os.kill(child.pid, signal.SIGCONT)  # a process that was stopped hears it only when it goes on
    except ProcessLookupError:
        return
