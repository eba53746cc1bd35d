"""API keys: 256 random bits, stored as SHA-256, found by one indexed look-up."""

import hashlib
import secrets
from collections.abc import Sequence
from uuid import UUID

from core.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from core.models import ApiKey, Principal, Scope
from core.ports import UnitOfWorkFactory

KEY_PREFIX = "setr_"
ALL_SCOPES = tuple(Scope)


def hash_key(key: str) -> str:
    """What is stored of a key. A slow hash would buy nothing for 256 random bits and cost every poll."""
    return hashlib.sha256(key.encode()).hexdigest()


def issue_key(
    uow_factory: UnitOfWorkFactory,
    *,
    tenant: str,
    label: str,
    scopes: Sequence[Scope] = ALL_SCOPES,
    requests_per_minute: int | None = None,
) -> str:
    """A new key of the tenant (created when missing). It is returned once and cannot be shown again.

    `requests_per_minute` None: what the operator set for all keys; 0: as many as they like.
    """
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    with uow_factory() as uow:
        tenant_id = uow.api_keys.add_tenant(tenant)
        uow.api_keys.add_key(
            tenant_id,
            key_sha256=hash_key(key),
            scopes=scopes,
            label=label,
            requests_per_minute=requests_per_minute,
        )
        uow.commit()
    return key


def set_rate(uow_factory: UnitOfWorkFactory, *, tenant: str, label: str, requests_per_minute: int | None) -> int:
    """Requests that each key of that label may send in a minute; returns how many keys these are.

    None: what the operator set for all; 0: as many as they like. NotFoundError when no key is called so.
    """
    with uow_factory() as uow:
        keys = uow.api_keys.set_rate(tenant, label, requests_per_minute)
        uow.commit()
    if not keys:
        raise NotFoundError(f"Tenant {tenant} has no key with the label {label!r}; make one with `setr keys create`.")
    return keys


def list_keys(uow_factory: UnitOfWorkFactory, *, tenant: str | None = None) -> tuple[ApiKey, ...]:
    """What is known of all keys, or of those of one tenant, oldest first."""
    with uow_factory() as uow:
        return uow.api_keys.keys(tenant)


def revoke_key(uow_factory: UnitOfWorkFactory, key_id: UUID) -> None:
    """Make the key open nothing any more; processes that found it a moment ago may take it for some seconds yet.

    NotFoundError when there is none of that id.
    """
    with uow_factory() as uow:
        known = uow.api_keys.remove_key(key_id)
        uow.commit()
    if not known:
        raise NotFoundError(f"There is no key {key_id}; `setr keys list` shows all.")


def set_quota(uow_factory: UnitOfWorkFactory, *, tenant: str, max_images: int | None) -> None:
    """Most images that a tenant may have; None: what the operator set for all; 0: as many as it likes.

    NotFoundError when there is no such tenant.
    """
    with uow_factory() as uow:
        known = uow.api_keys.set_quota(tenant, max_images)
        uow.commit()
    if not known:
        raise NotFoundError(f"There is no tenant {tenant}; it is made with its first key: `setr keys create`.")


def authenticate(uow_factory: UnitOfWorkFactory, key: str | None) -> Principal:
    """Who holds the key. UnauthenticatedError when it is missing or unknown."""
    if not key:
        raise UnauthenticatedError("Send your API key as `Authorization: Bearer <api key>`.")
    with uow_factory() as uow:
        principal = uow.api_keys.find(hash_key(key))
    if principal is None:
        raise UnauthenticatedError("This API key is unknown or revoked; ask your operator for a new one.")
    return principal


def require(principal: Principal, *scopes: Scope) -> None:
    """ForbiddenError unless the key has one of the scopes (`admin` has all)."""
    if principal.scopes.isdisjoint({*scopes, Scope.ADMIN}):
        raise ForbiddenError(f"This call needs an API key with the scope {' or '.join(f'`{one}`' for one in scopes)}.")
