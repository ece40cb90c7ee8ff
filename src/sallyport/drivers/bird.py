"""BIRD 2: its process, which lives beyond ours, its control socket, and putting a configuration in force."""

import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TextIO

from sallyport.drivers import birdconf
from sallyport.drivers.birdconf import MAIN, BirdObject
from sallyport.drivers.command import GONE, run
from sallyport.drivers.filling import BIRD_ROUTES, is_filled
from sallyport.model.kernel import Fib, Kind, Peer, Session
from sallyport.model.state import FAMILIES, IPAddress

BIRD = "bird"
KINDS = (Kind.FIB, Kind.PEER, Kind.SESSION)
"""What BIRD holds."""

_TAKEN = frozenset({"0003", "0004", "0005", "0018"})
"""Codes that end a `configure` that was taken, at once or behind the one before (BIRD's doc/reply_codes)."""
_NO_ROUTER_ID = "192.0.0.8"
"""BIRD wants an IPv4 router id even where nobody is told one: a dummy (RFC 7600)."""
_LAST_LINE = re.compile(rb"\d{4} .*\n\Z")
_ESRCH = "No such process"
"""What ip says of a route that is not there."""
_PATIENCE = 5
"""Seconds within which a BIRD that was started answers, and one that was told to end does not any more."""
_FILLING = 2
"""Seconds that a new table has to be filled, which takes milliseconds: a route that the kernel refuses never comes."""


