"""Plans and their order of steps depend on no order of objects and on no seed of hashes."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from tests.properties.agents import bare, fresh, planned, steps_to
from tests.properties.effort import examples
from tests.properties.worlds import NAMES, Snapshot, shuffled, snapshots
from tests.unit.plan.build import SETTINGS

from sallyport.plan.cluster import plan_cluster

ROOT = Path(__file__).parents[2]
PROGRAM = """
from ipaddress import ip_network
from tests.properties.agents import bare, planned, steps_to
from tests.properties.worlds import Snapshot, written
from tests.unit.plan.build import *

nodes = {f"node-{n}": a_node(n) for n in range(1, 7)}
clients = [a_client(f"p{n}", f"10.244.1.{n}", f"fd00:244:1::{n}") for n in range(2, 60)]
pools = [a_pool("four", "10.0.0.50-10.0.0.80", nodes=nodes), a_pool("six", "fd00::50-fd00::80", nodes=nodes)]
exits = [
    an_exit(f"e{n}", "", *(f"p{m}" for m in range(2, 40) if m % n), created=str(n % 3), pool=("four", "six")[n % 2])
    for n in range(1, 30)
]
state = written(a_state(exits, clients, pools, nodes=nodes), {}, frozenset(nodes), "truly")
world = Snapshot(state, frozenset(nodes), {})
print(plan_cluster(state, SETTINGS), planned(world, "node-1", bare()), steps_to(world, "node-1", bare()))
"""


@given(world=snapshots(), before=snapshots(), random=st.randoms())
@examples(40)
def test_shuffled_objects_make_the_same_plans_and_the_same_steps(
    world: Snapshot, before: Snapshot, random: Random
) -> None:
    other = shuffled(world, random)
    assert plan_cluster(other.state, SETTINGS) == plan_cluster(world.state, SETTINGS)
    for name in NAMES:
        assert planned(other, name, bare()) == planned(world, name, bare())
        kernel = fresh(before, name)
        assert steps_to(other, name, kernel) == steps_to(world, name, kernel)


def test_seeds_of_hashes_make_no_difference() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", "from sallyport.plan.cluster import plan_cluster" + PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(printed) == 1
    assert all(len(text) > 10_000 for text in printed)
