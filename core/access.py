"""API keys: 256 random bits, stored as SHA-256, found by one indexed look-up."""

import hashlib
import secrets
from collections.abc import Sequence

from core.errors import ForbiddenError, UnauthenticatedError
from core.models import Principal, Scope
from core.ports import UnitOfWorkFactory

KEY_PREFIX = "setr_"
ALL_SCOPES = tuple(Scope)


def hash_key(key: str) -> str:
    """What is stored of a key. A slow hash would buy nothing for 256 random bits and cost every poll."""
    return hashlib.sha256(key.encode()).hexdigest()


def issue_key(uow_factory: UnitOfWorkFactory, *, tenant: str, label: str, scopes: Sequence[Scope] = ALL_SCOPES) -> str:
    """A new key of the tenant (created when missing). It is returned once and cannot be shown again."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    with uow_factory() as uow:
        tenant_id = uow.api_keys.add_tenant(tenant)
        uow.api_keys.add_key(tenant_id, key_sha256=hash_key(key), scopes=scopes, label=label)
        uow.commit()
    return key


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
