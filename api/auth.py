"""Who makes the request, and whether the key's scopes allow it."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import structlog
from flask import g, request

from api.runtime import runtime
from core import access
from core.models import Principal, Scope

P = ParamSpec("P")
R = TypeVar("R")

SECURITY_SCHEME = "ApiKey"
SECURITY_SCHEMES = {
    SECURITY_SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key. Its scopes are read, write, query and admin; admin includes the others. "
        "Revoking a key takes effect within a few seconds.",
    }
}


def protected(*scopes: Scope) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let only keys with one of the scopes in, and say so in the OpenAPI document. Put it right under the route."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            g.principal = _authenticate()
            structlog.contextvars.bind_contextvars(tenant_id=str(g.principal.tenant_id))
            runtime().rates.count(g.principal)
            access.require(g.principal, *scopes)
            return view(*args, **kwargs)

        _document(guarded, scopes)
        return guarded

    return decorate


def principal() -> Principal:
    """Who makes the present request; only inside a protected view."""
    return cast("Principal", g.principal)


def _authenticate() -> Principal:
    key = request.authorization.token if request.authorization and request.authorization.type == "bearer" else None
    cache = runtime().principals
    key_sha256 = access.hash_key(key) if key else ""
    known = cache.get(key_sha256)
    if known is None:
        known = access.authenticate(runtime().ctx.uow, key)
        cache.put(key_sha256, known)
    return known


def _document(view: Callable[..., object], scopes: tuple[Scope, ...]) -> None:
    """APIFlask reads what it documents from this attribute of the view."""
    annotated = cast("Any", view)
    spec: dict[str, Any] = getattr(view, "_spec", {})
    annotated._spec = {**spec, "security": [{SECURITY_SCHEME: [scope.value]} for scope in scopes]}  # noqa: SLF001
