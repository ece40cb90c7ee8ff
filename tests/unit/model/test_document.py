"""How plans print."""

from ipaddress import ip_address

from sallyport.model.document import SECTIONS, cluster_document, node_document, objects_document
from sallyport.model.kernel import ClientElement, Element, KernelObject, Kind, Route, Rule, Skeleton
from sallyport.model.plan import Assignment, ClusterPlan, Decision, NodePlan, Overlap, Usage
from sallyport.model.state import ObjectRef, Problem

WEB = ObjectRef("Egress", "web", uid="u")


def test_every_kind_of_kernel_object_has_a_section() -> None:
    assert {*SECTIONS.values(), Kind.EXIT_ELEMENT, Kind.CLIENT_ELEMENT} == set(Kind)


def test_objects_are_sorted_by_their_values_and_defaults_are_left_out() -> None:
    routes: tuple[KernelObject, ...] = (
        Route(4, 900, "0.0.0.0/0", 4294967295, "unreachable"),
        Route(4, 900, "0.0.0.0/0", 100, "unicast", 7),
        Rule(6, 20001, 900, mark=1, mask=3),
    )
    assert objects_document(routes) == {
        "routes": [
            {"family": 4, "table": 900, "destination": "0.0.0.0/0", "metric": 100, "type": "unicast", "next_hop": 7},
            {"family": 4, "table": 900, "destination": "0.0.0.0/0", "metric": 4294967295, "type": "unreachable"},
        ],
        "rules": [{"family": 6, "priority": 20001, "table": 900, "mark": 1, "mask": 3}],
    }
    assert objects_document(routes) == objects_document(reversed(routes))


def test_members_are_grouped_by_set_whatever_their_kind() -> None:
    document = objects_document(
        [
            ClientElement("clients4", "10.244.1.3", "5"),
            ClientElement("clients4", "10.244.1.2", "5"),
            ClientElement("governed4", "10.244.1.2"),
            Element("nodes4", "10.0.0.1"),
        ]
    )
    assert document == {
        "sets": {
            "clients4": {"10.244.1.2": "5", "10.244.1.3": "5"},
            "governed4": ["10.244.1.2"],
            "nodes4": ["10.0.0.1"],
        }
    }
    assert list(document["sets"]["clients4"]) == ["10.244.1.2", "10.244.1.3"]


def test_a_table_prints_its_digest_and_not_its_text() -> None:
    assert objects_document([Skeleton("inet", "sallyport", "digest:1", "table …")]) == {
        "tables": [{"family": "inet", "name": "sallyport", "digest": "digest:1"}]
    }


def test_a_node_plan_prints_what_it_decided_before_what_it_programs() -> None:
    plan = NodePlan(
        node="node-1",
        objects=(Element("nodes4", "10.0.0.1"),),
        announcements=(("eth0", ip_address("10.0.0.50")),),
        held={"web": ip_address("10.0.0.50")},
        decisions=(
            Decision(("prod", "b"), 4, "", "free"),
            Decision(("prod", "a"), 4, "web", "blocked", "it has no egress IP"),
        ),
        problems=(Problem(WEB, "AllocationError", "no address"),),
    )
    document = node_document(plan)
    assert document == {
        "node": "node-1",
        "held": {"web": "10.0.0.50"},
        "announcements": ["10.0.0.50 on eth0"],
        "decisions": [
            {"pod": "prod/a", "family": 4, "exit": "web", "state": "blocked", "reason": "it has no egress IP"},
            {"pod": "prod/b", "family": 4, "exit": "", "state": "free"},
        ],
        "problems": [{"object": "Egress/web", "reason": "AllocationError", "message": "no address"}],
        "sets": {"nodes4": ["10.0.0.1"]},
    }
    assert next(iter(document)) == "node"
    assert list(document)[-1] == "sets"


def test_a_cluster_plan_prints_its_decisions_by_exit() -> None:
    plan = ClusterPlan(
        assignments={"web": Assignment(7, ip_address("10.0.0.50"), ("n1", "n2"), "n1"), "lost": Assignment(8, None)},
        usage={"pool": Usage(10, 1)},
        clients={"web": 2},
        overlaps=(Overlap("web", "lost", 4, (("prod", "a"),)),),
        problems=(Problem(WEB, "AssignmentError", "no node", "spec"),),
    )
    document = cluster_document(plan)
    assert document == {
        "assignments": {
            "lost": {"id": 8, "address": None},
            "web": {"id": 7, "address": "10.0.0.50", "nodes": ["n1", "n2"], "holder": "n1"},
        },
        "usage": {"pool": {"total": 10, "used": 1}},
        "clients": {"web": 2},
        "overlaps": [{"winner": "web", "loser": "lost", "family": 4, "pods": ["prod/a"]}],
        "problems": [{"object": "Egress/web", "reason": "AssignmentError", "message": "no node", "field": "spec"}],
    }
    assert list(document["assignments"]) == ["lost", "web"]


def test_nothing_planned_prints_the_node_alone() -> None:
    assert node_document(NodePlan("node-1")) == {"node": "node-1"}
    assert cluster_document(ClusterPlan()) == {}
