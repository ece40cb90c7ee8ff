"""`check node` as it is typed and printed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sallyport.cli import node
from sallyport.cli.main import build
from sallyport.drivers.command import DriverError
from sallyport.model.fitness import Finding, Outcome, Programmed, Severity, Surroundings, Tool, Trial, Uplink

SEEN = Surroundings(
    tools=(Tool("ip", "iproute2", "6.1.0"), Tool("nft", "nftables")),
    uplinks={4: Uplink("eth0", 1500)},
    programmed=Programmed(0.4, ("d",), ("d",), 21, configured=True, answering=True),
)
OUTCOMES = [
    Outcome(Trial("nftables", "everything", "NF_TABLES"), True),
    Outcome(Trial("marks", "steering", "NF_TABLES"), False, "refused"),
    Outcome(Trial("hashes", "clients spread over gateways", "NFT_HASH"), None, "not tried"),
]
PROBLEM = Finding(Severity.PROBLEM, "nft", "it is not installed", "install nftables")
WARNING = Finding(Severity.WARNING, "clock", "nobody keeps it in step", "run chrony")


def run(monkeypatch: pytest.MonkeyPatch, findings: tuple[Finding, ...], *options: str) -> Result:
    """The command on a node of which that is found."""
    monkeypatch.setattr(node, "require", lambda *tools: None)
    monkeypatch.setattr(node, "look", lambda *arguments: SEEN)
    monkeypatch.setattr(node, "attempt", lambda *arguments: OUTCOMES)
    monkeypatch.setattr(node, "judge", lambda *arguments: findings)
    return CliRunner().invoke(build("check"), ["check", "node", *options])


def test_problems_come_first_and_everything_is_shown() -> None:
    text = "\n".join(node.lines((PROBLEM, WARNING), OUTCOMES, SEEN))
    assert text == (
        "1 problem, 1 warning\n\n"
        "nft: it is not installed\n    install nftables\n\n"
        "warning: clock: nobody keeps it in step\n    run chrony\n\n"
        "KERNEL    WORKS      FOR\n"
        "nftables  yes        everything\n"
        "marks     no         steering\n"
        "hashes    not tried  clients spread over gateways\n\n"
        "TOOL  VERSION  PACKAGE\nip    6.1.0    iproute2\nnft   -        nftables\n\n"
        "UPLINK  DEVICE  MTU\nIPv4    eth0    1500\n\n"
        "AGENT    RENEWED  OBJECTS  BIRD\nrunning  0 s ago  21       running"
    )


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, "absent  -        -        -"),
        (replace(SEEN.programmed or Programmed(), renewed=None), "silent  -        21       running"),
        (Programmed(objects=3, configured=True), "silent  -        3        down"),
        (Programmed(objects=3), "silent  -        3        -"),
    ],
)
def test_an_agent_is_running_silent_or_absent(found: Programmed | None, told: str) -> None:
    assert list(node.lines((), [], replace(SEEN, programmed=found)))[-1] == told


@pytest.mark.parametrize(("findings", "status"), [((), 0), ((WARNING,), 0), ((PROBLEM, WARNING), 1)])
def test_the_exit_status_goes_by_problems(
    monkeypatch: pytest.MonkeyPatch, findings: tuple[Finding, ...], status: int
) -> None:
    done = run(monkeypatch, findings, "-o", "json")
    assert done.exit_code == status
    document = json.loads(done.output)
    assert [item["subject"] for item in document["findings"]] == [item.subject for item in findings]
    assert document["agent"]["objects"] == 21


def test_what_cannot_be_told_is_one_line_and_another_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*tools: str) -> None:
        raise DriverError("must run as root")

    monkeypatch.setattr(node, "require", refuse)
    done = CliRunner().invoke(build("check"), ["check", "node"])
    assert (done.exit_code, done.output) == (2, "sallyport check node: must run as root\n")


def test_a_file_called_node_is_checked_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "node").write_text("kind: Thing\napiVersion: v1\nmetadata: {name: a}\n")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(build("check"), ["check", "./node"])
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "0 objects: 0 refusals, 0 warnings")
