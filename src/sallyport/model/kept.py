"""Answers of pure functions, kept for as long as they are asked the same."""

from collections.abc import Callable
from operator import is_not
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Kept(Generic[P, R]):
    """A pure function with its last answer. It is worked out anew when an argument is another object than the last
    time: what does not change is handed from one step to the next as it is, and comparing its members would take longer
    than asking. Where it is made anew each time, `differ` may be another measure, such as `operator.ne`."""

    def __init__(self, function: Callable[P, R], differ: Callable[[Any, Any], bool] = is_not) -> None:
        self._function, self._differ = function, differ
        self._asked: tuple[Any, ...] | None = None
        self._answer: R

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function's answer. An answer that equals the one before is that one."""
        asked = (*args, *kwargs.values())
        if self._asked is None or any(map(self._differ, asked, self._asked)):
            answer = self._function(*args, **kwargs)
            if self._asked is None or answer != self._answer:
                self._answer = answer
            self._asked = asked
        return self._answer
