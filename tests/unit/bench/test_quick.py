"""The guard against slow growth: what it calls worse."""

import json
from pathlib import Path

import pytest
from bench.quick import RECORD, Guarded, objects, worse


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A record of one figure."""
    file = tmp_path / "record.json"
    file.write_text(json.dumps({"a packet": 1.5}))
    return file


@pytest.mark.parametrize(("value", "count"), [(1.2, 0), (1.5, 0), (1.57, 0), (1.58, 1)])
def test_a_figure_is_worse_when_it_grows_by_more_than_is_tolerated(record: Path, value: float, count: int) -> None:
    assert len(worse([Guarded("a packet", value, 0.05)], record)) == count


def test_a_count_may_not_grow_at_all(record: Path) -> None:
    assert worse([Guarded("a packet", 1.51)], record) == ["a packet: 1.510, on record 1.500, tolerated 0% more"]


def test_a_figure_without_a_record_is_told(record: Path) -> None:
    assert worse([Guarded("another", 1.0)], record) == ["another: there is no record of it"]


def test_a_nodes_plan_grows_as_it_is_on_record() -> None:
    """More objects for each client or exit are more to read, to compare and to write at every event."""
    assert worse(list(objects()), RECORD) == []
