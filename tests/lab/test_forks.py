"""Processes of a lab that begin as copies of one: they are what `ip netns exec NAME python -m` starts."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sallyport.drivers.command import batch
from sallyport.lab import namespaces
from sallyport.lab.children import Running
from sallyport.lab.forks import Forks

pytestmark = [pytest.mark.lab, pytest.mark.root]

PROBE = """
import json, os, signal, sys
files = {number: os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)}
told = {
    "argv": sys.argv[1:],
    "command line": open("/proc/self/cmdline").read().rstrip("\\0").split("\\0"),
    "files": files,
    "open": len(os.listdir("/proc/self/fd")),
    "inherited": [os.get_inheritable(number) for number in files],
    "environment": {key: os.environ.get(key) for key in ("COLOUR", "HOME", "PATH")},
    "namespace": os.stat("/proc/self/ns/net").st_ino,
    "devices": os.listdir("/sys/class/net"),
    "leads": os.getsid(0) == os.getpid(),
    "children": str(signal.getsignal(signal.SIGCHLD)),
    "interrupted": str(signal.getsignal(signal.SIGINT)),
    "name": __name__,
    "directory": os.getcwd(),
}
print(json.dumps(told), flush=True)
if "stay" in sys.argv:
    signal.pause()
if "fall" in sys.argv:
    raise RuntimeError("it fell")
"""
"""What a process sees of itself."""


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A namespace, and the module `probe`."""
    name = f"spf-{os.getpid()}"
    (tmp_path / "probe.py").write_text(PROBE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert batch("ip", [f"netns add {name}"]) == []
    yield name
    namespaces.destroy([name])


async def spawned(forks: Forks, space: str, output: Path, *arguments: str) -> Running:
    return await forks.spawn("probe", arguments, space, output, {"COLOUR": "red"})


def forks_in(folder: Path) -> Forks:
    return Forks(folder / "forkserver.log", lambda name, pid: None)


def test_a_copy_sees_of_itself_what_a_process_sees_that_was_begun_anew(space: str, tmp_path: Path) -> None:
    output = tmp_path / "output"

    async def forked() -> None:
        forks = forks_in(tmp_path)
        await (await spawned(forks, space, output, "a", "b c")).wait()
        await forks.stop()

    asyncio.run(forked())
    with output.open("ab") as file:
        argv = namespaces.command(space, [sys.executable, "-m", "probe", "a", "b c"])
        env = namespaces.environment({"COLOUR": "red"})
        null = subprocess.DEVNULL
        subprocess.run(argv, check=True, stdin=null, stdout=file, stderr=file, env=env, start_new_session=True)
    copy, anew = map(json.loads, output.read_text().splitlines())
    assert copy == anew
    assert copy["command line"][1:] == ["-m", "probe", "a", "b c"]


def test_a_copy_is_ended_by_a_signal_and_its_end_is_heard(space: str, tmp_path: Path) -> None:
    async def ended() -> None:
        forks = forks_in(tmp_path)
        child = await spawned(forks, space, tmp_path / "output", "stay")
        assert child.returncode is None
        child.send_signal(signal.SIGKILL)
        await asyncio.wait_for(child.wait(), 5)
        assert child.returncode is not None
        child.send_signal(signal.SIGKILL)  # of which nobody hears
        await forks.stop()

    asyncio.run(ended())


def test_what_is_asked_for_after_the_server_was_killed_is_started_by_another(space: str, tmp_path: Path) -> None:
    async def survived() -> None:
        pids: list[int] = []
        forks = Forks(tmp_path / "forkserver.log", lambda name, pid: pids.append(pid))
        first = await spawned(forks, space, tmp_path / "first", "stay")
        os.kill(pids[0], signal.SIGKILL)
        await (await spawned(forks, space, tmp_path / "second")).wait()
        assert len(pids) == 2
        assert first.returncode is None
        first.send_signal(signal.SIGKILL)
        await first.wait()
        await forks.stop()

    asyncio.run(survived())
    assert "argv" in (tmp_path / "second").read_text()


def test_a_copy_that_fails_says_why_and_ends_alone(space: str, tmp_path: Path) -> None:
    async def failed() -> None:
        forks = forks_in(tmp_path)
        await asyncio.wait_for((await spawned(forks, space, tmp_path / "output", "fall")).wait(), 5)
        await asyncio.wait_for((await spawned(forks, space, tmp_path / "next")).wait(), 5)
        await forks.stop()

    asyncio.run(failed())
    assert "RuntimeError: it fell" in (tmp_path / "output").read_text()
    assert "argv" in (tmp_path / "next").read_text()
