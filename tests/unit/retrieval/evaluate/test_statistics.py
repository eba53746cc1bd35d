import numpy as np
import pytest

from retrieval.evaluate.statistics import bootstrap_interval, mean, paired_interval, ratio_interval


def coins(heads: int, tails: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([1.0] * heads + [0.0] * tails)


def test_parts_of_different_size_count_the_same() -> None:
    assert mean([coins(10, 0), coins(0, 1_000)]) == 0.5


def test_an_empty_part_has_no_mean() -> None:
    with pytest.raises(ValueError, match="no queries"):
        mean([coins(1, 0), coins(0, 0)])


def test_the_interval_is_about_two_standard_errors_wide() -> None:
    low, high = bootstrap_interval([coins(500, 500)])
    error = (0.5 * 0.5 / 1_000) ** 0.5

    assert low == pytest.approx(0.5 - 1.96 * error, abs=0.004)
    assert high == pytest.approx(0.5 + 1.96 * error, abs=0.004)


@pytest.mark.parametrize(
    ("heads", "tails", "interval"),
    [
        # Of n hits and misses, a resample's hits are binomial: these are its 2.5 % and 97.5 % points over n.
        (1, 1, (0.0, 1.0)),  # 0 1 2 of 2: 25, 50, 25 %
        (1, 9, (0.0, 0.3)),  # P(X <= 2) = 0.930, P(X <= 3) = 0.987
        (5, 5, (0.2, 0.8)),  # P(X <= 1) = 0.011, P(X <= 2) = 0.055
        (9, 1, (0.7, 1.0)),
    ],
)
def test_the_interval_is_that_of_the_binomial(heads: int, tails: int, interval: tuple[float, float]) -> None:
    assert bootstrap_interval([coins(heads, tails)]) == pytest.approx(interval)


def test_a_paired_interval_is_that_of_the_differences() -> None:
    theirs = coins(6, 4)
    ours = theirs.copy()
    ours[9] = 1.0  # one query of ten won, none lost

    assert paired_interval([ours], [theirs]) == pytest.approx((0.0, 0.3))


def test_the_interval_is_the_same_on_every_run() -> None:
    assert bootstrap_interval([coins(30, 70)]) == bootstrap_interval([coins(30, 70)])


def test_values_that_are_all_alike_have_no_spread() -> None:
    assert bootstrap_interval([coins(20, 0)]) == (1.0, 1.0)


def test_pairing_sees_a_difference_that_two_intervals_would_hide() -> None:
    theirs = coins(500, 500)
    ours = theirs.copy()
    ours[500:510] = 1.0
    low, high = paired_interval([ours], [theirs])

    assert 0.0 < low < 0.01 < high < 0.02
    assert bootstrap_interval([ours])[0] < bootstrap_interval([theirs])[1]


def test_pairing_needs_the_same_queries() -> None:
    with pytest.raises(ValueError, match="same queries"):
        paired_interval([coins(1, 1)], [coins(1, 2)])


def test_the_interval_of_a_ratio_draws_the_same_queries_above_and_below() -> None:
    below = coins(300, 700)
    assert ratio_interval([below / 2], [below]) == pytest.approx((0.5, 0.5))
    assert ratio_interval([below], [np.ones(1_000)]) == pytest.approx(bootstrap_interval([below]))


def test_the_interval_of_a_share_of_errors_is_that_of_the_binomial_over_them() -> None:
    errors, removed = coins(200, 800), coins(100, 900)
    low, high = ratio_interval([removed], [errors])
    error = (0.5 * 0.5 / 200) ** 0.5  # a draw has about 200 errors, each removed or not

    assert low == pytest.approx(0.5 - 1.96 * error, abs=0.012)
    assert high == pytest.approx(0.5 + 1.96 * error, abs=0.012)


def test_draws_with_nothing_below_do_not_count() -> None:
    assert ratio_interval([coins(1, 9)], [coins(1, 9)]) == (1.0, 1.0)
    with pytest.raises(ValueError, match="ratio to nothing"):
        ratio_interval([coins(0, 9)], [coins(0, 9)])
    with pytest.raises(ValueError, match="same queries"):
        ratio_interval([coins(1, 9)], [coins(1, 8)])
