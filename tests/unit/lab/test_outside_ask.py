"""The small client that asks an outside host which source it sees."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sallyport.lab.ask import main, paced

Ports = dict[str, int]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """Where a host in a process of its own answers each protocol."""
    log = tmp_path_factory.mktemp("host") / "log"
    command = [sys.executable, "-m", "sallyport.lab.outside", "--log", str(log), "--http", "0", "--echo", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        known = json.loads(child.stdout.readline())
        yield {"http": known["http"][0], "tcp": known["tcp"], "udp": known["udp"]}
        child.send_signal(signal.SIGTERM)


@contextmanager
def stranger(answer: bytes) -> Iterator[int]:
    """The port of a server that sends the same to everyone, once it has heard something, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            link, _ = listening.accept()
            with link:
                if answer.startswith(b"HTTP"):
                    link.recv(1000)
                link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[dict[str, Any]]]:
    """Exit status and lines of a run."""
    status = main([str(item) for item in arguments])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("protocol", ["http", "tcp", "udp"])
def test_an_answer_is_told_with_the_source_that_was_seen(
    ports: Ports, capsys: pytest.CaptureFixture[str], protocol: str, address: str
) -> None:
    status, (line,) = ask(capsys, protocol, address, "--port", ports[protocol])
    assert status == 0
    assert (line["protocol"], line["to"], line["source"]) == (protocol, address, address)
    assert 0 < line["port"] < 65536
    assert line["seconds"] > 0


def test_each_request_has_a_line_and_a_connection_of_its_own(ports: Ports, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = ask(capsys, "tcp", "::1", "--port", ports["tcp"], "--count", 3, "--interval", 0)
    assert status == 0
    assert len({line["port"] for line in lines}) == 3


def test_a_held_connection_serves_all_requests(ports: Ports, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = ask(capsys, "tcp", "::1", "--port", ports["tcp"], "--count", 3, "--interval", 0, "--hold")
    assert status == 0
    assert len(lines) == 3
    assert len({line["port"] for line in lines}) == 1


def test_a_held_connection_that_fails_is_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with stranger(b"source 10.0.0.1 7\n") as port:
        status, (line,) = ask(capsys, "tcp", "127.0.0.1", "--port", port, "--count", 9, "--interval", 0, "--hold")
    assert status == 1
    assert line["error"] in ("closed by the other side", "Connection reset by peer", "Broken pipe")


@pytest.mark.parametrize(
    ("protocol", "answer", "error"),
    [
        ("http", b"HTTP/1.1 404 Not Found\r\n\r\n", "HTTP/1.1 404 Not Found"),
        ("http", b"HTTP/1.1 200 OK\r\n\r\n[1]", "not the answer of an outside host"),
        ("http", b"HTTP/1.1 200 OK\r\n\r\nhello", "not the answer of an outside host"),
        ("tcp", b"220 mail.example\n", "not the echo of an outside host"),
    ],
)
def test_the_answer_of_another_kind_of_server_is_an_error(
    capsys: pytest.CaptureFixture[str], protocol: str, answer: bytes, error: str
) -> None:
    with stranger(answer) as port:
        status, (line,) = ask(capsys, protocol, "127.0.0.1", "--port", port)
    assert (status, line["error"]) == (1, error)
    assert "source" not in line


@pytest.mark.parametrize("protocol", ["http", "tcp", "udp"])
def test_a_refused_request_is_told_and_the_next_one_is_made(capsys: pytest.CaptureFixture[str], protocol: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        if protocol == "udp":
            silent.close()
        status, lines = ask(capsys, protocol, "127.0.0.1", "--port", port, "--count", 2, "--interval", 0)
    assert (status, [line["error"] for line in lines]) == (1, ["Connection refused"] * 2)


@pytest.mark.parametrize("protocol", ["http", "tcp", "udp"])
def test_silence_is_an_error_after_the_timeout(capsys: pytest.CaptureFixture[str], protocol: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM) as silent:
        silent.bind(("127.0.0.1", 0))
        if protocol != "udp":
            silent.listen()
        status, (line,) = ask(capsys, protocol, "127.0.0.1", "--port", silent.getsockname()[1], "--timeout", 0.05)
    assert (status, line["error"]) == (1, "timed out")
    assert line["seconds"] >= 0.05


def test_only_tcp_connections_can_be_held(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["udp", "::1", "--hold"])
    assert caught.value.code == 2
    assert "--hold is for tcp" in capsys.readouterr().err


def test_requests_are_spaced_from_start_to_start_and_a_late_one_is_not_caught_up() -> None:
    clock, took = [100.0], [0.25, 0.0, 5.0, 0.0, 0.0]
    starts: list[float] = []

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    for number in paced(5, 1.0, lambda: clock[0], sleep):
        starts.append(clock[0])
        clock[0] += took[number - 1]
    assert starts == [100.0, 101.0, 102.0, 107.0, 108.0]


def test_a_count_of_zero_has_no_end() -> None:
    numbers = paced(0, 1.0, lambda: 0.0, lambda seconds: None)
    assert [next(numbers) for _ in range(1000)][-1] == 1000


def test_lines_are_there_at_once_and_an_interrupt_ends_without_a_trace(ports: Ports, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sallyport.lab.ask", "udp", "::1", "--port", str(ports["udp"]), "--count", "0"]
    errors = tmp_path / "errors"
    with (
        errors.open("w") as file,
        subprocess.Popen([*command, "--interval", "60"], stdout=subprocess.PIPE, stderr=file, text=True) as child,
    ):
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["source"] == "::1"
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130
    assert errors.read_text() == ""


def test_the_client_imports_nothing_that_is_slow() -> None:
    code = "import sys, sallyport.lab.ask; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "sallyport.lab.ask" in loaded
    assert {"asyncio", "aiohttp", "http.client", "ssl", "msgspec", "yaml", "typer", "subprocess"}.isdisjoint(loaded)
