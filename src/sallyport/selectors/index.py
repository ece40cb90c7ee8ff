"""Which of many selectors match an object, and which of many objects a selector matches, without asking each of them.

Every selector is filed under one label that it demands (and under its namespaces, while they are few), so an object
asks only those filed under its own labels. Objects are filed by the keys of labels that selectors have asked for.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

from sallyport.selectors.kubernetes import LabelSelector

Name = TypeVar("Name", bound=Hashable)

FEW_NAMESPACES = 16
_EVERYWHERE = ""


@dataclass(frozen=True, slots=True)
class PodSelector:
    """Pods by the labels of their namespace and by their own. None as `namespaces` means all namespaces.

    `name` is what `matching` answers.
    """

    name: str
    pods: LabelSelector | None
    namespaces: LabelSelector | None


@dataclass(frozen=True, slots=True)
class _Filed:
    name: str
    pods: LabelSelector | None
    namespaces: frozenset[str] | None


class LabelIndex(Generic[Name]):
    """Labelled objects by name, asked for those that a selector matches. `labels` are those of each; `compared` counts
    objects that were compared with a selector.

    A key of labels is filed when a selector first asks by it: most keys are asked for by none.
    """

    def __init__(self, objects: Mapping[Name, Mapping[str, str]] | None = None) -> None:
        self._objects: dict[Name, Mapping[str, str]] = dict(objects or {})
        self.labels: Mapping[Name, Mapping[str, str]] = MappingProxyType(self._objects)
        self._by_key: dict[str, dict[str, set[Name]]] = {}
        self.compared = 0

    def put(self, name: Name, labels: Mapping[str, str]) -> None:
        """Take in an object, or its new labels."""
        self.drop(name)
        self._objects[name] = labels
        for key, filed in self._by_key.items():
            if key in labels:
                filed.setdefault(labels[key], set()).add(name)

    def drop(self, name: Name) -> None:
        """Forget an object, if it is known."""
        labels = self._objects.pop(name, {})
        for key, filed in self._by_key.items():
            if key in labels:
                filed[labels[key]].discard(name)
                if not filed[labels[key]]:
                    del filed[labels[key]]

    def matching(self, selector: LabelSelector) -> frozenset[Name]:
        """Names of the objects that it matches."""
        anchor = _anchor(selector)
        names: Collection[Name] = self._objects
        if anchor is not None:
            names = [name for key, value in anchor for name in self._filed(key).get(value, ())]
        self.compared += len(names)
        return frozenset(name for name in names if selector.matches(self._objects[name]))

    def _filed(self, key: str) -> dict[str, set[Name]]:
        if key not in self._by_key:
            made: dict[str, set[Name]] = {}
            for name, labels in self._objects.items():
                if key in labels:
                    made.setdefault(labels[key], set()).add(name)
            self._by_key[key] = made
        return self._by_key[key]


class PodSelectorIndex:
    """Selectors of pods, asked for those that match one. `namespaces` has the labels of each; `compared` counts
    selectors that were compared with a pod."""

    def __init__(
        self, selectors: Iterable[PodSelector] = (), namespaces: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        self._by_label: dict[tuple[str, str, str], dict[str, _Filed]] = {}
        self._by_namespace: dict[str, dict[str, _Filed]] = {}
        self._filed: dict[str, _Filed] = {}
        self.compared = 0
        index = LabelIndex(namespaces)
        for selector in selectors:
            self.put(selector, None if selector.namespaces is None else index.matching(selector.namespaces))

    def put(self, selector: PodSelector, namespaces: frozenset[str] | None) -> None:
        """Take in a selector, in place of the one of its name. `namespaces` are those that it matches, None for all."""
        self.drop(selector.name)
        filed = self._filed[selector.name] = _Filed(selector.name, selector.pods, namespaces)
        for place, key in _places(filed):
            if isinstance(key, tuple):
                self._by_label.setdefault((place, *key), {})[filed.name] = filed
            else:
                self._by_namespace.setdefault(place, {})[filed.name] = filed

    def drop(self, name: str) -> None:
        """Forget a selector, if it is known."""
        filed = self._filed.pop(name, None)
        if filed is None:
            return
        for place, key in _places(filed):
            if isinstance(key, tuple):
                _forget(self._by_label, (place, *key), name)
            else:
                _forget(self._by_namespace, place, name)

    def namespaces(self, name: str) -> frozenset[str] | None:
        """The namespaces that a selector is filed with; None for all of them."""
        return self._filed[name].namespaces

    def matching(self, namespace: str, labels: Mapping[str, str]) -> list[str]:
        """Names of the selectors that match a pod, each once, in no particular order."""
        found: list[str] = []
        for place in (namespace, _EVERYWHERE):
            if filed := self._by_namespace.get(place):
                self._ask(filed.values(), namespace, labels, found)
            for key, value in labels.items():
                if filed := self._by_label.get((place, key, value)):
                    self._ask(filed.values(), namespace, labels, found)
        return found

    def _ask(self, filed: Collection[_Filed], namespace: str, labels: Mapping[str, str], found: list[str]) -> None:
        self.compared += len(filed)
        found += [
            item.name
            for item in filed
            if (item.namespaces is None or namespace in item.namespaces)
            and (item.pods is None or item.pods.matches(labels))
        ]


Place = TypeVar("Place", bound=Hashable)


def _forget(filed: dict[Place, dict[str, _Filed]], place: Place, name: str) -> None:
    del filed[place][name]
    if not filed[place]:
        del filed[place]


def _places(filed: _Filed) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Where a selector is filed: its namespaces while they are few, each with the labels that it demands one of."""
    few = filed.namespaces is not None and len(filed.namespaces) <= FEW_NAMESPACES
    anchor = None if filed.pods is None else _anchor(filed.pods)
    for namespace in (filed.namespaces or ()) if few else (_EVERYWHERE,):
        for label in (None,) if anchor is None else anchor:
            yield namespace, label


def _anchor(selector: LabelSelector) -> set[tuple[str, str]] | None:
    """Labels of one key of which every match has exactly one; None when the selector demands no value."""
    for label in selector.match_labels.items():
        return {label}
    for requirement in selector.match_expressions:
        if requirement.operator == "In":
            return {(requirement.key, value) for value in requirement.values}
    return None
