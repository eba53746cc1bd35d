"""Membership in a list as one bound array, so that the statement's text does not depend on the list's length."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, Uuid, any_, literal
from sqlalchemy.dialects.postgresql import ARRAY


def any_id(ids: Sequence[UUID]) -> ColumnElement[Any]:
    """The right-hand side of an equality that holds for one of the ids."""
    return any_(literal(list(ids), ARRAY(Uuid)))


def any_text(texts: Sequence[str]) -> ColumnElement[Any]:
    """The right-hand side of an equality that holds for one of the texts."""
    return any_(literal(list(texts), ARRAY(Text)))
