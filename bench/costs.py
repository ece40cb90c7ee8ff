"""What an event costs, counted and not timed: objects translated, comparisons with selectors, exits decided about."""

import msgspec

from bench.population import POOL, SHARED, Population, namespace, node
from sallyport.apis.antrea.objects import Changes
from sallyport.apis.antrea.types import Egress, ExternalIPPool
from sallyport.apis.core import Namespace, Node, Pod
from sallyport.apis.incremental import Translation
from sallyport.apis.objects import Objects
from sallyport.model.settings import Settings
from sallyport.plan.incremental import Planning

NODES = 40
FEW = Objects(
    nodes=tuple(msgspec.convert(node(number), Node) for number in range(NODES)),
    pools=(msgspec.convert(POOL, ExternalIPPool),),
    namespaces=tuple(msgspec.convert(namespace(f"team-{number}"), Namespace) for number in range(100)),
)


class Costs:
    """A cluster that has been settled, and what changes of it cost."""

    def __init__(self, size: int) -> None:
        """`size` is the number of its pods; there is an Egress for every ten."""
        self.population = population = Population(NODES, size // 10, size, SHARED)
        self.translation, self.planning = Translation(), Planning(Settings())
        egresses = {item["metadata"]["name"]: msgspec.convert(item, Egress) for item in population.settled()}
        pods = [msgspec.convert(population.pod(number), Pod) for number in range(population.pods)]
        self.of(Changes(egresses, {(item.metadata.namespace, item.metadata.name): item for item in pods}))
        assert all(exit_.clients for exit_ in self.translation.state.exits.values())

    def of(self, changes: Changes) -> int:
        before = self.translation.effort + self.planning.effort
        touched = self.translation.take(FEW, changes)
        self.planning.take(self.translation.state, touched, self.translation.selected)
        return self.translation.effort + self.planning.effort - before

    def of_pod(self, **labels: str) -> int:
        """Of one pod more, with further labels."""
        pod = msgspec.convert(self.population.pod(7, fresh=True), Pod)
        meta = msgspec.structs.replace(pod.metadata, labels={**pod.metadata.labels, **labels})
        return self.of(Changes({}, {(meta.namespace, meta.name): msgspec.structs.replace(pod, metadata=meta)}))

    def of_label(self) -> int:
        """Of a pod that comes into another Egress."""
        return self.of_pod(first="f3")

    def of_gone_pod(self) -> int:
        pod = self.population.pod(7, fresh=True)["metadata"]
        return self.of(Changes({}, {(pod["namespace"], pod["name"]): None}))

    def of_egress(self) -> int:
        """Of one Egress more, for pods that another one selects, too."""
        item = self.population.egress(5)
        item["metadata"] |= {"name": "late", "uid": "late", "creationTimestamp": "2026-02-01T00:00:00Z"}
        return self.of(Changes({"late": msgspec.convert(item, Egress)}))

    def of_status(self) -> int:
        """Of a holder's word."""
        item = self.translation.egresses["egress-00003"]
        status = msgspec.structs.replace(item.status, egress_node="node-2")
        return self.of(Changes({"egress-00003": msgspec.structs.replace(item, status=status)}))
