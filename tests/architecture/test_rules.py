"""The tree keeps the rules of the house, and each rule is seen to find a violation of it."""

import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from tests.architecture import rules

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PYTHON = [*SOURCES, *TESTS, *sorted((ROOT / "tools").rglob("*.py"))]


def told(files: Iterable[Path], rule: Callable[[str], list[str]]) -> str:
    """What a rule says of the texts of files, each line with the file's path; empty while all keep it."""
    return "\n".join(f"{file.relative_to(ROOT)}: {line}" for file in files for line in rule(file.read_text()))


def committed() -> Iterator[Path]:
    """Every text file that is under version control here."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a checkout: there is no list of committed files")
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file() and b"\0" not in (ROOT / name).read_bytes():
            yield ROOT / name


def own_places() -> set[str]:
    """Directories of the machine at hand that a file could name by accident: this checkout, home, scratch space."""
    places = {ROOT, ROOT.parent, Path.home(), Path(tempfile.gettempdir())}
    return {str(place) for place in places if place != Path("/")}


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        (PYTHON, rules.file_length),
        (PYTHON, rules.function_length),
        (PYTHON, rules.broad_excepts),
        (TESTS, rules.silent_tests),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_every_file_keeps_the_rule(files: list[Path], rule: Callable[[str], list[str]]) -> None:
    found = told(files, rule)
    assert not found, found


def test_every_public_name_in_the_package_has_a_docstring() -> None:
    interfaces = {name for file in SOURCES for name in rules.interface_methods(file.read_text())}
    found = told(SOURCES, lambda text: rules.missing_docstrings(text, interfaces))
    assert not found, found


def test_every_module_is_named_for_what_it_holds() -> None:
    assert [line for file in PYTHON for line in rules.file_name(file.relative_to(ROOT).as_posix())] == []


def test_no_committed_file_names_a_path_of_this_machine() -> None:
    found = told(committed(), lambda text: rules.machine_paths(text, own_places()))
    assert not found, found


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (rules.file_length, "\n" * 601),
        (rules.function_length, "@cache\ndef f():\n" + "    1\n" * 79),
        (rules.function_length, "class A:\n  async def f(self):\n" + "    1\n" * 80),
        (rules.broad_excepts, "try:\n    f()\nexcept:\n    pass  # whatever it was, go on"),
        (rules.broad_excepts, "try:\n    f()\nexcept Exception:\n    pass"),
        (rules.broad_excepts, "try:\n    f()\nexcept (OSError, BaseException) as error:  # noqa: BLE001\n    pass"),
        (rules.silent_tests, "def test_it_works():\n    assert f()"),
        (rules.silent_tests, "class TestIt:\n    async def test_it(self):\n        assert f()"),
        (rules.missing_docstrings, "x = 1"),
        (rules.missing_docstrings, '"""A."""\ndef f(): ...'),
        (rules.missing_docstrings, '"""A."""\nclass C:\n    """C."""\n    def f(self): ...'),
        (rules.file_name, "src/sallyport/kube/utils.py"),
        (rules.file_name, "tests/unit/test_helpers.py"),
        (lambda text: rules.machine_paths(text, {"/builds/one"}), "see /builds/one/src"),
        (lambda text: rules.machine_paths(text, ()), f'open("/{"home"}/alice/notes")'),
    ],
)
def test_a_planted_violation_is_found_once(rule: Callable[[str], list[str]], text: str) -> None:
    assert len(rule(text)) == 1


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (rules.file_length, "\n" * 600),
        (rules.function_length, "def f():\n" + "    1\n" * 79),
        (rules.broad_excepts, "try:\n    f()\nexcept OSError:\n    pass"),
        (
            rules.broad_excepts,
            "try:\n    f()\nexcept Exception:  # the boundary: one request must not end all\n    pass",
        ),
        (rules.broad_excepts, "try:\n    f()\nexcept BaseException:  # noqa: BLE001  (told to the caller)\n    pass"),
        (rules.silent_tests, 'def test_it():\n    """It works."""'),
        (rules.silent_tests, "def test_that_it_works_well(): ..."),
        (rules.missing_docstrings, '"""A."""\ndef _f(): ...\nclass _C:\n    def f(self): ...'),
        (rules.missing_docstrings, '"""A."""\nclass C:\n    """Has `key`."""\n    def key(self): ...'),
        (lambda text: rules.missing_docstrings(text, {"f"}), '"""A."""\nclass C:\n    """C."""\n    def f(self): ...'),
        (rules.file_name, "src/sallyport/kube/client.py"),
        (lambda text: rules.machine_paths(text, {"/builds/one"}), "https://host/builds/one and /builds/one-more"),
    ],
)
def test_what_keeps_the_rule_is_not_complained_of(rule: Callable[[str], list[str]], text: str) -> None:
    assert rule(text) == []


def test_methods_that_an_interface_documents_are_known_by_name() -> None:
    documented = 'class P(Protocol):\n    def f(self):\n        """F."""\n    def g(self): ...\n'
    no_interface = 'class Q:\n    def h(self):\n        """H."""\n'
    assert rules.interface_methods(documented + no_interface) == {"f"}
