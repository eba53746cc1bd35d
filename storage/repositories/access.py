"""Tenants, API keys and replayable first responses."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from core.errors import ConflictError, NotFoundError
from core.ids import new_id
from core.models import ApiKey, Principal, Scope
from core.ports import SavedResponse
from storage.repositories.deletions import delete_some
from storage.tables import ApiKeyRow, IdempotencyKeyRow, TenantRow
from storage.transaction import Transaction

_FIND = select(ApiKeyRow.tenant_id, ApiKeyRow.id, ApiKeyRow.scopes, ApiKeyRow.requests_per_minute).where(
    ApiKeyRow.key_sha256 == bindparam("key_sha256")
)

_EXPIRE = delete_some("idempotency_keys", key=("tenant_id", "key"), where="created_at < :before", order_by="created_at")


class SqlApiKeys:
    """Implements `core.ports.ApiKeys`."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def add_tenant(self, name: str) -> UUID:
        """Id of the tenant of that name, created when missing."""
        insertion = insert(TenantRow).values(id=new_id(), name=name)
        self._transaction.execute(insertion.on_conflict_do_nothing(index_elements=[TenantRow.name]))
        found: UUID = self._transaction.execute(select(TenantRow.id).where(TenantRow.name == name)).scalar_one()
        return found

    def add_key(
        self,
        tenant_id: UUID,
        *,
        key_sha256: str,
        scopes: Sequence[Scope],
        label: str,
        requests_per_minute: int | None = None,
    ) -> UUID:
        """Store a key's hash. ConflictError when it is stored already."""
        key_id = new_id()
        insertion = insert(ApiKeyRow).values(
            id=key_id,
            tenant_id=tenant_id,
            key_sha256=key_sha256,
            scopes=[scope.value for scope in scopes],
            label=label,
            requests_per_minute=requests_per_minute,
        )
        added = self._transaction.execute(
            insertion.on_conflict_do_nothing(index_elements=[ApiKeyRow.key_sha256]).returning(ApiKeyRow.id)
        )
        if added.one_or_none() is None:
            raise ConflictError("This API key exists already; make another one.")
        return key_id

    def find(self, key_sha256: str) -> Principal | None:
        """Who the key belongs to; one indexed look-up."""
        row = self._transaction.execute(_FIND, {"key_sha256": key_sha256}).one_or_none()
        if row is None:
            return None
        return Principal(
            tenant_id=row.tenant_id,
            key_id=row.id,
            scopes=frozenset(Scope(scope) for scope in row.scopes),
            requests_per_minute=row.requests_per_minute,
        )

    def set_rate(self, tenant: str, label: str, requests_per_minute: int | None) -> int:
        """Requests a minute of the keys of that label; returns how many keys."""
        owner = select(TenantRow.id).where(TenantRow.name == tenant).scalar_subquery()
        statement = update(ApiKeyRow).where(ApiKeyRow.tenant_id == owner, ApiKeyRow.label == label)
        return self._transaction.execute(statement.values(requests_per_minute=requests_per_minute)).rowcount

    def keys(self, tenant: str | None = None) -> tuple[ApiKey, ...]:
        """All keys, or those of the tenant of that name, oldest first."""
        statement = (
            select(
                ApiKeyRow.id,
                TenantRow.name.label("tenant"),
                ApiKeyRow.label,
                ApiKeyRow.scopes,
                ApiKeyRow.requests_per_minute,
                ApiKeyRow.created_at,
            )
            .join(TenantRow, TenantRow.id == ApiKeyRow.tenant_id)
            .order_by(ApiKeyRow.created_at, ApiKeyRow.id)
        )
        if tenant is not None:
            statement = statement.where(TenantRow.name == tenant)
        rows = self._transaction.execute(statement).mappings()
        return tuple(ApiKey(**dict(row) | {"scopes": frozenset(map(Scope, row["scopes"]))}) for row in rows)

    def remove_key(self, key_id: UUID) -> bool:
        """Forget the key; False when there is none of that id."""
        return self._transaction.execute(delete(ApiKeyRow).where(ApiKeyRow.id == key_id)).rowcount == 1

    def set_quota(self, tenant: str, max_images: int | None) -> bool:
        """Most images of the tenant of that name; False when there is none."""
        statement = update(TenantRow).where(TenantRow.name == tenant).values(max_images=max_images)
        return self._transaction.execute(statement).rowcount == 1

    def quota(self, tenant_id: UUID, *, lock: bool = False) -> int | None:
        """What `set_quota` stored; with `lock`, the tenant's row locked until the transaction ends."""
        statement = select(TenantRow.max_images).where(TenantRow.id == tenant_id)
        if lock:  # not FOR UPDATE: rows that refer to the tenant go on being inserted
            statement = statement.with_for_update(key_share=True)
        row = self._transaction.execute(statement).one_or_none()
        if row is None:
            raise NotFoundError("There is no such tenant.")
        found: int | None = row.max_images
        return found

    def tenant_name(self, tenant_id: UUID) -> str:
        """What the tenant is called. NotFoundError when there is none."""
        row = self._transaction.execute(select(TenantRow.name).where(TenantRow.id == tenant_id)).one_or_none()
        if row is None:
            raise NotFoundError("There is no such tenant.")
        return str(row.name)

    def tenants(self) -> tuple[UUID, ...]:
        """Ids of all tenants."""
        return tuple(self._transaction.execute(select(TenantRow.id).order_by(TenantRow.id)).scalars())


