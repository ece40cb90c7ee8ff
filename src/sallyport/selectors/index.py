"""Which of many selectors match an object, without asking each of them.

Every selector is filed under one label that it demands (and under its namespaces, while they are few), so an object
asks only those filed under its own labels.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sallyport.selectors.kubernetes import LabelSelector

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


class LabelIndex:
    """Labelled objects by name, asked for those that a selector matches."""

    def __init__(self, objects: Mapping[str, Mapping[str, str]]) -> None:
        self._objects = objects
        self._by_label: dict[tuple[str, str], list[str]] = {}
        for name, labels in objects.items():
            for label in labels.items():
                self._by_label.setdefault(label, []).append(name)

    def matching(self, selector: LabelSelector) -> frozenset[str]:
        """Names of the objects that it matches."""
        anchor = _anchor(selector)
        if anchor is None:
            names: Iterable[str] = self._objects
        else:
            names = [name for label in anchor for name in self._by_label.get(label, ())]
        return frozenset(name for name in names if selector.matches(self._objects[name]))


class PodSelectorIndex:
    """Built for a fixed set of selectors and namespaces (labels by name)."""

    def __init__(self, selectors: Iterable[PodSelector], namespaces: Mapping[str, Mapping[str, str]]) -> None:
        self._by_label: dict[tuple[str, str, str], list[_Filed]] = {}
        self._by_namespace: dict[str, list[_Filed]] = {}
        index = LabelIndex(namespaces)
        for selector in selectors:
            if selector.namespaces is None:
                self._file(_Filed(selector.name, selector.pods, None))
            else:
                self._file(_Filed(selector.name, selector.pods, index.matching(selector.namespaces)))

    def _file(self, filed: _Filed) -> None:
        few = filed.namespaces is not None and len(filed.namespaces) <= FEW_NAMESPACES
        anchor = None if filed.pods is None else _anchor(filed.pods)
        for namespace in (filed.namespaces or ()) if few else (_EVERYWHERE,):
            if anchor is None:
                self._by_namespace.setdefault(namespace, []).append(filed)
            else:
                for key, value in anchor:
                    self._by_label.setdefault((namespace, key, value), []).append(filed)

    def matching(self, namespace: str, labels: Mapping[str, str]) -> list[str]:
        """Names of the selectors that match a pod, each once, in no particular order."""
        found: list[str] = []
        for place in (namespace, _EVERYWHERE):
            self._ask(self._by_namespace.get(place, ()), namespace, labels, found)
            for key, value in labels.items():
                self._ask(self._by_label.get((place, key, value), ()), namespace, labels, found)
        return found

    @staticmethod
    def _ask(filed: Iterable[_Filed], namespace: str, labels: Mapping[str, str], found: list[str]) -> None:
        found += [
            item.name
            for item in filed
            if (item.namespaces is None or namespace in item.namespaces)
            and (item.pods is None or item.pods.matches(labels))
        ]


def _anchor(selector: LabelSelector) -> set[tuple[str, str]] | None:
    """Labels of one key of which every match has exactly one; None when the selector demands no value."""
    for label in selector.match_labels.items():
        return {label}
    for requirement in selector.match_expressions:
        if requirement.operator == "In":
            return {(requirement.key, value) for value in requirement.values}
    return None
