"""A few seconds' memory of who holds a key, so that polls do not look it up each time."""

import time
from collections.abc import Callable

from core.models import Principal

TTL_S = 2.0
MAX_KEYS = 1024


class PrincipalCache:
    """Principals by key hash. A revoked key goes on working for at most `ttl_s`; unknown keys are never kept.

    Threads may share it: each operation on the dictionary is atomic, and losing a race costs one look-up.
    """

    def __init__(self, *, ttl_s: float = TTL_S, now: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s = ttl_s
        self._now = now
        self._held: dict[str, tuple[float, Principal]] = {}

    def get(self, key_sha256: str) -> Principal | None:
        """The principal, unless it is unknown or too old."""
        expires, principal = self._held.get(key_sha256, (0.0, None))
        return principal if self._now() < expires else None

    def put(self, key_sha256: str, principal: Principal) -> None:
        """Remember the principal for `ttl_s` seconds."""
        if len(self._held) >= MAX_KEYS:
            self._held.clear()
        self._held[key_sha256] = (self._now() + self._ttl_s, principal)
