"""The same fault told in two words, once."""

import re
from collections.abc import Iterable

from sallyport.model.state import Problem

_INDEX = re.compile(r"\[\d+\]$")


def further(told: Iterable[Problem], more: Iterable[Problem]) -> list[Problem]:
    """What of `more` is about a field that nothing of `told` is about, in order. An entry of a list and the list count
    as one field."""
    known = {_place(item) for item in told}
    return sorted(item for item in set(more) if not item.field or _place(item) not in known)


def _place(problem: Problem) -> tuple[str, str, str, str]:
    ref = problem.ref
    return (ref.kind, ref.namespace, ref.name, _INDEX.sub("", problem.field))
