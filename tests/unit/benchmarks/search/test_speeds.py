"""Recall and times, by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.search.speeds import WARM_UP, compare, percentile_ms, recall
from core.models import Vector


def test_recall_is_the_mean_share_of_the_truth() -> None:
    assert recall([[1, 2, 3, 4], [9, 8]], [[4, 3, 2, 5], [7, 9]]) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert recall([[1], [2]], [[1], [2]]) == 1
    assert recall([[]], [[1]]) == 0


def test_what_is_found_beyond_the_truth_counts_nothing() -> None:
    assert recall([[1, 5, 6, 7]], [[1, 2]]) == 0.5


def test_queries_that_have_no_truth_are_left_out() -> None:
    assert recall([[], [3]], [[], [3, 4]]) == 0.5
    assert recall([[]], [[]]) == 1


def test_each_query_needs_its_truth() -> None:
    with pytest.raises(ValueError, match="shorter"):
        recall([[1], [2]], [[1]])


@pytest.mark.parametrize(("percent", "expected_ms"), [(0, 10), (50, 30), (95, 48), (99, 49.6), (100, 50)])
def test_percentiles_lie_between_the_nearest_times(percent: float, expected_ms: float) -> None:
    assert percentile_ms([0.050, 0.010, 0.040, 0.020, 0.030], percent) == expected_ms


def test_a_percentile_has_two_decimals() -> None:
    assert percentile_ms([0.001_234_56], 50) == 1.23


def test_engines_are_compared_with_the_one_that_is_right() -> None:
    queries = np.eye(3, dtype=np.float32)
    right = {0: [0, 1], 1: [1, 2], 2: [2, 3]}
    hasty = {0: [0, 1], 1: [1, 9], 2: [8, 9]}
    asked: list[str] = []

    def answers(name: str, known: dict[int, list[int]], probe: Vector) -> Sequence[int]:
        asked.append(name)
        return known[int(probe.argmax())]

    engines = {
        "hasty": lambda probe: answers("hasty", hasty, probe),
        "exact": lambda probe: answers("exact", right, probe),
    }
    first, second = compare(engines, queries, selection="1 %", truth="exact")
    assert (first.engine, first.selection, first.recall) == ("hasty", "1 %", 0.5)
    assert (second.engine, second.selection, second.recall) == ("exact", "1 %", 1.0)
    assert asked[:12] == ["hasty", "exact"] * 6, "three to warm up and three that count, in turns"
    assert len(queries) < WARM_UP
