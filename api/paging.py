"""Opaque page tokens: a keyset position, bound to the filters that it was made with."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from core.errors import FieldError, InvalidInputError
from core.models import Page

T = TypeVar("T")

MAX_PAGE_SIZE = 1000
DEFAULT_PAGE_SIZE = 100
MAX_TOKEN = 2048


def page_token(key: str | None, filters: dict[str, Any]) -> str | None:
    """Token of the page after `key`; None at the end."""
    if key is None:
        return None
    raw = json.dumps([_digest(filters), key], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def page_key(token: str | None, filters: dict[str, Any]) -> str | None:
    """The position that a token stands for. InvalidInputError when it is not ours or belongs to other filters."""
    if token is None:
        return None
    try:
        digest, key = json.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        digest, key = None, None
    if not isinstance(key, str) or "\0" in key or not key.isprintable():
        raise _wrong("is not a page token of ours; pass `next_page_token` on as it is")
    if digest != _digest(filters):
        raise _wrong("belongs to other filters; repeat the filters of the first page")
    return key


def every(page: Callable[[str | None], Page[T]]) -> Iterator[T]:
    """The items of all pages, by what reads the page after a key. The first is read now: its errors come here."""
    return _from(page(None), page)


def _from(first: Page[T], page: Callable[[str | None], Page[T]]) -> Iterator[T]:
    yield from first.items
    while first.next_key is not None:
        first = page(first.next_key)
        yield from first.items


def _digest(filters: dict[str, Any]) -> str:
    named = {name: value for name, value in filters.items() if value is not None}
    return hashlib.sha256(json.dumps(named, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _wrong(detail: str) -> InvalidInputError:
    return InvalidInputError(f"`page_token` {detail}.", errors=(FieldError("/page_token", detail),))
