"""Whither packets of gateways' clients go in kernels that lack a part of their plan: closed, or by a wire of the
gateway's own network with the gateway's own address."""

from collections.abc import Iterator
from functools import partial
from operator import eq

import pytest
from tests.unit.trace.gateways import (
    ADDRESSES,
    LEADS,
    PARTNER,
    REPORTS,
    REST,
    SERVER,
    SIX_IP,
    SIX_SERVER,
    planned,
    ways,
)
from tests.unit.trace.scene import Kernels, without
from tests.unit.trace.test_faults import Predicate, of

from sallyport.model.kernel import (
    Bootstrap,
    Chain,
    ClientElement,
    Element,
    Fib,
    KernelObject,
    Link,
    NextHop,
    Route,
    Rule,
    Skeleton,
)
from sallyport.trace import Trace, Verdict

SENT = [(pod, to) for pod in ("red/app", "red/near", "yellow/app", "both/app", "split/app") for to in (SERVER, REST)]
SENT.append(("red/app", SIX_SERVER))
RIGHT = {str(ADDRESSES[name]): {f"{network}0" for network in networks} for name, networks in LEADS.items() if networks}
RIGHT[str(SIX_IP)] = {"red0"}


def of_set(name: str) -> Predicate:
    return lambda item: isinstance(item, Element) and item.set == name


def leaks(kernels: Kernels, reported: bool = True) -> Iterator[Trace]:
    """Ways that a packet must not take: out with another source than a gateway's, or by a wire of another network."""
    for pod, to in SENT:
        for way in ways(pod, to, kernels, reports=REPORTS if reported else {}):
            left = way.verdict is Verdict.LEFT
            if left and not set(way.device.split(" or ")) <= RIGHT.get(str(way.source), set()):
                yield way


def objects() -> Iterator[tuple[str, KernelObject]]:
    """All objects of all nodes but the tables that hold the guard, without which nothing guards."""
    for node, held in planned().items():
        yield from ((node, item) for item in held if not (isinstance(item, Skeleton) and item.family == "inet"))


@pytest.mark.parametrize("reported", [True, False])
def test_no_single_object_is_missed_by_a_leak(reported: bool) -> None:
    found = [
        (node, lost, way)
        for node, lost in objects()
        for way in leaks(without(planned(), node, partial(eq, lost)), reported)
    ]
    assert found == []


@pytest.mark.parametrize("kind", [Bootstrap, Chain, Fib, Link, NextHop, Route, Rule])
def test_no_kind_of_object_is_missed_by_a_leak(kind: type[KernelObject]) -> None:
    """All of a kind at once, on every node."""
    kernels = planned()
    for node in kernels:
        kernels = without(kernels, node, of(kind))
    assert list(leaks(kernels)) == []


@pytest.mark.parametrize("name", sorted({item.set for _, item in objects() if isinstance(item, Element)}))
def test_no_set_is_missed_by_a_leak(name: str) -> None:
    kernels = planned()
    for node in kernels:
        kernels = without(kernels, node, of_set(name))
    assert list(leaks(kernels)) == []


def test_this_finds_a_leak() -> None:
    """Without the guard's word about wires and the rule, a gateway's packets go the way of its node's own routes."""
    broken = without(planned(), "n3", of_set("networked"), of(Rule, mark=13))
    assert {(way.device, way.source) for way in leaks(broken)} == {("eth0", ADDRESSES["yellow/one"])}


@pytest.mark.parametrize(
    ("where", "lost", "decided"),
    [
        ("n3", of(Rule, mark=13), "guard: wires lacks 0xd with eth0"),
        ("n3", of(Fib, table=600), "rule 20002 fwmark 0xd/0x3fff, table 600: un"),
        ("n3", lambda item: isinstance(item, Fib | Route), "guard: wires lacks 0xd with eth0"),
        ("n3", of_set("wires"), "guard: wires lacks 0xd with yellow0"),
        ("n3", of_set("marks4"), "guard: marks4 lacks 0xd"),
        ("n3", of_set("exits4"), "verify: sources4 lacks 0xd with 172.31.12.103"),
        ("n3", of_set("sources4"), "verify: sources4 lacks 0xd with 10.10.10.13"),
        ("n1", of_set("clients4"), "guard: governed4 has 10.244.1.6, which has no mark"),
        ("n1", of(Chain), "guard: governed4 has 10.244.1.6, which has no mark"),
        ("n1", of(Rule, mark=13), "guard: marks4 lacks 0xd"),
    ],
)
def test_a_gateways_packet_is_dropped_where_its_way_is_broken(where: str, lost: Predicate, decided: str) -> None:
    (trace,) = ways("yellow/app", SERVER, without(planned(), where, lost))
    assert (trace.verdict, trace.node) == (Verdict.DROPPED, where)
    assert trace.hops[-1].decided.startswith(decided)


def test_a_link_that_bird_has_no_longer_leads_nowhere() -> None:
    (trace,) = ways("yellow/app", "172.31.12.77", without(planned(), "n3", of(Bootstrap)))
    assert trace.verdict is Verdict.DROPPED


def test_an_ordinary_destination_that_the_guard_does_not_know_is_kept_in() -> None:
    (trace,) = ways("split/app", PARTNER, without(planned(), "n1", of_set("ordinary4")))
    assert (trace.verdict, trace.hops[-1].decided) == (
        Verdict.DROPPED,
        "guard: governed4 has 10.244.1.8, which has no mark",
    )


def test_a_chain_in_part_is_no_chain() -> None:
    """The kernel takes no element that leads to a chain which is not there, and no chain that goes on to one."""
    (way,) = {item for item in planned()["n1"] if isinstance(item, Chain) and len(item.destinations) > 1}
    spreads = {target for _, target in way.destinations} - {""}
    assert len(spreads) == 2
    for name in spreads:
        (trace,) = ways("split/app", SERVER, without(planned(), "n1", of(Chain, name=name)))
        assert trace.hops[0].decided == "steer: clients4 lacks 10.244.1.8"
        assert trace.verdict is Verdict.DROPPED


def test_clients_are_steered_last() -> None:
    """An element of a client is written after all that it needs, so the kernels above are those of a stopped agent."""
    assert all(isinstance(item, ClientElement) for _, item in objects() if getattr(item, "set", "") == "clients4")
