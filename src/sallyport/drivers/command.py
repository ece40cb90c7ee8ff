"""Running `ip`, `bridge` and `nft` in this network namespace."""

import subprocess
from collections.abc import Sequence

import msgspec


class DriverError(Exception):
    """A tool is missing, may not act, or answered with something that cannot be read; one line."""


def run(argv: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """The finished command, whatever its exit status. `text` is its standard input."""
    try:
        return subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError as error:
        raise DriverError(f"{argv[0]} is not installed") from error


def query(argv: Sequence[str]) -> list[dict[str, object]]:
    """The JSON list that a command prints; empty for no output (iproute2 prints nothing where there is nothing)."""
    done = run(argv)
    if done.returncode != 0 and not done.stdout.strip():
        if "does not exist" in done.stderr or "No such" in done.stderr or "Cannot find device" in done.stderr:
            return []
        raise DriverError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return msgspec.json.decode(done.stdout, type=list[dict[str, object]]) if done.stdout.strip() else []


def batch(tool: str, lines: Sequence[str], *, forgiven: Sequence[str] = ()) -> list[str]:
    """Failures of a batch that goes on after each; those whose text contains one of `forgiven` are none."""
    if not lines:
        return []
    done = run([*tool.split(), "-force", "-batch", "-"], "\n".join(lines) + "\n")
    failures: list[str] = []
    message = ""
    for line in done.stderr.splitlines():
        if line.startswith("Command failed -:"):
            number = int(line.rpartition(":")[2])
            if not any(word in message for word in forgiven):
                failures.append(f"{tool} {lines[number - 1]}: {message or 'refused'}")
            message = ""
        else:
            message = line.strip()
    return failures
