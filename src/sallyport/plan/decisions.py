"""Addresses, ids and ranks, decided anew for those exits only whose decisions may be others.

An exit is *firm* when it has, by its own record, what was decided for it: it keeps that whatever becomes of others,
unless one of them comes before it that claims the same. So the firm ones are left out, and the functions that decide
for all are asked about the rest. Where that does not hold, they are asked about all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sallyport.model.findings import Findings
from sallyport.model.plan import Assignment, Usage
from sallyport.model.state import ClusterState, Exit, IPAddress, Node, ObjectRef, Pool, Problem
from sallyport.plan.addresses import Ledger, allocate, filled, origin
from sallyport.plan.ids import assign_ids
from sallyport.plan.ranking import full, rank


@dataclass(slots=True)
class _Decided:
    """What was decided for one exit. `place` is the node on which it counts, `pool` the one that its address is of."""

    ref: ObjectRef
    id: int
    address: IPAddress | None
    nodes: tuple[str, ...] = ()
    place: str = ""
    pool: str = ""


@dataclass(slots=True)
class _Books:
    """Who has what."""

    ledger: Ledger = field(default_factory=Ledger)
    ids: dict[int, str] = field(default_factory=dict)
    placed: dict[str, int] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)


class Decisions:
    """The assignments of all exits, and how full pools are. `findings` has what stood in the way, by the exits'
    objects. `count` says how many exits were decided about so far."""

    def __init__(self, highest_id: int) -> None:
        self.assignments: dict[str, Assignment] = {}
        self.usage: Mapping[str, Usage] = {}
        self.findings = Findings()
        self.count = 0
        self._highest_id = highest_id
        self._decided: dict[str, _Decided] = {}
        self._loose: set[str] = set()
        self._books = _Books()
        self._given_by: tuple[Mapping[str, Pool], Mapping[str, Node], int] = ({}, {}, 0)

    def take(self, state: ClusterState, changed: Iterable[str]) -> set[str]:
        """Decide about the exits that have changed, and about others where need be; those are answered whose assignment
        is another one, or is none any more."""
        given_by = (state.pools, state.nodes, state.default_limit)
        whole = any(now is not before for now, before in zip(given_by, self._given_by, strict=True))
        self._given_by = given_by
        names = {*changed}
        if not names and not whole:
            return set()
        names |= self._loose | _siblings(names, self._decided, state.exits)
        for name in names:
            self._release(name)
        if whole or any(self._displaces(state.exits[name], state.exits) for name in names & state.exits.keys()):
            names |= self._decided.keys() | state.exits.keys()
            for name in list(self._decided):
                self._release(name)
            self._books = _Books()
        return self._decide(names, state)

    def _release(self, name: str) -> None:
        """Let go what an exit has."""
        decided, books = self._decided.pop(name, None), self._books
        if decided is None:
            return
        if decided.address is not None and books.ledger.taken.get(decided.address) == name:
            books.ledger.free(decided.address)
        if books.ids.get(decided.id) == name:
            del books.ids[decided.id]
        if decided.place:
            books.placed[decided.place] -= 1
        if decided.pool:
            books.used[decided.pool] -= 1
        for source in (decided.ref, ("rank", decided.ref)):
            self.findings.put(source, ())

    def _displaces(self, exit_: Exit, exits: Mapping[str, Exit]) -> bool:
        """Whether an exit claims what another one has by now, and comes before it."""
        if exit_.id and (other := self._books.ids.get(exit_.id)) is not None and exit_.age < exits[other].age:
            return True
        if not exit_.pools or exit_.requested is None:
            return False
        holder = self._books.ledger.taken.get(exit_.requested)
        return holder is not None and _precedence(exit_) < _precedence(exits[holder])

    def _decide(self, names: set[str], state: ClusterState) -> set[str]:
        exits = {name: state.exits[name] for name in names if name in state.exits}
        self.count += len(exits)
        books, problems = self._books, list[Problem]()
        given, found = allocate(exits, state.pools, books.ledger)
        problems += found
        ids, found = assign_ids(exits, self._highest_id, books.ids)
        problems += found
        for name, exit_ in exits.items():
            pool = origin(exit_, given[name], state.pools)
            self._decided[name] = _Decided(exit_.ref, ids[name], given[name], pool=pool)
            if pool:
                books.used[pool] = books.used.get(pool, 0) + 1
        self._loose = {name for name in exits if _is_loose(exits[name], self._decided[name], state.pools)}
        for ref, told in _by_ref(problems).items():
            self.findings.put(ref, told)
        self._rank(exits, state)
        usage = filled(state.pools, books.used)
        if usage != self.usage:
            self.usage = usage
        return self._assign(names | exits.keys(), state.exits)

    def problems(self, ref: ObjectRef) -> tuple[Problem, ...]:
        """What stood in the way of an object's exits."""
        return (*self.findings.of(ref), *self.findings.of(("rank", ref)))

    def _rank(self, exits: dict[str, Exit], state: ClusterState) -> None:
        """Rank these exits; all of them, which are then added to `exits`, where nodes are at their limits."""
        books, limit = self._books, state.default_limit
        crowded = full(state.nodes, limit, books.placed)
        given = {name: self._decided[name].address for name in exits}
        ranked, problems = rank(exits, given, state.pools, state.nodes, limit, books.placed)
        if len(exits) < len(state.exits) and (crowded or full(state.nodes, limit, books.placed)):
            exits.update(state.exits)
            books.placed = {}
            given = {name: decided.address for name, decided in self._decided.items()}
            ranked, problems = rank(exits, given, state.pools, state.nodes, limit, books.placed)
        for name, exit_ in exits.items():
            nodes = ranked.get(name, ())
            self._decided[name].nodes = nodes
            self._decided[name].place = nodes[0] if nodes and not exit_.node else ""
        told = _by_ref(problems)
        for ref in {exit_.ref for exit_ in exits.values()}:
            self.findings.put(("rank", ref), told.get(ref, ()))

    def _assign(self, names: Iterable[str], exits: Mapping[str, Exit]) -> set[str]:
        touched: set[str] = set()
        for name in names:
            if name not in exits:
                if self.assignments.pop(name, None) is not None:
                    touched.add(name)
                continue
            exit_, decided = exits[name], self._decided[name]
            made = Assignment(decided.id, decided.address, decided.nodes, exit_.holder, static=not exit_.pools)
            if self.assignments.get(name) != made:
                self.assignments[name] = made
                touched.add(name)
        return touched


def _by_ref(problems: Iterable[Problem]) -> dict[ObjectRef, list[Problem]]:
    found: dict[ObjectRef, list[Problem]] = {}
    for problem in problems:
        found.setdefault(problem.ref, []).append(problem)
    return found


def _precedence(exit_: Exit) -> tuple[bool, tuple[str, str]]:
    """Sort key: who comes first to an address."""
    return (not exit_.settled, exit_.age)


def _is_loose(exit_: Exit, decided: _Decided, pools: Mapping[str, Pool]) -> bool:
    """Whether what was decided for an exit is not what it has on record, so that it may be decided otherwise."""
    if decided.id != exit_.id:
        return True
    kept = decided.address is not None and decided.address == exit_.requested
    return not kept and any(pool in pools for pool in exit_.pools)


def _siblings(names: Iterable[str], decided: Mapping[str, _Decided], exits: Mapping[str, Exit]) -> set[str]:
    """The exits that are those of the same objects: what is found wrong is told of the object as a whole."""
    refs = {exits[name].ref for name in names if name in exits and exits[name].family}
    refs |= {decided[name].ref for name in names if name in decided and decided[name].ref.namespace}
    return {name for name, exit_ in exits.items() if exit_.ref in refs} if refs else set()
