"""`.ci/run` with a make that only pretends: its steps, its exit status, and that nothing goes on after it."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RUN = Path(__file__).parents[3] / ".ci" / "run"
Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts it with a make that writes its arguments to the file `made`, and then does what is given."""

    def started(does: str) -> "subprocess.Popen[str]":
        make = tmp_path / "make"
        make.write_text(f'#!/bin/bash\necho "$*" >>{tmp_path}/made\n{does}\n')
        make.chmod(0o755)
        env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.Popen(["bash", RUN], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    return started


def made(tmp_path: Path) -> list[str]:
    """What make was called with."""
    path = tmp_path / "made"
    return path.read_text().splitlines() if path.exists() else []


def test_it_builds_kubernetes_and_tests_on_both_control_planes(start: Start, tmp_path: Path) -> None:
    child = start('echo "labs $LABS alone $ALONE"')
    output = child.communicate(timeout=20)[0].splitlines()
    assert child.returncode == 0
    assert made(tmp_path) == ["kube-assets", "test REAL=all"]
    assert "labs 2 alone 1" in output
    told = [line.partition(": ")[2] for line in output if line.startswith("== ")]
    assert told == [*(f"make {step}" for step in made(tmp_path)), "done"]


def test_the_first_step_that_fails_ends_it_with_its_status(start: Start, tmp_path: Path) -> None:
    child = start("exit 7")
    output = child.communicate(timeout=20)[0]
    assert child.returncode == 7
    assert made(tmp_path) == ["kube-assets"]
    assert output.splitlines()[-1].endswith(": failed with exit status 7: make kube-assets")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_tells_all_that_it_started_and_waits_for_them(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    """A child of make gets SIGINT, as from a terminal, and has the time to take its labs down."""
    inner, up, down = tmp_path / "inner", tmp_path / "up", tmp_path / "down"
    inner.write_text(f"trap 'sleep 0.2; touch {down}; exit 1' INT\necho $$ >{up}\nwhile :; do sleep 0.1; done\n")
    os.mkfifo(up)  # reading it waits until the child runs
    child = start(f"bash {inner}")
    pid = up.read_text().strip()
    child.send_signal(number)
    child.communicate(timeout=20)
    assert child.returncode == 143
    assert down.exists()
    assert not Path("/proc", pid).exists()
    assert made(tmp_path) == ["kube-assets"]
