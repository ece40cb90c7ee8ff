"""Calico's selector language: what matches, what is refused and where, and what holds for every selector."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.selectors.calico import (
    COMPARISONS,
    DEPTH_LIMIT,
    Both,
    Compared,
    Either,
    Everything,
    Has,
    Listed,
    Not,
    Selector,
    SelectorError,
    fault,
    negation,
    parse,
)

LABELS = {"egress": "true", "app": "web-front", "empty": "", "projectcalico.org/name": "default", "in": "x"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("egress == 'true'", True),
        ('egress == "true"', True),
        ("egress=='false'", False),
        ("missing == ''", False),
        ("empty == ''", True),
        ("egress != 'false'", True),
        ("egress != 'true'", False),
        ("missing != 'true'", True),
        ("projectcalico.org/name == 'default'", True),
        ("egress in {'true', \"yes\"}", True),
        ("egress in{'yes',}", False),
        ("egress in {}", False),
        ("missing in {''}", False),
        ("egress not in {'true'}", False),
        ("egress not in {}", True),
        ("egress notin {'yes'}", True),
        ("missing not in {'true'}", True),
        ("has(empty)", True),
        ("has( missing )", False),
        ("!has(missing)", True),
        ("! has(empty)", False),
        ("app starts with 'web'", True),
        ("app startswith 'front'", False),
        ("app ends with 'front'", True),
        ("app contains 'b-f'", True),
        ("app contains ''", True),
        ("missing contains ''", False),
        ("missing starts with ''", False),
        ("missing ends with ''", False),
        ("all()", True),
        ("!all()", False),
        ("global()", True),
        ("!!has(app)", True),
        ("!egress == 'true'", False),
        ("has(app) && has(missing)", False),
        ("has(app) || has(missing)", True),
        ("has(app) || has(missing) && has(missing)", True),
        ("(has(app) || has(missing)) && has(missing)", False),
        ("!(has(app) && has(missing))", True),
        ("\t has(app)\n", True),
        ("in in {'x'}", True),
        ("egress == \"it's\" || app == 'web-front'", True),
    ],
)
def test_a_selector_matches_as_in_calico(text: str, matches: bool) -> None:
    assert parse(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "at 1: expected a condition, found the end"),
        ("   ", "at 4: expected a condition, found the end"),
        ("egress == foo", "at 11: expected a value in quotes, found 'foo'"),
        ("has(a) && b == 1", "at 16: expected a value in quotes, found '1'"),
        ("egress = 'true'", "at 8: '=' has no meaning here"),
        ("egress == 'true", "at 11: the quote is not closed"),
        ("egress", "at 7: expected an operator such as == or in, found the end"),
        ("a b 'c'", "at 3: expected an operator such as == or in, found 'b'"),
        ("a not 'c'", "at 7: expected 'in' after 'not', found \"'c'\""),
        ("a starts 'c'", "at 10: expected 'with' after 'starts', found \"'c'\""),
        ("a in 'c'", "at 6: expected {, found \"'c'\""),
        ("a in {'c' 'd'}", "at 11: expected }, found \"'d'\""),
        ("a in {c}", "at 7: expected a value in quotes or }, found 'c'"),
        ("a in {'c',", "at 11: expected a value in quotes or }, found the end"),
        ("has()", "at 5: expected a label key, found ')'"),
        ("has(a", "at 6: expected ), found the end"),
        ("all(a)", "at 5: expected ), found 'a'"),
        ("(has(a)", "at 8: expected ), found the end"),
        ("has(a))", "at 7: expected && or ||, found ')'"),
        ("has(a) has(b)", "at 8: expected && or ||, found 'has'"),
        ("has(a) & has(b)", "at 8: '&' has no meaning here"),
        ("has(a) &&", "at 10: expected a condition, found the end"),
        ("'a' == 'b'", "at 1: expected a condition, found \"'a'\""),
        ("ä == 'b'", "at 1: 'ä' has no meaning here"),
        ("k" * 513 + " == ''", "at 1: a label key has at most 512 characters"),
    ],
)
def test_what_is_no_selector_is_refused_with_its_place_and_reason(text: str, reason: str) -> None:
    with pytest.raises(SelectorError) as raised:
        parse(text)
    assert str(raised.value) == reason == fault(text)
    assert reason.startswith(f"at {raised.value.position}:")


def test_parentheses_nest_to_a_limit_and_no_text_exhausts_the_stack() -> None:
    deep = "(" * DEPTH_LIMIT + "all()" + ")" * DEPTH_LIMIT
    assert fault(deep) is None
    assert fault(f"({deep})") == f"at {DEPTH_LIMIT + 1}: more than {DEPTH_LIMIT} parentheses are nested"
    assert fault(" || ".join([deep] * 2)) is None, "what has been closed does not count"
    assert fault("(" * 100_000) is not None
    assert fault("!" * 100_001 + "all()") is None


def test_the_same_text_is_parsed_once() -> None:
    assert parse("has(once)") is parse("has(once)")


KEYS = st.sampled_from(["a", "b", "in", "has", "example.org/name"])
VALUES = st.sampled_from(["", "a", "ab", "b", "it's", 'an "x"'])
LEAVES: st.SearchStrategy[Selector] = st.one_of(
    st.builds(Everything, st.booleans()),
    st.builds(Has, KEYS),
    st.builds(Compared, KEYS, st.sampled_from(COMPARISONS), VALUES),
    st.builds(lambda key, values, no: Listed(key, tuple(sorted(values)), no), KEYS, st.sets(VALUES), st.booleans()),
)


def _joined(parts: st.SearchStrategy[Selector]) -> st.SearchStrategy[Selector]:
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.one_of(parts.map(negation), several.map(Both), several.map(Either))


SELECTORS = st.recursive(LEAVES, _joined, max_leaves=8)
SOME_LABELS = st.dictionaries(KEYS, VALUES, max_size=4)


@given(SELECTORS)
def test_every_selector_is_parsed_from_its_own_text(selector: Selector) -> None:
    assert parse(str(selector)) == selector
    assert hash(parse(str(selector))) == hash(selector)


@given(SELECTORS, SELECTORS, SOME_LABELS)
def test_de_morgans_laws_hold_for_texts(left: Selector, right: Selector, labels: dict[str, str]) -> None:
    for outer, inner in (("||", "&&"), ("&&", "||")):
        joined = parse(f"!(({left}) {outer} ({right}))")
        apart = parse(f"!({left}) {inner} !({right})")
        assert joined.matches(labels) == apart.matches(labels)


@given(SELECTORS, SOME_LABELS)
def test_a_negation_matches_exactly_the_rest(selector: Selector, labels: dict[str, str]) -> None:
    assert parse(f"!({selector})").matches(labels) is not selector.matches(labels)
    assert negation(negation(selector)) == selector
    assert not isinstance(selector, Not) or not isinstance(selector.part, Not)


@given(KEYS, st.sets(VALUES), SOME_LABELS)
def test_a_list_of_values_is_a_comparison_with_each(key: str, values: set[str], labels: dict[str, str]) -> None:
    listed = Listed(key, tuple(sorted(values)))
    assert listed.matches(labels) == any(Compared(key, "==", value).matches(labels) for value in values)


@given(st.text(alphabet="ab \"'=!&|(){},has", max_size=30), SOME_LABELS)
def test_any_text_is_a_selector_or_refused_at_a_place_in_it(text: str, labels: dict[str, str]) -> None:
    if fault(text) is None:
        assert parse(str(parse(text))).matches(labels) == parse(text).matches(labels)
        return
    with pytest.raises(SelectorError) as raised:
        parse(text)
    assert 1 <= raised.value.position <= len(text) + 1
