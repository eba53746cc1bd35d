"""Keyset paging."""

from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from core.errors import InvalidInputError
from core.models import Page

T = TypeVar("T")


def page_of(items: Sequence[T], size: int, key: Callable[[T], str]) -> Page[T]:
    """A page from up to `size` + 1 items: the one too many says that there is another page."""
    shown = tuple(items[:size])
    return Page(items=shown, next_key=key(shown[-1]) if len(items) > size else None)


def id_key(after: str) -> UUID:
    """The id in a page's key. InvalidInputError when the key is none of ours."""
    try:
        return UUID(after)
    except ValueError as error:
        raise unknown_key() from error


def number_key(after: str) -> int:
    """The number in a page's key. InvalidInputError when the key is none of ours."""
    if not (after.isascii() and after.isdigit() and len(after) < 19):  # noqa: PLR2004 - what a bigint holds
        raise unknown_key()
    return int(after)


def unknown_key() -> InvalidInputError:
    """What to raise for a page's key that we cannot have made."""
    return InvalidInputError("The page token is not valid; start again from the first page.")
