"""Schemas, CEL rules and patches of the embedded control plane, without a server."""

from typing import Any

import pytest

from sallyport.lab.apiserver import patch, rules, schema, validation

pytestmark = pytest.mark.embedded


def refused(rule: str, value: Any, old: Any = None) -> list[str]:
    """The messages of one rule over one value."""
    declared = {"type": "object", "x-kubernetes-validations": [{"rule": rule, "message": "refused"}]}
    return [cause.message for cause in rules.evaluate(declared, value, old, "spec")]


@pytest.mark.parametrize(
    "rule",
    [
        "isIP(self.v4) && isIP(self.v6) && !isIP('10.0.0.256') && !isIP(self.net)",
        "ip(self.v6) == ip('2001:DB8:0::1') && ip(self.v6).family() == 6 && ip(self.v4).family() == 4",
        "isCIDR(self.net) && cidr(self.net).containsIP(self.v4) && !cidr(self.net).containsIP(self.v6)",
        "cidr(self.net).containsCIDR('10.0.1.0/24') && cidr('10.1.2.3/8').masked() == '10.0.0.0/8'",
        "cidr(self.net).prefixLength() == 16",
        "size(self.names) == 2 && self.names.all(n, n.startsWith('a')) && 'a1' in self.names",
        "'a.b'.split('.').size() == 2 && 'abc'.find('b+') == 'b' && self.names.isSorted()",
        "!has(self.absent) && self.__namespace__ == 'x'",
    ],
)
def test_rules_can_use_the_functions_of_kubernetes(rule: str) -> None:
    value = {"v4": "10.0.1.2", "v6": "2001:db8::1", "net": "10.0.0.0/16", "names": ["a1", "a2"], "namespace": "x"}
    declared = {"type": "object", "properties": {"namespace": {}}, "x-kubernetes-validations": [{"rule": rule}]}
    assert rules.evaluate(declared, value, None, "spec") == []
    assert rules.check_schema(declared, "s") == []


def test_a_transition_rule_speaks_of_updates_only() -> None:
    assert refused("self.a == oldSelf.a", {"a": 1}) == []
    assert refused("self.a == oldSelf.a", {"a": 2}, {"a": 1}) == ["Invalid value: refused"]


def test_a_rule_that_cannot_be_evaluated_refuses() -> None:
    assert refused("self.a > 1", {}) == ['Invalid value: "object": no such key: a evaluating rule: refused']


def test_a_message_can_be_computed() -> None:
    rule = {"rule": "self.a > 1", "messageExpression": "'got ' + string(self.a)"}
    causes = rules.evaluate({"x-kubernetes-validations": [rule]}, {"a": 1}, None, "spec")
    assert [cause.message for cause in causes] == ["Invalid value: got 1"]


def test_defaults_fill_nested_fields_and_pruning_names_what_it_drops() -> None:
    declared = {
        "properties": {
            "spec": {"properties": {"mode": {"default": "on"}, "free": {"x-kubernetes-preserve-unknown-fields": True}}}
        }
    }
    value: dict[str, Any] = {"metadata": {"name": "x"}, "spec": {"typo": 1, "free": {"any": 1}, "mode": None}}
    assert schema.prune(declared, value) == ["spec.typo"]
    schema.default(declared, value)
    assert value["spec"] == {"free": {"any": 1}, "mode": "on"}


@pytest.mark.parametrize(
    ("declared", "good", "bad"),
    [
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}, {"a": 1, "b": 2}),
        ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1, "b": 2}, {}),
        ({"not": {"required": ["a"]}}, {}, {"a": 1}),
        ({"oneOf": [{"format": "ipv4"}, {"format": "ipv6"}]}, "fd00::1", "fd00::g"),
        ({"type": "string", "format": "cidr"}, "10.0.0.0/8", "10.0.0.0"),
        ({"type": "string", "pattern": "^a+$"}, "aa", "aa\n"),
        ({"x-kubernetes-int-or-string": True}, "http", 1.5),
        ({"type": "array", "x-kubernetes-list-type": "set", "items": {}}, ["a", "b"], ["a", "a"]),
        ({"type": "integer", "nullable": True}, None, True),
        ({"additionalProperties": {"maxLength": 1}}, {"k": "v"}, {"k": "vv"}),
    ],
)
def test_each_keyword_accepts_and_refuses(declared: dict[str, Any], good: Any, bad: Any) -> None:
    assert validation.check(declared, good, "spec") == []
    assert len(validation.check(declared, bad, "spec")) == 1


def test_a_strategic_patch_deletes_and_orders_items_by_key() -> None:
    pod = {"containers": [{"name": "a", "image": "1"}, {"name": "b"}], "tolerations": [{"key": "x"}]}
    change = {
        "containers": [{"name": "b", "$patch": "delete"}, {"name": "c"}],
        "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
        "tolerations": [{"key": "y"}],
    }
    assert patch.strategic(pod, change) == {
        "containers": [{"name": "c"}, {"name": "a", "image": "1"}],
        "tolerations": [{"key": "y"}],
    }


def test_what_a_strategic_patch_adds_comes_before_what_it_does_not_name() -> None:
    """As on a real API server, where it was seen; what was there before in an order keeps that."""
    conditions = [{"type": "A"}, {"type": "B"}, {"type": "C"}]
    change = {"conditions": [{"type": "B", "status": "True"}, {"type": "D"}]}
    found = patch.strategic({"conditions": conditions}, change)["conditions"]
    assert [item["type"] for item in found] == ["A", "B", "D", "C"]
    assert patch.strategic({"finalizers": ["a"]}, {"finalizers": ["b"]}) == {"finalizers": ["b", "a"]}


def test_json_patch_handles_lists_tests_and_escapes() -> None:
    document = {"metadata": {"annotations": {"a/b": "1"}}, "list": [1, 3]}
    operations = [
        {"op": "test", "path": "/metadata/annotations/a~1b", "value": "1"},
        {"op": "add", "path": "/list/1", "value": 2},
        {"op": "add", "path": "/list/-", "value": 4},
        {"op": "remove", "path": "/metadata/annotations/a~1b"},
        {"op": "copy", "from": "/list/0", "path": "/first"},
    ]
    assert patch.json_patch(document, operations) == {"metadata": {"annotations": {}}, "list": [1, 2, 3, 4], "first": 1}
    assert document["list"] == [1, 3]
