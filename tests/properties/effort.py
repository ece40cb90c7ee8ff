"""How hard the properties are tried."""

import os

from hypothesis import settings

DEEP = int(os.environ.get("PROPERTIES_DEEP", "0"))


def examples(count: int) -> settings:
    """`count` examples, the same in every run; with PROPERTIES_DEEP=N in the environment N times as many, and others
    each time."""
    return settings(max_examples=count * max(DEEP, 1), derandomize=not DEEP, deadline=None)
