"""Objects from the text of manifests: several documents, lists of objects, `kind: List`, JSON; each with its lines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

DEPTH_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object as written. `api_version`, `kind` and `name` are "" where it does not give them; `lines` has the line
    of each field by its path (`spec.ipRanges[0].cidr`)."""

    file: str
    line: int
    data: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def api_version(self) -> str:
        return str(self.data.get("apiVersion", ""))

    @property
    def kind(self) -> str:
        return str(self.data.get("kind", ""))

    @property
    def name(self) -> str:
        metadata = self.data.get("metadata")
        return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""

    def line_of(self, path: str) -> int:
        """The line of a field, or of the nearest part around it that was written."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path, self.line)


@dataclass(frozen=True, slots=True)
class Flaw:
    """Text that holds no object, and why. `line` counts from 1."""

    file: str
    line: int
    message: str


class _Loader(yaml.SafeLoader):
    """Reads scalars as Kubernetes does: dates stay text, a key that is given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_manifests(text: str, file: str) -> tuple[list[Manifest], list[Flaw]]:
    """Every object in the text, and what in it is none. After a syntax error nothing more is read."""
    manifests: list[Manifest] = []
    flaws: list[Flaw] = []
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                for part in _objects(node):
                    _read(loader, part, file, manifests, flaws)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = error.problem or error.context or "is not YAML"
        flaws.append(Flaw(file, mark.line + 1 if mark else 1, f"not YAML: {message}"))
    except yaml.YAMLError as error:
        flaws.append(Flaw(file, 1, f"not YAML: {' '.join(str(error).split())}"))
    except RecursionError:
        flaws.append(Flaw(file, 1, "is nested too deeply"))
    return manifests, flaws


def _objects(node: yaml.Node) -> Iterator[yaml.Node]:
    """The nodes that stand for one object each."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _objects(item)
        return
    if isinstance(node, yaml.MappingNode):
        parts = {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}
        kind, items = parts.get("kind"), parts.get("items")
        is_list = isinstance(kind, yaml.ScalarNode) and kind.value.endswith("List")
        if is_list and isinstance(items, yaml.SequenceNode):
            yield from _objects(items)
            return
    elif isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        return
    yield node


def _read(loader: _Loader, node: yaml.Node, file: str, manifests: list[Manifest], flaws: list[Flaw]) -> None:
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        flaws.append(Flaw(file, line, "is not an object: an apiVersion and a kind are expected"))
        return
    try:
        data = loader.construct_document(node)
    except (yaml.constructor.ConstructorError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        message = getattr(error, "problem", None) or str(error)
        flaws.append(Flaw(file, mark.line + 1 if mark else line, message))
        return
    lines: dict[str, int] = {}
    _lines(node, "", lines, set(), 0)
    manifest = Manifest(file, line, data, lines)
    for name in ("apiVersion", "kind"):
        if not isinstance(data.get(name), str) or not data[name]:
            flaws.append(Flaw(file, line, f"{name}: Required value"))
            return
    manifests.append(manifest)


def _lines(node: yaml.Node, path: str, lines: dict[str, int], seen: set[int], depth: int) -> None:
    """Lines of all fields below. What an alias repeats is entered once, so that text cannot grow without bound."""
    if id(node) in seen or depth > DEPTH_LIMIT:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = f"{path}.{key.value}" if path else str(key.value)
            lines[below] = key.start_mark.line + 1
            _lines(value, below, lines, seen, depth + 1)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[f"{path}[{index}]"] = item.start_mark.line + 1
            _lines(item, f"{path}[{index}]", lines, seen, depth + 1)
