"""`make demo`: both parts, one after the other, each on a lab of its own.

Exit status: 0 when every request went as it was to, 1 when one did not or a part could not be shown, 2 when nothing
was tried.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from tools.demo import egresses, networks
from tools.demo.stage import Tally

from sallyport.drivers.command import DriverError
from sallyport.drivers.requirements import require
from sallyport.lab.driving import Lab
from sallyport.lab.record import Record
from sallyport.lab.supervisor import take_down

Show = Callable[[Lab, Console, Tally], None]

PARTS: tuple[tuple[str, str, Show], ...] = (
    (egresses.QUESTION, egresses.TOPOLOGY, egresses.show),
    (networks.QUESTION, networks.TOPOLOGY, networks.show),
)
"""What each part answers, the lab that it needs, and the part itself."""


def main() -> int:
    """Show all parts; the exit status."""
    console = Console(width=120, no_color=not sys.stdout.isatty())
    # kubectl is installed beside this Python.
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    began, tally = time.monotonic(), Tally()
    try:
        require("ip", "nft", "bird", "conntrack", "tcpdump", "kubectl")
    except DriverError as error:
        console.print(f"demo: {error}", highlight=False)
        return 2
    for number, (question, topology, show) in enumerate(PARTS, 1):
        title, _, text = question.partition("\n")
        console.print(f"\n[bold]Sallyport, part {number} of {len(PARTS)}: {title}[/bold]\n{text}", highlight=False)
        try:
            _part(topology, f"demo-{os.getpid()}"[:14] + f"-{number}", show, console, tally)
        except (DriverError, AssertionError) as error:
            console.print(f"demo: part {number} ended early: {error}", highlight=False, markup=False)
            return 1
    return _result(console, tally, time.monotonic() - began)


def _part(topology: str, name: str, show: Show, console: Console, tally: Tally) -> None:
    """One part on its own lab, which is gone afterwards, also when it was interrupted or did not come up."""
    try:
        lab = Lab.up(topology, name, lambda line: console.print(f"   {line}", highlight=False))
        show(lab, console, tally)
    finally:
        take_down(Record(name))


def _result(console: Console, tally: Tally, seconds: float) -> int:
    if tally.failures:
        console.print(
            f"\nOtherwise than expected, of {tally.requests} requests in {tally.scenes} scenes:", highlight=False
        )
        for failure in tally.failures:
            console.print(f"   {failure}", highlight=False, markup=False)
        return 1
    console.print(f"\nAll {tally.requests} requests went as they were to, in {seconds:.0f} s.", highlight=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
