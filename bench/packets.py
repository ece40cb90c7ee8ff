"""What a small packet costs on its way through a client's node and an exit's, with few and with many of both.

The nodes are programmed by the product's own plan and drivers. Packets are those of the last client, of one flow, so
that what differs is what the nodes hold. The cost is the CPU time of the sender, which on one machine carries each
packet through all of the namespaces. The cheaper half of a turn's rounds counts: what else the machine does makes
rounds longer, and none shorter. Ratios are to one client and one egress IP, in the same turn.

Sets and maps cost the same at any size. A node has a policy rule for each exit elsewhere that its own clients use,
10,000 of them in the last row. They stand in a tree (decision 20), in which that packet is asked 17 of them. Side by
side, as they were before, the kernel asked one after the other, 7 to 9 ns each, and a packet by the last of them cost
10.8 times what one with a single exit did. With numbers of tables that follow one another it was 1.06: the kernel
keeps tables in 256 lists by the lowest byte of their numbers, and had forty of them before `main` and before `local`.
"""

import contextlib
import statistics
from collections.abc import Sequence

from bench.crossing import Crossing
from bench.figures import Figure

SIZES = ((1, 1), (1_000, 1), (50_000, 1), (1, 10_000), (50_000, 10_000))
"""Clients on the one node, egress IPs on the other."""
TURNS, ROUNDS = 15, 40


def measure() -> list[Figure]:
    """Nanoseconds and ratios for each size, and what it took to program its nodes."""
    with contextlib.ExitStack() as stack:
        made = {size: stack.enter_context(Crossing(str(place), *size)) for place, size in enumerate(SIZES)}
        for one in made.values():
            one.warm()
        turns = [{size: quiet(one.costs(ROUNDS)) for size, one in made.items()} for _ in range(TURNS)]
        written = {size: one.programmed for size, one in made.items()}
    found = [Figure(f"{_words(size)}: a packet", "ns", tuple(turn[size] for turn in turns)) for size in SIZES]
    for size in SIZES[1:]:
        ratios = tuple(turn[size] / turn[SIZES[0]] for turn in turns)
        found.append(Figure(f"{_words(size)}: a packet, to the first", "ratio", ratios))
    for size, nodes in written.items():
        for node, of in (("first", "clients' node"), ("second", "exits' node")):
            found.append(Figure(f"{_words(size)}: {of} programmed", "s", (nodes[node].seconds,)))
            if nodes[node].memory:
                found.append(Figure(f"{_words(size)}: {of}, kernel memory", "MiB", (nodes[node].memory / 2**20,)))
    return found


def quiet(costs: Sequence[float]) -> float:
    """What a packet costs where nothing disturbs it: the median of the cheaper half."""
    return statistics.median(sorted(costs)[: max(1, len(costs) // 2)])


def _words(size: tuple[int, int]) -> str:
    return f"{size[0]} client{'s' * (size[0] > 1)}, {size[1]} egress IP{'s' * (size[1] > 1)}"
