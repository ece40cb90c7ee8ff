"""Moments as BIRD prints them.

BIRD reckons the time of day of a moment anew whenever it is asked, from how long ago it was by another clock: while the
machine's clock is being set right, the same moment moves by a millisecond.
"""

from collections.abc import Mapping
from typing import Any

import pytest

_WOBBLE = 0.02
"""Seconds: much less than any session takes to end and to come up again."""


def seconds(text: str) -> float:
    """Of the day, of a moment such as 16:32:07.687."""
    hours, minutes, rest = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def moment(known: float | Mapping[str, float]) -> Any:
    """What equals the same moment, or moments, when they are asked for again."""
    return pytest.approx(known, abs=_WOBBLE)
