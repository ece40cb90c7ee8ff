"""Problems by what they come from, while that changes bit by bit."""

from collections.abc import Hashable, Iterable, Mapping
from types import MappingProxyType

from sallyport.model.state import Problem


class Findings:
    """`by_source` has no source without a problem. `touched` are the sources whose problems have changed since it was
    emptied."""

    def __init__(self) -> None:
        self._by_source: dict[Hashable, tuple[Problem, ...]] = {}
        self.by_source: Mapping[Hashable, tuple[Problem, ...]] = MappingProxyType(self._by_source)
        self.touched: set[Hashable] = set()
        self._all: tuple[Problem, ...] | None = ()

    def put(self, source: Hashable, problems: Iterable[Problem]) -> None:
        """What is wrong there now, and nothing else."""
        found = tuple(problems)
        if found == self._by_source.get(source, ()):
            return
        if found:
            self._by_source[source] = found
        else:
            del self._by_source[source]
        self.touched.add(source)
        self._all = None

    def of(self, source: Hashable) -> tuple[Problem, ...]:
        """What is wrong there."""
        return self._by_source.get(source, ())

    @property
    def all(self) -> tuple[Problem, ...]:
        """All of it, in order, each once."""
        if self._all is None:
            self._all = tuple(sorted({item for found in self._by_source.values() for item in found}))
        return self._all
