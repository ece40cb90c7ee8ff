"""Calico's selector language: what a selector matches, and where its text is wrong.

Grammar and meaning are those of Calico's network policy (https://docs.tigera.io/calico/latest/reference/resources/
networkpolicy#selectors), `||` binding weakest and `!` strongest:

    either    = both { "||" both }
    both      = condition { "&&" condition }
    condition = "!" condition | "(" either ")" | "all()" | "global()" | "has(" key ")"
              | key ("==" | "!=" | "contains" | "starts with" | "ends with") value
              | key ("in" | "not in") "{" [ value { "," value } ] "}"

A value stands in single or double quotes and has no escapes. `!=` and `not in` hold, too, where the label is absent.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

KEY_LENGTH = 512
DEPTH_LIMIT = 50
"""Parentheses within parentheses; deeper ones are refused."""


class SelectorError(ValueError):
    """A text that is no selector. `position` counts its characters from 1; the message begins with it."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"at {position}: {reason}")
        self.position = position


class Selector(Protocol):
    """A condition on labels. Its text, by `str`, parses into an equal selector; equal ones have equal hashes."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        ...


@dataclass(frozen=True, slots=True)
class Everything:
    """`all()` and `global()`: any labels. The latter means objects outside of namespaces, where one chooses among them;
    labels do not tell, so that callers with a namespace decide themselves."""

    is_global: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        return True

    def __str__(self) -> str:
        return "global()" if self.is_global else "all()"


@dataclass(frozen=True, slots=True)
class Has:
    """The label is there, with any value."""

    key: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        return self.key in labels

    def __str__(self) -> str:
        return f"has({self.key})"


@dataclass(frozen=True, slots=True)
class Compared:
    """The label's value against one text. `operator` is one of `COMPARISONS`."""

    key: str
    operator: str
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        found = labels.get(self.key)
        match self.operator:
            case "!=":
                return found != self.value
            case "==":
                return found == self.value
            case "contains":
                return found is not None and self.value in found
            case "starts with":
                return found is not None and found.startswith(self.value)
            case _:
                return found is not None and found.endswith(self.value)

    def __str__(self) -> str:
        return f"{self.key} {self.operator} {_quoted(self.value)}"


@dataclass(frozen=True, slots=True)
class Listed:
    """The label's value is one of `values`, which are sorted and differ; or, `negated`, it is none of them."""

    key: str
    values: tuple[str, ...]
    negated: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        return (labels.get(self.key) in self.values) != self.negated

    def __str__(self) -> str:
        operator = "not in" if self.negated else "in"
        return f"{self.key} {operator} {{{', '.join(map(_quoted, self.values))}}}"


@dataclass(frozen=True, slots=True)
class Not:
    """What `part` does not match. `part` is no Not itself: two of them are none."""

    part: Selector

    def matches(self, labels: Mapping[str, str]) -> bool:
        return not self.part.matches(labels)

    def __str__(self) -> str:
        return f"!{self.part}" if isinstance(self.part, Has | Everything) else f"!({self.part})"


