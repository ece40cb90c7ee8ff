"""The command line: one module per command. `sallyport` and `kubectl sallyport` are the same program."""

import sys

from sallyport.cli.main import build


def main() -> None:
    """Entry point of the console scripts."""
    name = "kubectl sallyport" if sys.argv and sys.argv[0].endswith("kubectl-sallyport") else "sallyport"
    build(*sys.argv[1:2])(prog_name=name)
