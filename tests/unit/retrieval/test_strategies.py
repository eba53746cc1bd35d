"""Strategies one by one, in a plane, where each number can be computed by hand."""

from collections.abc import Callable
from math import cos, pi, sin, sqrt

import numpy as np
import pytest

from core.errors import InvalidInputError
from core.models import Vectors
from core.ports import Composition, CompositionInput
from retrieval.strategies.ablations import ABLATIONS, ablation_grid, union_grid
from retrieval.strategies.centring import Centre
from retrieval.strategies.described import caption
from retrieval.strategies.product import HARRIS_PENALTY, TEXT_SHARE, harris_of, product
from retrieval.strategies.soft import soft
from retrieval.strategies.softening import soften
from retrieval.strategies.union import slerp_of, sum_of, text, weighted_sum
from tests.unit.retrieval.test_compose import COMPOSED, EVERYTHING, GALLERY, SCENES, query
from tests.unit.retrieval.test_compose import text as words

RIGHT, UP = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
BETWEEN = np.array([0.6, 0.8], np.float32)
PICTURES: Vectors = np.stack([RIGHT, UP, BETWEEN, -RIGHT])


def asked(*, reference: Vectors = RIGHT, wanted: Vectors = UP, **others: Vectors) -> CompositionInput:
    """A gallery without mean and concepts: nothing is centred."""
    given = {"negative_text": None, "mean": None, "concepts": None, **others}
    return CompositionInput(reference=reference, text=wanted, **given)  # type: ignore[arg-type]


def scores(composition: Composition) -> list[float]:
    values = composition.score(PICTURES)
    assert values.dtype == np.float32
    return [round(float(value), 5) for value in values]


def test_slerp_divides_the_angle_and_sum_the_chord() -> None:
    at_60 = np.array([cos(pi / 3), sin(pi / 3)], np.float32)
    third = slerp_of(1 / 3)(asked(wanted=at_60))
    np.testing.assert_allclose(third.probes, [[cos(pi / 9), sin(pi / 9)]], atol=1e-6)
    assert scores(third)[0] == round(cos(pi / 9), 5)
    chord = np.array([2 / 3 + 1 / 3 * cos(pi / 3), 1 / 3 * sin(pi / 3)])
    np.testing.assert_allclose(sum_of(1 / 3)(asked(wanted=at_60)).probes, [chord / np.linalg.norm(chord)], atol=1e-6)


@pytest.mark.parametrize("wanted", [RIGHT, -RIGHT])
def test_slerp_without_an_arc_is_the_sum(wanted: Vectors) -> None:
    np.testing.assert_allclose(slerp_of(0.3)(asked(wanted=wanted)).probes, [RIGHT], atol=1e-6)


def test_the_sum_sees_centred_vectors_when_told_to() -> None:
    centred = sum_of(0.5, centred=True)(asked(mean=np.array([0.5, 0], np.float32)))
    half = sqrt(0.5)
    np.testing.assert_allclose(centred.probes, [[half, half]], atol=1e-6)
    assert scores(centred) == [round(half * value, 5) for value in (0.5, 0.5, 0.9, -1.5)]


def test_the_grid_of_unions() -> None:
    grid = union_grid()
    assert len(grid) == 3 * 49
    assert scores(grid["sum-0.50"](asked())) == scores(weighted_sum(asked()))
    np.testing.assert_allclose(grid["slerp-0.98"](asked()).probes, [[sin(0.01 * pi), cos(0.01 * pi)]], atol=1e-6)


def test_the_grid_of_ablations() -> None:
    """Without concepts they keep the whole reference; 0.75 of the text is a third of the reference beside the text."""
    grid = ablation_grid()
    assert len(grid) == len(ABLATIONS) * 49
    for name, equal_shares in ABLATIONS.items():
        assert scores(grid[f"{name}-0.50"](asked())) == scores(equal_shares(asked()))
    quarter = ablation_grid(step=0.25)
    assert scores(quarter["intersection-span-0.75"](asked())) == [round(1 / 3, 5), 1.0, 1.0, round(-1 / 3, 5)]
    expected = [3**0.25, 3**0.75, 2.6**0.75 * 2.2**0.25, 0.0]
    assert scores(quarter["intersection-and-0.75"](asked())) == [round(value, 5) for value in expected]
    l_ = HARRIS_PENALTY
    expected = [2.25 - 9 * l_, 2.25 - 25 * l_, 3.9 * 1.1 - 25 * l_, -2.25 * l_]
    assert scores(quarter["product-harris-0.75"](asked())) == pytest.approx(expected, abs=1e-4)


