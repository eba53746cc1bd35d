"""How many requests a key may send in a minute, counted in a Redis that all API processes share. See docs/adr/0026."""

import time
from collections.abc import Callable
from typing import Any, cast

import structlog
from flask import Flask, Response, g
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import RateLimitedError
from core.models import Principal
from core.settings import Settings

log = structlog.get_logger()

PAUSE_S = 10.0
"""A Redis that is away is left alone for this long: no request waits for it, and it is logged once."""

_TIMEOUT_S = 0.5
_SOCKET = ("redis+socket://", "redis+unix://")  # what Celery calls it, and what `limits` calls it
_NAMESPACE = "setr"


class RateLimits:
    """Counts the requests of keys that have a limit; others cost nothing. While Redis is away, none is counted."""

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.monotonic) -> None:
        self._default = settings.requests_per_minute
        self._now = now
        self._away_until = 0.0
        self._windows = _windows(settings)

    def count(self, principal: Principal) -> None:
        """Count one request of the key; only inside a request. RateLimitedError when it is one too many."""
        own = principal.requests_per_minute
        most = self._default if own is None else own
        if not most or self._now() < self._away_until:
            return
        if self._windows is None:
            self._pass(reason="the broker is no Redis, and SETR_RATE_LIMIT_URL names none")
            return
        limit, key = RateLimitItemPerMinute(most, namespace=_NAMESPACE), str(principal.key_id)
        try:
            is_within = self._windows.hit(limit, key)
            resets_at, remaining = self._windows.get_window_stats(limit, key)
        except StorageError as error:
            self._pass(reason=type(error.storage_error).__name__)
            return
        g.rate_headers = {
            "X-RateLimit-Limit": str(most),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(int(resets_at) + 1),
        }
        if not is_within:
            detail = f"This key may send {most} requests a minute, and has. Wait for as long as Retry-After says."
            raise RateLimitedError(detail, retry_after_s=max(1, int(resets_at - time.time()) + 1))

    def _pass(self, *, reason: str) -> None:
        self._away_until = self._now() + PAUSE_S
        log.warning("rate_limits.not_counted", reason=reason, pause_s=PAUSE_S)


def register(app: Flask) -> None:
    """Answers to keys with a limit say how they stand."""
    app.after_request(_tell)


def _tell(response: Response) -> Response:
    response.headers.update(g.get("rate_headers", {}))
    return response


def _windows(settings: Settings) -> FixedWindowRateLimiter | None:
    """None when there is no Redis to count in. Nothing connects yet."""
    url = (settings.rate_limit_url or settings.redis_url).replace(*_SOCKET)
    options: dict[str, Any] = {"wrap_exceptions": True}
    if url.startswith(("redis://", "rediss://", "redis+unix://")):
        # One more try, at once, is for a connection that went stale in the pool.
        retry = Retry(NoBackoff(), 1)
        options |= {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S, "retry": retry}
    elif not url.startswith("memory://"):
        return None
    return FixedWindowRateLimiter(cast("Storage", storage_from_string(url, **options)))
