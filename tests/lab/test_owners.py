"""Server-side apply of an Egress by several managers: each owns what it wrote, and our controller is one of them."""

import json

import pytest
from tests.lab.scene import Object, Scene, becomes, egress, hosted, ip_pool, on

from sallyport.apis.antrea.types import EGRESSES
from sallyport.drivers.command import DriverError

pytestmark = [pytest.mark.lab, pytest.mark.root]

FIRST, SECOND = "10.10.0.11", "10.10.0.12"
CONTROLLER = "sallyport-controller"


def apply(scene: Scene, whole: Object, *options: str) -> str:
    """`kubectl apply --server-side`; what it prints. DriverError when it is refused."""
    return scene.lab.kubectl("apply", "--server-side", *options, "-f", "-", text=json.dumps(whole))


def web(ip: str = "") -> Object:
    """The Egress of these tests."""
    return egress("web", on(1), pool="two", ip=ip)


def owners(scene: Scene, *path: str) -> set[tuple[str, str]]:
    """Manager and operation of those who own a field of the Egress; a field is named as in managedFields."""
    (whole,) = scene.lab.objects("egress", "web", "--show-managed-fields")
    found = set()
    for entry in whole["metadata"]["managedFields"]:
        part = entry["fieldsV1"]
        for name in path:
            part = part.get(f"f:{name}") if part is not None else None
        if part is not None:
            found.add((entry["manager"], entry["operation"]))
    return found


@pytest.fixture
def applied(scene: Scene) -> Scene:
    """An Egress that a user has applied without an address, and that has got one from its pool."""
    scene.apply(ip_pool("two", f"{FIRST}-{SECOND}", nodes=hosted(2)))
    apply(scene, web())
    becomes(lambda: scene.held("web"), (FIRST, "node-2"))
    return scene


def test_the_address_from_the_pool_is_the_controllers_and_applying_again_takes_it_from_nobody(applied: Scene) -> None:
    assert owners(applied, "spec", "egressIP") == {(CONTROLLER, "Update")}
    assert owners(applied, "spec", "externalIPPool") == {("kubectl", "Apply")}
    before = applied.get(EGRESSES, "web").metadata.resource_version
    assert apply(applied, web()) == "egress.crd.antrea.io/web serverside-applied\n"
    assert applied.get(EGRESSES, "web").metadata.resource_version == before
    apply(applied, {**web(), "metadata": {"name": "web", "labels": {"team": "blue"}}})
    assert applied.get(EGRESSES, "web").spec.egress_ip == FIRST
    assert applied.held("web") == (FIRST, "node-2")


def test_each_status_is_owned_by_the_process_that_writes_it(applied: Scene) -> None:
    assert owners(applied, "status", "id") == {(CONTROLLER, "Update")}
    assert owners(applied, "status", "egressNode") == {("sallyport-agent", "Update")}


def test_another_address_than_the_controllers_is_a_conflict_that_can_be_forced(applied: Scene) -> None:
    words = rf'conflict with "{CONTROLLER}" using crd\.antrea\.io/v1beta1: \.spec\.egressIP'
    with pytest.raises(DriverError, match=words):
        apply(applied, web(ip=SECOND))
    assert applied.held("web") == (FIRST, "node-2")
    apply(applied, web(ip=SECOND), "--force-conflicts")
    becomes(lambda: applied.held("web"), (SECOND, "node-2"))
    assert owners(applied, "spec", "egressIP") == {("kubectl", "Apply")}


def test_who_gives_his_address_up_gets_one_from_the_pool(scene: Scene) -> None:
    scene.apply(ip_pool("two", f"{FIRST}-{SECOND}", nodes=hosted(2)))
    apply(scene, web(ip=SECOND))
    becomes(lambda: scene.held("web"), (SECOND, "node-2"))
    apply(scene, web())
    becomes(lambda: scene.held("web"), (FIRST, "node-2"))
    assert owners(scene, "spec", "egressIP") == {(CONTROLLER, "Update")}


def test_a_second_manager_is_told_whose_field_it_is_and_may_take_it(applied: Scene) -> None:
    with pytest.raises(DriverError) as refusal:
        apply(applied, egress("web", on(3), pool="two"), "--field-manager=other")
    assert 'conflict with "kubectl": .spec.appliedTo.podSelector.matchLabels.on' in str(refusal.value)
    apply(applied, egress("web", on(3), pool="two"), "--field-manager=other", "--force-conflicts")
    selector = ("spec", "appliedTo", "podSelector", "matchLabels", "on")
    assert owners(applied, *selector) == {("other", "Apply")}
    assert owners(applied, "spec", "externalIPPool") == {("kubectl", "Apply"), ("other", "Apply")}
    with pytest.raises(DriverError, match='conflict with "other"'):
        apply(applied, web())


def test_two_managers_of_different_fields_leave_each_other_alone(applied: Scene) -> None:
    limit = {"apiVersion": "crd.antrea.io/v1beta1", "kind": "Egress", "metadata": {"name": "web"}}
    rate = {"rate": "10M", "burst": "20M"}
    apply(applied, {**limit, "spec": {"bandwidth": rate}}, "--field-manager=other")
    apply(applied, web())
    assert applied.lab.objects("egress", "web")[0]["spec"]["bandwidth"] == rate
    apply(applied, limit, "--field-manager=other")
    spec = applied.lab.objects("egress", "web")[0]["spec"]
    assert spec == {**web()["spec"], "egressIP": FIRST}
    assert owners(applied, "spec", "bandwidth") == set()


def test_who_applied_in_the_client_may_go_on_in_the_server(scene: Scene) -> None:
    scene.apply(ip_pool("two", f"{FIRST}-{SECOND}", nodes=hosted(2)), web())
    becomes(lambda: scene.held("web"), (FIRST, "node-2"))
    apply(scene, web())
    assert owners(scene, "spec", "externalIPPool") == {("kubectl", "Apply")}
    scene.apply(web())
    assert scene.held("web") == (FIRST, "node-2")
    assert scene.get(EGRESSES, "web").spec.egress_ip == FIRST
