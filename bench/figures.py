"""What a benchmark gives: named figures, each with its unit, the median of several runs and their range."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `values` are all runs', in `unit`."""

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure that is quoted."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        spread = f"{min(self.values):.4g} to {max(self.values):.4g}"
        return f"{self.name:58} {self.median:10.4g} {self.unit:6} ({spread}, {len(self.values)} runs)"


def timed(name: str, work: Callable[[], object], runs: int = 5) -> Figure:
    """Seconds that a call takes, over several runs; the first one warms up and does not count."""
    work()
    values: list[float] = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        values.append(time.perf_counter() - began)
    return Figure(name, "s", tuple(values))


def record(benchmark: str, figures: Sequence[Figure], load: float) -> Path:
    """Print figures and write them, with what they were measured on, to the benchmark's file. `load` is the machine's
    load average of the minute before."""
    for figure in figures:
        print(figure)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{benchmark}.json"
    machine = {
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(load, 1),
    }
    document = {"machine": machine, "figures": [asdict(figure) | {"median": figure.median} for figure in figures]}
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path
