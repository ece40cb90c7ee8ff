"""The same as `plan_cluster`, for a state that changes bit by bit."""

from collections.abc import Iterable, KeysView, Mapping

from sallyport.model.findings import Findings
from sallyport.model.plan import Assignment, ClusterPlan, Overlap, Usage
from sallyport.model.settings import Settings
from sallyport.model.state import ClusterState, Exit, ObjectRef, PodKey, Policy, Problem, Touched
from sallyport.plan.choosing import choose_hops, watchers
from sallyport.plan.clients import Pair, contests, decisive
from sallyport.plan.cluster import count, shared
from sallyport.plan.decisions import Decisions
from sallyport.selectors.groups import Groups


class Planning:
    """A cluster's plan. Its parts are those of a `ClusterPlan`, which `plan` puts together; but for `assignments`,
    `clients` and what is found wrong, which is in `decided` and `found` by what it comes from, and `overlaps_of` one
    exit, which go on with each `take`."""

    def __init__(self, settings: Settings) -> None:
        self._decisions = Decisions(settings.highest_id)
        self.assignments: Mapping[str, Assignment] = self._decisions.assignments
        self.decided: Findings = self._decisions.findings
        self.found = Findings()
        self.clients: dict[str, int] = {}
        self.chosen: Mapping[PodKey, Mapping[str, tuple[str, ...]]] = {}
        self.watchers: Mapping[str, tuple[str, ...]] = {}
        self._state = ClusterState()
        self._contests: Groups[PodKey, Pair] = Groups()
        self._contested = 0
        self._pairs: dict[str, set[Pair]] = {}
        self._deciding: Mapping[PodKey, str] = {}
        self._fit: dict[str, tuple[object, ...]] = {}

    @property
    def effort(self) -> int:
        """How many exits were decided about, and pods asked whose they are, so far."""
        return self._decisions.count + self._contested

    @property
    def usage(self) -> Mapping[str, Usage]:
        """How full pools are."""
        return self._decisions.usage

    @property
    def plan(self) -> ClusterPlan:
        """All of it, in order."""
        pairs = sorted(self._contests.groups())
        return ClusterPlan(
            assignments={name: self.assignments[name] for name in sorted(self.assignments)},
            usage=self.usage,
            clients=dict(self.clients),
            overlaps=tuple(self._overlap(pair) for pair in pairs),
            chosen=self.chosen,
            watchers=self.watchers,
            problems=tuple(sorted({*self._state.problems, *self.decided.all, *self.found.all})),
        )

    def problems(self, ref: ObjectRef) -> tuple[Problem, ...]:
        """What stood in the way of an object's exits."""
        return self._decisions.problems(ref)

    @property
    def asking(self) -> KeysView[PodKey]:
        """Pods about which a policy decides."""
        return self._deciding.keys()

    def overlaps_of(self, name: str) -> list[Overlap]:
        """Where an exit wins pods from another one, or loses them."""
        return [self._overlap(pair) for pair in sorted(self._pairs.get(name, ()))]

    def _overlap(self, pair: Pair) -> Overlap:
        return Overlap(*pair, self._contests.members(pair))

    def take(self, state: ClusterState, touched: Touched, selected: Mapping[PodKey, Iterable[str]]) -> set[str]:
        """Plan for a state of which these parts are others than before; `selected` has the exits that select each pod.
        The exits are answered of which there is something else to tell now."""
        before, self._state = self._state, state
        told = self._decisions.take(state, touched.exits)
        told |= self._count(touched.exits | touched.counted, state)
        pods = touched.pods | self._changed_policies(before.policies, state.policies)
        pods |= {pod for name in told | touched.exits for pod in self._fitting_anew(name, state)}
        for pod in pods:
            self._contest(pod, state, selected.get(pod, ()))
        told |= self._share(state, everything=before.policies is not state.policies)
        self._choose(before, state, touched)
        return told

    def _count(self, names: Iterable[str], state: ClusterState) -> set[str]:
        told: set[str] = set()
        for name in names:
            if name not in state.exits:
                self.clients.pop(name, None)
            elif self.clients.get(name) != (number := count(state.exits[name], state.clients)):
                self.clients[name] = number
                told.add(name)
        return told

    def _changed_policies(self, before: Iterable[Policy], now: Iterable[Policy]) -> set[PodKey]:
        """Pods that another policy decides about first."""
        if before is now:
            return set()
        known, self._deciding = self._deciding, decisive(now)
        return {pod for pod in known.keys() | self._deciding.keys() if known.get(pod) != self._deciding.get(pod)}

    def _fitting_anew(self, name: str, state: ClusterState) -> Iterable[PodKey]:
        """The pods of an exit whose age, or the family of whose address, is another one, or which is gone."""
        exit_, assignment = state.exits.get(name), self.assignments.get(name)
        if exit_ is None or assignment is None:
            self._fit.pop(name, None)
            return {pod for pair in self._pairs.get(name, ()) for pod in self._contests.members(pair)}
        fit = (exit_.age, None if assignment.address is None else assignment.address.version)
        if self._fit.get(name) == fit:
            return ()
        self._fit[name] = fit
        return exit_.clients

    def _contest(self, pod: PodKey, state: ClusterState, selected: Iterable[str]) -> None:
        self._contested += 1
        names = sorted((name for name in selected if name in state.exits), key=lambda name: state.exits[name].age)
        client, policy = state.clients.get(pod), self._deciding.get(pod, "")
        pairs = () if client is None else tuple(contests(client, names, policy, self.assignments))
        self._contests.put(pod, pairs)

    def _share(self, state: ClusterState, *, everything: bool) -> set[str]:
        """Bring up to date what is known of pairs of exits that want the same pods."""
        pairs = self._contests.take_touched()
        for pair in pairs:
            for name in pair[:2]:
                if pair in self._contests:
                    self._pairs.setdefault(name, set()).add(pair)
                elif name in self._pairs:
                    self._pairs[name].discard(pair)
                    if not self._pairs[name]:
                        del self._pairs[name]
        refs = {str(policy.ref): policy.ref for policy in state.policies}
        for pair in {*pairs, *self._contests.groups()} if everything else pairs if refs else ():
            there = [self._overlap(pair)] if pair in self._contests else []
            self.found.put(pair, shared(refs, there))
        return {name for pair in pairs for name in pair[:2] if name in state.exits}

    def _choose(self, before: ClusterState, state: ClusterState, touched: Touched) -> None:
        """Choose gateways anew where policies, gateways or pods that ask for some have changed."""
        same = before.policies is state.policies and before.chosen is state.chosen
        bound = any(exit_.node for name in touched.exits for exit_ in _both(name, before, state))
        if not same or bound or not touched.pods.isdisjoint(self._deciding.keys()):
            self.chosen = choose_hops(state)
            self.watchers = watchers(state, self.chosen)


def _both(name: str, *states: ClusterState) -> list[Exit]:
    return [state.exits[name] for state in states if name in state.exits]
