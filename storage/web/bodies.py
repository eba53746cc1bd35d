"""Reading answers of strangers: bounded while bytes arrive, and never more unpacked than is wanted."""

import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore

from core.errors import ItemError
from core.settings import MEBIBYTE
from core.urls import WebUrl, shown_url

MAX_RETRY_AFTER_S = 3600.0

_MAX_HEADER_CHARS = 1000
_GZIP = 16 + zlib.MAX_WBITS
_ENCODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}


def header(response: httpcore.Response, name: str) -> str:
    """The first header of that name (lower case), printable and not endless; empty when there is none usable."""
    wanted = name.encode("ascii")
    value = next((held for key, held in response.headers if key.lower() == wanted), b"").decode("latin-1").strip()
    return value if len(value) <= _MAX_HEADER_CHARS and value.isprintable() else ""


def media_type(response: httpcore.Response) -> str:
    """The Content-Type without its parameters."""
    return header(response, "content-type").partition(";")[0].strip().lower()


def retry_after_s(response: httpcore.Response) -> float | None:
    """Seconds that Retry-After asks for, at most an hour; None where it is missing or unreadable."""
    value = header(response, "retry-after")
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(value)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        left_s = (until - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, left_s), MAX_RETRY_AFTER_S)


def read_body(response: httpcore.Response, url: WebUrl, *, max_bytes: int) -> bytes:
    """The whole body. ItemError `url_too_large` as soon as it is known to have more than `max_bytes`."""
    said = header(response, "content-length")
    if said.isascii() and said.isdigit() and int(said) > max_bytes:
        raise _too_large(url, max_bytes)
    body = bytearray()
    for chunk in _unpacked(response, url, max_bytes):
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(url, max_bytes)
    return bytes(body)


def read_start(response: httpcore.Response, *, max_bytes: int) -> bytes:
    """The first bytes of a body as they came; the rest is not asked for."""
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        if len(body) >= max_bytes:
            break
    return bytes(body[:max_bytes])


def _unpacked(response: httpcore.Response, url: WebUrl, max_bytes: int) -> Iterator[bytes]:
    """Plain bytes were asked for; the two encodings that servers send nevertheless are undone within the bound."""
    encoding = header(response, "content-encoding").lower()
    if encoding in {"", "identity"}:
        yield from response.iter_stream()
        return
    if encoding not in _ENCODINGS:
        raise ItemError("url_failed", f"{shown_url(str(url))!r} is sent as {encoding[:40]!r}, which is not read.")
    unpacker = zlib.decompressobj(_ENCODINGS[encoding])
    packed = 0
    try:
        for chunk in response.iter_stream():
            packed += len(chunk)
            yield unpacker.decompress(chunk, max_bytes + 1)
            if unpacker.unconsumed_tail or packed > max_bytes:
                raise _too_large(url, max_bytes)
    except zlib.error as error:
        raise _damaged(url) from error
    if not unpacker.eof:
        raise _damaged(url)


def _too_large(url: WebUrl, max_bytes: int) -> ItemError:
    limit = f"{max_bytes // MEBIBYTE} MiB" if max_bytes >= MEBIBYTE else f"{max_bytes} bytes"
    return ItemError("url_too_large", f"{shown_url(str(url))!r} has more than {limit}: link a smaller version.")


def _damaged(url: WebUrl) -> ItemError:
    return ItemError("url_failed", f"{shown_url(str(url))!r} was sent compressed, and damaged.")
