"""`python -m sallyport.lab.forkserver`: starts Python processes by forking, in the network namespaces of a lab.

A process of ours spends most of a second of CPU on importing, and 50 nodes have 50 agents. So one process imports what
they need, and each of them begins as a copy of it. Then it runs what `python -m MODULE ARGUMENTS` would, as after
`ip netns exec`, and is in nothing else than its beginning another than that.

Requests come on standard input, a socket: a JSON line each, which is answered by one with the pid.
"""

import gc
import os
import runpy
import signal
import socket
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import msgspec

from sallyport.lab.namespaces import call, enter

PRELOADED = ("sallyport.cli.agent", "sallyport.cli.controller", "pydantic.type_adapter", "pydantic.fields")
"""What the processes of a lab need; the last ones are what typer reads options by."""
ROOM = 1024
"""Bytes that a command line may have."""
_ARGUMENTS = slice(45, 47)
"""Where /proc/PID/stat has the addresses at which the command line begins and ends: fields 48 and 49 (proc(5)), of
which the first two are read off before."""
_CLONE_NEWNS, _MS_REC, _MS_SLAVE, _MNT_DETACH = 0x20000, 0x4000, 0x80000, 2


class Start(msgspec.Struct):
    """A process that is asked for: `python -m MODULE ARGUMENTS` in a namespace, its output added to a file."""

    module: str
    arguments: Sequence[str]
    namespace: str
    output: str
    env: dict[str, str]


class Started(msgspec.Struct):
    """Its pid, or why there is none."""

    pid: int = 0
    error: str = ""


def command() -> list[str]:
    """The command line of the server. Its last argument makes room for the command lines of its copies."""
    return [sys.executable, "-m", __spec__.name, "." * ROOM]


def main() -> None:
    """Serve until nobody asks any more; what was started goes on. In a copy: run what it was made for."""
    for name in PRELOADED:
        import_module(name)
    gc.collect()
    gc.freeze()  # what the collector never looks at stays shared between all copies
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here: the supervisor watches their pids
    if (start := _serve()) is not None:
        _settle(start)
        runpy.run_module(start.module, run_name="__main__", alter_sys=True)


def _serve() -> Start | None:
    """In a copy, what it is to be."""
    with socket.socket(fileno=0) as link, link.makefile("rb") as lines:
        for line in lines:
            start = msgspec.json.decode(line, type=Start)
            try:
                pid = os.fork()
            except OSError as error:
                answer = Started(error=f"{start.module}: {error.strerror}")
            else:
                if pid == 0:
                    return start
                answer = Started(pid)
            link.sendall(msgspec.json.encode(answer) + b"\n")
    return None


def _settle(start: Start) -> None:
    """Have what a process has that was begun anew."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(start.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for source, place in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, place)
        os.set_inheritable(place, True)  # as well where it was that already
    os.close(output)
    os.environ.clear()
    os.environ.update(start.env)
    sys.argv = [start.module, *start.arguments]
    _call_itself([sys.executable, "-m", *sys.argv])
    enter(start.namespace)
    _see_devices(start.namespace)


def _call_itself(argv: Sequence[str]) -> None:
    """Have a command line in /proc, by which processes are told apart. It lies where that of the server was."""
    begin, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[_ARGUMENTS])
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(begin)
        memory.write("\0".join(argv).encode()[: end - begin - 1].ljust(end - begin, b"\0"))


def _see_devices(namespace: str) -> None:
    """Have the devices of this namespace in /sys, as `ip netns exec` arranges (ip-netns(8))."""
    call("unshare", _CLONE_NEWNS, about=namespace)
    call("mount", b"", b"/", b"none", _MS_SLAVE | _MS_REC, None, about=namespace)
    call("umount2", b"/sys", _MNT_DETACH, about=namespace)
    call("mount", namespace.encode(), b"/sys", b"sysfs", 0, None, about=namespace)


if __name__ == "__main__":
    main()
