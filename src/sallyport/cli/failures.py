"""What a user sees when a command cannot do its work: one line on standard error, exit status 2."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from sallyport.drivers.command import DriverError
from sallyport.kube.credentials import CredentialsError
from sallyport.kube.errors import ApiError

P = ParamSpec("P")
R = TypeVar("R")


def one_line(command: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a command say what stopped it in one line instead of a traceback, for errors that are not bugs."""

    def around(work: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(work)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return work(*args, **kwargs)
            except (ApiError, CredentialsError, DriverError) as error:
                typer.echo(f"{command}: {error}", err=True)
                raise typer.Exit(2) from None

        return guarded

    return around
