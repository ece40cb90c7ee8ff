"""docs/performance.md, made of the files that benchmarks have written."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.figures import RESULTS

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_INTRODUCTION = """\
# Performance

Figures of the benchmarks in `bench/`; how to run them is in [bench/README.md](../bench/README.md). Each is the median
of several runs, with the least and the most of them. All of a cluster's nodes share the cores of one machine here:
compare figures of one benchmark with each other, rather than with those of another machine. The load is the number of
processes that wanted a core in the minute before a benchmark began (`uptime`). Where it is more than there are cores,
others worked on the machine, and times are longer than they need be.

This page is written by `python -m bench`, out of `bench/results/`. What is written here by hand is lost.
"""


def write(about: Mapping[str, str], results: Path = RESULTS, page: Path = PAGE) -> None:
    """Write the page; `about` has the docstring of each benchmark, in the order of the page."""
    page.write_text(render(about, results))


def render(about: Mapping[str, str], results: Path = RESULTS) -> str:
    """The page. Benchmarks without results are left out."""
    sections = [
        _section(name, text, json.loads(file.read_text()))
        for name, text in about.items()
        if (file := results / f"{name}.json").exists()
    ]
    return "\n".join([_INTRODUCTION, *sections])


def _section(name: str, text: str, document: Mapping[str, Any]) -> str:
    machine = document["machine"]
    load = f", load {machine['load']:.1f}" if "load" in machine else ""
    lines = [
        f"## {name}",
        "",
        text.strip(),
        "",
        f"{machine['cores']} cores{load}, Linux {machine['kernel']}, Python {machine['python']}.",
        "",
        "| | median | | least to most | runs |",
        "|---|--:|---|---|--:|",
        *map(_row, document["figures"]),
        "",
    ]
    return "\n".join(lines)


def _row(figure: Mapping[str, Any]) -> str:
    values: Iterable[float] = figure["values"]
    spread = f"{_number(min(values))} to {_number(max(values))}"
    return f"| {figure['name']} | {_number(figure['median'])} | {figure['unit']} | {spread} | {len(figure['values'])} |"


def _number(value: float) -> str:
    """Three digits that say something, and never an exponent."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 or not value else f"{value:.6f}"
