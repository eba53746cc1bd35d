"""What a filter says about numbers, whichever way it is put."""

from math import inf
from typing import Any

import pytest

from core.filters import parse_filter
from storage.numbers import NumberRange, ranges


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, ()),
        ({"price": {"gte": 10, "lt": 80}}, (NumberRange("price", 10, 80),)),
        ({"and": [{"price": {"gt": 1}}, {"price": {"lte": 9}, "size": {"gt": 4}}, {"price": {"gte": 3}}]},
         (NumberRange("price", 3, 9), NumberRange("size", 4, inf))),
        ({"price": {"gte": 9, "lt": 1}}, (NumberRange("price", 9, 1),)),
        ({"color": "red", "price": 5, "name": {"prefix": "a"}, "size": {"exists": True}}, ()),
        ({"or": [{"price": {"gt": 1}}, {"color": "red"}]}, ()),
        ({"not": {"price": {"gt": 1}}}, ()),
        ({"price": {"gt": 1.5e308, "lt": 1e-310}}, (NumberRange("price", inf, 0.0),)),
        ({"price": {"gt": -1.5e308}}, (NumberRange("price", -inf, inf),)),
    ],
    ids=str,
)  # fmt: skip
def test_ranges_are_those_that_every_passing_image_must_be_in(
    raw: dict[str, Any], expected: tuple[NumberRange, ...]
) -> None:
    assert ranges(parse_filter(raw)) == expected
