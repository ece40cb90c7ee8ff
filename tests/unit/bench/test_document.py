"""The page with figures is the one that the files give."""

import json
import shutil
from pathlib import Path

from bench.__main__ import BENCHMARKS
from bench.document import PAGE, render
from bench.figures import RESULTS

ABOUT = {name: module.__doc__ or "" for name, module in BENCHMARKS.items()}
GUIDE = RESULTS.parent / "README.md"


def test_the_page_says_what_the_files_say() -> None:
    assert PAGE.read_text() == render(ABOUT)


def test_a_figure_of_another_run_makes_another_page(tmp_path: Path) -> None:
    """So that the test above can fail."""
    shutil.copytree(RESULTS, tmp_path / "results")
    file = next((tmp_path / "results").glob("*.json"))
    document = json.loads(file.read_text())
    document["figures"][0]["median"] += 1234
    file.write_text(json.dumps(document))
    assert render(ABOUT, tmp_path / "results") != render(ABOUT)


def test_a_benchmark_that_has_not_been_run_is_left_out(tmp_path: Path) -> None:
    assert "## " not in render(ABOUT, tmp_path)


def test_every_benchmark_is_in_the_guide_and_has_been_run() -> None:
    missing = [name for name in BENCHMARKS if f"| `{name}` |" not in GUIDE.read_text()]
    missing += [name for name in BENCHMARKS if not (RESULTS / f"{name}.json").exists()]
    assert missing == []
