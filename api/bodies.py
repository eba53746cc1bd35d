"""Bounds on request bodies, checked before anything is read, and JSON that Postgres can store."""

import json
import math
from typing import Any

from flask import request
from flask.json.provider import DefaultJSONProvider

from core.errors import TooLargeError, UnsupportedMediaTypeError

MEBIBYTE = 1024 * 1024
MAX_JSON_BYTES = MEBIBYTE
JSON = "application/json"
MULTIPART = "multipart/form-data"
MAX_DEPTH = 16


def bound_body(max_bytes: int = MAX_JSON_BYTES) -> None:
    """Refuse a body that says it is larger, and stop reading one that lies. TooLargeError, before a byte is read."""
    if request.content_length is not None and request.content_length > max_bytes:
        raise TooLargeError(f"The body has {request.content_length} bytes; this call takes at most {max_bytes}.")
    request.max_content_length = max_bytes


def expect_media_type(*accepted: str, hint: str = "") -> None:
    """UnsupportedMediaTypeError unless the body has one of the media types."""
    if request.mimetype not in accepted:
        sent = f"`{request.mimetype}`" if request.mimetype else "no Content-Type"
        raise UnsupportedMediaTypeError(f"Send `{'` or `'.join(accepted)}`; you sent {sent}.{hint and ' '}{hint}")


class StrictJson(DefaultJSONProvider):
    """JSON as RFC 8259 has it: no NaN or Infinity, and no nesting that exhausts the stack."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Decode. ValueError for anything that is not JSON."""
        try:
            return json.loads(s, parse_constant=_refuse, **kwargs)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def storable(value: Any, *, depth: int = 0) -> Any:
    """`value` itself when Postgres's JSON can hold it: no NUL, no lone surrogates, finite numbers. Else ValueError."""
    if depth > MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    match value:
        case str():
            if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
                raise ValueError("contains NUL or half of a surrogate pair")
        case float():
            if not math.isfinite(value):
                raise ValueError("contains a number that is not finite")
        case dict():
            for key, held in value.items():
                storable(key, depth=depth + 1)
                storable(held, depth=depth + 1)
        case list():
            for held in value:
                storable(held, depth=depth + 1)
    return value
