"""Which nodes may hold each egress IP, in order."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address

from tests.unit.plan.build import a_node, a_pool, an_exit

from sallyport.model.state import Exit, Node
from sallyport.plan.ranking import RANKED, rank

NODES = {f"node-{n}": a_node(n) for n in range(1, 9)}
POOL = a_pool("pool", "10.0.0.50-10.0.0.250", nodes=NODES)
EXITS = [an_exit(f"e{n}", f"10.0.0.{50 + n}", created=f"{n:03}") for n in range(200)]


def ranked(
    exits: Iterable[Exit] = EXITS,
    nodes: Mapping[str, Node] = NODES,
    *,
    limit: int = 255,
    selected: Iterable[str] = NODES,
) -> dict[str, tuple[str, ...]]:
    exits = list(exits)
    ranks, problems = rank(
        {item.ref.name: item for item in exits},
        {item.ref.name: item.requested for item in exits},
        {POOL.key: replace(POOL, nodes=frozenset(selected))},
        nodes,
        limit,
    )
    assert {item.ref.name for item in problems} == {name for name, names in ranks.items() if not names}
    return ranks


def first(ranks: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {name: names[0] for name, names in ranks.items() if names}


def why(nodes: Iterable[Node], selected: Iterable[str] = NODES, address: str = "10.0.0.50") -> str:
    """What is said of one exit that nobody can hold."""
    pool = replace(POOL, nodes=frozenset(selected))
    ranks, problems = rank(
        {"e": an_exit("e")},
        {"e": ip_address(address)},
        {"ExternalIPPool/pool": pool},
        {item.name: item for item in nodes},
        2,
    )
    assert ranks == {"e": ()}
    assert [item.reason for item in problems] == ["AssignmentError"]
    return problems[0].message.removeprefix("Failed to assign the IP to EgressNode: no Node available: ")


def test_an_egress_ip_has_a_few_nodes_each_named_once() -> None:
    for names in ranked().values():
        assert len(names) == len(set(names)) == RANKED


def test_ranks_depend_on_no_order() -> None:
    assert ranked(reversed(EXITS), dict(reversed(NODES.items())), selected=reversed(list(NODES))) == ranked()


def test_addresses_are_spread_over_the_nodes() -> None:
    """200 addresses on 8 nodes: 25 each on average, and by a fair hash hardly ever more than twice or under half."""
    counts = Counter(first(ranked()).values())
    assert set(counts) == set(NODES)
    assert all(12 < count < 50 for count in counts.values())


def test_the_next_places_are_spread_as_well() -> None:
    """The addresses of one lost node do not all go to one other."""
    heirs = Counter(names[1] for names in ranked().values() if names[0] == "node-1")
    assert len(heirs) > 4


def test_only_a_lost_nodes_addresses_move_and_they_go_to_the_next_in_rank() -> None:
    before = ranked()
    for lost in NODES:
        dead = NODES | {lost: replace(NODES[lost], alive=False)}
        gone = {name: node for name, node in NODES.items() if name != lost}
        assert ranked(nodes=dead) == ranked(nodes=gone) == ranked(selected=gone)
        for name, names in ranked(nodes=dead).items():
            assert names[:4] == tuple(node for node in before[name] if node != lost)[:4]


def test_a_new_node_takes_addresses_from_others_and_moves_none_between_them() -> None:
    before, after = first(ranked()), first(ranked(nodes=NODES | {"node-9": a_node(9)}, selected=[*NODES, "node-9"]))
    moved = {name for name in before if before[name] != after[name]}
    assert moved
    assert {after[name] for name in moved} == {"node-9"}


def test_only_nodes_that_the_pool_selects_are_named() -> None:
    names = {node for names in ranked(selected=["node-2", "node-5", "elsewhere"]).values() for node in names}
    assert names == {"node-2", "node-5"}


def test_a_node_at_its_limit_is_passed_over() -> None:
    counts = Counter(first(ranked(limit=25)).values())
    assert counts == dict.fromkeys(NODES, 25)
    one = NODES | {"node-1": replace(NODES["node-1"], limit=3)}
    assert Counter(first(ranked(nodes=one)).values())["node-1"] == 3


def test_a_limit_of_zero_keeps_a_node_from_holding_any() -> None:
    nodes = NODES | {"node-1": replace(NODES["node-1"], limit=0)}
    assert not any("node-1" in names for names in ranked(nodes=nodes).values())


def test_when_there_is_too_little_room_the_oldest_are_served() -> None:
    """200 exits, 8 nodes with room for 10 each."""
    ranks = ranked(reversed(EXITS), limit=10)
    assert [item.ref.name for item in EXITS if ranks[item.ref.name]] == [f"e{n}" for n in range(80)]


def test_a_node_that_lacks_the_family_of_the_address_is_not_named() -> None:
    nodes = NODES | {name: a_node(int(name[-1]), families=(4,)) for name in ("node-1", "node-2")}
    exits = [an_exit("four", "10.0.0.50"), an_exit("six", "fd00::50")]
    ranks = ranked(exits, nodes, selected=["node-1", "node-2", "node-3"])
    assert ranks["six"] == ("node-3",)
    assert len(ranks["four"]) == 3


def test_static_exits_and_those_without_an_address_are_not_ranked() -> None:
    assert ranked([an_exit("static", "10.0.0.50", pool=None), an_exit("waiting")]) == {}


def test_why_nobody_can_hold_an_address_is_told() -> None:
    nodes = list(NODES.values())
    assert why(nodes, selected=()) == "the nodeSelector of ExternalIPPool pool selects no Node"
    dead = [replace(node, alive=False) for node in nodes]
    assert why(dead) == "no Node selected by ExternalIPPool pool has a living agent"
    single = [a_node(n, families=(4,)) for n in (1, 2)]
    assert why(single, address="fd00::50") == "no Node selected by ExternalIPPool pool has an IPv6 address"
    full = [replace(node, limit=0) for node in nodes]
    assert why(full) == "all 8 Nodes selected by ExternalIPPool pool are at their limit of egress IPs"
