"""Ranges of numbers in a filter, and the index that knows which images may lie in them. See docs/adr/0022."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import copysign, inf
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, CompoundSelect, Double, Select, func, literal, select, union_all

from core.filters import AllOf, Condition, Filter, Operator
from storage.tables import ImageNumberRow

_LARGEST, _SMALLEST = 1e308, 1e-300  # what lies beyond, migration 0012 stores as infinity and zero
_FROM = frozenset({Operator.GT, Operator.GTE})
_UNTIL = frozenset({Operator.LT, Operator.LTE})


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Both ends belong to it."""

    attribute: str
    low: float = -inf
    high: float = inf


def ranges(where: Filter | None) -> tuple[NumberRange, ...]:
    """Of each attribute, where its number lies (if it is one, and no list) in every image that passes the filter."""
    found: dict[str, NumberRange] = {}
    for condition in _needed(where):
        name, known = condition.attribute, found.get(condition.attribute, NumberRange(condition.attribute))
        if condition.operator in _FROM:
            found[name] = NumberRange(name, max(known.low, _rounded(condition.value)), known.high)
        elif condition.operator in _UNTIL:
            found[name] = NumberRange(name, known.low, min(known.high, _rounded(condition.value)))
    return tuple(found.values())


def images_in(numbers: NumberRange, gallery_id: ColumnElement[UUID]) -> CompoundSelect[UUID]:
    """Ids of the gallery's images that may have a number in the range: a few too many, none too few."""
    return union_all(
        _entries(numbers, gallery_id).where(ImageNumberRow.value.between(numbers.low, numbers.high)),
        _entries(numbers, gallery_id).where(ImageNumberRow.value == literal("NaN", Double)),
    )


def _entries(numbers: NumberRange, gallery_id: ColumnElement[UUID]) -> Select[UUID]:
    hashed = func.hashtextextended(numbers.attribute, 0)
    return select(ImageNumberRow.image_id).where(
        ImageNumberRow.gallery_id == gallery_id, ImageNumberRow.attribute == hashed
    )


def _needed(where: Filter | None) -> Iterator[Condition]:
    """Conditions that every image that passes meets."""
    match where:
        case Condition():
            yield where
        case AllOf(parts):
            for part in parts:
                yield from _needed(part)
        case _:
            return


def _rounded(number: Any) -> float:
    if abs(number) >= _LARGEST:
        return copysign(inf, number)
    return 0.0 if abs(number) < _SMALLEST else float(number)
