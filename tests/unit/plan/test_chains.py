"""The text of the chains that choose among exits. What the kernel makes of it is shown in tests/netns."""

import re

import pytest
from tests.unit.plan.build import SETTINGS

from sallyport.model.kernel import Chain
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, Family
from sallyport.plan.chains import spread, way

OTHER_MARKS = Settings(mark_mask=0x3FF0)


def body(chain: Chain, leaf: str = "") -> list[str]:
    """The rules of a chain itself, or of a leaf that its name is followed by."""
    found = re.search(rf"chain {chain.name}{leaf} \{{\n(.*?)  \}}", chain.text, re.DOTALL)
    assert found, leaf
    return [line.strip() for line in found[1].splitlines()]


def counted(chain: Chain) -> int:
    return len([line for line in chain.text.splitlines() if line.startswith("    ")])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_known_connection_is_resumed_before_a_new_one_is_shared_out(family: Family) -> None:
    made = spread(family, [5, 7], [5, 6, 7], SETTINGS)
    resumed, shared = body(made)
    use = f"{made.name}_u"
    assert resumed == f"ct mark & 0x3fff vmap {{ 0x5 : goto {use}5, 0x6 : goto {use}6, 0x7 : goto {use}7 }}"
    word = {4: "ip", 6: "ip6"}[family]
    assert shared == (
        f"jhash {word} saddr . {word} daddr . meta l4proto . th sport . th dport mod 2 seed 0x5350"
        f" vmap {{ 0 : goto {made.name}_k5, 1 : goto {made.name}_k7 }}"
    )


def test_a_choice_is_noted_in_the_connection_and_other_bits_of_its_mark_are_kept() -> None:
    made = spread(4, [5], [5], SETTINGS)
    assert body(made, "_k5") == ["ct mark set ct mark & 0xffffc000 | 0x5", f"goto {made.name}_u5"]
    assert body(made, "_u5") == ["meta mark set meta mark & 0xffffc000 | 0x5"]


def test_marks_are_shifted_to_where_the_settings_have_them() -> None:
    made = spread(4, [5], [5], OTHER_MARKS)
    assert body(made)[0].startswith("ct mark & 0x3ff0 vmap { 0x50 : ")
    assert body(made, "_u5") == ["meta mark set meta mark & 0xffffc00f | 0x50"]


def test_an_exit_that_takes_no_new_connections_is_not_among_those_shared_out() -> None:
    made = spread(4, [5], [5, 6], SETTINGS)
    assert body(made)[1].endswith(f"mod 1 seed 0x5350 vmap {{ 0 : goto {made.name}_k5 }}")
    assert f"{made.name}_k6" not in made.text
    assert body(made, "_u6")


def test_where_none_takes_new_connections_they_get_the_mark_that_leads_nowhere() -> None:
    made = spread(4, [], [6], SETTINGS)
    assert body(made)[1] == f"goto {made.name}_u16383"
    assert body(made, "_u16383") == ["meta mark set meta mark & 0xffffc000 | 0x3fff"]
    assert "jhash" not in made.text


def test_a_way_sends_each_network_to_its_spread_its_exit_or_the_ordinary_way() -> None:
    made = way(4, [("0.0.0.0/1", "spread_abc"), ("128.0.0.0/2", "9"), ("192.0.0.0/2", "")], SETTINGS)
    assert body(made) == [
        f"ip daddr vmap {{ 0.0.0.0/1 : goto spread_abc, 128.0.0.0/2 : goto {made.name}_u9, 192.0.0.0/2 : return }}"
    ]
    assert body(made, "_u9") == ["meta mark set meta mark & 0xffffc000 | 0x9"]
    assert made.destinations == (("0.0.0.0/1", "spread_abc"), ("128.0.0.0/2", "9"), ("192.0.0.0/2", ""))


@pytest.mark.parametrize(
    "made",
    [
        spread(4, [5, 7], [5, 6, 7], SETTINGS),
        spread(6, [], [6], SETTINGS),
        way(4, [("0.0.0.0/0", "9")], SETTINGS),
        way(6, [("::/1", ""), ("8000::/1", "9")], SETTINGS),
    ],
)
def test_a_chain_tells_how_many_rules_it_has(made: Chain) -> None:
    """By that number one that somebody has cut is known."""
    assert made.rules == counted(made) > 0
    assert made.text.startswith("table inet sallyport {\n")


def test_leaves_come_before_what_goes_to_them() -> None:
    """nft reads a text from its beginning."""
    made = spread(4, [5], [5, 6], SETTINGS)
    declared = re.findall(r"chain (\S+) \{", made.text)
    assert declared[-1] == made.name
    assert declared.index(f"{made.name}_u5") < declared.index(f"{made.name}_k5")


def test_what_is_the_same_has_the_same_name_and_what_differs_another() -> None:
    alike = [spread(4, [5, 6], [5, 6], SETTINGS) for _ in range(2)]
    assert alike[0] == alike[1]
    different = [
        *alike[:1],
        spread(6, [5, 6], [5, 6], SETTINGS),
        spread(4, [5], [5, 6], SETTINGS),
        spread(4, [5, 6], [5, 6, 7], SETTINGS),
        spread(4, [5, 6], [5, 6], OTHER_MARKS),
        way(4, [("0.0.0.0/0", "5")], SETTINGS),
        way(4, [("0.0.0.0/0", "6")], SETTINGS),
        way(4, [("0.0.0.0/1", "5")], SETTINGS),
        way(4, [("0.0.0.0/0", "5")], OTHER_MARKS),
    ]
    assert len({item.name for item in different}) == len(different)
