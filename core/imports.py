"""Submitting an import: files into the object store, then a job that a worker plans."""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit
from uuid import UUID

from core import galleries, jobs, uploads
from core.buckets import import_prefixes, is_s3, parse_s3
from core.context import Context
from core.errors import FieldError, InvalidInputError, ItemError
from core.ids import new_id
from core.keys import upload_key
from core.manifests import is_manifest_name
from core.models import Gallery, Job, JobKind, JobStage, NewUnit, Principal, Queue, UnitKind
from core.urls import checked_url

UPSERT = "upsert"
MIRROR = "mirror"
MODES = (UPSERT, MIRROR)
URL_LIST = "urls.txt"


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file of the request, not yet stored. `comments` as in StoredFile."""

    filename: str
    stream: BinaryIO
    media_type: str
    comments: bool = True


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of an import in the object store. `sha256` is what the client announced, not yet compared.

    `comments`: whether a line of a list of URLs is a comment when it begins with `#`.
    """

    filename: str
    key: str
    size_bytes: int
    sha256: str | None = None
    comments: bool = True


@dataclass(frozen=True, slots=True)
class NewImport:
    """What a client asks for. Pictures come from exactly one of these: files, urls, manifest, s3_prefix, upload_ids.

    `files` come with the request; `urls` are fetched; `manifest` is the address (http(s) or `s3://`) of one that a
    worker fetches; `s3_prefix` (`s3://bucket/prefix`) names objects of a bucket that the operator opened to the tenant;
    `upload_ids` are announced uploads that have arrived. `max_delete_share` (0..1) goes with mode `mirror`; None: what
    the operator set.
    """

    gallery: str
    files: Sequence[UploadedFile] = ()
    urls: Sequence[str] = ()
    manifest: str | None = None
    s3_prefix: str | None = None
    upload_ids: Sequence[UUID] = ()
    mode: str = UPSERT
    max_delete_share: float | None = None
    callback_url: str | None = None


def submit(ctx: Context, principal: Principal, new: NewImport) -> Job:
    """Store the files and queue the import. Nothing is visible until the job row commits."""
    job = prepare(ctx, principal, new)
    return jobs.submit(ctx, job, [plan_unit(job)])


def check(ctx: Context, principal: Principal, new: NewImport) -> None:
    """InvalidInputError as `submit` would raise it; nothing is stored, and files and uploads are not looked at."""
    _mode_params(ctx, new)
    _check_source(new)
    jobs.check_callback(new.callback_url)
    _address_params(ctx, principal, new)
    if new.urls:
        _url_list(new.urls)


def prepare(ctx: Context, principal: Principal, new: NewImport) -> Job:
    """The job of an import, not yet stored; its files are. Store it with its `plan_unit` in one transaction."""
    mode = _mode_params(ctx, new)
    _check_source(new)
    jobs.check_callback(new.callback_url)
    gallery = galleries.get(ctx, principal, new.gallery)
    job_id = new_id()
    source = _source_params(ctx, principal, gallery, job_id, new)
    spec = jobs.JobSpec(
        kind=JobKind.IMPORT,
        stage=JobStage.PLANNING,
        gallery=gallery,
        params={**mode, **source},
        callback_url=new.callback_url,
    )
    return jobs.new_job(ctx, principal, spec, job_id=job_id)


def _check_source(new: NewImport) -> None:
    named = (new.s3_prefix, new.manifest)
    given = [bool(new.files), bool(new.urls), bool(new.upload_ids), *(name is not None for name in named)]
    if sum(given) != 1:
        raise InvalidInputError(
            "Send at least one `file` (pictures, a ZIP or tar archive, a manifest (.csv, .jsonl) beside its pictures),"
            " or a `source` with one of `urls`, `manifest`, `s3_prefix` and `upload_ids`."
        )


def _source_params(
    ctx: Context, principal: Principal, gallery: Gallery, job_id: UUID, new: NewImport
) -> dict[str, Any]:
    """What the job remembers of its source: stored files, or where to look."""
    address = _address_params(ctx, principal, new)
    if address:
        return {"files": [], **address}
    if new.upload_ids:
        arrived = uploads.arrived(ctx, gallery, new.upload_ids)
        stored = [StoredFile(one.filename, one.key, one.size_bytes, one.sha256) for one in arrived]
        return {"files": [asdict(file) for file in stored], "upload_ids": [str(one.id) for one in arrived]}
    files = [_url_list(new.urls)] if new.urls else new.files
    stored = [_store(ctx, principal, job_id, number, file) for number, file in enumerate(files)]
    return {"files": [asdict(file) for file in stored]}


