"""Our nftables tables: their rules are kept whole, and changing them loses no element."""

import json
from dataclasses import replace

import pytest
from tests.contract.objects import LINKS, RICH, SETTINGS, differences, settle
from tests.netns.world import eventually, run

from sallyport.drivers.kernel import Kernel
from sallyport.model.kernel import ClientElement, Element, Kind
from sallyport.plan.skeleton import skeletons
from sallyport.reconcile.sequence import Step

pytestmark = pytest.mark.root

NARROW = skeletons(SETTINGS, [replace(link, mtu=1300) for link in LINKS])


def chains() -> set[str]:
    """The chains that set marks."""
    listing = json.loads(run("a", "nft -j list table inet sallyport"))["nftables"]
    names = {str(item["chain"]["name"]) for item in listing if "chain" in item}
    return {name for name in names if name.startswith("mark_")}


def test_new_rules_keep_every_element(kernel: Kernel) -> None:
    """A new skeleton takes the old one's place in one transaction, and its sets are full at once."""
    assert settle(kernel, RICH) == []
    assert kernel.apply([Step(Kind.SKELETON, upserts=NARROW)]) == []
    deltas = differences(kernel, (*NARROW, *(item for item in RICH if item.kind is not Kind.SKELETON)))
    assert deltas == {}


def test_new_rules_keep_the_dead_mans_element(kernel: Kernel) -> None:
    """A living agent does not fall silent by bringing new rules."""
    assert settle(kernel, RICH) == []
    kernel.tables.renew(60)
    assert kernel.apply([Step(Kind.SKELETON, upserts=NARROW)]) == []
    assert "3784 timeout 1m" in run("a", "nft list set inet sallyport alive")


def test_renewal_prolongs_and_shortens(kernel: Kernel) -> None:
    """The last renewal counts, on every kernel."""
    assert settle(kernel, skeletons(SETTINGS, ())) == []
    for seconds, shown in ((60, "timeout 1m"), (3600, "timeout 1h"), (60, "timeout 1m")):
        kernel.tables.renew(seconds)
        assert shown in run("a", "nft list set inet sallyport alive")


def test_what_lives_is_prolonged_and_what_has_run_out_is_not_made_anew(kernel: Kernel) -> None:
    """Others may have taken over by then."""
    assert settle(kernel, skeletons(SETTINGS, ())) == []
    assert not kernel.tables.prolong(60), "it was never there"
    kernel.tables.renew(60)
    assert kernel.tables.prolong(3600)
    assert "timeout 1h" in run("a", "nft list set inet sallyport alive")
    kernel.tables.renew(1)
    assert eventually(lambda: "3784" not in run("a", "nft list set inet sallyport alive"))
    assert not kernel.tables.prolong(60)
    assert "3784" not in run("a", "nft list set inet sallyport alive")


def test_without_a_table_nothing_is_prolonged(kernel: Kernel) -> None:
    assert not kernel.tables.prolong(60)


def test_new_rules_drop_elements_of_sets_that_they_lack(kernel: Kernel) -> None:
    """An upgrade that has no use for a set any more is not held up by its members."""
    assert settle(kernel, RICH) == []
    old = skeletons(SETTINGS, LINKS)[0]
    lacking = replace(old, digest="digest:other", text=old.text.replace("set sources6", "set origins6"))
    lacking = replace(lacking, text=lacking.text.replace("@sources6", "@origins6"))
    assert kernel.apply([Step(Kind.SKELETON, upserts=(lacking,))]) == []
    found = kernel.read()[Kind.EXIT_ELEMENT]
    assert ("sources6", "3 . 2001:db8::103") not in found
    assert ("sources4", "1 . 192.0.2.101") in found


@pytest.mark.parametrize(
    "command",
    [
        "nft flush chain inet sallyport verify",
        "nft add rule inet sallyport guard accept",
        "nft insert rule inet sallyport steer accept",
        "nft flush chain netdev sallyport sp-vx6",
        "nft add chain inet sallyport extra; add rule inet sallyport extra drop",
    ],
)
def test_rules_that_somebody_changed_are_loaded_again(kernel: Kernel, command: str) -> None:
    """A table with more or fewer rules than its text has is not ours as it should be."""
    assert settle(kernel, RICH) == []
    run("a", "nft -f -", command.removeprefix("nft "))
    assert set(differences(kernel, RICH)) == {Kind.SKELETON}
    assert settle(kernel, RICH) == []
    assert differences(kernel, RICH) == {}


def test_a_chain_lives_as_long_as_a_client_jumps_to_it(kernel: Kernel) -> None:
    """Chains come with the first client of an exit and go with the last."""
    table = skeletons(SETTINGS, ())
    one, two = ClientElement("clients4", "10.244.1.2", "5"), ClientElement("clients6", "fd00:244:1::2", "5")
    moved = replace(one, value="6")
    for clients, expected in (((one, two), {"mark_5"}), ((moved, two), {"mark_5", "mark_6"}), ((moved,), {"mark_6"})):
        assert settle(kernel, (*table, *clients)) == []
        assert chains() == expected
    assert settle(kernel, table) == []
    assert chains() == set()


def test_a_chain_that_nobody_uses_is_swept(kernel: Kernel) -> None:
    """Whatever an agent left half done goes with the next change of elements."""
    table = skeletons(SETTINGS, ())
    assert settle(kernel, table) == []
    run("a", "nft add chain inet sallyport mark_77")
    assert settle(kernel, (*table, Element("nodes4", "192.0.2.1"))) == []
    assert chains() == set()


def test_one_transaction_bears_additions_and_removals(kernel: Kernel) -> None:
    """A pod that becomes governed is so in the moment in which it is free no more."""
    table = skeletons(SETTINGS, ())
    free, governed = ClientElement("free4", "10.244.1.2"), ClientElement("governed4", "10.244.1.2")
    assert settle(kernel, (*table, free)) == []
    assert kernel.apply([Step(Kind.CLIENT_ELEMENT, upserts=(governed,), deletes=(free,))]) == []
    assert differences(kernel, (*table, governed)) == {}


def test_a_bad_member_does_not_keep_a_network_from_growing(kernel: Kernel) -> None:
    """Tried in halves, what is in the way still goes before what takes its place."""
    table = skeletons(SETTINGS, ())
    old, new, bad = (Element("excluded4", text) for text in ("10.0.0.0/24", "10.0.0.0/23", "10.0.0.256"))
    assert settle(kernel, (*table, old)) == []
    assert len(kernel.apply([Step(Kind.EXIT_ELEMENT, upserts=(new, bad), deletes=(old,))])) == 1
    assert differences(kernel, (*table, new)) == {}
