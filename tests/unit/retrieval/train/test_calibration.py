import numpy as np
import pytest

from retrieval.train.calibration import Judged, auc, fit_sigmoid, fit_weight, recalls

RIGHT = np.array([[True, False, False], [False, True, False]])


def test_the_sigmoid_is_fitted_to_what_was_right() -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(size=(200, 20)).astype(np.float32) * 3
    right = rng.random((200, 20)) < 1 / (1 + np.exp(-(margins / 2 - 1)))

    temperature, bias = fit_sigmoid(margins, right)

    assert temperature == pytest.approx(2.0, rel=0.15)
    assert bias == pytest.approx(-1.0, abs=0.15)


@pytest.mark.parametrize("sign", [1.0, -1.0, 0.0])
def test_a_judge_that_is_always_right_always_wrong_or_silent_gets_usable_numbers(sign: float) -> None:
    margins = sign * np.where(RIGHT, 5.0, -5.0).astype(np.float32)

    temperature, bias = fit_sigmoid(margins, RIGHT)

    assert 0 < temperature < 1e6
    assert np.isfinite(bias)


def test_auc_counts_pairs_within_a_query() -> None:
    margins = np.array([[1.0, 2.0, 0.0], [9.0, 8.0, 8.0]], np.float32)

    assert auc(margins, RIGHT) == pytest.approx((0.5 + 0.25) / 2)  # one of two beaten; none beaten, one equal
    assert np.isnan(auc(margins, np.zeros_like(RIGHT)))


def test_recalls_follow_the_weight() -> None:
    judged = Judged(
        coarse=np.array([[0.1, 0.9, 0.5]] * 2, np.float32),
        margins=np.array([[4.0, -4.0, -4.0], [-4.0, -4.0, 4.0]], np.float32),
        right=RIGHT,
    )

    assert recalls(judged, 1.0, 0.0, 0.0) == {"r@1": 0.5, "r@5": 1.0, "r@10": 1.0}
    assert recalls(judged, 1.0, 0.0, 1.0)["r@1"] == 0.5
    assert recalls(judged, 0.001, 0.0, 1.0)["r@1"] == 0.5  # no overflow


def test_only_a_judge_that_helps_gets_a_say() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.random((200, 20)).astype(np.float32)
    right = np.arange(20)[None, :] == rng.integers(20, size=(200, 1))
    good = np.where(right, 5.0, -5.0).astype(np.float32)
    noise = rng.normal(size=(200, 20)).astype(np.float32)

    assert fit_weight(Judged(coarse, good, right), 1.0, 0.0) > 0.4
    assert fit_weight(Judged(coarse + right, noise, right), 1.0, 0.0) == 0.0


def test_of_a_plateau_the_middle_is_the_weight() -> None:
    right = np.tile([False, True], (50, 1))
    coarse = np.tile([1.0, 0.0], (50, 1)).astype(np.float32)
    margins = np.where(right, 30.0, -30.0).astype(np.float32)

    # P is 0 or 1, so that the judge overrules stage 1 with any share above a half: 0.55 .. 1 are equally good.
    assert fit_weight(Judged(coarse, margins, right), 1.0, 0.0) == 0.8
