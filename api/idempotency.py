"""Idempotency-Key: the first response again for the same request, nothing twice."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import IO, ParamSpec
from uuid import UUID

import structlog
from flask import Response, request

from api.auth import principal
from api.bodies import MULTIPART
from api.runtime import context
from core.context import Context
from core.errors import (
    ConflictError,
    FieldError,
    IdempotencyKeyReusedError,
    InvalidInputError,
    ServiceError,
    UnavailableError,
)
from core.ports import SavedResponse

log = structlog.get_logger()

P = ParamSpec("P")

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
MAX_KEY = 255
KEPT_HEADERS = ("Location", "Retry-After", "ETag")
_CHUNK_BYTES = 1024 * 1024


def idempotent(view: Callable[P, Response]) -> Callable[P, Response]:
    """Honour Idempotency-Key. Put it right above the view, under authentication and validation.

    Same key and body: the first response again, marked `Idempotent-Replayed: true`. Another body: 422. Still running:
    409. A request that failed leaves its key free, and so does one whose process died, `settings.lease_s` later.
    """

    @wraps(view)
    def replaying(*args: P.args, **kwargs: P.kwargs) -> Response:
        key = _key()
        if key is None:
            return view(*args, **kwargs)
        fingerprint = _fingerprint()
        saved = _begin(key, fingerprint)
        if saved is not None:
            return _replay(saved, fingerprint)
        with _renewed(context(), principal().tenant_id, key):
            return _first(key, fingerprint, view, *args, **kwargs)

    return replaying


def _key() -> str | None:
    raw = request.headers.get(HEADER)
    if raw is None:
        return None
    key = raw.strip().strip('"')  # the draft standard quotes it, most clients do not
    if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        detail = f"takes 1 to {MAX_KEY} printable characters, such as a UUID"
        raise InvalidInputError(f"The header {HEADER} {detail}.", errors=(FieldError(f"/{HEADER}", detail),))
    return key


def _begin(key: str, fingerprint: str) -> SavedResponse | None:
    lease = timedelta(seconds=context().settings.lease_s)
    with context().uow() as uow:
        saved = uow.idempotency.begin(principal().tenant_id, key, fingerprint, lease=lease)
        uow.commit()
    return saved


@contextmanager
def _renewed(ctx: Context, tenant_id: UUID, key: str) -> Iterator[None]:
    """Keep the reservation from a thread: storing large files takes longer than a death may go unnoticed."""
    done = threading.Event()
    thread = threading.Thread(target=_renew_until, args=(done, ctx, tenant_id, key), name="idempotency", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _renew_until(done: threading.Event, ctx: Context, tenant_id: UUID, key: str) -> None:
    while not done.wait(ctx.settings.lease_s / 4):
        try:
            with ctx.uow() as uow:
                uow.idempotency.renew(tenant_id, key)
                uow.commit()
        except UnavailableError as error:
            log.warning("idempotency.not_renewed", detail=error.detail)


def _replay(saved: SavedResponse, fingerprint: str) -> Response:
    if saved.fingerprint != fingerprint:
        raise IdempotencyKeyReusedError("This Idempotency-Key came before with another request; use a new key.")
    if saved.status is None:
        raise ConflictError("The first request with this Idempotency-Key is still running; repeat it in a moment.")
    body = (saved.body or {}).get("text", "")
    headers = {**saved.headers, REPLAYED: "true"}
    return Response(body, status=saved.status, headers=headers, mimetype="application/json")


def _first(key: str, fingerprint: str, view: Callable[P, Response], *args: P.args, **kwargs: P.kwargs) -> Response:
    tenant_id = principal().tenant_id
    try:
        response = view(*args, **kwargs)
    except Exception:
        with context().uow() as uow:
            uow.idempotency.abandon(tenant_id, key)
            uow.commit()
        raise
    saved = SavedResponse(
        fingerprint=fingerprint,
        status=response.status_code,
        body={"text": response.get_data(as_text=True)},
        headers={name: response.headers[name] for name in KEPT_HEADERS if name in response.headers},
    )
    try:
        with context().uow() as uow:
            uow.idempotency.finish(tenant_id, key, saved)
            uow.commit()
    except ServiceError as error:
        # The work is accepted and committed: saying otherwise would make the client send it again.
        log.warning("idempotency.not_saved", error=error.code, detail=error.detail)
    return response


def _fingerprint() -> str:
    digest = hashlib.sha256(f"{request.method} {request.full_path}\n".encode())
    if request.mimetype != MULTIPART:
        digest.update(request.get_data())
        return digest.hexdigest()
    for name, value in request.form.items(multi=True):
        digest.update(f"{name}={len(value)}:{value}\n".encode())
    for name, file in request.files.items(multi=True):
        digest.update(f"{name}={file.filename}:{_digest(file.stream)}\n".encode())
    return digest.hexdigest()


def _digest(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK_BYTES):
        digest.update(chunk)
    stream.seek(0)
    return digest.hexdigest()
