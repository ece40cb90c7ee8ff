"""LabelSelector: what matches, what Kubernetes refuses."""

import pytest

from sallyport.selectors.kubernetes import LabelSelector, Requirement, faults, key_fault, value_fault

LABELS = {"app": "web", "tier": "front", "empty": ""}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (LabelSelector(), True),
        (LabelSelector({"app": "web"}), True),
        (LabelSelector({"app": "web", "tier": "back"}), False),
        (LabelSelector({"missing": ""}), False),
        (LabelSelector({"empty": ""}), True),
        (LabelSelector({}, (Requirement("app", "In", ("web", "db")),)), True),
        (LabelSelector({}, (Requirement("app", "In", ("db",)),)), False),
        (LabelSelector({}, (Requirement("missing", "In", ("db",)),)), False),
        (LabelSelector({}, (Requirement("app", "NotIn", ("web",)),)), False),
        (LabelSelector({}, (Requirement("missing", "NotIn", ("web",)),)), True),
        (LabelSelector({}, (Requirement("empty", "Exists"),)), True),
        (LabelSelector({}, (Requirement("app", "DoesNotExist"),)), False),
        (LabelSelector({}, (Requirement("missing", "DoesNotExist"),)), True),
        (LabelSelector({"app": "web"}, (Requirement("tier", "Exists"), Requirement("app", "Exists"))), True),
        (LabelSelector({}, (Requirement("app", "Like", ("web",)),)), False),
    ],
)
def test_all_labels_and_all_expressions_must_hold(selector: LabelSelector, matches: bool) -> None:
    assert selector.matches(LABELS) is matches


@pytest.mark.parametrize(
    ("requirement", "field"),
    [
        (Requirement("app", "In"), "matchExpressions[0].values"),
        (Requirement("app", "NotIn"), "matchExpressions[0].values"),
        (Requirement("app", "Exists", ("a",)), "matchExpressions[0].values"),
        (Requirement("app", "DoesNotExist", ("a",)), "matchExpressions[0].values"),
        (Requirement("app", "Gt", ("1",)), "matchExpressions[0].operator"),
        (Requirement("", "Exists"), "matchExpressions[0].key"),
        (Requirement("app", "In", ("ok", "not ok")), "matchExpressions[0].values[1]"),
    ],
)
def test_expressions_that_kubernetes_refuses(requirement: Requirement, field: str) -> None:
    assert [path for path, _ in faults(LabelSelector({}, (requirement,)))] == [field]


@pytest.mark.parametrize("key", ["app", "A_b.c-9", "kubernetes.io/metadata.name", "x" * 63, "a" * 253 + "/b"])
def test_a_valid_label_key_is_accepted(key: str) -> None:
    assert key_fault(key) is None


@pytest.mark.parametrize("key", ["", "-a", "a/", "/a", "a/b/c", "A.io/x", "x" * 64, "a" * 254 + "/b", "a\n"])
def test_an_invalid_label_key_is_refused(key: str) -> None:
    assert key_fault(key) is not None


def test_values_may_be_empty_but_not_odd_or_long() -> None:
    assert value_fault("") is value_fault("A_9.z") is value_fault("x" * 63) is None
    assert value_fault("x" * 64)
    assert value_fault("-")
    assert value_fault("a b")
