"""The rules of the house as functions: each takes a file's text and returns what is wrong with it, a line each.

They look at syntax alone (`ast`, `tokenize`), so that they can be shown a planted violation as easily as the tree.
"""

import ast
import io
import re
import tokenize
from collections.abc import Collection, Iterator

LONGEST_FILE = 600
LONGEST_FUNCTION = 80
FEWEST_WORDS = 4
EMPTY_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"})
INTERFACES = frozenset({"Protocol", "ABC"})
BROAD = frozenset({"Exception", "BaseException"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


def file_length(text: str) -> list[str]:
    """A file is read in one sitting: at most LONGEST_FILE lines."""
    lines = len(text.splitlines())
    return [f"{lines} lines, more than {LONGEST_FILE}"] if lines > LONGEST_FILE else []


def function_length(text: str) -> list[str]:
    """A function has at most LONGEST_FUNCTION lines, its decorators and docstring included."""
    return [
        f"line {node.lineno}: {node.name} has {length} lines, more than {LONGEST_FUNCTION}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, Function) and (length := _length(node)) > LONGEST_FUNCTION
    ]


def _length(node: Function) -> int:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return (node.end_lineno or first) - first + 1


def broad_excepts(text: str) -> list[str]:
    """No bare `except`; one for all exceptions only with a comment beside it that says why."""
    comments = _comments(text)
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None:
            found.append(f"line {node.lineno}: bare except")
        elif _names(node.type) & BROAD:
            beside = range(node.lineno, node.body[0].lineno + 1)
            if not any(_is_reason(comments.get(line, "")) for line in beside):
                found.append(f"line {node.lineno}: except for every exception without a comment that says why")
    return found


def _names(expression: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}


def _comments(text: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}


def _is_reason(comment: str) -> bool:
    """Whether a comment says something besides telling a linter to be silent."""
    return len(re.sub(r"#\s*(noqa|type):?[\s:]*[\w\[\], -]*?(?=\s{2}|\(|$)", "", comment).split()) >= 3


def file_name(name: str) -> list[str]:
    """A module is named for what it holds, and these names say nothing of that."""
    stem = name.rpartition("/")[2].removesuffix(".py").removeprefix("test_")
    return [f"the name {stem} says nothing of what is in it"] if stem.strip("_") in EMPTY_NAMES else []


def missing_docstrings(text: str, documented: Collection[str] = ()) -> list[str]:
    """Every public name says what it is.

    A method may leave it to the docstring of its class or module that names it in backticks, or to the interface
    that it fulfils: `documented` are the methods that interfaces document (see `interface_methods`).
    """
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree) or ""
    found = [] if docstring else ["line 1: the module has no docstring"]
    return found + [
        f"line {line}: {name} has no docstring" for name, line in _undocumented(tree, "", docstring, documented)
    ]


def _undocumented(
    parent: ast.Module | ast.ClassDef, prefix: str, around: str, documented: Collection[str]
) -> Iterator[tuple[str, int]]:
    for node in parent.body:
        if not isinstance(node, ast.ClassDef | Function) or node.name.startswith("_"):
            continue
        docstring = ast.get_docstring(node) or ""
        elsewhere = prefix and (node.name in documented or f"`{node.name}`" in around)
        if not docstring and not elsewhere and not _is_overload(node):
            yield prefix + node.name, node.lineno
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(node, f"{prefix}{node.name}.", around + docstring, documented)


def _is_overload(node: ast.ClassDef | Function) -> bool:
    names = {name for decorator in node.decorator_list for name in _names(decorator)}
    return bool(names & {"overload", "override"})


def interface_methods(text: str) -> set[str]:
    """Names of methods that a Protocol or an abstract class documents for those that fulfil it."""
    return {
        item.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        and {name for base in node.bases for name in _names(base)} & {"Protocol", "ABC"}
        for item in node.body
        if isinstance(item, Function) and ast.get_docstring(item)
    }


def silent_tests(text: str) -> list[str]:
    """A test says what it shows: in a docstring, or in a name of at least FEWEST_WORDS words."""
    return [
        f"line {node.lineno}: {node.name} has neither a docstring nor a name of {FEWEST_WORDS} words"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, Function)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
        and len(node.name.removeprefix("test_").split("_")) < FEWEST_WORDS
    ]


def machine_paths(text: str, places: Collection[str]) -> list[str]:
    """No path of the machine that a file was written on: homes, and `places` such as the checkout's own directory."""
    alternatives = "|".join([r"/(?:home|Users)/[a-z][\w-]*", *(re.escape(place) for place in places)])
    pattern = re.compile(rf"(?<![\w.~}}*-])(?:{alternatives})(?![\w-])")
    return [
        f"line {number}: names {match[0]}"
        for number, line in enumerate(text.splitlines(), 1)
        if (match := pattern.search(line))
    ]
