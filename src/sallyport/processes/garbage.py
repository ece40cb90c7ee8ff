"""When a process that keeps many objects looks for garbage among them."""

import gc

YOUNG = 10_000
"""Objects after which those that came last are looked through."""


def spare_what_stays() -> None:
    """Look no more at what there is now: for ten thousand objects of the API, that holds up an event for a tenth of a
    second. What comes later is looked at more rarely: most of it goes by itself, when nothing refers to it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