@dataclass(frozen=True, slots=True)
class Both:
    """`&&`: all of two or more conditions."""

    parts: tuple[Selector, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(part.matches(labels) for part in self.parts)

    def __str__(self) -> str:
        return " && ".join(map(_grouped, self.parts))


@dataclass(frozen=True, slots=True)
class Either:
    """`||`: at least one of two or more conditions."""

    parts: tuple[Selector, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        return any(part.matches(labels) for part in self.parts)

    def __str__(self) -> str:
        return " || ".join(map(_grouped, self.parts))


def negation(selector: Selector) -> Selector:
    """What it does not match."""
    return selector.part if isinstance(selector, Not) else Not(selector)


@lru_cache(maxsize=4096)
def parse(text: str) -> Selector:
    """The selector that a text stands for. Raises SelectorError, for the empty text too: only its user knows whether
    that means everything or nothing."""
    return _Parser(text).whole()


def fault(text: str) -> str | None:
    """Why a text is no selector, or None."""
    try:
        parse(text)
    except SelectorError as error:
        return str(error)
    return None


COMPARISONS = ("==", "!=", "contains", "starts with", "ends with")
_ONE_WORD = {
    "in": "in",
    "contains": "contains",
    "notin": "not in",
    "startswith": "starts with",
    "endswith": "ends with",
}
_SECOND_WORDS = {"not": "in", "starts": "with", "ends": "with"}
_TOKEN = re.compile(
    r"\s*(?:(?P<value>\"[^\"]*\"|'[^']*')|(?P<symbol>==|!=|&&|\|\||[(){},!])|(?P<word>[A-Za-z0-9_./-]+)|(?P<end>$))"
)


class _Token(NamedTuple):
    """A piece of the text: `kind` is value, symbol, word or end; `position` counts from 1."""

    kind: str
    text: str
    position: int


class _Parser:
    """Reads one text from left to right; `_next` is the token that has not been read yet."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._next = self._scan()

    def whole(self) -> Selector:
        selector = self._either()
        if self._next.kind != "end":
            raise self._expected("&& or ||")
        return selector

    def _scan(self) -> _Token:
        found = _TOKEN.match(self._text, self._at)
        if found is None or found.lastgroup is None:
            rest = self._text[self._at :]
            position = len(self._text) - len(rest.lstrip()) + 1
            odd = rest.lstrip()[0]
            reason = "the quote is not closed" if odd in "\"'" else f"{odd!r} has no meaning here"
            raise SelectorError(position, reason)
        self._at = found.end()
        kind = found.lastgroup
        return _Token(kind, found[kind], found.start(kind) + 1)

    def _take(self) -> _Token:
        token, self._next = self._next, self._scan()
        return token

    def _took(self, symbol: str) -> bool:
        if self._next.kind != "symbol" or self._next.text != symbol:
            return False
        self._take()
        return True

    def _demand(self, symbol: str) -> None:
        if not self._took(symbol):
            raise self._expected(symbol)

    def _expected(self, what: str) -> SelectorError:
        found = "the end" if self._next.kind == "end" else repr(self._next.text)
        return SelectorError(self._next.position, f"expected {what}, found {found}")

    def _either(self) -> Selector:
        parts = [self._both()]
        while self._took("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _both(self) -> Selector:
        parts = [self._condition()]
        while self._took("&&"):
            parts.append(self._condition())
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def _condition(self) -> Selector:
        negated = False
        while self._took("!"):
            negated = not negated
        selector = self._plain()
        return negation(selector) if negated else selector

    def _plain(self) -> Selector:
        position = self._next.position
        if self._took("("):
            self._depth += 1
            if self._depth > DEPTH_LIMIT:
                raise SelectorError(position, f"more than {DEPTH_LIMIT} parentheses are nested")
            selector = self._either()
            self._demand(")")
            self._depth -= 1
            return selector
        word = self._key("a condition")
        if word in ("all", "global", "has") and self._took("("):
            selector = Has(self._key("a label key")) if word == "has" else Everything(word == "global")
            self._demand(")")
            return selector
        return self._comparison(word)

    def _key(self, what: str) -> str:
        if self._next.kind != "word":
            raise self._expected(what)
        if len(self._next.text) > KEY_LENGTH:
            raise SelectorError(self._next.position, f"a label key has at most {KEY_LENGTH} characters")
        return self._take().text

    def _comparison(self, key: str) -> Selector:
        operator = self._operator()
        if operator in COMPARISONS:
            return Compared(key, operator, self._value())
        self._demand("{")
        values: set[str] = set()
        while not self._took("}"):
            values.add(self._value("a value in quotes or }"))
            if not self._took(","):
                self._demand("}")
                break
        return Listed(key, tuple(sorted(values)), operator == "not in")

    def _operator(self) -> str:
        if self._next.kind == "symbol" and self._next.text in ("==", "!="):
            return self._take().text
        if self._next.kind == "word":
            if (second := _SECOND_WORDS.get(self._next.text)) is not None:
                first = self._take().text
                if self._next.text != second:
                    raise self._expected(f"{second!r} after {first!r}")
                return f"{first} {self._take().text}"
            if (operator := _ONE_WORD.get(self._next.text)) is not None:
                self._take()
                return operator
        raise self._expected("an operator such as == or in")

    def _value(self, what: str = "a value in quotes") -> str:
        if self._next.kind != "value":
            raise self._expected(what)
        return self._take().text[1:-1]


def _quoted(value: str) -> str:
    return f"'{value}'" if '"' in value else f'"{value}"'


def _grouped(part: Selector) -> str:
    return f"({part})" if isinstance(part, Both | Either) else str(part)
