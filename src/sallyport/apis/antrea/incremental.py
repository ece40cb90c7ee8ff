"""The same as `translate`, for objects that change one by one.

Each object is translated by the functions of `translate` when it changes; what is worked out here is which objects a
change concerns. Where few objects of a kind exist, all of them are read again when one has changed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sallyport.apis.antrea.config import Configuration, read_configuration
from sallyport.apis.antrea.objects import Changes, Objects
from sallyport.apis.antrea.translate import (
    by_namespace,
    client_of,
    exit_of,
    networks_of,
    node_of,
    pools_of,
    selector_of,
    spared,
    used_by,
)
from sallyport.apis.antrea.types import Egress, ExternalIPPool
from sallyport.apis.core import ConfigMap, Namespace, Node, Pod
from sallyport.model import state as model
from sallyport.model.findings import Findings
from sallyport.model.kept import Kept
from sallyport.model.state import Client, ClusterState, Exit, IPAddress, PodKey, Pool, Problem
from sallyport.selectors.selection import Selection


class Translation:
    """Antrea's part of a cluster's state.

    `exits` and `clients` are all there are, of all `egresses` and `pods`. Those whose value is another one, or that
    are gone, since they were last taken note of, are in `changed` (an exit that differs by more than its clients),
    `counted` (an exit whose clients differ) and `moved` (pods that are other clients, or those of other exits): whoever
    takes note empties these.
    """

    def __init__(self) -> None:
        self.exits: dict[str, Exit] = {}
        self.clients: dict[PodKey, Client] = {}
        self.egresses: dict[str, Egress] = {}
        self.pods: dict[PodKey, Pod] = {}
        self.changed: set[str] = set()
        self.counted: set[str] = set()
        self.moved: set[PodKey] = set()
        self.findings = Findings()
        self.selection = Selection()
        self.translated = 0
        """Egresses and pods translated so far."""
        self._by_namespace: set[str] = set()
        self._spaces: frozenset[str] = frozenset()
        self._waits = False
        self._waiting: dict[str, set[PodKey]] = {}
        self._used: dict[IPAddress, int] = {}
        self._configured = Kept(_configured)
        self._nodes = Kept(_nodes)
        self._pools = Kept(_pools)
        self._spared = Kept(_spared)
        self._networks = Kept(networks_of)
        self._namespaces: tuple[Namespace, ...] = ()
        self._own: frozenset[IPAddress] = frozenset()
        self.few = ClusterState()
        """What the objects mean of which there are few: the state without exits and clients."""

    def take(self, few: Objects, changes: Changes, *, namespaces_count: bool = False) -> None:
        """Take in what has changed. Of `few`, Egresses and Pods are not looked at."""
        come_or_gone = self._name_spaces(few.namespaces)
        for name, egress in changes.egresses.items():
            self._take_egress(name, egress)
        waited, self._waits = self._waits, namespaces_count or bool(self._by_namespace)
        for key in self._undecided(come_or_gone, everywhere=waited != self._waits) - changes.pods.keys():
            self._take_pod(key, self.pods[key])
        for key, pod in changes.pods.items():
            self._take_pod(key, pod)
        self._count()
        self._take_few(few)

    def _name_spaces(self, namespaces: tuple[Namespace, ...]) -> set[str]:
        """Take in all namespaces; those are answered that came or went."""
        if namespaces is self._namespaces:
            return set()
        self._namespaces = namespaces
        labels = {item.metadata.name: item.metadata.labels for item in namespaces}
        changed = self.selection.name_spaces(labels)
        before, self._spaces = self._spaces, frozenset(labels)
        return {name for name in changed if (name in before) != (name in labels)}

    def _undecided(self, spaces: Iterable[str], *, everywhere: bool) -> set[PodKey]:
        """Pods to be judged anew because a namespace came or went, or because these count now or do no longer."""
        if everywhere:
            return set(self.pods)
        if not self._waits:
            return set()
        waiting = (key for name in spaces for key in self._waiting.get(name, ()))
        return {*waiting, *(key for name in spaces for key in self.selection.inside(name))}

    def _take_egress(self, name: str, egress: Egress | None) -> None:
        self.translated += 1
        problems: list[Problem] = []
        before = self.exits.get(name)
        now = None if egress is None else exit_of(egress, before.clients if before else (), problems)
        if now != before:
            self._put(name, before, now)
            self.changed.add(name)
        self.findings.put(("Egress", name), problems)
        if egress is None:
            self.egresses.pop(name, None)
        else:
            self.egresses[name] = egress
        self._by_namespace.discard(name)
        if egress is not None and by_namespace(egress):
            self._by_namespace.add(name)
        selector = None if egress is None else selector_of(egress)
        if selector is None:
            self.selection.deselect(name)
        else:
            self.selection.select(selector)

    def _put(self, name: str, before: Exit | None, now: Exit | None) -> None:
        if now is None:
            del self.exits[name]
        else:
            self.exits[name] = now
        for exit_, step in ((before, -1), (now, 1)):
            address = None if exit_ is None else used_by(exit_)
            if address is not None:
                self._used[address] = self._used.get(address, 0) + step
                if not self._used[address]:
                    del self._used[address]

    def _take_pod(self, key: PodKey, pod: Pod | None) -> None:
        self.translated += 1
        problems: list[Problem] = []
        self._wait(key, pod)
        decided = pod if pod is not None and (not self._waits or key[0] in self._spaces) else None
        before, now = self.clients.get(key), None if decided is None else client_of(decided, problems)
        if now is None:
            self.clients.pop(key, None)
        elif now != before:
            self.clients[key] = now
        if now != before:
            self.moved.add(key)
        self.findings.put(("Pod", *key), problems)
        if now is None or decided is None:
            self.selection.drop(key)
        else:
            self.selection.put(key, decided.metadata.labels)

    def _wait(self, key: PodKey, pod: Pod | None) -> None:
        """Note a pod, and whether its namespace has yet to be heard of."""
        if pod is None:
            self.pods.pop(key, None)
        else:
            self.pods[key] = pod
        if pod is not None and key[0] not in self._spaces:
            self._waiting.setdefault(key[0], set()).add(key)
        elif key[0] in self._waiting:
            self._waiting[key[0]].discard(key)
            if not self._waiting[key[0]]:
                del self._waiting[key[0]]

    def _count(self) -> None:
        """Give the exits their clients."""
        for name in self.selection.matches.take_touched():
            if name in self.exits:
                self.exits[name] = replace(self.exits[name], clients=self.selection.matches.members(name))
                self.counted.add(name)
        self.moved |= self.selection.matches.take_changed()

    def _take_few(self, few: Objects) -> None:
        configuration, wrong = self._configured(few.configmaps)
        self.findings.put("configuration", wrong)
        nodes, wrong = self._nodes(few.nodes)
        self.findings.put("nodes", wrong)
        pools, wrong = self._pools(few.pools, few.nodes)
        self.findings.put("pools", wrong)
        own = frozenset(address for node in nodes.values() for address in node.addresses if address in self._used)
        if own != self._own:
            self._own = own
        pools, wrong = self._spared(pools, nodes, self._own)
        self.findings.put("addresses of nodes", wrong)
        self.few = ClusterState(
            nodes=nodes,
            pools=pools,
            networks=self._networks(nodes, few.service_networks, configuration),
            default_limit=configuration.limit,
            enabled=configuration.enabled,
        )


def _configured(found: tuple[ConfigMap, ...]) -> tuple[Configuration, tuple[Problem, ...]]:
    return read_configuration(found)


def _nodes(found: tuple[Node, ...]) -> tuple[Mapping[str, model.Node], tuple[Problem, ...]]:
    problems: list[Problem] = []
    return {item.metadata.name: node_of(item, problems) for item in found}, tuple(problems)


def _pools(
    found: tuple[ExternalIPPool, ...], nodes: tuple[Node, ...]
) -> tuple[Mapping[str, Pool], tuple[Problem, ...]]:
    problems: list[Problem] = []
    return pools_of(found, nodes, problems), tuple(problems)


def _spared(
    pools: Mapping[str, Pool], nodes: Mapping[str, model.Node], used: frozenset[IPAddress]
) -> tuple[Mapping[str, Pool], tuple[Problem, ...]]:
    problems: list[Problem] = []
    return spared(pools, nodes, used, problems), tuple(problems)
