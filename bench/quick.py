"""`python -m bench.quick`: ratios and counts that do not depend on the machine, against those on record.

Fails where one is worse than its record by more than its tolerance. `python -m bench.quick --record` writes the records
anew: what has become better or worse on purpose is then seen in the change of `bench/results/quick/record.json`.
"""

import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.costs import Costs
from bench.crossing import Crossing, planned
from bench.figures import RESULTS
from bench.packets import quiet

RECORD = RESULTS / "quick" / "record.json"
TURNS, ROUNDS = 7, 30
_EVEN = 0.05
"""What is measured in turns comes out within that on a machine with much else to do."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A figure of which less is better. `tolerance` is the share of its record by which it may be more."""

    name: str
    value: float
    tolerance: float = 0.0


def costs() -> Iterator[Guarded]:
    """CPU time of small packets: by an exit to a plain VXLAN, and with many clients and egress IPs to one of each. An
    egress IP elsewhere costs a node more than one there only if it has clients of it."""
    sizes = {
        "1,000 clients": (1_000, 1),
        "1,000 egress IPs on their node": (1, 1_000),
        "clients of 1,000 egress IPs elsewhere": (1_000, 1_000),
    }
    with ExitStack() as stack:
        one = stack.enter_context(Crossing("q", 1, 1))
        others = {name: stack.enter_context(Crossing(f"q{n}", *size)) for n, (name, size) in enumerate(sizes.items())}
        plain, grown = [], {name: list[float]() for name in others}
        for made in (one, *others.values()):
            made.warm()
        for _ in range(TURNS):
            ours = quiet(one.costs(ROUNDS))
            for name, made in others.items():
                grown[name].append(quiet(made.costs(ROUNDS)) / ours)
            one.take(plain=True)
            plain.append(ours / quiet(one.costs(ROUNDS)))
            one.take(plain=False)
    yield Guarded("a packet by an exit, to one by a plain VXLAN", statistics.median(plain), _EVEN)
    for name, ratios in grown.items():
        yield Guarded(f"a packet with {name}, to one with one", statistics.median(ratios), _EVEN)


def objects() -> Iterator[Guarded]:
    """Kernel objects that a node's plan grows by."""
    few = len(planned("first", 10, 1))
    yield Guarded("kernel objects of one more client", (len(planned("first", 110, 1)) - few) / 100)
    yield Guarded("kernel objects of one more exit elsewhere", (len(planned("first", 110, 101)) - few) / 100 - 2)
    held = len(planned("second", 10, 1))
    yield Guarded("kernel objects of one more exit on the node", (len(planned("second", 10, 101)) - held) / 100)


def events() -> Iterator[Guarded]:
    """Work of the controller for one event: objects translated, comparisons with selectors, exits decided about."""
    cluster = Costs(10_000)
    yield Guarded("steps for one more pod", cluster.of_pod())
    yield Guarded("steps for a pod's label", cluster.of_label())
    yield Guarded("steps for one pod less", cluster.of_gone_pod())
    yield Guarded("steps for a status", cluster.of_status())
    yield Guarded("steps for one more Egress", cluster.of_egress())


GUARDS: tuple[Callable[[], Iterator[Guarded]], ...] = (objects, events, costs)
"""What is compared. A module that counts its own work has its own function here."""


def worse(found: Sequence[Guarded], record: Path = RECORD) -> list[str]:
    """A line for each that has become worse than it may be, or that has no record."""
    known: dict[str, float] = json.loads(record.read_text())
    lines = [f"{item.name}: there is no record of it" for item in found if item.name not in known]
    return lines + [
        f"{item.name}: {item.value:.3f}, on record {known[item.name]:.3f}, tolerated {item.tolerance:.0%} more"
        for item in found
        if item.name in known and item.value > known[item.name] * (1 + item.tolerance) + 1e-9
    ]


def main(argv: Sequence[str]) -> int:
    """0 where nothing has become worse."""
    found = [item for guard in GUARDS for item in guard()]
    for item in found:
        print(f"{item.name:56} {item.value:8.3f}")
    if list(argv) == ["--record"]:
        RECORD.parent.mkdir(exist_ok=True)
        RECORD.write_text(json.dumps({item.name: round(item.value, 3) for item in found}, indent=2) + "\n")
        return 0
    lines = worse(found)
    for line in lines:
        print(f"worse: {line}", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
