"""Upload sessions: files that clients put straight into the bucket, by presigned URLs, and import afterwards."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from core import galleries
from core.context import Context
from core.errors import FieldError, InvalidInputError, NotFoundError
from core.ids import new_id
from core.keys import session_key, session_prefix
from core.lease import Watched
from core.models import Gallery, Principal, Upload
from core.settings import MEBIBYTE

MAX_PUT_BYTES = 5 * 1024 * MEBIBYTE
"""What S3 takes in one PUT."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK_BYTES = 4 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class NewUpload:
    """A file that a client is about to send. `filename` counts like that of a multipart file."""

    filename: str
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Announced:
    """An upload and the URL to PUT its bytes to."""

    upload: Upload
    url: str


def announce(ctx: Context, principal: Principal, gallery_name: str, files: Sequence[NewUpload]) -> list[Announced]:
    """Note the files and sign a URL for each. InvalidInputError when one is too large or its checksum is none."""
    _check(ctx, files)
    gallery = galleries.get(ctx, principal, gallery_name)
    session, until = new_id(), ctx.clock.now() + timedelta(hours=ctx.settings.upload_ttl_hours)
    uploads = [
        Upload(
            id=new_id(),
            tenant_id=principal.tenant_id,
            gallery_id=gallery.id,
            key=session_key(principal.tenant_id, session, number),
            filename=file.filename,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            expires_at=until,
        )
        for number, file in enumerate(files)
    ]
    with ctx.uow() as uow:
        uow.uploads.add(uploads)
        uow.commit()
    life = timedelta(seconds=ctx.settings.upload_url_ttl_s)
    return [Announced(upload, ctx.objects.presign_put(upload.key, expires=life)) for upload in uploads]


def _check(ctx: Context, files: Sequence[NewUpload]) -> None:
    most = ctx.settings.max_upload_files
    if not 1 <= len(files) <= most:
        raise InvalidInputError(f"Announce 1 to {most} files at a time.")
    limit = min(MAX_PUT_BYTES, ctx.settings.max_upload_mib * MEBIBYTE)
    errors = []
    for number, file in enumerate(files):
        if not 1 <= file.size_bytes <= limit:
            errors.append(FieldError(f"/files/{number}/size_bytes", f"is not from 1 to {limit}"))
        if file.sha256 is not None and not _SHA256.fullmatch(file.sha256):
            errors.append(FieldError(f"/files/{number}/sha256", "is not 64 lower-case hexadecimal digits"))
    if errors:
        raise InvalidInputError("Some files cannot be taken; split large archives.", errors=tuple(errors))


def arrived(ctx: Context, gallery: Gallery, upload_ids: Sequence[UUID]) -> list[Upload]:
    """The uploads, kept as long as a job made now. InvalidInputError names those that are not there, or not whole."""
    with ctx.uow() as uow:
        found = uow.uploads.find(gallery.id, upload_ids)
    now = ctx.clock.now()
    uploads = [found.get(upload_id) for upload_id in upload_ids]
    there = _sizes(ctx, found)
    problems = [_problem(upload, there) if upload and upload.expires_at > now else _UNKNOWN for upload in uploads]
    errors = [FieldError(f"/source/upload_ids/{number}", problem) for number, problem in enumerate(problems) if problem]
    if errors or len(found) < len(upload_ids):
        raise InvalidInputError("Some uploads are not there; send them, then import again.", errors=tuple(errors))
    with ctx.uow() as uow:
        uow.uploads.keep(upload_ids, until=now + timedelta(days=ctx.settings.job_retention_days))
        uow.commit()
    return [upload for upload in uploads if upload is not None]


_UNKNOWN = "is no upload of this gallery, or it has expired"


def _sizes(ctx: Context, uploads: Mapping[UUID, Upload]) -> dict[str, int]:
    """Sizes in bytes of what has arrived, by key: one listing for each session."""
    prefixes = {session_prefix(upload.key) for upload in uploads.values()}
    return {key: size for prefix in sorted(prefixes) for key, size in ctx.objects.sizes(prefix)}


def _problem(upload: Upload, there: Mapping[str, int]) -> str:
    size_bytes = there.get(upload.key)
    if size_bytes is None:
        return "has not arrived: PUT its bytes to the URL that came with it"
    if size_bytes != upload.size_bytes:
        return f"has {size_bytes} bytes, but {upload.size_bytes} were announced: PUT it again"
    return ""


def has_sha256(ctx: Context, key: str, sha256: str) -> bool:
    """Whether a stored file has the checksum that was announced. InvalidInputError when the file is gone."""
    digest = hashlib.sha256()
    try:
        with Watched(ctx.objects.open(key)) as stream:
            buffer = bytearray(_CHUNK_BYTES)
            while count := stream.readinto(buffer):
                digest.update(memoryview(buffer)[:count])
    except NotFoundError as error:
        raise InvalidInputError("An uploaded file is gone; send it again.") from error
    return digest.hexdigest() == sha256
