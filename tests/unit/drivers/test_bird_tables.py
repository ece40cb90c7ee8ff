"""What becomes of kernel tables that BIRD has left."""

from collections.abc import Iterator, Sequence
from subprocess import CompletedProcess

import pytest

from sallyport.drivers import bird

FLUSH = "ip -4 route flush table 500 proto 12"


def flushed(monkeypatch: pytest.MonkeyPatch, *errors: str) -> tuple[list[str], list[str]]:
    """Failures told, and IPv4 commands run, where ip says these one after the other, and then nothing."""
    said: Iterator[str] = iter(errors)
    commands: list[str] = []

    def run(argv: Sequence[str]) -> CompletedProcess[str]:
        if "-6" in argv:
            return CompletedProcess(argv, 0, "", "")
        commands.append(" ".join(argv))
        error = next(said, "")
        return CompletedProcess(argv, 2 if error else 0, "", error)

    monkeypatch.setattr(bird, "run", run)
    return bird._flush([500]), commands


def test_a_table_is_emptied_although_bird_takes_routes_out_of_it_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """ip ends its work at the first route that is gone already, and leaves all others."""
    gone = "Failed to send flush request: No such process\nFlush terminated"
    assert flushed(monkeypatch, gone, gone) == ([], [FLUSH] * 3)


def test_a_table_that_was_never_filled_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert flushed(monkeypatch, "Error: ipv4: FIB table does not exist.") == ([], [FLUSH])


def test_a_table_that_cannot_be_emptied_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    failures, commands = flushed(monkeypatch, "Operation not permitted")
    assert failures == ["ip route flush table 500: Operation not permitted"]
    assert commands == [FLUSH]
