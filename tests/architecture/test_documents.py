"""What the documents name is there: tests, files and links."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ANTREA = ROOT / "docs" / "antrea.md"


def names_of_tests(folder: Path) -> set[str]:
    """Names of all tests below a folder, without `test_`."""
    return {
        node.name.removeprefix("test_")
        for file in folder.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def named_in(text: str) -> set[str]:
    """Names in backticks that can only be tests: four words or more in snake case."""
    return set(re.findall(r"`([a-z0-9]+(?:_[a-z0-9]+){3,})`", text))


def test_every_test_that_the_page_on_antrea_names_exists() -> None:
    assert named_in(ANTREA.read_text()) - names_of_tests(ROOT / "tests") == set()


def test_every_test_of_antreas_semantics_is_named_on_its_page() -> None:
    assert names_of_tests(ROOT / "tests" / "unit" / "antrea") - set(re.findall(r"`(\w+)`", ANTREA.read_text())) == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_and_source_files_that_a_document_names_exist(document: Path) -> None:
    text = document.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if "://" not in link]
    files = re.findall(r"`((?:src|tests|docs|tools|deploy|examples)/[\w./-]+)`", text)
    missing = [link for link in links if not (document.parent / link).exists()]
    missing += [file for file in files if not (ROOT / file).exists()]
    assert missing == []


@pytest.mark.parametrize(("tree", "prefix"), [("src/sallyport", ""), ("tests", "tests/")])
def test_the_guide_for_contributors_has_a_line_for_every_directory(tree: str, prefix: str) -> None:
    present = {
        f"{prefix}{path.parent.name}/" for path in (ROOT / tree).glob("*/*") if path.suffix == ".py" or path.is_dir()
    }
    told = set(re.findall(r"^\| `([\w/]+/)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert {name for name in present if "__" not in name} - told == set()


def test_a_name_that_is_no_test_would_be_found() -> None:
    assert named_in("`of_two_the_older_wins` and `two_words` and `ip -d link`") == {"of_two_the_older_wins"}