def _address_params(ctx: Context, principal: Principal, new: NewImport) -> dict[str, str]:
    if new.s3_prefix is not None:
        return {"s3_prefix": _open_s3(ctx, principal, new.s3_prefix, pointer="/source/s3_prefix")}
    if new.manifest is None:
        return {}
    pointer = "/source/manifest"
    if is_s3(new.manifest):
        address = _open_s3(ctx, principal, new.manifest, pointer=pointer)
    else:
        address = checked_url(new.manifest, pointer=pointer)
    if not is_manifest_name(manifest_name(address)):
        detail = "The address of a manifest ends with `.csv` or `.jsonl`, which tells how to read it."
        raise InvalidInputError(detail, errors=(FieldError(pointer, detail),))
    return {"manifest": address}


def manifest_name(address: str) -> str:
    """The file name at the end of an address's path."""
    path = parse_s3(address).key if is_s3(address) else urlsplit(address).path
    return unquote(path).rpartition("/")[2]


def _open_s3(ctx: Context, principal: Principal, text: str, *, pointer: str) -> str:
    with ctx.uow() as uow:
        tenant = uow.api_keys.tenant_name(principal.tenant_id)
    try:
        address = parse_s3(text)
        import_prefixes(ctx.settings, tenant).check(address)
    except ItemError as error:
        raise InvalidInputError(error.detail, errors=(FieldError(pointer, error.detail),)) from error
    return str(address)


def _url_list(urls: Sequence[str]) -> UploadedFile:
    """URLs are kept like an uploaded list, so that there is one way to read them; but each is an item."""
    wrong = [number for number, url in enumerate(urls) if not url.strip() or not url.isprintable()]
    if wrong:
        detail = "is empty, or has characters that cannot be printed"
        errors = tuple(FieldError(f"/source/urls/{number}", detail) for number in wrong[:20])
        raise InvalidInputError("Some URLs cannot be read.", errors=errors)
    return UploadedFile(URL_LIST, io.BytesIO("\n".join(urls).encode()), "text/plain", comments=False)


def _mode_params(ctx: Context, new: NewImport) -> dict[str, Any]:
    share = new.max_delete_share
    if new.mode not in MODES:
        raise _invalid("mode", f"is one of: {', '.join(MODES)}")
    if new.mode != MIRROR:
        if share is not None:
            raise _invalid("max_delete_share", "goes with mode=mirror only")
        return {"mode": new.mode}
    if share is not None and not 0 <= share <= 1:
        raise _invalid("max_delete_share", "is a share from 0 to 1, such as 0.2")
    return {"mode": new.mode, "max_delete_share": ctx.settings.max_delete_share if share is None else share}


def _invalid(field: str, problem: str) -> InvalidInputError:
    return InvalidInputError(f"`{field}` {problem}.", errors=(FieldError(f"/{field}", problem),))


def _store(ctx: Context, principal: Principal, job_id: UUID, number: int, file: UploadedFile) -> StoredFile:
    key = upload_key(principal.tenant_id, job_id, number)
    size_bytes = ctx.objects.put_stream(key, file.stream, media_type=file.media_type)
    return StoredFile(filename=file.filename, key=key, size_bytes=size_bytes, comments=file.comments)


def verify(ctx: Context, files: Sequence[StoredFile]) -> None:
    """Compare files with the checksums that were announced. InvalidInputError for one that differs or is gone."""
    for file in files:
        if file.sha256 is not None and not uploads.has_sha256(ctx, file.key, file.sha256):
            raise InvalidInputError(f"The upload {file.filename!r} does not have the announced sha256; send it again.")


def plan_unit(job: Job) -> NewUnit:
    """The unit that an import begins with."""
    return NewUnit(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=UnitKind.PLAN,
        queue=Queue.INGEST,
        size=1,
        payload={"files": job.params["files"]},
    )
