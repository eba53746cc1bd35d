"""The final order, by hand."""

from uuid import UUID

import pytest

from core.models import Candidate
from core.reranking import final_order, request_of

A, B, C, D = (UUID(int=n) for n in range(1, 5))


def coarse(image_id: UUID, rank: int, score: float, error: str | None = None) -> Candidate:
    return Candidate(image_id, f"sku-{image_id.int}", rank, score, rank, score, error=error)


def order(*candidates: Candidate, p_yes: dict[UUID, float], weight: float) -> list[tuple[UUID, float]]:
    return [(c.image_id, round(c.score, 6)) for c in final_order(candidates, p_yes, weight=weight)]


def test_the_judge_decides_at_weight_one() -> None:
    ranked = order(coarse(A, 1, 0.9), coarse(B, 2, 0.5), p_yes={A: 0.2, B: 0.7}, weight=1.0)
    assert ranked == [(B, 0.7), (A, 0.2)]


def test_coarse_scores_are_min_maxed_within_the_shortlist() -> None:
    """B: 0.5 * 0.7 + 0.5 * (0.5 - 0.1) / 0.8 = 0.6; A: 0.5 * 0.2 + 0.5 * 1 = 0.6: a tie keeps the coarse order."""
    ranked = order(coarse(A, 1, 0.9), coarse(B, 2, 0.5), coarse(C, 3, 0.1), p_yes={A: 0.2, B: 0.7, C: 0.4}, weight=0.5)
    assert ranked == [(A, 0.6), (B, 0.6), (C, 0.2)]


def test_candidates_beyond_the_depth_follow_and_unreadable_ones_are_last() -> None:
    candidates = (coarse(A, 1, 0.9, error="gone"), coarse(B, 2, 0.5), coarse(C, 3, 0.4), coarse(D, 4, 0.3))
    ranked = final_order(candidates, {C: 0.9, B: 0.8}, weight=1.0)
    assert [c.image_id for c in ranked] == [C, B, D, A]
    assert [c.rank for c in ranked] == [1, 2, 3, 4]
    assert [c.p_yes for c in ranked] == [0.9, 0.8, None, None]
    assert ranked[-1].error == "gone"


def test_equal_coarse_scores_do_not_divide_by_zero() -> None:
    assert order(coarse(A, 1, 0.5), coarse(B, 2, 0.5), p_yes={A: 0.1, B: 0.3}, weight=0.5) == [(B, 0.65), (A, 0.55)]


@pytest.mark.parametrize(
    ("negative", "expected"),
    [
        (None, "in red"),
        ("striped", "in red, but not striped"),
        ("no logo", "in red, no logo"),
        ("Without stripes", "in red, Without stripes"),
        ("notches", "in red, but not notches"),
    ],
)
def test_the_judge_hears_what_must_not_be_there(negative: str | None, expected: str) -> None:
    assert request_of("in red", negative) == expected


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_nothing_to_order(weight: float) -> None:
    assert final_order((), {}, weight=weight) == ()
