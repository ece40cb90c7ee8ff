"""Chains that choose among exits, in a real kernel: as the kernel in memory of the properties has it."""

import pytest
from tests.contract.objects import SETTINGS, differences, settle
from tests.netns.world import run

from sallyport.drivers.kernel import Kernel
from sallyport.model.kernel import Chain, ClientElement, KernelObject, Kind
from sallyport.plan.chains import spread, way
from sallyport.plan.skeleton import skeletons
from sallyport.reconcile.sequence import Step

pytestmark = pytest.mark.root

TABLE: tuple[KernelObject, ...] = skeletons(SETTINGS, ())
SPREAD = spread(4, [5, 6], [5, 6, 7], SETTINGS)
OTHER = spread(4, [5], [5, 6], SETTINGS)
WAY = way(4, [("0.0.0.0/1", SPREAD.name), ("128.0.0.0/1", "7")], SETTINGS)
POD = "10.244.1.2"


def turned(to: Chain) -> ClientElement:
    return ClientElement("clients4", POD, to.name)


def test_a_clients_chains_take_the_place_of_others_in_one_round(kernel: Kernel) -> None:
    """Names tell what they say, so that none is ever changed under a client."""
    for wanted in ((SPREAD, turned(SPREAD)), (SPREAD, WAY, turned(WAY)), (OTHER, turned(OTHER)), ()):
        assert settle(kernel, (*TABLE, *wanted)) == []
        assert differences(kernel, (*TABLE, *wanted)) == {}
    assert "spread_" not in run("a", "nft list table inet sallyport")


def test_a_chain_stays_for_as_long_as_something_leads_to_it(kernel: Kernel) -> None:
    assert settle(kernel, (*TABLE, SPREAD, WAY, turned(WAY))) == []
    for chain in (SPREAD, WAY):
        assert len(kernel.apply([Step(Kind.CHAIN, deletes=(chain,))])) == 1
    assert differences(kernel, (*TABLE, SPREAD, WAY, turned(WAY))) == {}
    gone = [Step(Kind.CLIENT_ELEMENT, deletes=(turned(WAY),)), Step(Kind.CHAIN, deletes=(SPREAD, WAY))]
    assert kernel.apply(gone) == []
    assert differences(kernel, TABLE) == {}


def test_nothing_leads_to_a_chain_that_is_not_there(kernel: Kernel) -> None:
    assert settle(kernel, TABLE) == []
    assert len(kernel.apply([Step(Kind.CHAIN, upserts=(WAY,))])) == 1
    assert len(kernel.apply([Step(Kind.CLIENT_ELEMENT, upserts=(turned(SPREAD),))])) == 1
    assert differences(kernel, TABLE) == {}


@pytest.mark.parametrize(
    "command",
    [
        f"nft flush chain inet sallyport {SPREAD.name}",
        f"nft flush chain inet sallyport {SPREAD.name}_u6",
        f"nft add rule inet sallyport {SPREAD.name} drop",
        "nft flush table inet sallyport",
        "nft delete table inet sallyport",
    ],
)
def test_a_chain_that_somebody_changed_is_made_anew(kernel: Kernel, command: str) -> None:
    wanted = (*TABLE, SPREAD, WAY, turned(WAY))
    assert settle(kernel, wanted) == []
    run("a", command)
    assert Kind.CHAIN in differences(kernel, wanted)
    assert settle(kernel, wanted) == []
    assert differences(kernel, wanted) == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["10.0.0.0/8"], ["10.0.0.0/9"]),
        (["10.0.0.0/9"], ["10.0.0.0/8"]),
        (["10.0.0.0/8", "11.0.0.0/8"], ["10.0.0.0/7"]),
        (["203.0.113.9"], ["203.0.113.8/31"]),
    ],
)
def test_ordinary_destinations_of_a_pod_grow_and_shrink_in_one_round(
    kernel: Kernel, before: list[str], after: list[str]
) -> None:
    """Its members are pairs, of which the second part is an interval; another pod's are in nobody's way."""
    other = ClientElement("ordinary4", "10.244.1.3 . 10.0.0.0/8")
    for networks in (before, after, before):
        wanted = (*TABLE, other, *(ClientElement("ordinary4", f"{POD} . {network}") for network in networks))
        assert settle(kernel, wanted) == []
        assert differences(kernel, wanted) == {}
