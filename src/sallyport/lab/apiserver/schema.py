"""Stub."""

from sallyport.lab.apiserver.errors import Cause, Object
from sallyport.lab.apiserver.kinds import Resource


def prune(schema: Object, obj: Object) -> list[str]:
    return []


def default(schema: Object, obj: Object) -> None:
    pass


def validate(resource: Resource, obj: Object, old: Object | None) -> list[Cause]:
    return []
