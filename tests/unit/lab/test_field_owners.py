"""When the lab's API server notes that a manager has written (metadata.managedFields)."""

from typing import Any

from sallyport.lab.apiserver import apply
from sallyport.lab.apiserver.kinds import Resource

LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", True)


def lease(renewed: str) -> dict[str, Any]:
    return {"metadata": {"name": "a"}, "spec": {"holderIdentity": "a", "renewTime": renewed}}


def noted(stored: dict[str, Any]) -> list[tuple[str, str]]:
    """Managers, and since when each has what it has."""
    return [(item["manager"], item["time"]) for item in stored["metadata"]["managedFields"]]


def test_a_value_that_is_written_anew_is_noted_as_of_then() -> None:
    """By this and no other clock it is told how old a Lease is."""
    first, second = lease("10:00"), lease("10:05")
    apply.track(LEASES, None, first, "agent", "", "at first")
    apply.track(LEASES, first, second, "agent", "", "later")
    assert noted(second) == [("agent", "later")]


def test_a_value_that_is_applied_anew_is_noted_as_of_then_and_the_same_one_is_not() -> None:
    stored = lease("10:00")
    apply.track(LEASES, None, stored, "somebody", "", "at first")
    stored["metadata"]["managedFields"] = []
    applied = apply.merge(LEASES, stored, lease("10:00"), "agent", False, "", "second")
    again = apply.merge(LEASES, applied, lease("10:00"), "agent", False, "", "third")
    assert noted(again) == noted(applied) == [("agent", "second")]
    changed = apply.merge(LEASES, again, lease("10:05"), "agent", False, "", "fourth")
    assert noted(changed) == [("agent", "fourth")]
