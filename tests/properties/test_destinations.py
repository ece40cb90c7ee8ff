"""Policies divided into networks say of every address what they say one by one."""

from ipaddress import ip_network
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from tests.properties.effort import examples
from tests.properties.networks import ruled
from tests.unit.plan.build import a_state
from tests.unit.plan.gateways import a_gateway, a_policy, by

from sallyport.model.state import FAMILIES, Family, Hops, IPAddress, IPNetwork, Policy
from sallyport.plan.ways import EVERYTHING, divide

EXITS = {item.key: item for item in (a_gateway("x"), a_gateway("y"), a_gateway("z", family=6))}
HOPS: list[Hops | None] = [None, by("x"), by("x", "y"), by("z", family=6), Hops(())]
WHOLE = Hops(("web",), keep=False)
BASES: dict[Family, int] = {4: 0, 6: 0x20010DB8 << 96}


@st.composite
def networks(draw: st.DrawFn, family: Family) -> IPNetwork:
    """Of lengths that lie inside each other often, the whole family and single addresses among them."""
    length = draw(st.sampled_from([0, 1, 2, 3, 29, 30, 31, 32] if family == 4 else [0, 1, 32, 33, 126, 127, 128]))
    low, high = draw(st.integers(0, 7)), draw(st.integers(0, 7))
    width = 32 if family == 4 else 128
    address = BASES[family] | high << (width - 3) | low
    kept = address >> (width - length) << (width - length)
    return ip_network((kept, length))


@st.composite
def policies(draw: st.DrawFn, family: Family) -> list[Policy]:
    found = []
    for name in draw(st.sampled_from([["p"], ["p", "q"], ["p", "q", "r"]])):
        rules = draw(st.dictionaries(networks(family), st.sampled_from(HOPS), max_size=6))
        blocked = draw(st.sampled_from(["", "", "", "", "it does not exist"]))
        found.append(a_policy(name, {str(network): hops for network, hops in rules.items()}, "c", blocked=blocked))
    return found


def edges(given_: list[Policy], family: Family) -> set[IPAddress]:
    """The first and last addresses of all networks, and those beside them."""
    last = int(EVERYTHING[family].broadcast_address)
    ends = {0, last}
    for policy in given_:
        for item in policy.destinations:
            ends |= {int(item.network.network_address), int(item.network.broadcast_address)}
    near = {end + step for end in ends for step in (-1, 0, 1) if 0 <= end + step <= last}
    make = type(EVERYTHING[family].network_address)
    return {make(number) for number in near}


@given(family=st.sampled_from(FAMILIES), rest=st.sampled_from([None, WHOLE, Hops(())]), data=st.data())
@examples(100)
def test_each_address_is_in_one_part_which_says_what_its_policies_say(
    family: Family, rest: Hops | None, data: st.DataObject
) -> None:
    given_ = data.draw(policies(family))
    state = a_state(EXITS.values(), policies=tuple(given_))
    of_family = frozenset(key for key, item in EXITS.items() if item.family == family)
    parts = divide(given_, rest, family, of_family)
    networks_ = [part.network for part in parts]
    assert sum(network.num_addresses for network in networks_) == EVERYTHING[family].num_addresses
    assert all(int(one.broadcast_address) < int(other.network_address) for one, other in pairwise(networks_))
    for address in edges(given_, family):
        (part,) = (part for part in parts if address in part.network)
        assert part.hops == ruled(("prod", "c"), address, state, rest), address
        written = [item.network for policy in given_ for item in policy.destinations if item.hops == part.hops]
        assert not part.wanted or any(str(network) == part.wanted and address in network for network in written)
