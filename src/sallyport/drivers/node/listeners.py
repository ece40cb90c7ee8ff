"""Who listens on ports, as ss(8) of iproute2 tells."""

import re
from collections.abc import Iterator
from pathlib import Path

from sallyport.drivers.command import run
from sallyport.model.fitness import Listener

_PROCESS = re.compile(r'\("([^"]+)",pid=(\d+)')


def listeners(bird: int | None) -> tuple[Listener, ...]:
    """All of this network namespace. `bird` is the process id of our BIRD. Raises DriverError without ss."""
    found = set[Listener]()
    for protocol in ("udp", "tcp"):
        found.update(parse(run(["ss", "-H", "-n", "-l", "-p", f"--{protocol}"]).stdout, protocol, bird))
    return tuple(sorted(found, key=lambda item: (item.protocol, item.port, item.process)))


def parse(text: str, protocol: str, bird: int | None) -> Iterator[Listener]:
    """Listeners in what ss prints, a line each."""
    for line in text.splitlines():
        words = line.split()
        if len(words) < 4 or not words[3].rpartition(":")[2].isdigit():
            continue
        match = _PROCESS.search(line)
        process, number = (match[1], int(match[2])) if match else ("", 0)
        ours = bool(match) and (number == bird or _is_agent(number))
        yield Listener(protocol, int(words[3].rpartition(":")[2]), process, ours)


def _is_agent(number: int) -> bool:
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False  # it has just ended
    return b"agent" in words and any(b"sallyport" in word for word in words)
