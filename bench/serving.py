"""The server of a lab's benchmarks, beside the lab's own."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from bench.traffic import DISCARD
from sallyport.lab import namespaces
from sallyport.lab.driving import Lab

DROPPED = f"type filter hook prerouting priority -300;\nudp dport {DISCARD} counter drop"
"""Where datagrams end: before anything looks at them, so that they all cost the same there."""


@contextlib.contextmanager
def serving(lab: Lab, host: str, ports: range) -> Iterator[None]:
    """A server on so many ports of an outside host, on which datagrams vanish."""
    namespaces.nft(lab.space(host), f"table inet bench {{\nchain c {{\n{DROPPED}\n}}\n}}\n")
    argv = [sys.executable, "-m", "bench.traffic", "serve", str(ports.start), str(len(ports))]
    with subprocess.Popen(lab.command(host, *argv)) as child:
        try:
            yield
        finally:
            child.kill()
