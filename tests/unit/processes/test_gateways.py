"""What a controller writes for Calico's kinds, and that it writes nothing twice."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.unit.apis.calico.build import felix, gateway, gateway_pod, ip_pool, namespace, network, node, peer, pod
from tests.unit.apis.calico.objects import manifest

from sallyport.apis.calico.annotations import EXITS, MAINTENANCE_STARTED, NEXT_HOPS
from sallyport.apis.calico.objects import CalicoObjects
from sallyport.apis.calico.status import Seen
from sallyport.apis.calico.types import DEGRADED, EgressGateway, FelixConfiguration
from sallyport.apis.core import Namespace, Pod
from sallyport.apis.objects import Objects
from sallyport.apis.translate import translate
from sallyport.model.settings import Settings
from sallyport.plan.cluster import plan_cluster
from sallyport.processes.gateways import DEPLOYMENTS, SERVICE_ACCOUNTS, Gateways, Owned
from sallyport.processes.writes import Write

NOW = "2026-01-01T00:00:00Z"
RED = "code == 'red'"
KEY = ("default", "gw")
POOLS = (ip_pool("red-pool", "10.10.10.0/30"),)


class Scene:
    """A controller's term, and the objects that it sees. `carry_out` stores what it writes."""

    def __init__(self, *gateways: EgressGateway, pods: tuple[Any, ...] = (), **objects: Any) -> None:
        usual: dict[str, Any] = {"felix": (felix(),), "pools": POOLS, "networks": (network("red", 500),)}
        self.calico = CalicoObjects(gateways=gateways or (gateway(),), pods=pods, **{**usual, **objects})
        self.clients: tuple[Pod, ...] = ()
        self.namespaces: tuple[Namespace, ...] = (namespace("default"),)
        self.nodes = (node("node-1"), node("node-2", "10.0.0.2"))
        self.owned: dict[tuple[str, str], Owned] = {}
        self.controller = Gateways("registry/sallyport:1")

    @property
    def seen(self) -> Seen:
        state = translate(Objects(nodes=self.nodes, namespaces=self.namespaces, pods=self.clients, calico=self.calico))
        return Seen(state, plan_cluster(state, Settings()))

    def writes(self) -> list[Write]:
        clients = {(item.metadata.namespace, item.metadata.name): item for item in self.clients}
        return self.controller.writes(self.calico, self.nodes, clients, self.owned, self.seen, NOW)

    def of(self, kind: str, name: str = "") -> list[Write]:
        """The writes to objects of a kind."""
        return [item for item in self.writes() if item.resource.kind == kind and name in ("", item.name)]

    def carry_out(self, generation: int = 1) -> None:
        """Deployments are stored as of that generation."""
        stored = msgspec.convert({"metadata": {"generation": generation}}, Owned)
        for write in self.writes():
            if write.resource is DEPLOYMENTS:
                self.owned[write.namespace or "", write.name] = stored
            write.done(stored)


def status_of(scene: Scene, name: str = "gw") -> Mapping[str, Any]:
    (write,) = [item for item in scene.of("EgressGateway", name) if item.subresource == "status"]
    body = msgspec.to_builtins(write.body)
    assert isinstance(body, dict)
    return dict(body["status"])


def degraded(scene: Scene, name: str = "gw") -> str:
    """The reason for which a gateway is degraded, "" if it is not."""
    (found,) = [item for item in status_of(scene, name)["conditions"] if item["type"] == DEGRADED]
    return str(found["reason"]) if found["status"] == "True" else ""


# Options


def test_options_are_made_where_there_are_none_and_left_alone_where_there_are() -> None:
    """Calico's guides patch the object `default`, which is there from the beginning where Calico runs."""
    (write,) = Scene(felix=()).of("FelixConfiguration")
    made = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"}}
    assert (write.name, write.kind, write.body) == ("default", "apply", {**made, "spec": {}})
    assert not Scene().of("FelixConfiguration")


