"""The walk-throughs of docs/ are typed as they stand, and print what they say.

A block ```console has commands, each a line that begins with `$ ` (and goes on after a line that ends with a
backslash), and below each what it prints. In that, `…` stands for anything, alone on a line for any number of lines;
ages, times and the width of gaps may be others. The lab has a name of its own while it is tested, and the control plane
that the test asks for.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.lab.labs import chosen_kind, demand_programs, demand_tools

from sallyport.drivers.command import DriverError
from sallyport.drivers.requirements import require
from sallyport.lab.controlplane.assets import KUBERNETES
from sallyport.lab.record import Record
from sallyport.lab.supervisor import take_down

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted((ROOT / "docs").glob("walkthrough-*.md"))
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_UP = re.compile(r"\bsallyport lab up ([\w-]+)")
_TIME = r"\d+(?:\.\d+)? ?(?:ms|s|m|h)(?:\d+s)?"
_VARIES = re.compile(rf"(…|\b{_TIME}\b)")
_END = "-- end of"
LONGEST = 240
"""Seconds for a whole page: twenty will do on a machine that has nothing else to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command and what it prints, as the document says; `line` is where it stands."""

    line: int
    command: str
    output: str


def steps_of(text: str) -> list[Step]:
    """The commands of a document, in order."""
    found: list[Step] = []
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1)) + 1
        parts = re.split(r"^\$ ((?:.*\\\n)*.*)\n", block[1], flags=re.MULTILINE)
        assert not parts[0], f"line {line}: a block begins with a command"
        line += parts[0].count("\n")
        for command, output in zip(parts[1::2], parts[2::2], strict=True):
            found.append(Step(line, command, output))
            line += command.count("\n") + 1 + output.count("\n")
    return found


def fits(told: str, printed: str) -> bool:
    """Whether a document's output is what was printed."""
    lines = []
    for line in told.splitlines():
        if line.strip() == "…":
            lines.append(r"(?:.*\n)*")
            continue
        parts = _VARIES.split(" ".join(line.split()))  # every second one varies
        parts[::2] = map(re.escape, parts[::2])
        parts[1::2] = (".*" if part == "…" else _TIME for part in parts[1::2])
        lines.append("".join(parts) + r"\n")
    squeezed = "".join(f"{' '.join(line.split())}\n" for line in printed.splitlines())
    return re.fullmatch("".join(lines), squeezed) is not None


def typed(steps: list[Step], lab: str) -> list[str]:
    """What each of the commands prints, typed into one shell."""
    script = ["set +e", "exec 2>&1 </dev/null"]
    for number, step in enumerate(steps):
        command = _UP.sub(rf"sallyport lab up \1 --name {lab} --control-plane {chosen_kind()}", step.command)
        script += [command, f"echo '{_END} {number}'"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "SALLYPORT_LAB": lab}
    try:
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=ROOT,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=LONGEST,
        )
    finally:
        take_down(Record(lab))
    outputs = re.split(rf"^{_END} \d+\n", done.stdout, flags=re.MULTILINE)
    return outputs[: len(steps)]


def named_for(text: str) -> str:
    """The lab that a document makes."""
    return str(_UP.findall(text)[0])


def as_told(output: str, lab: str, name: str) -> str:
    """What was printed, with the lab's name and its API server as the document has them."""
    return output.replace(f"lab {lab}", f"lab {name}").replace(f"  Kubernetes {KUBERNETES}\n", "  API server\n")


@pytest.mark.lab
@pytest.mark.root
@pytest.mark.timeout(LONGEST + 60)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_command_of_a_walk_through_prints_what_it_says(document: Path) -> None:
    demand_tools()
    if chosen_kind() == "kubernetes":
        demand_programs()
    try:
        require("curl")
    except DriverError as error:
        pytest.skip(f"a walk-through cannot be typed: {error}")
    text = document.read_text()
    steps, lab = steps_of(text), f"t{os.getpid()}w"
    outputs = [as_told(output, lab, named_for(text)) for output in typed(steps, lab)]
    wrong = [
        f"{document.name}:{step.line}: $ {step.command}\n--- says\n{step.output}--- prints\n{output}"
        for step, output in zip(steps, outputs, strict=True)
        if not fits(step.output, output)
    ]
    assert not wrong, "\n".join(wrong)


def test_what_a_document_tells_is_compared_with_what_is_printed() -> None:
    told = "NAME   AGE\nred    1s\n  0.8 s  ready\n…\nlast …\n"
    assert fits(told, "NAME AGE\nred  1m5s\n 12.0 s  ready\nlast one\n")
    assert fits(told, "NAME AGE\nred  20s\n  0.1 s  ready\nbetween\nagain\nlast line of all\n")
    assert not fits(told, "NAME AGE\nblue 1s\n  0.8 s  ready\nlast one\n")
    assert not fits(told, "NAME AGE\nred  old\n  0.8 s  ready\nlast one\n")
    assert not fits(told, "NAME AGE\nred  1s\n  0.8 s  ready\nlast one\nand more\n")


def test_commands_and_their_output_are_found_with_their_lines() -> None:
    text = "text\n```console\n$ one \\\n  two\nout\n$ three\n```\n\n```console\n$ four\n…\n```\n"
    assert steps_of(text) == [Step(3, "one \\\n  two", "out\n"), Step(6, "three", ""), Step(10, "four", "…\n")]
