"""Bounds on request bodies, checked before anything is read, and JSON as the standard has it."""

import json
from typing import Any

from flask import request
from flask.json.provider import DefaultJSONProvider

from core.errors import TooLargeError, UnsupportedMediaTypeError

MEBIBYTE = 1024 * 1024
MAX_JSON_BYTES = MEBIBYTE
JSON = "application/json"
MULTIPART = "multipart/form-data"


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
