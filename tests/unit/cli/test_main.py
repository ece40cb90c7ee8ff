"""The program as a whole: which commands it has, and that one of them is not kept waiting for the others."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from sallyport.cli.main import COMMANDS, build

ALL = [*COMMANDS, "lab"]


def names_of(program: typer.Typer) -> list[str]:
    """The commands that a program has."""
    groups = [group.name for group in program.registered_groups]
    return [str(name) for name in (*(item.name for item in program.registered_commands), *groups)]


def test_without_a_command_that_is_known_the_program_has_them_all() -> None:
    assert names_of(build()) == names_of(build("trac")) == names_of(build("--help")) == ALL


@pytest.mark.parametrize("name", ALL)
def test_a_command_alone_answers_as_it_does_among_all(name: str) -> None:
    alone, among = (CliRunner().invoke(program, [name, "--help"]) for program in (build(name), build()))
    assert names_of(build(name)) == [name]
    assert (alone.exit_code, alone.output) == (0, among.output)
    assert f"{name} [OPTIONS]" in alone.output


def test_a_command_does_not_import_what_others_need() -> None:
    program = "import sys; from sallyport.cli.main import build; build('lab'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    assert "sallyport.lab.commands" in modules
    assert [name for name in modules if name.startswith(("sallyport.processes", "sallyport.kube", "aiohttp"))] == []
