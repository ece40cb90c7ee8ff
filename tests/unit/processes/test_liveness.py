"""What BFD sessions say of other nodes."""

from sallyport.model.plan import Liveness
from sallyport.processes.liveness import Sessions


def verdict(sessions: Sessions, state: str, now: float) -> Liveness:
    return sessions.judge({"node-1": state}, now)["node-1"]


def test_a_session_that_was_up_and_ends_means_down_at_once() -> None:
    sessions = Sessions(grace=5)
    assert verdict(sessions, "Up", 0) is Liveness.UP
    assert verdict(sessions, "Down", 0.1) is Liveness.DOWN


def test_a_session_that_never_was_up_means_down_only_after_the_grace_time() -> None:
    sessions = Sessions(grace=5)
    assert verdict(sessions, "Down", 0) is Liveness.UNKNOWN
    assert verdict(sessions, "Init", 4.9) is Liveness.UNKNOWN
    assert verdict(sessions, "Down", 5) is Liveness.DOWN


def test_a_peer_that_is_no_longer_watched_is_forgotten() -> None:
    sessions = Sessions(grace=5)
    verdict(sessions, "Up", 0)
    assert sessions.judge({}, 1) == {}
    assert verdict(sessions, "Down", 2) is Liveness.UNKNOWN


def test_a_claim_of_a_peer_counts_for_more_than_its_session_until_that_comes_up_again() -> None:
    sessions = Sessions(grace=5)
    verdict(sessions, "Up", 0)
    assert verdict(sessions, "Down", 1) is Liveness.DOWN
    sessions.vouch("node-1")
    assert verdict(sessions, "Down", 2) is Liveness.UP
    assert verdict(sessions, "Up", 3) is Liveness.UP
    assert verdict(sessions, "Down", 4) is Liveness.DOWN
