"""What every scene needs: a lab, a console, and a count of what went otherwise than told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sallyport.lab.driving import Lab

EXAMPLES = Path(__file__).parents[2] / "examples"
AS_EXPECTED = "as expected"


@dataclass
class Tally:
    """The whole demonstration's count: scenes begun, requests made, and a line for each that went otherwise."""

    scenes: int = 0
    requests: int = 0
    failures: list[str] = field(default_factory=list)


class Stage:
    """A lab on which scenes are shown. What is run is printed as a user would type it, with what it prints."""

    def __init__(self, lab: Lab, console: Console, tally: Tally) -> None:
        self.lab, self.console, self.tally = lab, console, tally

    def say(self, text: str) -> None:
        """A line as it is; `[bold]` and the like are rich's."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def title(self, text: str) -> None:
        """The heading of the next scene, with its number."""
        self.tally.scenes += 1
        self.say(f"\n[bold]{self.tally.scenes}. {text}[/bold]")

    def printed(self, text: str) -> None:
        """What a command has printed, word for word."""
        for line in text.splitlines():
            self.console.print(f"   {line}".rstrip(), highlight=False, markup=False, soft_wrap=True)

    def kubectl(self, *arguments: str) -> None:
        """Run kubectl and show it."""
        self.say(f"   $ kubectl {' '.join(arguments)}")
        self.printed(self.lab.kubectl(*arguments))

    def sallyport(self, *arguments: str) -> None:
        """Run the command line and show it; the lab's name, if it wants one, is not shown."""
        self.say(f"   $ sallyport {' '.join(arguments)}")
        named = ("--name", self.lab.name) if arguments[0] == "lab" else ()
        self.printed(self.lab.sallyport(*arguments, *named).stdout)

    def apply(self, folder: str, *files: str) -> None:
        """Apply files of examples/ as they stand, by our own command: kubectl refuses the lists of Antrea's guide."""
        for file in files:
            self.say(f"   $ sallyport apply examples/{folder}/{file}")
        done = self.lab.sallyport("apply", *(str(EXAMPLES / folder / file) for file in files))
        self.printed(done.stdout)

    def pods(self, file: str) -> None:
        """Run the pods of a file of examples/demo, and wait until they are ready."""
        self.lab.kubectl("apply", "-f", str(EXAMPLES / "demo" / file))
        self.lab.kubectl("wait", "pod", "--all", "-A", "--for=condition=Ready", "--timeout=30s")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table without lines, under the text."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for place, column in enumerate(columns):
            table.add_column(column if place else f"   {column}", no_wrap=True)
        for first, *others in rows:
            table.add_row(f"   {first}", *others)
        self.console.print(table, highlight=False)

    def verdict(self, good: bool, failure: str) -> str:
        """The last cell of a row. What went otherwise is counted, and told at the end."""
        if good:
            return AS_EXPECTED
        self.tally.failures.append(failure)
        return "[red]NOT as expected[/red]"
