"""Which of many selectors match which of many pods, while either change one by one.

What a change costs goes by the pods and selectors that it concerns, not by how many there are.
"""

from collections.abc import Iterable, Mapping

from sallyport.selectors.groups import Groups
from sallyport.selectors.index import LabelIndex, PodSelector, PodSelectorIndex

PodKey = tuple[str, str]
"""Namespace and name of a pod."""


class Selection:
    """Pods, selectors of pods, and labels of namespaces. `matches` groups pods by the names of the selectors that match
    them."""

    def __init__(self) -> None:
        self.matches: Groups[PodKey, str] = Groups()
        self._selectors: dict[str, PodSelector] = {}
        self._index = PodSelectorIndex()
        self._by_space = PodSelectorIndex()
        self._spaces: LabelIndex[str] = LabelIndex()
        self._pods: LabelIndex[PodKey] = LabelIndex()
        self._in: dict[str, dict[PodKey, None]] = {}

    @property
    def compared(self) -> int:
        """How often a pod or a namespace was compared with a selector so far."""
        return sum(index.compared for index in (self._index, self._by_space, self._spaces, self._pods))

    def put(self, pod: PodKey, labels: Mapping[str, str]) -> None:
        """Take in a pod, or its new labels."""
        if self._pods.labels.get(pod) == labels:
            return
        self._pods.put(pod, labels)
        self._in.setdefault(pod[0], {})[pod] = None
        self._match(pod)

    def drop(self, pod: PodKey) -> None:
        """Forget a pod, if it is known."""
        if pod not in self._pods.labels:
            return
        self._pods.drop(pod)
        del self._in[pod[0]][pod]
        if not self._in[pod[0]]:
            del self._in[pod[0]]
        self.matches.put(pod, ())

    def inside(self, namespace: str) -> Iterable[PodKey]:
        """The pods of a namespace."""
        return self._in.get(namespace, ())

    def select(self, selector: PodSelector) -> None:
        """Take in a selector, in place of the one of its name."""
        if self._selectors.get(selector.name) == selector:
            return
        before = self.matches.members(selector.name)
        self._selectors[selector.name] = selector
        if selector.namespaces is None:
            self._by_space.drop(selector.name)
        else:
            self._by_space.put(PodSelector(selector.name, selector.namespaces, None), None)
        self._file(selector)
        for pod in {*before, *self._matched(selector)}:
            self._match(pod)

    def deselect(self, name: str) -> None:
        """Forget a selector, if it is known."""
        if self._selectors.pop(name, None) is None:
            return
        self._index.drop(name)
        self._by_space.drop(name)
        for pod in self.matches.members(name):
            self._match(pod)

    def name_spaces(self, labels: Mapping[str, Mapping[str, str]]) -> set[str]:
        """Take in the labels of all namespaces; those are answered that came, went or changed."""
        before = dict(self._spaces.labels)
        changed = {name for name in before.keys() | labels.keys() if before.get(name) != labels.get(name)}
        affected: set[str] = set()
        for name in changed:
            self._spaces.drop(name)
            was = self._by_space.matching("", before[name]) if name in before else ()
            now = self._by_space.matching("", labels[name]) if name in labels else ()
            affected.update(set(was).symmetric_difference(now))
            if name in labels:
                self._spaces.put(name, labels[name])
        for selector in sorted(affected):
            self._file(self._selectors[selector])
        if affected:
            for pod in [pod for name in changed for pod in self._in.get(name, ())]:
                self._match(pod)
        return changed

    def _file(self, selector: PodSelector) -> None:
        self._index.put(selector, None if selector.namespaces is None else self._spaces.matching(selector.namespaces))

    def _match(self, pod: PodKey) -> None:
        self.matches.put(pod, tuple(sorted(self._index.matching(pod[0], self._pods.labels[pod]))))

    def _matched(self, selector: PodSelector) -> set[PodKey]:
        """The pods that a selector matches that has just been filed."""
        spaces = self._index.namespaces(selector.name)
        if selector.pods is None:
            return {pod for name in (self._in if spaces is None else spaces) for pod in self._in.get(name, ())}
        return {pod for pod in self._pods.matching(selector.pods) if spaces is None or pod[0] in spaces}