class SqlIdempotencyKeys:
    """Implements `core.ports.IdempotencyKeys`; the primary key decides races."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def begin(self, tenant_id: UUID, key: str, fingerprint: str, *, lease: timedelta) -> SavedResponse | None:
        """Reserve the key; None when it is new (or its reservation is older than `lease`), else what is under it.

        A concurrent `begin` of the same key waits until this transaction ends.
        """
        insertion = insert(IdempotencyKeyRow).values(tenant_id=tenant_id, key=key, fingerprint=fingerprint)
        reserved = self._transaction.execute(
            insertion.on_conflict_do_update(
                index_elements=[IdempotencyKeyRow.tenant_id, IdempotencyKeyRow.key],
                set_={"fingerprint": fingerprint, "created_at": func.now()},
                where=IdempotencyKeyRow.status.is_(None) & (IdempotencyKeyRow.created_at < func.now() - lease),
            ).returning(IdempotencyKeyRow.key)
        )
        if reserved.one_or_none() is not None:
            return None
        row = self._transaction.execute(
            select(
                IdempotencyKeyRow.fingerprint,
                IdempotencyKeyRow.status,
                IdempotencyKeyRow.body,
                IdempotencyKeyRow.headers,
            ).where(*_is(tenant_id, key))
        ).one()
        return SavedResponse(*row)

    def renew(self, tenant_id: UUID, key: str) -> None:
        """Make a reservation as good as new; a stored response stays as it is."""
        held = update(IdempotencyKeyRow).where(*_is(tenant_id, key), IdempotencyKeyRow.status.is_(None))
        self._transaction.execute(held.values(created_at=func.now()))

    def finish(self, tenant_id: UUID, key: str, response: SavedResponse) -> None:
        """Store the first response."""
        stored: dict[str, Any] = {"status": response.status, "body": response.body, "headers": response.headers}
        self._transaction.execute(update(IdempotencyKeyRow).where(*_is(tenant_id, key)).values(stored))

    def abandon(self, tenant_id: UUID, key: str) -> None:
        """Forget a reservation whose request failed before it had any effect; a stored response stays."""
        self._transaction.execute(
            delete(IdempotencyKeyRow).where(*_is(tenant_id, key), IdempotencyKeyRow.status.is_(None))
        )

    def expire(self, *, before: datetime, limit: int) -> int:
        """Delete up to `limit` keys whose last sign of life was before that moment; returns how many."""
        return self._transaction.execute(_EXPIRE, {"before": before, "limit": limit}).rowcount


def _is(tenant_id: UUID, key: str) -> tuple[Any, Any]:
    return IdempotencyKeyRow.tenant_id == tenant_id, IdempotencyKeyRow.key == key
