"""Which gateways clients with limited next hops get, and who watches the gateways' nodes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.unit.plan.build import a_client
from tests.unit.plan.gateways import a_cluster, a_gateway, a_policy, both_families, by

from sallyport.model.state import ClusterState, Exit, Hops, PodKey
from sallyport.plan.choosing import MOST_WATCHERS, choose_hops, watchers

EVERYWHERE = "0.0.0.0/0"
Chosen = Mapping[PodKey, Mapping[str, tuple[str, ...]]]


def limited(clients: int, *gateways: Exit, limit: int = 1, chosen: Chosen | None = None) -> ClusterState:
    """So many clients c1, c2, ..., each of which gets at most `limit` of these gateways."""
    names = [f"c{number}" for number in range(1, clients + 1)]
    hops = Hops(tuple(sorted(item.key for item in gateways)), limit=limit)
    return a_cluster(
        gateways,
        [a_policy("p", {EVERYWHERE: hops}, *names)],
        [a_client(name, f"10.244.1.{number}") for number, name in enumerate(names, 2)],
        chosen=chosen or {},
    )


def recorded(state: ClusterState) -> ClusterState:
    """The state once the choice has been written down."""
    return replace(state, chosen=choose_hops(state))


def by_client(state: ClusterState) -> dict[str, tuple[str, ...]]:
    """Names of the gateways of each client."""
    return {
        pod: tuple(key.split("/")[1] for key in found[EVERYWHERE]) for (_, pod), found in choose_hops(state).items()
    }


THREE = [a_gateway(name) for name in ("x", "y", "z")]


@pytest.mark.parametrize(("limit", "each"), [(1, 2), (2, 4), (3, 6), (4, 6)])
def test_clients_are_spread_evenly_and_get_no_more_than_they_may(limit: int, each: int) -> None:
    found = by_client(limited(6, *THREE, limit=limit))
    assert {len(set(names)) for names in found.values()} == {min(limit, 3)}
    assert set(Counter(name for names in found.values() for name in names).values()) == {each}


def test_without_a_limit_nothing_is_chosen() -> None:
    assert choose_hops(limited(3, *THREE, limit=0)) == {}


def test_a_choice_is_kept_when_gateways_come() -> None:
    """Scaling up changes nobody who has enough."""
    before = recorded(limited(4, *THREE[:2]))
    after = limited(4, *THREE, chosen=before.chosen)
    assert choose_hops(after) == before.chosen


def test_one_who_had_too_few_is_filled_up_when_gateways_come() -> None:
    before = recorded(limited(2, THREE[0], limit=2))
    found = by_client(limited(2, *THREE, limit=2, chosen=before.chosen))
    assert {len(names) for names in found.values()} == {2}
    assert all("x" in names for names in found.values())


def test_a_new_client_gets_the_gateway_that_fewest_have() -> None:
    chosen = {("prod", "c1"): {EVERYWHERE: ("gw/x/v4",)}, ("prod", "c2"): {EVERYWHERE: ("gw/z/v4",)}}
    found = by_client(limited(3, *THREE, chosen=chosen))
    assert found == {"c1": ("x",), "c2": ("z",), "c3": ("y",)}


def test_a_gateway_that_is_gone_is_replaced_for_its_clients_alone() -> None:
    before = recorded(limited(6, *THREE))
    found = by_client(limited(6, *THREE[1:], chosen=before.chosen))
    former = by_client(before)
    assert all(found[pod] == former[pod] for pod in former if former[pod] != ("x",))
    assert Counter(name for names in found.values() for name in names) == {"y": 3, "z": 3}


def test_a_gateway_that_is_leaving_is_kept_and_given_last() -> None:
    """Its clients' connections go on there; new clients get another one as long as there is any."""
    chosen = {("prod", "c1"): {EVERYWHERE: ("gw/x/v4",)}}
    going = [replace(THREE[0], leaving=True), *THREE[1:]]
    found = by_client(limited(5, *going, chosen=chosen))
    assert found == {"c1": ("x",), "c2": ("y",), "c3": ("z",), "c4": ("y",), "c5": ("z",)}
    assert by_client(limited(1, going[0])) == {"c1": ("x",)}


def test_both_families_of_a_gateway_are_one_next_hop() -> None:
    found = choose_hops(limited(2, *both_families("x"), *both_families("y")))
    assert sorted(choice[EVERYWHERE] for choice in found.values()) == [
        ("gw/x/v4", "gw/x/v6"),
        ("gw/y/v4", "gw/y/v6"),
    ]