def test_product_wants_both() -> None:
    """Normalised by (s + 0.5) / 0.5: BETWEEN has 2.2 of the reference and 2.6 of the text, RIGHT has 3 and 1."""
    a = TEXT_SHARE
    expected = [3 ** (1 - a), 3**a, 2.6**a * 2.2 ** (1 - a), 0.0]
    assert scores(product(asked())) == [round(value, 5) for value in expected]
    l_ = HARRIS_PENALTY
    expected = [3 - 16 * l_, 3 - 16 * l_, 2.6 * 2.2 - 4.8**2 * l_, -l_]
    assert scores(harris_of(0.5)(asked())) == pytest.approx(expected, abs=1e-4)


def test_product_looks_at_angles_from_the_mean() -> None:
    moved = product(asked(mean=np.array([0.2, 0], np.float32)))
    to_text = 0.8 / sqrt(0.4**2 + 0.8**2)
    to_reference = 0.4 / sqrt(0.4**2 + 0.8**2)
    expected = (2 * to_text + 1) ** TEXT_SHARE * (2 * to_reference + 1) ** (1 - TEXT_SHARE)
    assert scores(moved)[2] == round(expected, 5)


@pytest.mark.parametrize(
    ("have", "avoid", "expected"),
    [
        (None, RIGHT, [0.0, 1.0, 0.8 * 0.4, 0.0]),
        (UP, None, [0.0, 1.0, 0.8 * 0.9, 0.0]),
        (UP, RIGHT, [0.0, 1.0, 0.8 * 0.6, 0.0]),
        (None, UP, [0.0, 0.0, 0.8 * 0.2, 0.0]),
    ],
)
def test_soft_weights(have: Vectors | None, avoid: Vectors | None, expected: list[float]) -> None:
    softened = soften(text(asked()), Centre.of(asked()), have=have, avoid=avoid)
    assert scores(softened) == [round(value, 5) for value in expected]


def test_soft_moves_scores_below_zero_further_down() -> None:
    softened = soften(text(asked(wanted=-UP)), Centre.of(asked()), avoid=RIGHT)
    assert scores(softened) == [0.0, -1.0, round(-0.8 * 1.6, 5), 0.0]


def test_soft_is_the_intersection_with_the_text_as_a_must() -> None:
    both = asked(negative_text=RIGHT)
    base = EVERYTHING.compose("intersection", asked())
    expected = scores(soften(base, Centre.of(both), have=UP, avoid=RIGHT))
    assert scores(soft(both)) == scores(EVERYTHING.compose("soft", both)) == expected


def test_caption_searches_for_the_description() -> None:
    assert scores(caption(asked(caption=BETWEEN))) == [0.6, 0.8, 1.0, -0.6]
    with pytest.raises(InvalidInputError, match="needs a captioner"):
        caption(asked())


def kept_by(ablation: str, asked_for: CompositionInput) -> Callable[[str], float]:
    """Similarity of what an ablation keeps of the reference to a word."""
    kept = EVERYTHING.compose(ablation, asked_for).probes[2]
    centre = Centre.of(asked_for)
    return lambda word: round(float(kept @ centre.words(words(word))), 2)


def test_the_literal_intersection_is_empty_unless_the_text_repeats_the_reference() -> None:
    assert not EVERYTHING.compose("intersection-literal", COMPOSED).probes[2].any()
    repeated = query("dress", "red", "tweed", "snow", words=("dress", "blue"))
    similarity = kept_by("intersection-literal", repeated)
    assert similarity("dress") > 0.9
    assert similarity("dress") > similarity("red")


@pytest.mark.parametrize("ablation", ["intersection-words", "intersection-relevant", "intersection-span"])
def test_words_keep_the_product_and_lose_the_scene(ablation: str) -> None:
    similarity = kept_by(ablation, COMPOSED)
    assert min(similarity(word) for word in ("dress", "red", "tweed")) > 0.3
    assert similarity("snow") < 0.1


def test_contrast_turns_away_from_scenes() -> None:
    whole = float(EVERYTHING.compose("intersection", COMPOSED).probes[1] @ words("snow"))
    similarity = kept_by("intersection-contrast", COMPOSED)
    assert whole < similarity("dress")
    assert similarity("snow") < similarity("dress")


def test_the_and_of_text_and_kept_reference_finds_what_their_sum_finds() -> None:
    best = GALLERY.ranked("intersection-and", COMPOSED)[:3]
    assert {shot[:3] for shot in best} == {("dress", "blue", "tweed")}
    assert {shot[3] for shot in best} == set(SCENES)
    explained = EVERYTHING.compose("intersection-and", COMPOSED).explanation
    assert explained == EVERYTHING.compose("intersection-sparse", COMPOSED).explanation


def test_ablations_are_not_offered_by_the_api() -> None:
    assert not set(ABLATIONS) & {"text", "image", "sum", "slerp", "product", "intersection", "soft", "caption"}
