"""Problems as Warning events: each when it comes up."""

from collections.abc import Hashable, Iterable

import structlog

from sallyport.kube.events import Recorder
from sallyport.model.findings import Findings
from sallyport.model.state import Problem

log = structlog.get_logger(__name__)


class Warnings:
    """Tells of every problem that was not there the last time, by what it comes from."""

    def __init__(self, events: Recorder) -> None:
        self._events = events
        self._told: dict[Hashable, frozenset[Problem]] = {}

    def tell_all(self, findings: Findings) -> None:
        """Tell of what has changed in there."""
        touched, findings.touched = findings.touched, set()
        new: set[Problem] = set()
        for source in touched:
            new |= self._note((id(findings), source), findings.of(source))
        self._record(new)

    def tell(self, source: Hashable, problems: Iterable[Problem]) -> None:
        """Tell of what has come up in one place."""
        self._record(self._note(source, problems))

    def _note(self, source: Hashable, problems: Iterable[Problem]) -> frozenset[Problem]:
        before, now = self._told.pop(source, frozenset()), frozenset(problems)
        if now:
            self._told[source] = now
        return now - before

    def _record(self, problems: Iterable[Problem]) -> None:
        for problem in sorted(problems):
            log.warning("controller.problem", object=str(problem.ref), reason=problem.reason, message=problem.message)
            self._events.record(problem.ref, "Warning", problem.reason, problem.message)
