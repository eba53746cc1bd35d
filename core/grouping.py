"""Results that stand for others: one for each value of an attribute, or one of pictures that look the same.

Pure and greedy, best first: whether a row is shown depends only on rows that rank better, so that a longer list of
candidates never changes the order of what a shorter one showed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.looks import alike
from core.ports import Traits


@dataclass(frozen=True, slots=True)
class Grouping:
    """Rows with the same value are one result; so are those whose looks are within `distance` bits, unless None."""

    by_value: bool
    distance: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """A result: the row at `place` stands for it.

    `images` are all rows with its value, wherever they ended; 0 where the row has none, or values do not count.
    `duplicates` are rows that were left out because they look like this one.
    """

    place: int
    value: Any
    images: int
    duplicates: int


def group(rows: Sequence[Traits], how: Grouping, *, limit: int) -> tuple[Group, ...]:
    """The first `limit` groups of rows that come best first. A row is left out when a shown one has its value or looks.

    Rows without a value stand for themselves.
    """
    keys = [_key(row.value) if how.by_value else None for row in rows]
    shown: list[int] = []
    seen: set[str] = set()
    images: dict[str, int] = {}
    duplicates: dict[int, int] = {}
    shelf = _Shelf(how.distance, limit)
    for place, (row, key) in enumerate(zip(rows, keys, strict=True)):
        if key is not None:
            images[key] = images.get(key, 0) + 1
            if key in seen:
                continue
        twin = shelf.find(row)
        if twin is not None:
            duplicates[shown[twin]] = duplicates.get(shown[twin], 0) + 1
        elif len(shown) < limit:
            shown.append(place)
            shelf.add(row)
            if key is not None:
                seen.add(key)
    return tuple(
        Group(
            place=place,
            value=rows[place].value if keys[place] is not None else None,
            images=images.get(keys[place] or "", 0),
            duplicates=duplicates.get(place, 0),
        )
        for place in shown
    )


def _key(value: Any) -> str | None:
    """Equal for equal JSON values: 80 is 80.0, but neither "80" nor true. None for a row that has no value."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True)


class _Shelf:
    """Looks of the rows that are shown."""

    def __init__(self, distance: int | None, limit: int) -> None:
        self._distance = distance
        self._count = 0
        self._phashes = np.zeros(limit, np.int64)
        self._tints = np.zeros(limit, np.int64)

    def find(self, row: Traits) -> int | None:
        """Number of the first shown row that looks the same."""
        if self._distance is None or self._count == 0:
            return None
        like = alike(
            self._phashes[: self._count],
            self._tints[: self._count],
            np.array([row.phash]),
            np.array([row.tint]),
            distance=self._distance,
        )
        first = int(like.argmax())
        return first if like[first] else None

    def add(self, row: Traits) -> None:
        """Show a row."""
        self._phashes[self._count], self._tints[self._count] = row.phash, row.tint
        self._count += 1
