"""BIRD 2: its configuration for BFD, its control socket, and its life beyond ours."""

import ipaddress
import os
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from sallyport.model.kernel import Peer

BIRD = "bird"
_SUCCESS = "0003 0004 0018"
"""Codes that end a `configure` that was taken (BIRD user's guide, remote control)."""
_NO_ROUTER_ID = "192.0.0.8"
"""BIRD wants an IPv4 router id even where only BFD over IPv6 is spoken, which carries none: a dummy (RFC 7600)."""


def render(peers: Iterable[Peer], router_id: str) -> str:
    """A configuration with one BFD protocol: a session with each peer (RFC 5880, 5881)."""
    ordered = sorted(peers, key=lambda peer: peer.address)
    lines = [f"router id {router_id};", "protocol device sp_device { scan time 10; }", "protocol bfd sp_bfd {"]
    for device in sorted({peer.device for peer in ordered}):
        peer = next(item for item in ordered if item.device == device)
        lines.append(f'  interface "{device}" {{')
        lines.append(f"    min rx interval {peer.interval} ms;")
        lines.append(f"    min tx interval {peer.interval} ms;")
        lines.append(f"    idle tx interval {max(peer.interval, 300)} ms;")
        lines.append(f"    multiplier {peer.multiplier};")
        lines.append("  };")
    lines += [f'  neighbor {peer.address} dev "{peer.device}" local {peer.local};' for peer in ordered]
    return "\n".join([*lines, "}", ""])


class Bird:
    """One BIRD process of this network namespace. It is started when there is a peer and its socket does not answer,
    and lives in a session of its own, so that an agent's end ends no BFD session. It is stopped with its last peer."""

    def __init__(self, runtime_dir: Path) -> None:
        self._config = runtime_dir / "bird.conf"
        self._socket = runtime_dir / "bird.ctl"
        self._pid = runtime_dir / "bird.pid"

    def read(self) -> dict[object, Peer]:
        """The peers of the configuration in force, as long as the process answers."""
        found: dict[object, Peer] = {}
        if not self._answers() or not self._config.exists():
            return found
        interval, multiplier = 100, 3
        for line in self._config.read_text().splitlines():
            words = line.split()
            if words[:3] == ["min", "rx", "interval"]:
                interval = int(words[3])
            elif words[:1] == ["multiplier"]:
                multiplier = int(words[1].rstrip(";"))
            elif words[:1] == ["neighbor"]:
                peer = Peer(words[1], words[5].rstrip(";"), words[3].strip('"'), interval, multiplier)
                found[peer.key] = peer
        return found

    def write(self, peers: Iterable[Peer]) -> list[str]:
        """Put a configuration with exactly these peers in force. Without any, there is no process either."""
        kept = list(peers)
        try:
            return self._put_in_force(kept) if kept else self._stop()
        except OSError as error:
            return [f"bird: {error.strerror or error}"]

    def _put_in_force(self, peers: list[Peer]) -> list[str]:
        """The file takes its name only when BIRD has taken what it says, so that `read` tells the truth."""
        router_id = next((p.local for p in peers if ipaddress.ip_address(p.local).version == 4), _NO_ROUTER_ID)
        self._config.parent.mkdir(parents=True, exist_ok=True)
        part = self._config.with_suffix(".new")
        part.write_text(render(peers, router_id))
        if self._answers():
            answer = self.ask(f'configure soft "{part}"')
            if not any(line[:4] in _SUCCESS for line in answer):
                return [f"bird configure: {' '.join(answer)}"]
            part.replace(self._config)
            return []
        part.replace(self._config)
        return self._start()

    def _stop(self) -> list[str]:
        if self._answers():
            self.ask("down")
        self._config.unlink(missing_ok=True)
        return []

    def sessions(self) -> dict[str, str]:
        """State (Up, Down, Init, AdminDown) by peer address; empty while BIRD does not answer."""
        try:
            answer = self.ask("show bfd sessions")
        except OSError:
            return {}
        found: dict[str, str] = {}
        for line in answer:
            words = line[5:].split() if line[:4].isdigit() else line.split()
            if len(words) >= 3 and _is_address(words[0]):
                found[words[0]] = words[2]
        return found

    def _start(self) -> list[str]:
        self._socket.unlink(missing_ok=True)
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        done = subprocess.run(
            [BIRD, "-c", str(self._config), "-s", str(self._socket), "-P", str(self._pid)],
            start_new_session=True,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": path},
        )
        if done.returncode != 0:
            return [f"bird: {done.stderr.strip() or done.stdout.strip()}"]
        deadline = time.monotonic() + 5
        while not self._answers():
            if time.monotonic() > deadline:
                return ["bird: its control socket does not answer"]
            time.sleep(0.02)
        return []

    def _answers(self) -> bool:
        try:
            self.ask("show status")
        except OSError:
            return False
        return True

    def ask(self, command: str) -> list[str]:
        """The lines of the answer to a command; OSError while BIRD does not answer.

        A line that begins with a code and a space instead of a dash is the last.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(2)
            link.connect(str(self._socket))
            with link.makefile("rw", encoding="utf-8") as file:
                file.readline()
                file.write(command + "\n")
                file.flush()
                lines: list[str] = []
                for line in file:
                    lines.append(line.rstrip("\n"))
                    if line[:4].isdigit() and line[4:5] == " ":
                        return lines
        return lines


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
