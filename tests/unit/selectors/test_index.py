"""The index answers what asking every selector would."""

from hypothesis import given
from hypothesis import strategies as st

from sallyport.selectors import index
from sallyport.selectors.index import LabelIndex, PodSelector, PodSelectorIndex
from sallyport.selectors.kubernetes import LabelSelector, Requirement

keys = st.sampled_from(["app", "tier", "zone"])
values = st.sampled_from(["", "a", "b"])
labels = st.dictionaries(keys, values, max_size=3)
some = st.lists(values, min_size=1, max_size=2).map(tuple)
requirements = st.one_of(
    st.builds(Requirement, keys, st.sampled_from(["In", "NotIn"]), some),
    st.builds(Requirement, keys, st.sampled_from(["Exists", "DoesNotExist"])),
)
selectors = st.builds(LabelSelector, labels, st.lists(requirements, max_size=2).map(tuple))
optional = st.none() | selectors


@given(
    st.lists(st.tuples(optional, optional), max_size=6),
    st.dictionaries(st.sampled_from(["one", "two", "three"]), labels),
    st.sampled_from(["one", "two", "three"]),
    labels,
    st.integers(0, 2),
)
def test_the_index_finds_what_each_selector_matches_once(
    pairs: list[tuple[LabelSelector | None, LabelSelector | None]],
    namespaces: dict[str, dict[str, str]],
    namespace: str,
    pod: dict[str, str],
    few: int,
) -> None:
    asked = [PodSelector(str(number), *pair) for number, pair in enumerate(pairs)]
    expected = [
        item.name
        for item in asked
        if (item.pods is None or item.pods.matches(pod))
        and (item.namespaces is None or (namespace in namespaces and item.namespaces.matches(namespaces[namespace])))
    ]
    before, index.FEW_NAMESPACES = index.FEW_NAMESPACES, few
    try:
        assert sorted(PodSelectorIndex(asked, namespaces).matching(namespace, pod)) == expected
    finally:
        index.FEW_NAMESPACES = before


@given(selectors, st.dictionaries(st.text(max_size=2), labels, max_size=5))
def test_objects_are_found_by_label(selector: LabelSelector, objects: dict[str, dict[str, str]]) -> None:
    expected = {name for name, held in objects.items() if selector.matches(held)}
    assert LabelIndex(objects).matching(selector) == expected
