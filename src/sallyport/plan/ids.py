"""Egress ids: the marks by which all nodes know an exit."""

import hashlib
from collections.abc import Mapping

from sallyport.model.state import Exit, Problem


def assign_ids(
    exits: Mapping[str, Exit], highest: int, used: dict[int, str] | None = None
) -> tuple[dict[str, int], tuple[Problem, ...]]:
    """An id from 1 to `highest` per exit, 0 where none is left.

    Ids in use are kept, the older exit's where two claim one. A new exit starts looking at a place drawn from its
    identity and not at the lowest free id: an id just given up may still be on its way in a packet, and must not
    name another exit's address at once. Other exits keep the ids that are `used`; these are brought up to date.
    """
    ids: dict[str, int] = {}
    used = {} if used is None else used
    problems: list[Problem] = []
    ordered = sorted(exits.values(), key=lambda item: item.age)
    for exit_ in ordered:
        if 0 < exit_.id <= highest and exit_.id not in used:
            ids[exit_.key] = exit_.id
            used[exit_.id] = exit_.key
    for exit_ in ordered:
        if exit_.key in ids:
            continue
        if len(used) >= highest:
            ids[exit_.key] = 0
            problems.append(Problem(exit_.ref, "NoMarkLeft", f"all {highest} egress ids of the cluster are in use"))
            continue
        seed = hashlib.sha256(f"{exit_.ref.uid}/{exit_.key}".encode()).digest()
        number = int.from_bytes(seed[:8]) % highest + 1
        while number in used:
            number = number % highest + 1
        ids[exit_.key] = number
        used[number] = exit_.key
    return ids, tuple(problems)
