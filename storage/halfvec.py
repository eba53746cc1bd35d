"""pgvector's half-precision vectors, in and out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Float, cast, literal
from sqlalchemy.types import UserDefinedType

from core.models import Vector, Vectors

_NUMBERS = np.dtype(">f2")
_HEADER_BYTES = 4  # the dimension and a reserved word, 16 bits each


class HalfVector(UserDefinedType[str]):
    """The type `halfvec`; parameters are its text form."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Name of the type."""
        return "halfvec"


def as_text(vector: Vector) -> str:
    """The text form of a vector [d], rounded to half precision."""
    return str(vector.astype(np.float16).tolist())


def from_wire(sent: Sequence[bytes]) -> Vectors:
    """float32 [n, d] from what `halfvec_send` gives for n >= 1 vectors of one dimension."""
    joined = np.frombuffer(b"".join(sent), np.uint8).reshape(len(sent), -1)
    numbers = np.ascontiguousarray(joined[:, _HEADER_BYTES:]).view(_NUMBERS)
    return numbers.astype(np.float32)


def negative_inner_product(stored: ColumnElement[Any], probe: Vector) -> ColumnElement[float]:
    """The operator `<#>`: smallest where the inner product is highest."""
    return stored.op("<#>", return_type=Float())(cast(literal(as_text(probe)), HalfVector))
