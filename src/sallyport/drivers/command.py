"""Running `ip`, `bridge` and `nft` in this network namespace."""

import subprocess
from collections.abc import Sequence
from typing import Any

import msgspec

Objects = list[dict[str, Any]]
"""What iproute2 prints with `-json`."""

GONE = (
    "Cannot find device",
    "No such",
    "does not exist",
    "ddress not found",
    "Cannot assign requested address",
    "Address family not supported",
)
"""What the tools say of something that is not there, be it IPv6 itself."""

_LAST_LINE = "end"
"""No command of any tool, so it fails in every batch that got as far as its last line."""


class DriverError(Exception):
    """A tool is missing, may not act, or answered with something that cannot be read; one line."""


def run(argv: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """The finished command, whatever its exit status. `text` is its standard input."""
    try:
        return subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError as error:
        raise DriverError(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise DriverError(f"{argv[0]} does not end") from error


def query(argv: Sequence[str]) -> Objects:
    """The JSON list that a command prints; empty for no output (iproute2 prints nothing where there is nothing)."""
    done = run(argv)
    if done.returncode != 0 and not done.stdout.strip():
        if any(word in done.stderr for word in GONE):
            return []
        raise DriverError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return msgspec.json.decode(done.stdout, type=Objects) if done.stdout.strip() else []


def queries(tool: str, lines: Sequence[str]) -> list[Objects]:
    """The JSON list that each of `lines` prints, from one run of the tool, whose start takes longer than the answer.
    A line about something that has just gone has none."""
    if not lines:
        return []
    done = run([*tool.split(), "-json", "-force", "-batch", "-"], "\n".join(lines) + "\n")
    failed = _failed(done.stderr)
    printed = iter(done.stdout.splitlines())
    answers = ["[]" if number in failed else next(printed, "") for number in range(1, len(lines) + 1)]
    wrong = [message for message in failed.values() if not any(word in message for word in GONE)]
    if wrong or "" in answers:
        raise DriverError(f"{tool} {'; '.join(lines)}: {done.stderr.strip() or 'no answer'}")
    return [msgspec.json.decode(answer, type=Objects) for answer in answers]


def batch(tool: str, lines: Sequence[str], *, forgiven: Sequence[str] = ()) -> list[str]:
    """Failures of a batch that goes on after each; those whose text contains one of `forgiven` are none.

    A line that cannot be parsed ends the tool at once and untold. What came before it is then done again along with
    the rest, in halves, until the line is found: every line that we write may be repeated.
    """
    if not lines:
        return []
    done = run([*tool.split(), "-force", "-batch", "-"], "\n".join([*lines, _LAST_LINE]) + "\n")
    failed = _failed(done.stderr)
    if len(lines) + 1 in failed:
        return [
            f"{tool} {lines[number - 1]}: {message or 'refused'}"
            for number, message in failed.items()
            if number <= len(lines) and not any(word in message for word in forgiven)
        ]
    if len(lines) == 1:
        return [f"{tool} {lines[0]}: {done.stderr.strip() or 'cannot be parsed'}"]
    middle = len(lines) // 2
    return batch(tool, lines[:middle], forgiven=forgiven) + batch(tool, lines[middle:], forgiven=forgiven)


def _failed(errors: str) -> dict[int, str]:
    """What was said about each line that failed, by its number from 1."""
    failed: dict[int, str] = {}
    message = ""
    for line in errors.splitlines():
        if line.startswith("Command failed -:"):
            failed[int(line.rpartition(":")[2])] = message
            message = ""
        elif line.strip():
            message = line.strip()
    return failed
