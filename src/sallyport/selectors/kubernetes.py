"""Kubernetes' LabelSelector: what it matches, and which selectors and labels Kubernetes itself refuses.

Semantics: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/ and, for validity,
apimachinery's ValidateLabelSelector.
"""

import re
from collections.abc import Iterator, Mapping

from msgspec import Struct, field

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
LABEL_VALUE = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
LABEL_LENGTH = 63
PREFIX_LENGTH = 253

_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class Requirement(Struct, frozen=True, gc=False, omit_defaults=True):
    """One entry of `matchExpressions`. An unknown operator matches nothing (`faults` reports it)."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels fit it."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case _:
                return False


class LabelSelector(Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    """All of `match_labels` and all of `match_expressions` must hold; the empty selector matches everything."""

    match_labels: Mapping[str, str] = field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels fit all of it."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )

    def requirements(self) -> Iterator[Requirement]:
        """The same selector as requirements only, `match_labels` first."""
        for key, value in self.match_labels.items():
            yield Requirement(key, "In", (value,))
        yield from self.match_expressions


def key_fault(key: str) -> str | None:
    """Why this is no label key (`[prefix/]name`), or None."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > PREFIX_LENGTH or not _SUBDOMAIN.fullmatch(prefix)):
        return f"label key {key!r}: the part before the slash must be a DNS name of at most {PREFIX_LENGTH} characters"
    if len(name) > LABEL_LENGTH or not _NAME.fullmatch(name):
        return (
            f"label key {key!r}: the name must be 1 to {LABEL_LENGTH} letters, digits, '-', '_' or '.', "
            "beginning and ending with a letter or digit"
        )
    return None


def value_fault(value: str) -> str | None:
    """Why this is no label value, or None. The empty value is valid."""
    if len(value) > LABEL_LENGTH or not _VALUE.fullmatch(value):
        return (
            f"label value {value!r} must be at most {LABEL_LENGTH} letters, digits, '-', '_' or '.', "
            "beginning and ending with a letter or digit"
        )
    return None


def faults(selector: LabelSelector) -> list[tuple[str, str]]:
    """What Kubernetes refuses in it, as (field path below the selector, reason); empty when it is valid."""
    found: list[tuple[str, str]] = []
    for key, value in selector.match_labels.items():
        found += [(f"matchLabels[{key}]", text) for text in (key_fault(key), value_fault(value)) if text]
    for number, requirement in enumerate(selector.match_expressions):
        path = f"matchExpressions[{number}]"
        if text := key_fault(requirement.key):
            found.append((f"{path}.key", text))
        if requirement.operator not in OPERATORS:
            found.append((f"{path}.operator", f"{requirement.operator!r} must be one of {', '.join(OPERATORS)}"))
        elif requirement.operator in ("In", "NotIn"):
            if not requirement.values:
                found.append((f"{path}.values", f"must be given when operator is {requirement.operator}"))
        elif requirement.values:
            found.append((f"{path}.values", f"must not be given when operator is {requirement.operator}"))
        for index, value in enumerate(requirement.values):
            if text := value_fault(value):
                found.append((f"{path}.values[{index}]", text))
    return found
