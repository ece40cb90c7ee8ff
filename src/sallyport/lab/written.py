"""YAML as it was written: the parts of a document with their paths and lines, and everything that is wrong in them.

A reader asks each part for what it expects there. What is something else is noted with its line and counts as absent,
so that one reading finds every mistake and not only the first.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

import yaml

_TEXT, _NUMBER, _NULL = "tag:yaml.org,2002:str", "tag:yaml.org,2002:int", "tag:yaml.org,2002:null"
_FLAG = "tag:yaml.org,2002:bool"
# An unquoted date is text, as it is for Kubernetes.
_TEXTS = (_TEXT, "tag:yaml.org,2002:timestamp")


@dataclass(frozen=True, slots=True)
class Part:
    """A value in the document: its YAML node, the path of its field (`nodes[0].name`) and its line, from 1."""

    node: yaml.Node
    path: str
    line: int

    def below(self, name: str) -> str:
        """The path of a field of this part."""
        return f"{self.path}.{name}" if self.path else name


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """A mistake: its line, the path of its field ("" for the file) and the reason."""

    line: int
    field: str
    reason: str


@dataclass(slots=True)
class Reading:
    """One document while it is read, and what was found wrong in it so far."""

    faults: list[Fault] = field(default_factory=list)

    def note(self, part: Part, reason: str) -> None:
        """Something is wrong with this part."""
        self.faults.append(Fault(part.line, part.path, reason))

    def document(self, text: str) -> Part | None:
        """The only document in the text."""
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            reason = error.problem or error.context or "is not YAML"
            self.faults.append(Fault(mark.line + 1 if mark else 1, "", f"not YAML: {reason}"))
        except yaml.YAMLError as error:
            self.faults.append(Fault(1, "", f"not YAML: {' '.join(str(error).split())}"))
        except RecursionError:
            self.faults.append(Fault(1, "", "is nested too deeply"))
        else:
            if node is not None:
                return Part(node, "", node.start_mark.line + 1)
            self.faults.append(Fault(1, "", "is empty"))
        return None

    def fields(self, part: Part, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Part]:
        """The fields of a mapping by their names. A null field is as good as none."""
        required, known = tuple(required), (*required, *optional)
        if not isinstance(part.node, yaml.MappingNode):
            self.note(part, f"must be a mapping with {', '.join(known)}")
            return {}
        found = self._entries(part, part.node)
        for name in [name for name in found if name not in known]:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            self.note(found.pop(name), f"is no known field; {hint}")
        for name in required:
            if name not in found:
                self.faults.append(Fault(part.line, part.below(name), "is missing"))
        return found

    def items(self, part: Part | None, least: int = 0) -> list[Part]:
        """The items of a list; none of an absent one."""
        if part is None:
            return []
        if not isinstance(part.node, yaml.SequenceNode):
            self.note(part, "must be a list")
            return []
        nodes = enumerate(part.node.value)
        found = [Part(node, f"{part.path}[{index}]", node.start_mark.line + 1) for index, node in nodes]
        if len(found) < least:
            self.note(part, f"must have {least} or more items")
        return found

    def text(self, part: Part | None) -> str | None:
        """A text; the empty one is a mistake."""
        if part is None:
            return None
        value = self._scalar(part)
        if value == "":
            self.note(part, "must not be empty")
        return value or None

    def number(self, part: Part | None, low: int, high: int) -> int | None:
        """A whole number from `low` to `high`."""
        if part is None:
            return None
        node = part.node
        digits = node.value if isinstance(node, yaml.ScalarNode) and node.tag == _NUMBER else ""
        # Ten digits are more than any number here has, and int() refuses thousands of them.
        if not digits.isdecimal() or len(digits) > 10 or not low <= int(digits) <= high:
            self.note(part, f"must be a whole number from {low} to {high}")
            return None
        return int(digits)

    def flag(self, part: Part | None) -> bool:
        """`true` or `false`; absent is false."""
        if part is None:
            return False
        node = part.node
        if not isinstance(node, yaml.ScalarNode) or node.tag != _FLAG or node.value not in ("true", "false"):
            self.note(part, "must be true or false")
            return False
        return bool(node.value == "true")

    def texts(self, part: Part | None) -> dict[str, tuple[Part, str]]:
        """A mapping from text to text, each value with its part."""
        if part is None:
            return {}
        if not isinstance(part.node, yaml.MappingNode):
            self.note(part, "must be a mapping from text to text")
            return {}
        read = {name: (value, self._scalar(value)) for name, value in self._entries(part, part.node).items()}
        return {name: (value, text) for name, (value, text) in read.items() if text is not None}

    def _entries(self, part: Part, node: yaml.MappingNode) -> dict[str, Part]:
        found: dict[str, Part] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self.faults.append(Fault(line, part.path, "has a key that is not text"))
                continue
            entry = Part(value, part.below(key.value), line)
            if key.value in found:
                self.note(entry, f"is given twice, first in line {found[key.value].line}")
            elif value.tag != _NULL:
                found[key.value] = entry
        return found

    def _scalar(self, part: Part) -> str | None:
        node = part.node
        if not isinstance(node, yaml.ScalarNode):
            self.note(part, "must be text")
        elif node.tag not in _TEXTS:
            self.note(part, f'must be text: write "{node.value}" in quotes')
        else:
            return str(node.value)
        return None
