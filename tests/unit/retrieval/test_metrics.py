import pytest

from retrieval.metrics import mean_reciprocal_rank, rank_of, recall_at_k

RANKINGS = [["a", "b", "c"], ["c", "a", "b"], ["b", "c", "x"], ["a"]]
TARGETS = ["a", "b", "a", "b"]  # ranks 1, 3, absent, absent


def test_ranks_start_at_one() -> None:
    assert [rank_of(target, ranking) for target, ranking in zip(TARGETS, RANKINGS, strict=True)] == [1, 3, None, None]


@pytest.mark.parametrize(("k", "expected"), [(1, 0.25), (2, 0.25), (3, 0.5), (100, 0.5)])
def test_recall(k: int, expected: float) -> None:
    assert recall_at_k(RANKINGS, TARGETS, k=k) == expected


def test_mean_reciprocal_rank() -> None:
    assert mean_reciprocal_rank(RANKINGS, TARGETS) == pytest.approx((1 + 1 / 3) / 4)


def test_recall_refuses_what_has_no_meaning() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        recall_at_k(RANKINGS, TARGETS, k=0)
    with pytest.raises(ValueError, match="no queries"):
        recall_at_k([], [], k=1)
    with pytest.raises(ValueError, match="shorter"):
        recall_at_k(RANKINGS, TARGETS[:3], k=1)
