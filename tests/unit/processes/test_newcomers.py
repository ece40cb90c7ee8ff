"""No pod is taken for an ordinary one while something may be unheard that would govern it."""

from sallyport.apis.core import ObjectMeta, Pod
from sallyport.kube.identity import Key
from sallyport.processes.newcomers import SETTLED, Newcomers

A, B = ("prod", "a"), ("prod", "b")


def pod(uid: str, revision: str = "1") -> Pod:
    return Pod(metadata=ObjectMeta(uid=uid, resource_version=revision))


def begun() -> Newcomers:
    """Those of an agent that knows pod `a`."""
    newcomers = Newcomers()
    first: dict[Key, Pod | None] = {A: pod("one")}
    assert newcomers.admit(first, True, 100) == first, "an agent that begins while all is well waits for nothing"
    return newcomers


def test_a_pod_that_is_new_waits_until_everything_has_been_heard_of_for_a_moment() -> None:
    newcomers = begun()
    assert newcomers.admit({B: pod("two")}, False, 101).get(B) is None
    assert newcomers.admit({}, True, 101 + SETTLED / 2).get(B) is None
    assert newcomers.waiting
    assert newcomers.admit({}, True, 101 + SETTLED) == {B: pod("two")}
    assert not newcomers.waiting
    assert newcomers.admit({}, True, 200) == {}


def test_a_pod_that_is_known_goes_on_changing() -> None:
    newcomers = begun()
    assert newcomers.admit({A: pod("one", "2")}, False, 101) == {A: pod("one", "2")}


def test_a_pod_that_is_gone_goes_at_once_and_its_name_does_not_help_the_next() -> None:
    newcomers = begun()
    assert newcomers.admit({A: None}, False, 101) == {A: None}
    assert newcomers.admit({A: pod("next")}, False, 102).get(A) is None
    assert newcomers.admit({}, True, 110) == {A: pod("next")}
    assert newcomers.admit({A: pod("third")}, False, 111) == {A: None}, "the one before is gone"


def test_of_a_pod_that_waits_the_last_word_counts() -> None:
    newcomers = begun()
    newcomers.admit({B: pod("two")}, False, 101)
    newcomers.admit({B: pod("two", "2")}, False, 102)
    assert newcomers.admit({}, True, 110) == {B: pod("two", "2")}
    newcomers.admit({B: None}, True, 111)
    newcomers.admit({B: pod("four")}, False, 112)
    newcomers.admit({B: None}, False, 113)
    assert newcomers.admit({}, True, 120).get(B) is None
