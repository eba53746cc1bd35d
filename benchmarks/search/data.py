"""Vectors that are distributed as embeddings are, and filters that keep a known share of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.models import Attributes, Vectors

DIM = 512
CENTRES = 1000
COSINE = 0.75
"""Mean cosine of two vectors of one cluster."""
QUERIES = 200
PRICES = 1_000_000
BRANDS = 100


@dataclass(frozen=True)
class Selection:
    """A filter, and what it says about the attributes of `Collection`."""

    name: str
    share: float
    where: Mapping[str, Any] | None
    low: int = 0
    high: int = PRICES


# From the middle of the range, so that no end of an index is favoured.
SELECTIONS = (
    Selection("no filter", 1.0, None),
    Selection("10 %", 0.1, {"price": {"gte": 400_000, "lt": 500_000}}, 400_000, 500_000),
    Selection("1 %", 0.01, {"price": {"gte": 400_000, "lt": 410_000}}, 400_000, 410_000),
    Selection("1 %, by equality", 0.01, {"brand": "brand 40"}, 400_000, 410_000),
    Selection("0.1 %", 0.001, {"price": {"gte": 400_000, "lt": 401_000}}, 400_000, 401_000),
)


@dataclass(frozen=True)
class Collection:
    """Unit vectors float32 [n, d], held-out queries [q, d], and a price of each vector, independent of it."""

    vectors: Vectors
    queries: Vectors
    prices: NDArray[np.int64]

    def attributes(self, number: int) -> Attributes:
        """Of one image."""
        price = int(self.prices[number])
        return {"price": price, "brand": f"brand {price * BRANDS // PRICES}", "title": f"Item {number}"}

    def kept(self, selection: Selection) -> NDArray[np.int64] | None:
        """Numbers of the vectors that the filter keeps; None for all."""
        if selection.where is None:
            return None
        return np.flatnonzero((self.prices >= selection.low) & (self.prices < selection.high))


def mixture(count: int, *, queries: int = QUERIES) -> Collection:
    """A mixture of 1 000 centres."""
    draw = np.random.default_rng(1)
    centres = _unit(draw.standard_normal((CENTRES, DIM), dtype=np.float32))
    spread = np.float32(np.sqrt((1 / COSINE - 1) / DIM))

    def around(how_many: int) -> Vectors:
        noise = draw.standard_normal((how_many, DIM), dtype=np.float32)
        return _unit(centres[draw.integers(CENTRES, size=how_many)] + spread * noise)

    return Collection(around(count), around(queries), draw.integers(PRICES, size=count))


def gaussian(count: int, *, queries: int = QUERIES) -> Collection:
    """Evenly on the sphere, where nothing is near to anything."""
    draw = np.random.default_rng(2)
    vectors, held_out = (_unit(draw.standard_normal((n, DIM), dtype=np.float32)) for n in (count, queries))
    return Collection(vectors, held_out, draw.integers(PRICES, size=count))


def _unit(rows: Vectors) -> Vectors:
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
