"""Who may do what."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Scope(StrEnum):
    """What an API key may do."""

    READ = "read"
    WRITE = "write"
    QUERY = "query"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request: the tenant that every row belongs to, and the key's scopes.

    `requests_per_minute` None: what the operator set for all keys; 0: as many as they like.
    """

    tenant_id: UUID
    key_id: UUID
    scopes: frozenset[Scope]
    requests_per_minute: int | None = None

    @staticmethod
    def nobody(tenant_id: UUID) -> "Principal":
        """For what the service does in a tenant's name by itself, without a request: no key, no scopes."""
        return Principal(tenant_id=tenant_id, key_id=UUID(int=0), scopes=frozenset())


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key: everything but the key itself. `tenant` is the tenant's name."""

    id: UUID
    tenant: str
    label: str
    scopes: frozenset[Scope]
    requests_per_minute: int | None
    created_at: datetime
