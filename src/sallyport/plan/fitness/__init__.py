"""Whether a node can do the work: what it is tried with, and what is wrong with what was seen of it."""

from collections.abc import Iterable

from sallyport.model.fitness import Finding, Outcome, Severity, Surroundings
from sallyport.model.settings import Settings
from sallyport.plan.fitness.agent import agent
from sallyport.plan.fitness.clashes import clashes
from sallyport.plan.fitness.means import means


def judge(seen: Surroundings, outcomes: Iterable[Outcome], settings: Settings) -> tuple[Finding, ...]:
    """All findings, problems first; within each, causes before what follows from them."""
    found = [*means(seen, outcomes, settings), *clashes(seen, settings), *agent(seen.programmed)]
    return tuple(sorted(found, key=lambda item: item.severity is not Severity.PROBLEM))
