"""What the properties take for granted of a kernel's policy rules, asked of a kernel."""

import random
from collections.abc import Iterable, Iterator

import pytest
from tests.contract.objects import SETTINGS
from tests.fake_kernel import pieces
from tests.netns.world import run
from tests.properties.fib_rules import FibRules

from sallyport.drivers.kernel import Kernel
from sallyport.model.kernel import Kind, Rule
from sallyport.plan.rules import arranged, first
from sallyport.reconcile.diff import diff
from sallyport.reconcile.sequence import Step, sequence

pytestmark = pytest.mark.root

MASK = SETTINGS.mark_mask


def planned(ids: Iterable[int]) -> list[Rule]:
    flat = [Rule(4, first(SETTINGS), SETTINGS.table(item), mark=SETTINGS.mark(item), mask=MASK) for item in ids]
    return [item for item in arranged(flat, SETTINGS) if isinstance(item, Rule)]


def rules(kernel: Kernel) -> list[object]:
    """In the kernel's own order."""
    return list(kernel.read()[Kind.RULE])


def test_of_two_rules_that_lead_on_at_one_priority_the_one_that_is_meant_is_removed(kernel: Kernel) -> None:
    """A mark of 0 fits any in a request to remove; the mask tells them apart."""
    deeper, end = Rule(4, 20003, 0, mark=2, mask=3, goto=21539), Rule(4, 20003, 0, mark=0, mask=1, goto=26145)
    for gone, left in ((end, deeper), (deeper, end)):
        assert kernel.apply([Step(Kind.RULE, upserts=(deeper, end)), Step(Kind.RULE, deletes=(gone,))]) == []
        assert rules(kernel) == [left]
        assert kernel.apply([Step(Kind.RULE, deletes=(left,))]) == []


def changes() -> Iterator[list[Rule]]:
    """Sets of exits that grow, shrink and change places, three of which stay."""
    chance = random.Random(11)
    for count in (1, 30, 6, 60, 0):
        yield planned([5, 70, 1027, *chance.sample(range(2_000, 2_200), count)])


def test_a_kernel_keeps_rules_and_asks_them_as_its_model_does(kernel: Kernel) -> None:
    """Change by change, with the order of those of one priority; and the table that is found for a mark."""
    tables = [SETTINGS.table(item) for item in (5, 70, 1027)]
    for table in tables:
        run("a", f"ip route add default dev eth0 table {table}")
    model = FibRules()
    for wanted in changes():
        for piece in pieces(sequence(diff(wanted, kernel.read()))):
            assert kernel.apply([piece]) == []
            model.carry_out(piece)
            assert rules(kernel) == list(model.read()[Kind.RULE])
        for mark, table in zip((5, 70, 1027), tables, strict=True):
            assert set(model.tables(mark)) == {table}
            assert f"table {table} " in run("a", f"ip route get 198.51.100.1 mark {mark}")
        assert "table" not in run("a", "ip route get 192.0.2.1 mark 9")