def test_an_option_of_egress_for_one_node_is_told_to_have_no_effect() -> None:
    """Calico makes an object for each node, of whose other options nothing is said."""
    options = {"defaultEndpointToHostAction": "Return", "egressIPHostIfacePattern": "ens20"}
    node_1 = msgspec.convert(manifest("FelixConfiguration", "node.node-1", **options), FelixConfiguration)
    calico = CalicoObjects(felix=(felix(), node_1))
    (told,) = Gateways("").problems(calico)
    assert (told.ref.name, told.reason, told.field) == ("node.node-1", "NoEffect", "spec.egressIPHostIfacePattern")


# Deployments


def test_a_gateway_is_made_with_its_account_and_not_again_while_both_are_as_they_were() -> None:
    scene = Scene()
    assert [item.resource for item in scene.writes() if item.kind == "apply"] == [SERVICE_ACCOUNTS, DEPLOYMENTS]
    scene.carry_out()
    assert not [item for item in scene.writes() if item.kind == "apply"]


def test_a_gateway_that_was_edited_or_whose_deployment_somebody_changed_or_took_away_is_made_again() -> None:
    def makes(scene: Scene) -> bool:
        return bool(scene.of("Deployment"))

    edited, changed, gone = Scene(), Scene(), Scene()
    for scene in (edited, changed, gone):
        scene.carry_out(generation=1)
        assert not makes(scene)
    edited.calico = replace(edited.calico, gateways=(gateway(replicas=2),))
    changed.owned[KEY] = msgspec.convert({"metadata": {"generation": 2}}, Owned)
    del gone.owned[KEY]
    assert makes(edited)
    assert makes(changed)
    assert makes(gone)


def test_a_controller_that_has_just_begun_makes_everything_once() -> None:
    """It does not know by what the Deployment was made."""
    scene = Scene()
    scene.carry_out()
    scene.controller = Gateways("registry/sallyport:1")
    assert scene.of("Deployment")
    scene.carry_out()
    assert not scene.of("Deployment")


def test_a_gateway_that_is_being_deleted_is_not_made_again() -> None:
    item = gateway()
    ending = msgspec.structs.replace(item, metadata=msgspec.structs.replace(item.metadata, deletion_timestamp=NOW))
    assert not Scene(ending).of("Deployment")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"ipPools": [{"name": "none"}]}, "NotFound"),
        ({"ipPools": [{"cidr": "10.10.10.0/31"}]}, "NotFound"),
        ({"ipPools": [{"name": "red-pool", "cidr": "10.10.10.0/31"}]}, "Conflict"),
        ({"externalNetworks": ["blue"]}, "NotFound"),
    ],
)
def test_a_gateway_that_names_what_is_not_there_is_degraded_and_not_made(spec: dict[str, Any], reason: str) -> None:
    """What it was before stays as it was, and other gateways are made."""
    scene = Scene(gateway(**spec), gateway("fine"))
    assert [item.name for item in scene.of("Deployment")] == ["fine"]
    assert degraded(scene) == reason
    assert degraded(scene, "fine") == ""
    assert [item.reason for item in scene.controller.problems(scene.calico)] == [reason]
    scene.calico = replace(scene.calico, gateways=(gateway(),))
    assert scene.of("Deployment")
    assert degraded(scene) == ""


def test_a_gateway_with_more_replicas_than_addresses_is_made_all_the_same() -> None:
    """Those that get an address work."""
    assert Scene(gateway(replicas=9)).of("Deployment")


def test_a_deployment_that_the_server_refuses_degrades_its_gateway_until_it_is_taken() -> None:
    scene = Scene()
    (refused,) = scene.of("Deployment")
    refused.refused("spec.template: invalid")
    assert degraded(scene) == "DeploymentRefused"
    scene.carry_out()
    assert degraded(scene) == ""


# Records


