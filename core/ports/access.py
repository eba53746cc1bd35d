"""API keys and replayable responses."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from core.models import ApiKey, Principal, Scope


class ApiKeys(Protocol):
    """Tenants and their keys; only SHA-256 hashes are stored."""

    def add_tenant(self, name: str) -> UUID:
        """Id of the tenant of that name, created when missing."""
        ...

    def add_key(
        self,
        tenant_id: UUID,
        *,
        key_sha256: str,
        scopes: Sequence[Scope],
        label: str,
        requests_per_minute: int | None = None,
    ) -> UUID:
        """Store a key's hash."""
        ...

    def set_rate(self, tenant: str, label: str, requests_per_minute: int | None) -> int:
        """Requests a minute of the keys of that label (None: the operator's default; 0: any); returns how many keys."""
        ...

    def keys(self, tenant: str | None = None) -> tuple[ApiKey, ...]:
        """All keys, or those of the tenant of that name, oldest first."""
        ...

    def remove_key(self, key_id: UUID) -> bool:
        """Forget the key; False when there is none of that id."""
        ...

    def set_quota(self, tenant: str, max_images: int | None) -> bool:
        """Most images of the tenant of that name (None: the operator's default; 0: any); False when there is none."""
        ...

    def quota(self, tenant_id: UUID, *, lock: bool = False) -> int | None:
        """What `set_quota` stored; with `lock`, the tenant's row locked until the transaction ends.

        NotFoundError when there is no such tenant.
        """
        ...

    def find(self, key_sha256: str) -> Principal | None:
        """Who the key belongs to; one indexed look-up."""
        ...

    def tenant_name(self, tenant_id: UUID) -> str:
        """What the tenant is called in settings and by `setr keys`. NotFoundError when there is none."""
        ...

    def tenants(self) -> tuple[UUID, ...]:
        """Ids of all tenants."""
        ...


@dataclass(frozen=True, slots=True)
class SavedResponse:
    """A first response, replayed for the same Idempotency-Key. `status` is None while the first is still running."""

    fingerprint: str
    status: int | None
    body: dict[str, Any] | None
    headers: dict[str, str]


class IdempotencyKeys(Protocol):
    """Replayable first responses, per tenant, kept 24 h."""

    def begin(self, tenant_id: UUID, key: str, fingerprint: str, *, lease: timedelta) -> SavedResponse | None:
        """Reserve the key; None when it is new, else what is stored under it.

        A reservation not renewed for as long as `lease` belonged to a process that died: the key counts as new.
        """
        ...

    def renew(self, tenant_id: UUID, key: str) -> None:
        """A sign of life of the request that holds the reservation; without effect once it has its response."""
        ...

    def finish(self, tenant_id: UUID, key: str, response: SavedResponse) -> None:
        """Store the first response."""
        ...

    def abandon(self, tenant_id: UUID, key: str) -> None:
        """Forget a reservation whose request failed before it had any effect."""
        ...

    def expire(self, *, before: datetime, limit: int) -> int:
        """Delete up to `limit` keys whose last sign of life was before that moment; returns how many."""
        ...
