"""The web beyond the service: pictures behind URLs, and calls to addresses that clients named."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server said about the version of its answer; empty where it said nothing. Kept as they came."""

    etag: str = ""
    last_modified: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A body: `url` is where it came from after redirects, `media_type` what the server called it (never trusted)."""

    url: str
    data: bytes
    media_type: str
    validators: Validators


@dataclass(frozen=True, slots=True)
class NotModified:
    """The server still has the version that was named; no body came."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered to a POST, whatever its status. `data` is the first 64 KiB of the body."""

    status: int
    data: bytes
    retry_after_s: float | None


Fetch: TypeAlias = Fetched | NotModified


class Fetcher(Protocol):
    """HTTP to addresses that somebody else chose, without becoming their tool; safe to share between threads.

    Only http and https, only the operator's ports, no user:password in the URL, and no address that is not public,
    unless the operator allowed its network. The address is checked when the connection is made, on each redirect anew,
    and the connection goes to the very address that was checked. Size and total time are bounded while bytes arrive.

    ItemError: `bad_url`, `url_refused`, `url_not_found`, `url_denied`, `url_failed`, `url_too_large`;
    TemporaryItemError: `url_unavailable`, `url_timeout`.
    """

    def get(self, url: str, *, max_bytes: int, known: Validators | None = None) -> Fetch:
        """The body, at most `max_bytes` of it after decompression; NotModified when the server still has `known`.

        Follows up to five redirects; repeats what failed for a passing reason, with growing pauses, within the time.
        """
        ...

    def post(self, url: str, body: bytes, *, headers: Mapping[str, str]) -> Reply:
        """One POST: no redirect is followed and nothing is repeated, since only the caller knows what may be."""
        ...

    def close(self) -> None:
        """Close idle connections."""
        ...