def record_of(scene: Scene) -> list[Mapping[str, Any]]:
    """What is written about a gateway's exits."""
    bodies = [item.body for item in scene.of("Pod", "gw-1")]
    return [msgspec.json.decode(body["metadata"]["annotations"][EXITS]) for body in bodies if isinstance(body, dict)]


def test_address_and_id_are_recorded_on_the_gateways_pod_once() -> None:
    scene = Scene(pods=(gateway_pod(),))
    (found,) = record_of(scene)
    number = found["exits"]["4"]["id"]
    assert found == {"exits": {"4": {"ip": "10.10.10.0", "id": number}}}
    scene.calico = replace(scene.calico, pods=(gateway_pod(exits=msgspec.json.encode(found).decode()),))
    assert record_of(scene) == []


def test_a_record_is_refused_if_the_pod_has_changed_meanwhile() -> None:
    """Two controllers cannot give one pod two addresses."""
    (write,) = Scene(pods=(gateway_pod(),)).of("Pod", "gw-1")
    assert isinstance(write.body, dict)
    assert write.body["metadata"]["resourceVersion"] == "7"


def test_a_gateway_without_an_address_has_no_record() -> None:
    assert record_of(Scene(pods=(gateway_pod(pools=["none"]),))) == []


def test_the_nodes_of_a_gateways_clients_are_recorded_to_watch_it() -> None:
    scene = Scene(pods=(gateway_pod(),))
    scene.namespaces = (namespace("default"), namespace(selector=RED, spaces="all()"))
    scene.clients = (pod(node="node-2"),)
    assert record_of(scene)[0]["watchers"] == ["node-2"]


def annotations(scene: Scene, name: str = "app") -> Mapping[str, str]:
    """What is written on a client's pod."""
    found: dict[str, str] = {}
    for item in scene.of("Pod", name):
        assert isinstance(item.body, dict)
        found |= item.body["metadata"]["annotations"]
    return found


def test_the_gateways_of_a_client_with_a_limit_are_recorded_on_its_pod_once() -> None:
    scene = Scene(pods=(gateway_pod(),))
    scene.namespaces = (namespace("default"), namespace(selector=RED, spaces="all()", limit="1"))
    scene.clients = (pod(),)
    text = annotations(scene)[NEXT_HOPS]
    assert msgspec.json.decode(text) == {"0.0.0.0/0": ["default/gw-1/v4"], "::/0": ["default/gw-1/v4"]}
    noted = msgspec.to_builtins(pod())
    noted["metadata"]["annotations"] = {NEXT_HOPS: text}
    scene.clients = (msgspec.convert(noted, Pod),)
    assert annotations(scene) == {}


def test_clients_are_told_of_a_gateway_that_ends() -> None:
    ending = gateway_pod(deletionTimestamp="2026-01-01T00:01:00Z", deletionGracePeriodSeconds=60)
    scene = Scene(pods=(ending,))
    scene.namespaces = (namespace("default"), namespace(selector=RED, spaces="all()"), namespace("free"))
    scene.clients = (pod(), pod("other", "free"))
    assert annotations(scene)[MAINTENANCE_STARTED] == NOW
    assert annotations(scene, "other") == {}


# Statuses


def test_a_status_is_written_when_it_changes_and_not_again() -> None:
    scene = Scene(peers=(peer(externalNetwork="red"),))
    kinds = {item.resource.kind for item in scene.writes() if item.subresource == "status"}
    assert kinds == {"EgressGateway", "ExternalNetwork", "BGPPeer", "IPPool"}
    (write,) = scene.of("ExternalNetwork")
    (item,) = scene.calico.networks
    body = msgspec.to_builtins(write.body)
    stored = msgspec.convert({**msgspec.to_builtins(item), "status": body["status"]}, type(item))
    scene.calico = replace(scene.calico, networks=(stored,))
    assert scene.of("ExternalNetwork") == []