class Bird:
    """One BIRD process of this network namespace. It is started when there is any object and its socket does not
    answer, and lives in a session of its own, so that an agent's end ends nothing. It is stopped with its last object.
    """

    def __init__(self, runtime_dir: Path, route_protocol: int = 83) -> None:
        self._config = runtime_dir / "bird.conf"
        self._part = runtime_dir / "bird.conf.new"
        self._socket = runtime_dir / "bird.ctl"
        self._pid = runtime_dir / "bird.pid"
        self._route_protocol = route_protocol
        self._asker = _Asker(self._socket)

    def read(self) -> dict[Kind, dict[object, BirdObject]]:
        """The objects of the configuration in force, as long as the process answers; no passwords."""
        found: dict[Kind, dict[object, BirdObject]] = {kind: {} for kind in KINDS}
        if self.answers():
            for key, item in self.configured().items():
                found[item.kind][key] = replace(item, password="") if isinstance(item, Session) else item
        return found

    def configured(self) -> dict[object, BirdObject]:
        """The objects of the last configuration that was in force, whether its process still lives or not."""
        return birdconf.parse(self._text())

    def change(self, upserts: Iterable[BirdObject], deletes: Iterable[BirdObject]) -> list[str]:
        """Put these objects in force beside the others, or in the place of those with their keys, and take others out;
        a line for each that BIRD does not take. Without any object there is no process either."""
        before = self.configured()
        gone = {item.key for item in deletes}
        wanted = {key: item for key, item in before.items() if key not in gone} | {item.key: item for item in upserts}
        try:
            if not wanted:
                return self.stop()
            accepted, failures = self._accepted({}, list(wanted.values()), before)
            return failures + (self._put_in_force(accepted, before) if accepted else self.stop())
        except OSError as error:
            return [f"bird: {error.strerror or error}"]

    def refusal(self, objects: Iterable[BirdObject]) -> str:
        """Why BIRD does not understand a configuration of these objects; "" if it does. Nothing is put in force."""
        return self._complaint({item.key: item for item in objects})

    def stop(self) -> list[str]:
        """End the process, if there is one, and take its routes out of the kernel."""
        tables = _tables(self.configured())
        try:
            if self.answers():
                self.ask("down")
                if not _soon(lambda: not self.answers()):
                    return ["bird: it does not end"]
            self._config.unlink(missing_ok=True)
        except OSError as error:
            return [f"bird: {error.strerror or error}"]
        return _flush(tables)

    def sessions(self) -> dict[str, str]:
        """State (Up, Down, Init, AdminDown) of BFD by peer address; empty while BIRD does not answer."""
        try:
            answer = self._asker.ask("show bfd sessions")
        except OSError:
            return {}
        return dict(_sessions(answer))

    def peers(self) -> dict[str, str]:
        """The same of those nodes only that it was told to watch; "" for one that it does not tell of."""
        states = self.sessions()
        known = [item.address for item in self.configured().values() if isinstance(item, Peer)]
        return {address: states.get(address, "") for address in known}

    def ask(self, command: str) -> list[str]:
        """The lines of the answer to a command; OSError while BIRD does not answer."""
        return list(self.answer(command))

    def answer(self, command: str) -> Iterator[str]:
        """The lines of an answer as they come; whoever has enough may stop. OSError while BIRD does not answer.

        A line that begins with a code and a space instead of a dash is the last.
        """
        with _connected(self._socket) as file:
            yield from _answer(file, command)

    def _text(self) -> str:
        return self._config.read_text() if self._config.exists() else ""

    def _accepted(
        self, base: Mapping[object, BirdObject], candidates: list[BirdObject], before: Mapping[object, BirdObject]
    ) -> tuple[dict[object, BirdObject], list[str]]:
        """`base` with all of `candidates` that BIRD can read along with it, and a line for each of the others, which
        stays as it was `before`. All at once is tried first, then halves."""
        whole = dict(base)
        whole |= {item.key: item for item in candidates}
        complaint = self._complaint(whole)
        if not complaint:
            return whole, []
        if len(candidates) == 1:
            (bad,) = candidates
            if before.get(bad.key, bad) == bad:
                del whole[bad.key]
            else:
                whole[bad.key] = before[bad.key]
            return whole, [f"bird {_named(bad)}: {complaint}"]
        middle = len(candidates) // 2
        left, failures = self._accepted(base, candidates[:middle], before)
        right, more = self._accepted(left, candidates[middle:], before)
        return right, failures + more

    def _complaint(self, objects: Mapping[object, BirdObject]) -> str:
        """What is wrong with a configuration of these objects; "" if nothing is. It is left in the new file."""
        for item in objects.values():
            if flaw := birdconf.flaw(item):
                return flaw
        self._write(birdconf.render(objects.values(), self._router_id(objects), self._route_protocol))
        done = subprocess.run(
            [BIRD, "-p", "-c", str(self._part)], capture_output=True, text=True, check=False, env=_environment()
        )
        return "" if done.returncode == 0 else _last(done).replace(f"{self._part}:", "line ")

    def _write(self, text: str) -> None:
        """The file has passwords in it."""
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._part.unlink(missing_ok=True)
        with open(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)

    def _put_in_force(self, objects: Mapping[object, BirdObject], before: Mapping[object, BirdObject]) -> list[str]:
        """The file takes its name only when BIRD has taken what it says, so that `read` tells the truth.

        A process that died is first started as it was: it has to hear from its peers what they still have, before it
        takes anything out of the kernel.
        """
        text = birdconf.render(objects.values(), self._router_id(objects), self._route_protocol)
        revived = not self.answers() and bool(before) and not self._start(recover=True)
        if not revived and not self.answers():
            self._write(text)
            self._part.replace(self._config)
            return self._start(recover=False)
        if text == self._text():
            return []
        self._write(text)
        answer = self.ask(f'configure "{self._part}"')
        if not any(line[:4] in _TAKEN for line in answer):
            return [f"bird configure: {' '.join(answer)}"]
        self._part.replace(self._config)
        old, tables = _tables(before), _tables(objects)
        fresh = [item for item in objects.values() if isinstance(item, Fib) and item.table in tables - old]
        _soon(lambda: all(is_filled(self.ask, item) for item in fresh), _FILLING)
        return _flush(old - tables)

    def _router_id(self, objects: Mapping[object, BirdObject]) -> str:
        """It stays as it is, since another one would end every session."""
        kept = birdconf.router_id(self._text())
        return kept if kept not in ("", _NO_ROUTER_ID) else _router_id(objects.values())

    def _start(self, recover: bool) -> list[str]:
        self._socket.unlink(missing_ok=True)
        done = subprocess.run(
            [
                BIRD,
                *(["-R"] if recover else []),
                "-c",
                str(self._config),
                "-s",
                str(self._socket),
                "-P",
                str(self._pid),
            ],
            start_new_session=True,
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
        )
        if done.returncode != 0:
            return [f"bird: {_last(done)}"]
        return [] if _soon(self.answers) else ["bird: its control socket does not answer"]

    def answers(self) -> bool:
        """Whether there is a process behind our control socket."""
        try:
            self.ask("show status")
        except TimeoutError:
            return True  # it is busy or frozen: it is there, and a second one would fight with it
        except OSError:
            return False
        return True


