"""The same as `translate`, for a cluster whose objects change one by one.

For an agent, it leaves out the exits that do not concern its node: what is planned for the node is the same without.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from sallyport.apis.antrea import incremental as antrea
from sallyport.apis.antrea.objects import Changes
from sallyport.apis.antrea.types import Egress
from sallyport.apis.calico import incremental as calico
from sallyport.apis.calico.translate import Translated, by_namespace, is_on
from sallyport.apis.core import Pod
from sallyport.apis.objects import Objects
from sallyport.apis.vicinity import Vicinity
from sallyport.model.findings import Findings
from sallyport.model.kept import Kept
from sallyport.model.state import ClusterState, Exit, PodKey, Pool, Touched


class Translation:
    """A cluster's state: at any time, `state` is what `translate` makes of all objects that were taken in.

    With a `node`, exits that do not concern it are left out. Without one, the state's `clients` are a view that goes on
    with what is taken in. `selected` are the Egresses that select each pod, `egresses` and `pods` all that there are.
    `findings` are the problems by the objects that they come from.
    """

    def __init__(self, node: str = "") -> None:
        self._antrea = antrea.Translation()
        self._calico = calico.Translation()
        self._vicinity = Vicinity(node) if node else None
        self._gateways: Mapping[str, Exit] = {}
        self._shown: tuple[bool, bool] = (False, False)
        self.egresses: Mapping[str, Egress] = MappingProxyType(self._antrea.egresses)
        self.pods: Mapping[PodKey, Pod] = MappingProxyType(self._antrea.pods)
        self.selected: Mapping[PodKey, tuple[str, ...]] = self._antrea.selection.matches.of
        self.findings: Findings = self._antrea.findings
        self._pools = Kept(_joined)
        self.state = ClusterState()

    @property
    def effort(self) -> int:
        """How many Egresses and pods have been translated, and compared with selectors, so far: what changes cost, in a
        measure that is the same on every machine."""
        return self._antrea.translated + self._antrea.selection.compared

    def take(self, few: Objects, changes: Changes) -> Touched:
        """Take in what has changed. Of `few`, Egresses and Pods are not looked at; the other kinds are given whole, and
        as the very same tuples as long as they are unchanged."""
        all_ = self._antrea
        all_.take(few, changes, namespaces_count=by_namespace(few.calico))
        touched = Touched(all_.changed, all_.counted, all_.moved)
        all_.changed, all_.counted, all_.moved = set(), set(), set()
        if self._vicinity is not None:
            self._vicinity.follow(all_.exits, touched.exits | touched.counted)
        found = self._calico.take(few.calico, few.nodes, few.namespaces, all_.pods, changes.pods)
        gateways, before = found.exits, self._gateways
        self._gateways = gateways
        keys = before.keys() | gateways.keys() if before is not gateways else ()
        touched.exits.update(key for key in keys if before.get(key) != gateways.get(key))
        shown = (all_.few.enabled, is_on(few.calico))
        if shown != self._shown:  # Egresses, gateways or both are switched on or off
            self._shown = shown
            touched.exits |= all_.exits.keys() | before.keys() | gateways.keys()
        self._show(found, *shown)
        return touched

    def _show(self, found: Translated, egresses: bool, gateways: bool) -> None:
        """Make the state of both parts, as `translate` does."""
        few = self._antrea.few
        self.findings.put("gateways", found.problems if egresses or gateways else ())
        exits = self._antrea.exits if self._vicinity is None else self._vicinity.exits()
        clients = MappingProxyType(self._antrea.clients) if self._vicinity is None else dict(self._antrea.clients)
        if not egresses and not gateways:
            self.state = replace(few, exits=dict(exits), clients=clients, problems=self.findings.all)
            return
        self.state = replace(
            few,
            pools=self._pools(few.pools if egresses else _NOTHING, found.pools),
            exits={**(exits if egresses else {}), **found.exits},
            clients=clients,
            policies=found.policies,
            chosen=found.chosen,
            external=found.external,
            peerings=found.peerings,
            routing=found.routing,
            tuning=found.tuning,
            enabled=True,
            problems=self.findings.all,
        )


def _joined(first: Mapping[str, Pool], second: Mapping[str, Pool]) -> Mapping[str, Pool]:
    return {**first, **second}


_NOTHING: Mapping[str, Pool] = MappingProxyType({})
