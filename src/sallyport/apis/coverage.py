"""How far an upstream's field is covered, in words that every front-end uses."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class Support(StrEnum):
    """SUPPORTED: means what it means upstream. IGNORED: accepted without effect. REFUSED: never stored."""

    SUPPORTED = "supported"
    IGNORED = "ignored"
    REFUSED = "refused"


class Coverage(NamedTuple):
    """How far a field is covered, and why or with which difference."""

    support: Support
    reason: str


def supported(reason: str) -> Coverage:
    """Means what it means upstream, with a difference or none."""
    return Coverage(Support.SUPPORTED, reason)


def ignored(reason: str) -> Coverage:
    """Accepted without effect, and why."""
    return Coverage(Support.IGNORED, reason)


def refused(reason: str) -> Coverage:
    """Never stored, and why."""
    return Coverage(Support.REFUSED, reason)


def fate(covered: Mapping[str, Coverage], path: str) -> Coverage | None:
    """The coverage of a field or of the nearest part around it; None where nothing is said. Lists are `[]` in paths."""
    while path and path not in covered:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return covered.get(path)
