"""Keys are random, hashed and scoped."""

import pytest

from core.access import hash_key, require
from core.errors import ForbiddenError
from core.ids import new_id
from core.models import Principal, Scope


def holder(*scopes: Scope) -> Principal:
    return Principal(tenant_id=new_id(), key_id=new_id(), scopes=frozenset(scopes))


def test_only_the_hash_of_a_key_is_kept() -> None:
    """SHA-256 of `abc`, the test vector of FIPS 180-2."""
    assert hash_key("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_scope_is_needed_and_admin_has_all() -> None:
    require(holder(Scope.QUERY), Scope.QUERY)
    require(holder(Scope.ADMIN), Scope.WRITE)
    with pytest.raises(ForbiddenError, match="write"):
        require(holder(Scope.READ, Scope.QUERY), Scope.WRITE)
