"""What an event costs goes by what it concerns, and not by how large the cluster is: counted, and not timed."""

import pytest
from bench.costs import Costs


@pytest.fixture(scope="module")
def clusters() -> tuple[Costs, Costs]:
    return Costs(1_000), Costs(20_000)


@pytest.mark.parametrize(
    ("event", "most"),
    [("of_pod", 6), ("of_label", 8), ("of_gone_pod", 4), ("of_status", 3), ("of_egress", 110)],
)
def test_an_event_costs_the_same_in_a_cluster_twenty_times_as_large(
    clusters: tuple[Costs, Costs], event: str, most: int
) -> None:
    small, large = (getattr(cluster, event)() for cluster in clusters)
    assert 0 < large == small <= most
