"""Stub."""

from typing import Any


def track(*a: Any) -> None:
    pass


def own(*a: Any) -> None:
    pass


def fields_of(*a: Any) -> Any:
    pass


def merge(resource: Any, old: Any, wanted: Any, *a: Any) -> Any:
    from sallyport.lab.apiserver import patch

    return patch.strategic(old, wanted)
