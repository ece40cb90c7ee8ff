"""When a gateway is ready, and when a remote one has failed."""

import pytest

from sallyport.model.probes import Health, PollCounts, Polled, Probe, Word, count_polls

ICMP = Probe("icmp", ("203.0.113.1", "2001:db8::1"), 5, 15)
HTTP = Probe("http", ("http://web/",), 10, 30)
STANDS = Word("", 100)


def ready(health: Health, now: float) -> bool:
    return not health.doubts(now)


def vouched(*probes: Probe) -> Health:
    """A gateway that the agent has vouched for at second 100, with patience of 90 seconds."""
    return Health(probes, 90).heard(STANDS)


def test_a_gateway_without_probes_is_ready_once_the_agent_has_vouched_for_its_way() -> None:
    assert not ready(Health((), 90), 100)
    assert ready(vouched(), 100)


def test_silence_of_the_agent_is_borne_for_the_datastore_timeout_after_its_last_answer() -> None:
    health = vouched()
    quiet = health.heard(health.word.silent("Connection refused"))
    assert ready(quiet, 189.9)
    assert quiet.doubts(190) == ("the node's agent has not answered for 90 s: Connection refused",)
    assert ready(quiet.heard(Word("", 191)), 191)


def test_an_agent_that_nobody_hears_of_at_all_is_not_trusted_longer() -> None:
    """The moment of its last answer decides, whether or not a question was seen to fail."""
    assert vouched().doubts(190) == ("the node's agent has not answered for 90 s",)


def test_silence_from_the_start_is_not_borne_at_all() -> None:
    health = Health((), 90).heard(Word().silent("Connection refused"))
    assert health.doubts(0) == ("the node's agent has not answered yet: Connection refused",)


def test_an_agents_no_counts_at_once_and_holds_while_it_is_silent() -> None:
    health = vouched().heard(Word("no tunnel address", 101))
    assert health.doubts(101) == ("the node's agent: no tunnel address",)
    silent = health.heard(health.word.silent("Connection refused"))
    assert not ready(silent, 102)
    assert not ready(silent, 1000)
    assert ready(silent.heard(Word("", 103)), 103)


@pytest.mark.parametrize("probe", [ICMP, HTTP])
def test_a_probed_gateway_is_not_ready_before_the_first_success(probe: Probe) -> None:
    health = vouched(probe)
    assert health.doubts(100) == (f"no {probe.kind} probe has succeeded yet",)
    assert ready(health.succeeded(probe.kind, probe.targets[0], 100), 100)


@pytest.mark.parametrize("probe", [ICMP, HTTP])
def test_a_success_holds_for_the_timeout_and_no_longer(probe: Probe) -> None:
    health = vouched(probe).succeeded(probe.kind, probe.targets[0], 100)
    health = health.failed(probe.kind, probe.targets[0], "no answer")
    assert ready(health, 99.9 + probe.timeout)
    assert health.doubts(100 + probe.timeout) == (
        f"no {probe.kind} probe has succeeded for {probe.timeout:g} s ({probe.targets[0]}: no answer)",
    )


@pytest.mark.parametrize("answering", ICMP.targets)
def test_one_answering_target_is_enough(answering: str) -> None:
    health = vouched(ICMP)
    for target in ICMP.targets:
        if target != answering:
            health = health.failed("icmp", target, "No route to host")
    assert ready(health.succeeded("icmp", answering, 100), 110)


def test_each_kind_that_is_given_needs_a_success_of_its_own() -> None:
    both = vouched(ICMP, HTTP)
    pinged = both.succeeded("icmp", ICMP.targets[0], 100)
    fetched = both.succeeded("http", HTTP.targets[0], 100)
    assert pinged.doubts(101) == ("no http probe has succeeded yet",)
    assert fetched.doubts(101) == ("no icmp probe has succeeded yet",)
    assert ready(pinged.succeeded("http", HTTP.targets[0], 100), 101)


def test_a_target_of_both_kinds_does_not_answer_for_the_other_kind() -> None:
    one, other = Probe("icmp", ("x",), 5, 15), Probe("http", ("x",), 10, 30)
    assert not ready(vouched(one, other).succeeded("icmp", "x", 100), 100)


def test_a_success_takes_back_what_was_said_of_the_target() -> None:
    health = vouched(ICMP).failed("icmp", ICMP.targets[0], "Network is unreachable")
    assert "Network is unreachable" in health.doubts(100)[0]
    assert "Network is unreachable" not in health.succeeded("icmp", ICMP.targets[0], 100).doubts(120)[0]


def test_every_doubt_is_told() -> None:
    assert len(Health((ICMP, HTTP), 90).doubts(0)) == 3


def test_a_remote_gateway_fails_after_that_many_failures_in_a_row_and_returns_with_one_success() -> None:
    polled = Polled()
    assert not polled.failed(1)
    for _ in range(2):
        polled = polled.after(False)
    assert not polled.failed(3)
    assert not polled.after(True).after(False).failed(3), "they were not in a row"
    polled = polled.after(False)
    assert polled.failed(3)
    assert not polled.after(True).failed(1)


def test_a_new_gateway_and_one_on_its_way_to_failing_are_neither_up_nor_failed() -> None:
    known = [Polled(), Polled().after(True), Polled().after(False), Polled().after(False).after(False)]
    assert count_polls(known, 2) == PollCounts(total=4, up=1, probe_failed=1)
    assert count_polls([], 2) == PollCounts()
