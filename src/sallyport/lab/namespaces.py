"""Network namespaces and what is in them: made, entered and removed by name."""

import contextlib
import ctypes
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from sallyport.drivers.command import GONE, DriverError, batch, run
from sallyport.lab.wiring import Wiring

R = TypeVar("R")

RUN = Path("/run/netns")
_CLONE_NEWNET, _MS_BIND = 0x40000000, 0x1000


def existing(prefix: str) -> list[str]:
    """Names of the namespaces that begin with `prefix`."""
    return sorted(path.name for path in RUN.glob(f"{prefix}*")) if RUN.is_dir() else []


def build(wirings: Sequence[Wiring], done: Callable[[str], None] = lambda _: None) -> None:
    """Make namespaces and all that is in them. DriverError with the first command that failed."""
    _must(batch("ip", [f"netns add {item.namespace}" for item in wirings]))
    for item in wirings:
        set_sysctls(item.namespace, item.sysctls)
    _build_within(wirings[0])
    for item in wirings[1:]:
        _must(_root_batch(item.links))
        _build_within(item)
        done(item.namespace)


def add(item: Wiring) -> None:
    """Make one more namespace, linked to those that exist."""
    _must(batch("ip", [f"netns add {item.namespace}"]))
    set_sysctls(item.namespace, item.sysctls)
    _must(_root_batch(item.links))
    _build_within(item)


def _root_batch(lines: Iterable[str]) -> list[str]:
    """Lines that may begin with `-n NAMESPACE`, which `ip -batch` takes as an option of the whole run only."""
    groups: dict[str, list[str]] = {}
    for line in lines:
        name, rest = line.split(" ", 2)[1:] if line.startswith("-n ") else ("", line)
        groups.setdefault(name, []).append(rest)
    return [failure for name, part in groups.items() for failure in batch(f"ip -n {name}" if name else "ip", part)]


def _build_within(item: Wiring) -> None:
    _must(batch(f"ip -n {item.namespace}", item.inside))
    if item.nft:
        nft(item.namespace, item.nft)


def nft(namespace: str, text: str) -> None:
    """Load nftables text in a namespace. DriverError when it is refused."""
    done = run(["ip", "netns", "exec", namespace, "nft", "-f", "-"], text)
    if done.returncode != 0:
        raise DriverError(f"nft in {namespace}: {done.stderr.strip()}")


def set_sysctls(namespace: str, values: Iterable[tuple[str, str]]) -> None:
    """Write settings below /proc/sys as a namespace sees it."""
    inside(namespace, partial(_write_sysctls, values))


def _write_sysctls(values: Iterable[tuple[str, str]]) -> None:
    for path, value in values:
        (Path("/proc/sys") / path).write_text(value)


def _must(failures: Sequence[str]) -> None:
    if failures:
        raise DriverError(failures[0])


def remove(names: Iterable[str]) -> None:
    """Delete namespaces; what is in them goes with them. One that is gone already is no error."""
    failures = batch("ip", [f"netns del {name}" for name in names], forgiven=("No such file", "Invalid argument"))
    _must(failures)


def destroy(names: Sequence[str]) -> None:
    """Delete namespaces after killing what runs in them, unasked."""
    for pid in members(names):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    remove(names)


def unplug(namespace: str, links: Iterable[str]) -> None:
    """Remove links with both of their ends; one that is gone already is no error. A deleted namespace takes its links
    along only some time later: not before the last socket in it has closed, which may go on sending."""
    _must(batch(f"ip -n {namespace}", [f"link del {link}" for link in links], forgiven=GONE))


def loopback() -> socket.socket:
    """A TCP socket on a free port of this machine's loopback."""
    return socket.create_server(("127.0.0.1", 0))


def members(names: Iterable[str]) -> dict[int, str]:
    """Processes whose network namespace is one of `names`, by pid, in one walk over /proc."""
    wanted = {path.stat().st_ino: name for name in names if (path := RUN / name).exists()}
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name = wanted.get((entry / "ns" / "net").stat().st_ino)
        except OSError:
            continue  # it ended meanwhile
        if name is not None:
            found[int(entry.name)] = name
    return found


def make(namespace: str, sysctls: Iterable[tuple[str, str]], work: Callable[[], R]) -> R:
    """Make a namespace where there are others already, and return the result of `work`, done by a thread in it. OSError
    where that is refused."""

    def made() -> R:
        _leave(namespace)
        _write_sysctls(sysctls)
        return work()

    return _apart(made)


def inside(namespace: str, work: Callable[[], R]) -> R:
    """The result of `work`, done by a thread of its own in a namespace; sockets that it opens stay there."""

    def entered() -> R:
        enter(namespace)
        return work()

    return _apart(entered)


def _apart(work: Callable[[], R]) -> R:
    """The result of `work`, done by a thread of its own: one that has changed its namespace is of no further use."""
    results: list[R] = []
    errors: list[BaseException] = []

    def done() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  (handed to the caller's thread below)
            errors.append(error)

    thread = threading.Thread(target=done)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def enter(namespace: str) -> None:
    """Move this thread, and what it starts. Python has os.setns from 3.12 on only."""
    descriptor = os.open(RUN / namespace, os.O_RDONLY)
    try:
        call("setns", descriptor, _CLONE_NEWNET, about=namespace)
    finally:
        os.close(descriptor)


def _leave(namespace: str) -> None:
    """Move this thread into a new namespace, and name it as `ip netns add` does. Python has os.unshare from 3.12 on
    only."""
    path = RUN / namespace
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0))
    call("unshare", _CLONE_NEWNET, about=namespace)
    call("mount", b"/proc/thread-self/ns/net", bytes(path), b"none", _MS_BIND, None, about=namespace)


def call(function: str, *arguments: bytes | int | None, about: str) -> None:
    """A function of libc that gives 0 when all is well. OSError about something when it does not."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), about)


def listening(namespace: str, port: int) -> socket.socket:
    """A TCP socket that listens on all addresses of a namespace, both families."""

    def opened() -> socket.socket:
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)

    return inside(namespace, opened)


def command(namespace: str, argv: Sequence[str]) -> list[str]:
    """The command line that runs `argv` in a namespace."""
    return ["ip", "netns", "exec", namespace, *argv]


def entering(namespace: str, argv: Sequence[str]) -> list[str]:
    """The same without mounts of its own, as for /sys. Each namespace that is made spreads to the mounts of all
    processes that have their own: with hundreds of these, that takes longer than all else."""
    return ["nsenter", f"--net={RUN / namespace}", *argv]


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with administrators' tools on the path, and more."""
    return {**os.environ, "PATH": os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin", **extra}
