"""What Deployments and ReplicaSets want done, decided step by step without a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from sallyport.lab.apiserver import patch
from sallyport.lab.pods import LAB_PODS, LabPod
from sallyport.lab.workloads import deployments, replicasets
from sallyport.lab.workloads.deployments import bounds, template_hash
from sallyport.lab.workloads.kinds import (
    DEPLOYMENTS,
    HASH,
    REPLICA_SETS,
    REVISION,
    Action,
    Create,
    Delete,
    Deployment,
    Patch,
    ReplicaSet,
)
from sallyport.lab.workloads.replicasets import in_order_of_deletion

Object = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = {"app": "gw"}


@dataclass
class World:
    """A Deployment's objects as an API server would hold them; `step` is one round of both controllers."""

    deployment: Object
    replica_sets: dict[str, Object] = field(default_factory=dict)
    pods: dict[str, Object] = field(default_factory=dict)
    now: datetime = START
    made: int = 0
    most: int = 0
    """The most pods there ever were."""
    fewest: int = 99
    """The fewest ready pods after a step."""

    def step(self) -> bool:
        """Decide and do; whether anything was done."""
        sets = [msgspec.convert(item, ReplicaSet) for item in self.replica_sets.values()]
        held = {item["metadata"]["ownerReferences"][0]["uid"] for item in self.pods.values()}
        actions = list(deployments.decide(msgspec.convert(self.deployment, Deployment), sets, self.now, held).actions)
        self.carry_out(actions)
        for item in [msgspec.convert(each, ReplicaSet) for each in self.replica_sets.values()]:
            mine = [msgspec.convert(each, LabPod) for each in self.pods.values()]
            mine = [each for each in mine if each.metadata.controller == item.metadata.uid]
            decided = list(replicasets.decide(item, mine, self.now).actions)
            self.carry_out(decided)
            actions += decided
        self.most = max(self.most, len(self.pods))
        return bool(actions)

    def carry_out(self, actions: Sequence[Action]) -> None:
        """As the API server does, at once."""
        for action in actions:
            bucket = self.pods if action.resource is LAB_PODS else self.replica_sets
            match action:
                case Create(_, _, body):
                    self.made += 1
                    meta = body["metadata"]
                    name = meta.get("name") or f"{meta['generateName']}{self.made:05d}"
                    stamped = {**meta, "name": name, "uid": f"uid-{self.made}", "generation": 1}
                    bucket[name] = {**body, "metadata": {**stamped, "creationTimestamp": self.now.isoformat()}}
                case Delete(_, _, name):
                    del bucket[name]
                case Patch(resource, _, _, body) if resource is DEPLOYMENTS:
                    self.deployment = patch.merge(self.deployment, body)
                case Patch(_, _, name, body):
                    bucket[name] = patch.merge(bucket[name], body)

    def ready(self, *names: str, so: bool = True) -> None:
        """Let pods become ready (all of them if none is named), or not ready."""
        for name in names or list(self.pods):
            condition = {
                "type": "Ready",
                "status": "True" if so else "False",
                "lastTransitionTime": self.now.isoformat(),
            }
            known = (self.pods[name].get("status") or {}).get("conditions")
            if known and known[0]["status"] == condition["status"]:
                continue
            self.pods[name]["status"] = {"phase": "Running", "conditions": [condition]}

    def settle(self, *, ready: bool = True) -> None:
        """Rounds until nothing is to be done; pods become ready between them."""
        for _ in range(50):
            if not self.step():
                break
            if ready:
                self.ready()
                self.fewest = min(self.fewest, len(self.pods))
        else:
            raise AssertionError("it does not settle")

    def change(self, spec: Object) -> None:
        """Change the Deployment's spec."""
        self.deployment = patch.merge(self.deployment, {"spec": spec})
        self.deployment["metadata"]["generation"] += 1

    def template(self, image: str) -> None:
        """Roll out another image."""
        self.change({"template": {"spec": {"containers": [{"name": "gw", "image": image}]}}})

    def images(self) -> list[str]:
        """What the pods run."""
        return sorted(item["spec"]["containers"][0]["image"] for item in self.pods.values())

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition of the Deployment."""
        found = {item["type"]: (item["status"], item["reason"]) for item in self.deployment["status"]["conditions"]}
        return found[kind]


def world(replicas: int = 2, **spec: object) -> World:
    """A Deployment that nothing has been done for yet."""
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "gw", "image": "one"}]}}
    whole = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template, **spec}
    meta = {"name": "gw", "namespace": "apps", "uid": "uid-gw", "generation": 1}
    return World({"metadata": meta, "spec": whole})


def rolling(surge: int | str, unavailable: int | str) -> Object:
    """A strategy."""
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


def test_a_deployment_makes_a_replica_set_and_this_its_pods() -> None:
    made = world()
    made.settle()
    [replica_set] = made.replica_sets.values()
    digest = replica_set["metadata"]["labels"][HASH]
    assert replica_set["metadata"]["name"] == f"gw-{digest}"
    assert replica_set["spec"]["selector"]["matchLabels"] == {**LABELS, HASH: digest}
    assert replica_set["metadata"]["ownerReferences"][0]["uid"] == "uid-gw"
    assert sorted(made.pods) == [f"gw-{digest}-00002", f"gw-{digest}-00003"]
    for item in made.pods.values():
        assert item["metadata"]["labels"] == {**LABELS, HASH: digest}
        [owner] = item["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == (
            "ReplicaSet",
            replica_set["metadata"]["uid"],
            True,
        )


def test_the_status_tells_counts_and_conditions() -> None:
    made = world()
    made.settle(ready=False)
    assert made.condition("Available") == ("False", "MinimumReplicasUnavailable")
    assert made.condition("Progressing") == ("True", "ReplicaSetUpdated")
    assert made.deployment["status"]["unavailableReplicas"] == 2
    made.settle()
    made.ready()
    made.settle()
    status = {key: value for key, value in made.deployment["status"].items() if key != "conditions"}
    assert status == {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
        "unavailableReplicas": 0,
    }
    assert made.condition("Available") == ("True", "MinimumReplicasAvailable")
    assert made.condition("Progressing") == ("True", "NewReplicaSetAvailable")
    assert made.deployment["metadata"]["annotations"][REVISION] == "1"


def test_nothing_is_written_while_nothing_happens() -> None:
    made = world()
    made.settle()
    made.now += timedelta(hours=1)
    assert not made.step()


def test_scaling_makes_and_deletes_pods() -> None:
    made = world()
    made.settle()
    made.change({"replicas": 5})
    made.settle()
    assert len(made.pods) == 5
    made.change({"replicas": 0})
    made.settle()
    assert made.pods == {}
    assert made.condition("Available") == ("True", "MinimumReplicasAvailable")


def test_a_pod_that_was_deleted_is_made_anew() -> None:
    made = world()
    made.settle()
    gone = next(iter(made.pods))
    made.pods[gone]["metadata"]["deletionTimestamp"] = START.isoformat()
    made.settle()
    assert len(made.pods) == 3, "the new one does not wait for the end of the old one"


@pytest.mark.parametrize(
    ("surge", "unavailable", "most", "fewest"),
    [("25%", "25%", 5, 3), (1, 0, 5, 4), (0, 1, 4, 3), ("100%", "0%", 8, 4), (0, 0, 4, 3)],
)
def test_a_rolling_update_keeps_its_bounds(surge: int | str, unavailable: int | str, most: int, fewest: int) -> None:
    made = world(4, strategy=rolling(surge, unavailable))
    made.settle()
    made.most, made.fewest = 0, 99
    made.template("two")
    made.settle()
    assert made.images() == ["two"] * 4
    assert made.most == most
    assert made.fewest >= fewest


def test_pods_that_never_become_ready_stop_a_rollout() -> None:
    made = world(4, strategy=rolling(1, 1))
    made.settle()
    made.template("broken")
    made.settle(ready=False)
    assert made.images().count("one") == 3
    assert made.images().count("broken") == 2
    assert made.condition("Available")[0] == "True"


def test_broken_old_pods_go_first() -> None:
    made = world(4, strategy=rolling(0, 1))
    made.settle()
    broken = sorted(made.pods)[0]
    made.ready(broken, so=False)
    made.template("two")
    made.step()
    assert broken not in made.pods
    assert len(made.pods) == 3


def test_a_rollout_that_is_broken_gives_way_to_the_next_one() -> None:
    made = world(2, strategy=rolling(1, 0))
    made.settle()
    made.template("broken")
    made.settle(ready=False)
    assert made.images() == ["broken", "one", "one"]
    made.template("three")
    made.step()
    assert made.images() == ["one", "one"], "the pods that are well stay as long as they are needed"
    made.settle()
    assert made.images() == ["three", "three"]


def test_recreate_waits_also_for_pods_that_are_about_to_end() -> None:
    made = world(1, strategy={"type": "Recreate"})
    made.settle()
    [last] = made.pods.values()
    made.template("two")
    made.step()
    made.pods["last"] = patch.merge(last, {"metadata": {"deletionTimestamp": START.isoformat()}})
    made.settle()
    assert made.images() == ["one"]
    del made.pods["last"]
    made.settle()
    assert made.images() == ["two"]


def test_recreate_lets_all_old_pods_go_before_the_first_new_one() -> None:
    made = world(3, strategy={"type": "Recreate"})
    made.settle()
    made.template("two")
    made.step()
    assert made.images() == []
    made.settle()
    assert made.images() == ["two"] * 3


def test_a_template_of_before_gets_its_replica_set_back() -> None:
    made = world()
    made.settle()
    made.template("two")
    made.settle()
    made.template("one")
    made.settle()
    assert made.images() == ["one"] * 2
    revisions = sorted(item["metadata"]["annotations"][REVISION] for item in made.replica_sets.values())
    assert revisions == ["2", "3"]
    assert made.deployment["metadata"]["annotations"][REVISION] == "3"
    assert made.condition("Progressing") == ("True", "NewReplicaSetAvailable")


def test_old_replica_sets_are_kept_up_to_the_limit() -> None:
    made = world(1, revisionHistoryLimit=2)
    for image in ("one", "two", "three", "four", "five"):
        made.template(image)
        made.settle()
    kept = sorted(item["spec"]["template"]["spec"]["containers"][0]["image"] for item in made.replica_sets.values())
    assert kept == ["five", "four", "three"]


def test_a_paused_deployment_scales_and_does_not_roll_out() -> None:
    made = world()
    made.settle()
    made.change({"paused": True, "replicas": 3})
    made.template("two")
    made.settle()
    assert made.images() == ["one"] * 3
    assert made.condition("Progressing") == ("Unknown", "DeploymentPaused")
    made.change({"paused": False})
    made.settle()
    assert made.images() == ["two"] * 3


def test_a_rollout_without_progress_is_said_to_have_failed_at_its_deadline() -> None:
    made = world(progressDeadlineSeconds=60)
    made.settle(ready=False)
    known = [msgspec.convert(item, ReplicaSet) for item in made.replica_sets.values()]
    assert deployments.decide(msgspec.convert(made.deployment, Deployment), known, made.now).again == 60
    made.now += timedelta(seconds=61)
    made.settle(ready=False)
    assert made.condition("Progressing") == ("False", "ProgressDeadlineExceeded")
    made.ready()
    made.settle()
    assert made.condition("Progressing") == ("True", "NewReplicaSetAvailable")


def test_what_fails_after_a_rollout_is_no_failure_of_it() -> None:
    made = world(progressDeadlineSeconds=60)
    made.settle()
    made.now += timedelta(hours=1)
    made.ready(so=False)
    made.settle(ready=False)
    assert made.condition("Available")[0] == "False"
    assert made.condition("Progressing") == ("True", "NewReplicaSetAvailable")


def test_going_back_to_an_earlier_template_has_the_whole_deadline() -> None:
    made = world(progressDeadlineSeconds=60)
    made.settle()
    made.template("two")
    made.settle()
    made.now += timedelta(hours=1)
    made.template("one")
    made.settle(ready=False)
    assert made.condition("Progressing")[0] == "True"
    made.now += timedelta(seconds=61)
    made.settle(ready=False)
    assert made.condition("Progressing") == ("False", "ProgressDeadlineExceeded")


def test_a_pod_is_available_only_some_seconds_after_it_is_ready() -> None:
    made = world(minReadySeconds=10)
    made.settle()
    assert made.deployment["status"]["readyReplicas"] == 2
    assert made.deployment["status"]["availableReplicas"] == 0
    [item] = [msgspec.convert(each, ReplicaSet) for each in made.replica_sets.values()]
    pods = [msgspec.convert(each, LabPod) for each in made.pods.values()]
    assert replicasets.decide(item, pods, made.now + timedelta(seconds=4)).again == 6
    made.now += timedelta(seconds=10)
    made.settle()
    assert made.deployment["status"]["availableReplicas"] == 2


def test_what_is_being_deleted_is_left_alone() -> None:
    made = world()
    made.settle()
    made.deployment["metadata"]["deletionTimestamp"] = START.isoformat()
    made.change({"replicas": 9})
    assert not made.step()


def test_why_a_pod_could_not_be_made_is_told() -> None:
    item = msgspec.convert({"metadata": {"name": "rs", "uid": "u"}, "spec": {"replicas": 1}}, ReplicaSet)
    create, told = replicasets.decide(item, (), START, "no such namespace").actions
    assert isinstance(create, Create)
    assert isinstance(told, Patch)
    assert told.resource is REPLICA_SETS
    [condition] = told.body["status"]["conditions"]
    assert (condition["type"], condition["reason"], condition["message"]) == (
        "ReplicaFailure", "FailedCreate", "no such namespace",
    )  # fmt: skip


def standing(name: str, *, node: str = "n1", ready: str = "2026-01-01T00:00:00Z", cost: str = "") -> LabPod:
    """A running pod, ready since a time, or not ("")."""
    meta = {"name": name, "namespace": "apps", "annotations": {replicasets.COST: cost} if cost else {}}
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": ready or None}
    status = {"phase": "Running" if node else "Pending", "conditions": [condition] if node else []}
    return msgspec.convert({"metadata": meta, "spec": {"nodeName": node}, "status": status}, LabPod)


def test_the_least_missed_pods_are_deleted_first() -> None:
    pods = [
        standing("oldest"),
        standing("dear", cost="5"),
        standing("youngest", ready="2026-01-01T00:01:00Z"),
        standing("cheap", cost="-5"),
        standing("alone", node="n2", ready="2026-01-01T00:09:00Z"),
        standing("unready", ready=""),
        standing("unplaced", node=""),
    ]
    order = [pod.metadata.name for pod in in_order_of_deletion(pods)]
    assert order == ["unplaced", "unready", "cheap", "youngest", "oldest", "alone", "dear"]


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (4, "25%", "25%", (1, 1)),
        (3, "25%", "25%", (1, 0)),
        (10, "25%", "25%", (3, 2)),
        (2, 0, 0, (0, 1)),
        (2, 3, 9, (3, 2)),
    ],
)
def test_percentages_round_the_surge_up_and_the_rest_down(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    whole = world(replicas, strategy=rolling(surge, unavailable)).deployment
    assert bounds(msgspec.convert(whole, Deployment)) == expected


def test_a_hash_stands_for_the_template_and_not_for_its_spelling() -> None:
    template = {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"containers": [{"name": "c"}]}}
    same = {
        "spec": {"containers": [{"name": "c"}]},
        "metadata": {"labels": {"b": "2", "a": "1"}, "creationTimestamp": None},
    }
    other = {**template, "spec": {"containers": [{"name": "d"}]}}
    assert template_hash(template) == template_hash(same)
    assert template_hash(template) != template_hash(other)
