"""An agent's polls of gateways on other nodes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

from tests.unit.kube.server import FakeClock, until

from sallyport.drivers.web import Answer, WebError
from sallyport.model.probes import PollCounts
from sallyport.processes.poller import Poller

URL = {key: f"http://10.244.{number}.2:8080/readiness" for number, key in enumerate("abc")}


class Noting(FakeClock):
    """A clock that knows the shortest time that it was asked to wait."""

    shortest = 1e9

    async def sleep(self, seconds: float) -> None:
        self.shortest = min(self.shortest, seconds)
        await super().sleep(seconds)


class Gateways:
    """Remote gateways: what each answers, when it was asked, and a poller of them."""

    def __init__(self, *, seed: int = 1) -> None:
        self.clock = Noting()
        self.answers: dict[str, Answer | WebError | None] = {url: Answer(200, "ready\n") for url in URL.values()}
        self.asked: dict[str, list[float]] = {url: [] for url in URL.values()}
        self.changes: list[frozenset[str]] = []
        self.poller = Poller(self.get, self.clock, Random(seed), on_change=lambda: self.changes.append(self.failed))

    @property
    def failed(self) -> frozenset[str]:
        return self.poller.failed

    async def get(self, url: str) -> Answer:
        """None stands for no answer at all."""
        self.asked.setdefault(url, []).append(self.clock.seconds)
        answer = self.answers.get(url)
        if answer is None:
            await asyncio.Event().wait()
            raise AssertionError("never")
        if isinstance(answer, WebError):
            raise answer
        return answer

    async def pass_time(self, seconds: float) -> None:
        """In steps of half a second, after each of which everything that is due is done."""
        for _ in range(round(seconds * 2)):
            self.clock.advance(0.5)
            for _ in range(20):
                await asyncio.sleep(0)


@asynccontextmanager
async def polling(*keys: str, seed: int = 1) -> AsyncIterator[Gateways]:
    """A poller at work on these gateways."""
    gateways = Gateways(seed=seed)
    gateways.poller.watch({key: URL[key] for key in keys})
    task = asyncio.create_task(gateways.poller.run())
    try:
        await gateways.pass_time(0)
        yield gateways
        assert not task.done(), "it polls until it is cancelled"
        assert gateways.clock.shortest > 0, "to wait for no time is to loop at full speed"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_each_gateway_is_polled_once_an_interval() -> None:
    async with polling("a", "b", "c") as gateways:
        await gateways.pass_time(60)
        for times in gateways.asked.values():
            assert len(times) == 6
            assert {later - earlier for earlier, later in pairwise(times)} == {10.0}
        assert gateways.poller.counts == PollCounts(total=3, up=3)
        assert gateways.changes == []


async def test_neither_all_gateways_are_polled_at_once_nor_one_by_all_nodes() -> None:
    first = []
    for seed in (1, 2):
        async with polling("a", "b", "c", seed=seed) as gateways:
            await gateways.pass_time(10)
            first += [times[0] for times in gateways.asked.values()]
    assert len(set(first)) > 3


async def test_a_gateway_fails_after_the_failure_count_and_comes_back_with_the_first_success() -> None:
    async with polling("a", "b") as gateways:
        await gateways.pass_time(10)
        gateways.answers[URL["a"]] = Answer(503, "no icmp probe has succeeded for 15 s\n")
        await gateways.pass_time(20)
        assert gateways.failed == frozenset()
        assert gateways.poller.counts == PollCounts(total=2, up=1), "a is on its way"
        await gateways.pass_time(10)
        assert gateways.failed == {"a"}
        assert gateways.poller.counts == PollCounts(total=2, up=1, probe_failed=1)
        gateways.answers[URL["a"]] = Answer(200, "ready\n")
        await gateways.pass_time(10)
        assert gateways.failed == frozenset()
        assert gateways.poller.counts == PollCounts(total=2, up=2)
        assert gateways.changes == [{"a"}, frozenset()]


async def test_no_answer_and_no_connection_are_failures_too_and_do_not_hold_up_others() -> None:
    async with polling("a", "b", "c") as gateways:
        gateways.answers[URL["a"]] = None
        gateways.answers[URL["b"]] = WebError("Connection refused")
        await gateways.pass_time(35)
        assert gateways.failed == {"a", "b"}
        assert len(gateways.asked[URL["c"]]) >= 3
        assert len(gateways.asked[URL["a"]]) >= 3, "it is not waited for beyond the interval"


async def test_a_gateway_that_is_watched_no_more_is_not_failed_and_one_under_a_new_url_is_new() -> None:
    async with polling("a", "b") as gateways:
        gateways.answers = dict.fromkeys(URL.values(), WebError("Connection refused"))
        await gateways.pass_time(30)
        assert gateways.failed == {"a", "b"}
        gateways.poller.watch({"a": "http://10.244.9.9:8080/readiness"})
        assert gateways.failed == frozenset()
        assert gateways.poller.counts == PollCounts(total=1)
        asked = len(gateways.asked[URL["b"]])
        await gateways.pass_time(20)
        assert len(gateways.asked[URL["b"]]) == asked


async def test_an_answer_that_comes_after_its_gateway_was_given_up_changes_nothing() -> None:
    async with polling("a") as gateways:
        gateways.poller.failure_count = 1
        gateways.answers[URL["a"]] = None
        await gateways.pass_time(0.5)
        await until(lambda: bool(gateways.asked[URL["a"]]), lambda: gateways.clock.advance(0.5))
        gateways.poller.watch({"b": URL["b"]})
        await gateways.pass_time(20)
        assert gateways.failed == frozenset()
        assert gateways.changes == []


async def test_watching_the_same_again_forgets_nothing_and_polls_no_sooner() -> None:
    async with polling("a") as gateways:
        gateways.answers[URL["a"]] = WebError("Connection refused")
        for _ in range(60):
            gateways.poller.watch({"a": URL["a"]})
            await gateways.pass_time(0.5)
        assert gateways.failed == {"a"}
        assert len(gateways.asked[URL["a"]]) == 3


async def test_a_new_interval_holds_at_once() -> None:
    async with polling("a") as gateways:
        gateways.poller.interval = 1000.0
        await gateways.pass_time(20)
        assert gateways.asked[URL["a"]] == []
        gateways.poller.interval = 1.0
        await gateways.pass_time(10)
        assert len(gateways.asked[URL["a"]]) >= 9


async def test_an_interval_that_becomes_shorter_while_an_answer_is_waited_for_begins_no_second_poll() -> None:
    async with polling("a") as gateways:
        gateways.answers[URL["a"]] = None
        await until(lambda: bool(gateways.asked[URL["a"]]), lambda: gateways.clock.advance(0.5))
        gateways.poller.interval = 1.0
        await gateways.pass_time(2)
        gateways.poller.watch({key: URL[key] for key in "ab"})
        await gateways.pass_time(2)
        assert len(gateways.asked[URL["a"]]) == 1
        await gateways.pass_time(10)
        assert len(gateways.asked[URL["a"]]) > 3


async def test_a_new_failure_count_counts_for_failures_that_have_been() -> None:
    async with polling("a") as gateways:
        gateways.answers[URL["a"]] = WebError("Connection refused")
        await gateways.pass_time(20)
        gateways.poller.failure_count = 2
        assert gateways.failed == {"a"}
        gateways.poller.failure_count = 5
        assert gateways.failed == frozenset()
        assert gateways.changes == [{"a"}, frozenset()]


async def test_a_poller_with_nothing_to_poll_waits_for_something() -> None:
    async with polling() as gateways:
        await gateways.pass_time(30)
        gateways.poller.watch({"a": URL["a"]})
        await gateways.pass_time(11)
        assert len(gateways.asked[URL["a"]]) >= 1