def _connected(path: Path) -> TextIO:
    """A control session of BIRD's, behind its greeting."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(_PATIENCE)
        link.connect(str(path))
        file = link.makefile("rw", encoding="utf-8")
    file.readline()
    return file


def _answer(file: TextIO, command: str) -> Iterator[str]:
    file.write(command + "\n")
    file.flush()
    for line in file:
        yield line.rstrip("\n")
        if line[:4].isdigit() and line[4:5] == " ":
            return


class _Asker:
    """Asks in one control session for as long as it lasts: what is asked ten times a second should cost little."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._link: socket.socket | None = None
        self._turn = threading.Lock()

    def ask(self, command: str) -> str:
        """The text of the answer; OSError while BIRD does not answer."""
        with self._turn:
            text = self._asked(command) if self._link is not None else ""
            return text or self._asked(command)

    def _asked(self, command: str) -> str:
        """Nothing where the session has ended."""
        try:
            if self._link is None:
                self._link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._link.settimeout(_PATIENCE)
                self._link.connect(str(self._path))
                _whole(self._link)  # its greeting
            self._link.sendall(f"{command}\n".encode())
            text = _whole(self._link)
        except (BrokenPipeError, ConnectionResetError):
            text = ""
        except OSError:
            self._end()
            raise
        if not text:
            self._end()
        return text

    def _end(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


def _whole(link: socket.socket) -> str:
    """An answer of BIRD's to its last line; nothing where the session ends before."""
    text = b""
    while more := link.recv(1 << 16):
        text += more
        if _LAST_LINE.match(text, text.rfind(b"\n", 0, -1) + 1):
            return text.decode(errors="replace")
    return ""


@lru_cache(1)
def _sessions(answer: str) -> Mapping[str, str]:
    """The state of each BFD session by the peer's address."""
    found: dict[str, str] = {}
    for line in answer.splitlines():
        words = line[5:].split() if line[:4].isdigit() else line.split()
        if len(words) >= 3 and _is_address(words[0]):
            found[words[0]] = words[2]
    return found


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}


def _last(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").removeprefix("bird: ")


def _soon(condition: Callable[[], bool], patience: float = _PATIENCE) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _named(item: BirdObject) -> str:
    """What a failure calls an object."""
    return f"peer {item.address}" if isinstance(item, Peer) else " ".join(str(part) for part in item.key if part != "")


def _tables(objects: Mapping[object, BirdObject]) -> set[int]:
    """Kernel tables that BIRD alone fills."""
    return {item.table for item in objects.values() if isinstance(item, Fib)} - {MAIN}


def _flush(tables: Collection[int]) -> list[str]:
    """Take BIRD's routes out of tables that it has left; it does not do that itself (see `birdconf`)."""
    failures = []
    for table in sorted(tables):
        for family in FAMILIES:
            argv = ["ip", f"-{family}", "route", "flush", "table", str(table), "proto", str(BIRD_ROUTES)]
            done = run(argv)
            # BIRD is taking out those that it still had, and a route that is gone already is the end of ip's work.
            deadline = time.monotonic() + _PATIENCE
            while _ESRCH in done.stderr and time.monotonic() < deadline:
                done = run(argv)
            if done.returncode != 0 and (_ESRCH in done.stderr or not any(word in done.stderr for word in GONE)):
                failures.append(f"ip route flush table {table}: {done.stderr.strip()}")
    return failures


def _router_id(objects: Iterable[BirdObject]) -> str:
    """An address of this node's own that no other node has, whatever it is that it speaks; of IPv6 ones, which do not
    fit (RFC 6286 asks for no more than a unique number), a digest."""
    found: set[IPAddress] = set()
    for item in sorted(objects, key=lambda item: str(item.key)):
        if isinstance(item, Peer):
            found.add(ip_address(item.local))
        elif isinstance(item, Session):
            found |= {address for address in [_source(item)] if address is not None}
    four = sorted(address for address in found if isinstance(address, IPv4Address))
    six = sorted(address for address in found if isinstance(address, IPv6Address))
    if four:
        return str(four[0])
    return str(IPv4Address(sha256(six[0].packed).digest()[:4])) if six else _NO_ROUTER_ID


def _source(session: Session) -> IPAddress | None:
    """The address from which a session is or would be spoken; None while the peer cannot be reached."""
    if session.source:
        return ip_address(session.source)
    peer = ip_address(session.address)
    with socket.socket(socket.AF_INET if peer.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((session.address, session.port))
            return ip_address(probe.getsockname()[0])
        except OSError:
            return None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
