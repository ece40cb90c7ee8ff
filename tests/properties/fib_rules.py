"""The policy rules of a kernel, as its net/core/fib_rules.c keeps them and asks them.

What is peculiar there is here, too: a rule is added behind all others of its priority; one that leads on keeps to the
rule that it found, until that goes; whether a rule is there already is asked without where it leads on to; and when one
is removed, what is 0 in the request fits anything.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sallyport.model.kernel import Kind, Rule
from sallyport.reconcile.diff import Actual
from sallyport.reconcile.sequence import Step


@dataclass(eq=False)
class _Entry:
    rule: Rule
    target: "_Entry | None" = None


class FibRules:
    """Of one family."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._entries = [_Entry(rule) for rule in sorted(rules, key=lambda rule: rule.priority)]
        found = {entry.rule.priority: entry for entry in reversed(self._entries)}
        for entry in self._entries:
            entry.target = found.get(entry.rule.goto)

    def read(self) -> Actual:
        return {Kind.RULE: {entry.rule: entry.rule for entry in self._entries}}

    def carry_out(self, step: Step) -> None:
        """A piece of a change: one rule that is made, or removed."""
        for item in step.deletes:
            assert isinstance(item, Rule)
            self.remove(item)
        for item in step.upserts:
            assert isinstance(item, Rule)
            self.add(item)

    def add(self, rule: Rule) -> None:
        """As `fib_nl_newrule`; one that the kernel takes for another is left out, as by the driver."""
        assert not rule.goto or rule.goto > rule.priority
        end = bisect_right(self._entries, rule.priority, key=_priority)
        if any(_identity(entry.rule) == _identity(rule) for entry in self._entries[self._start(rule.priority) : end]):
            return
        there = self._start(rule.goto)
        led = there < len(self._entries) and self._entries[there].rule.priority == rule.goto
        new = _Entry(rule, self._entries[there] if led else None)
        self._entries.insert(end, new)
        for entry in self._entries:
            if entry.rule.goto == rule.priority and entry.target is None:
                entry.target = new

    def remove(self, rule: Rule) -> None:
        """As `fib_nl_delrule`."""
        place = self._start(rule.priority)
        while place < len(self._entries) and not _fits(rule, self._entries[place].rule):
            place += 1
        if place == len(self._entries):
            return
        gone = self._entries.pop(place)
        following = self._entries[place] if place < len(self._entries) else None
        heir = following if following is not None and following.rule.priority == rule.priority else None
        for entry in self._entries:
            if entry.target is gone:
                entry.target = heir

    def _start(self, priority: int) -> int:
        return bisect_left(self._entries, priority, key=_priority)

    def asked(self, mark: int) -> Iterator[Rule]:
        """The rules that a packet is asked which finds no route in any table, as in `fib_rules_lookup`."""
        place = 0
        while place < len(self._entries):
            entry = self._entries[place]
            yield entry.rule
            hit = bool((mark ^ entry.rule.mark) & entry.rule.mask) is entry.rule.inverted
            place = self._entries.index(entry.target, place) if hit and entry.target is not None else place + 1

    def tables(self, mark: int) -> list[int]:
        """The tables that it is looked up in."""
        return [rule.table for rule in self.asked(mark) if rule.table and not (mark ^ rule.mark) & rule.mask]


def _priority(entry: _Entry) -> int:
    return entry.rule.priority


def _identity(rule: Rule) -> tuple[object, ...]:
    action = "table" if rule.table else "goto" if rule.goto else "nop"
    return (action, rule.table, rule.priority, rule.mark, rule.mask)


def _fits(asked: Rule, rule: Rule) -> bool:
    return all(not wanted or wanted == there for wanted, there in zip(_identity(asked), _identity(rule), strict=True))
