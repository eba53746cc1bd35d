"""The collections of the search benchmark: what each filter keeps, and how near their vectors are."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.search.data import COSINE, DIM, PRICES, SELECTIONS, Collection, Selection, gaussian, mixture
from core.models import Attributes

BY_NAME = {selection.name: selection for selection in SELECTIONS}
NOTHING = np.zeros((0, DIM), np.float32)


def priced(*prices: int) -> Collection:
    return Collection(np.zeros((len(prices), DIM), np.float32), NOTHING, np.array(prices))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("10 %", [1, 2, 3, 4, 5]),
        ("1 %", [1, 2, 3]),
        ("1 %, by equality", [1, 2, 3]),
        ("0.1 %", [1, 2]),
    ],
)
def test_the_lower_end_is_kept_and_the_upper_is_not(name: str, kept: list[int]) -> None:
    collection = priced(399_999, 400_000, 400_999, 401_000, 410_000, 499_999, 500_000)
    found = collection.kept(BY_NAME[name])
    assert found is not None
    assert found.tolist() == kept


def test_no_filter_keeps_all() -> None:
    assert priced(1, 2).kept(BY_NAME["no filter"]) is None


def keeps(selection: Selection, attributes: Attributes) -> bool:
    """What the filter says, by the rules of its two operators."""
    (name, condition), *others = (selection.where or {}).items()
    assert not others
    value = attributes[name]
    if isinstance(condition, dict):
        return bool(condition["gte"] <= value < condition["lt"])
    return bool(value == condition)


@pytest.mark.parametrize("selection", SELECTIONS[1:], ids=lambda selection: selection.name)
def test_filters_say_of_attributes_what_kept_says_of_prices(selection: Selection) -> None:
    collection = priced(*range(0, PRICES, 500))
    kept = collection.kept(selection)
    assert kept is not None
    said = [n for n in range(len(collection.prices)) if keeps(selection, collection.attributes(n))]
    assert kept.tolist() == said
    assert len(kept) / len(collection.prices) == pytest.approx(selection.share)


def test_attributes_of_an_image() -> None:
    assert priced(7, 400_000).attributes(1) == {"price": 400_000, "brand": "brand 40", "title": "Item 1"}


@pytest.mark.parametrize("draw", [mixture, gaussian])
def test_vectors_are_units_drawn_the_same_each_time(draw: Callable[..., Collection]) -> None:
    first, again = draw(5, queries=3), draw(5, queries=3)
    assert (first.vectors.shape, first.queries.shape, first.prices.shape) == ((5, DIM), (3, DIM), (5,))
    assert first.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(first.vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    np.testing.assert_array_equal(first.prices, again.prices)


def test_vectors_of_a_cluster_are_as_near_as_said_and_others_are_not() -> None:
    vectors = mixture(1000).vectors
    cosines = (vectors @ vectors.T)[np.triu_indices(1000, 1)]
    within = cosines[cosines > 0.5]
    assert within.mean() == pytest.approx(COSINE, abs=0.01)
    assert abs(cosines[cosines <= 0.5].mean()) < 0.01
    even = gaussian(500).vectors
    assert (even @ even.T)[np.triu_indices(500, 1)].max() < 0.5