def test_a_record_of_one_family_is_completed_when_the_gateway_gets_the_other() -> None:
    chosen = {("prod", "c1"): {EVERYWHERE: ("gw/y/v4",)}}
    found = choose_hops(limited(1, *both_families("x"), *both_families("y"), chosen=chosen))
    assert found["prod", "c1"][EVERYWHERE] == ("gw/y/v4", "gw/y/v6")


def test_each_destination_has_a_choice_of_its_own() -> None:
    hops = by("x", "y", limit=1)
    state = a_cluster(THREE[:2], [a_policy("p", {"10.0.0.0/8": hops, "11.0.0.0/8": hops}, "c")], [a_client("c", "::")])
    assert choose_hops(state)["prod", "c"] == {"10.0.0.0/8": ("gw/x/v4",), "11.0.0.0/8": ("gw/y/v4",)}


def test_the_defaults_of_both_families_have_one_choice() -> None:
    """A client that may use one gateway uses the same one for IPv4 and IPv6, and counts once for how many it has."""
    hops = Hops(tuple(item.key for name in "xyz" for item in both_families(name)), limit=1)
    clients = [a_client(f"c{number}", f"10.244.1.{number}") for number in (1, 2, 3)]
    policy = a_policy("p", {EVERYWHERE: hops, "::/0": hops}, "c1", "c2", "c3")
    gateways = [item for name in "xyz" for item in both_families(name)]
    state = a_cluster(gateways, [policy], clients)
    found = choose_hops(state)
    assert all(choice[EVERYWHERE] == choice["::/0"] for choice in found.values())
    assert len({choice[EVERYWHERE] for choice in found.values()}) == 3
    assert choose_hops(replace(state, chosen=found)) == found


def test_the_order_of_clients_makes_no_difference() -> None:
    state = limited(5, *THREE, limit=2)
    (policy,) = state.policies
    turned = replace(state, policies=(replace(policy, clients=policy.clients[::-1]),))
    assert choose_hops(turned) == choose_hops(state)


# Watchers


def placed(*rules: Hops, gateways: tuple[Exit, ...] = (), chosen: Chosen | None = None) -> ClusterState:
    """Client c1 on node-1 and c2 on node-2 with these destinations."""
    policy = a_policy("p", {f"1{number}.0.0.0/8": hops for number, hops in enumerate(rules)}, "c1", "c2")
    clients = [a_client(f"c{number}", f"10.244.{number}.2", node=number) for number in (1, 2)]
    return a_cluster(gateways, [policy], clients, chosen=chosen or {})


def test_the_nodes_of_a_gateways_clients_watch_it_but_not_its_own() -> None:
    state = placed(by("x", "y"), gateways=(a_gateway("x", 1), a_gateway("y", 3), a_gateway("z", 2)))
    assert watchers(state, {}) == {"gw/x/v4": ("node-2",), "gw/y/v4": ("node-1", "node-2"), "gw/z/v4": ()}


def test_with_a_limit_only_the_nodes_of_those_who_were_given_it_watch_a_gateway() -> None:
    state = placed(by("x", limit=1), gateways=(a_gateway("x", 3),))
    chosen = {("prod", "c2"): {"10.0.0.0/8": ("gw/x/v4",)}}
    assert watchers(state, chosen) == {"gw/x/v4": ("node-2",)}


def test_a_pod_without_an_address_is_given_gateways_and_makes_nobody_watch_them() -> None:
    state = placed(by("x", limit=1), gateways=(a_gateway("x", 3),))
    state = replace(state, clients={key: item for key, item in state.clients.items() if key[1] != "c1"})
    chosen = choose_hops(state)
    assert chosen["prod", "c1"] == {"10.0.0.0/8": ("gw/x/v4",)}
    assert watchers(state, chosen) == {"gw/x/v4": ("node-2",)}


def test_what_a_gateway_sends_itself_makes_nobody_watch_it() -> None:
    state = placed(by("x", own=True), gateways=(a_gateway("x", 3),))
    assert watchers(state, {}) == {"gw/x/v4": ()}


def test_not_more_nodes_watch_a_gateway_than_its_node_can_answer() -> None:
    clients = [a_client(f"c{number}", f"fd00:1::{number:x}", node=number) for number in range(10, 20 + MOST_WATCHERS)]
    policy = a_policy("p", {EVERYWHERE: by("x")}, *(item.name for item in clients))
    found = watchers(a_cluster([a_gateway("x", 1)], [policy], clients), {})["gw/x/v4"]
    assert len(found) == MOST_WATCHERS
    assert list(found) == sorted(found)
