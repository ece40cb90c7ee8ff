"""What is worked out bit by bit, as objects change, is what comes out of all of them at once."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from tests.properties.effort import examples
from tests.properties.histories import ADDRESSES, NODES, changes, histories, seen_by
from tests.unit.plan.build import SETTINGS, facts_of

from sallyport.apis.incremental import Translation
from sallyport.apis.objects import Objects
from sallyport.apis.translate import translate
from sallyport.model.plan import Liveness, NodeFacts
from sallyport.model.state import Node
from sallyport.plan.cluster import plan_cluster, recorded
from sallyport.plan.incremental import Planning
from sallyport.plan.node import plan_node

SEEDS = st.integers(0, 10**9)


@given(seed=SEEDS)
@examples(300)
def test_a_translation_that_goes_on_is_that_of_all_objects(seed: int) -> None:
    translation, before = Translation(), Objects()
    for after in histories(Random(seed)):
        translation.take(after, changes(before, after))
        assert translation.state == translate(after)
        before = after


def _facts(random: Random) -> NodeFacts:
    """What node-1 sees, with any addresses on its interfaces and any peers down."""
    on = [ip_address(text) for text in ADDRESSES[:4] if random.randrange(3)]
    peers = {name: random.choice([Liveness.UP, Liveness.DOWN, Liveness.UNKNOWN]) for name in NODES[1:]}
    held = frozenset(address for address in on if random.randrange(2))
    return replace(facts_of(1, *map(str, on), peers=peers), held=held)


@given(seed=SEEDS)
@examples(300)
def test_a_node_is_planned_the_same_without_the_exits_that_do_not_concern_it(seed: int) -> None:
    random = Random(seed)
    translation, before = Translation(NODES[0]), Objects()
    for after in histories(random):
        after = seen_by(after, NODES[0])
        translation.take(after, changes(before, after))
        facts, whole = _facts(random), translate(after)
        plan = plan_node(translation.state, recorded(translation.state), facts, SETTINGS)
        assert plan == plan_node(whole, recorded(whole), facts, SETTINGS)
        before = after


@given(seed=SEEDS)
@examples(400)
def test_a_plan_that_goes_on_is_that_of_the_whole_cluster(seed: int) -> None:
    random = Random(seed)
    translation, planning, before = Translation(), Planning(SETTINGS), Objects()
    nodes: Mapping[str, Node] = {}
    for after in histories(random):
        touched = translation.take(after, changes(before, after))
        alive = {name: replace(node, alive=bool(random.randrange(6))) for name, node in translation.state.nodes.items()}
        nodes = nodes if alive == nodes else alive
        state = replace(translation.state, nodes=nodes)
        planning.take(state, touched, translation.selected)
        assert planning.plan == plan_cluster(state, SETTINGS)
        before = after
