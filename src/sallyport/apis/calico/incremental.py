"""The same as `translate`, for pods that change one by one: those that do not ask for gateways cost nothing."""

from collections.abc import Iterable, Mapping

from sallyport.apis.calico.felix import Support, read_felix
from sallyport.apis.calico.objects import CalicoObjects
from sallyport.apis.calico.translate import Translated, asks, translate
from sallyport.apis.core import Namespace, Node, Pod
from sallyport.model.kept import Kept
from sallyport.model.state import PodKey


class Translation:
    """Calico's part of a cluster's state; the very same value as long as nothing of it has changed."""

    def __init__(self) -> None:
        self._translate = Kept(translate)
        self._namespaces: tuple[Namespace, ...] = ()
        self._inviting: frozenset[str] = frozenset()
        self._support = Support.DISABLED
        self._asking: dict[PodKey, Pod] = {}
        self._pods: tuple[Pod, ...] = ()

    def take(
        self,
        objects: CalicoObjects,
        nodes: tuple[Node, ...],
        namespaces: tuple[Namespace, ...],
        pods: Mapping[PodKey, Pod],
        changed: Iterable[PodKey],
    ) -> Translated:
        """The answer after a change; `pods` are all of them by now."""
        support = read_felix(objects.felix)[0].support
        inviting = self._inviting
        if namespaces is not self._namespaces:
            self._namespaces = namespaces
            inviting = frozenset(item.metadata.name for item in namespaces if asks(item.metadata))
        if (support, inviting) != (self._support, self._inviting):
            self._support, self._inviting = support, inviting
            self._asking = {key: pod for key, pod in pods.items() if self._asks(pod)}
        else:
            self._note({key: pods.get(key) for key in changed})
        gateways = {(item.metadata.namespace, item.metadata.name) for item in objects.pods}
        kept = tuple(pods[key] for key in sorted({*self._asking, *(gateways & pods.keys())}))
        if len(kept) != len(self._pods) or any(a is not b for a, b in zip(kept, self._pods, strict=True)):
            self._pods = kept
        return self._translate(objects, nodes, namespaces, self._pods)

    def _note(self, pods: Mapping[PodKey, Pod | None]) -> None:
        for key, pod in pods.items():
            if pod is not None and self._asks(pod):
                self._asking[key] = pod
            else:
                self._asking.pop(key, None)

    def _asks(self, pod: Pod) -> bool:
        if self._support is Support.DISABLED:
            return False
        return pod.metadata.namespace in self._inviting or asks(pod.metadata)
